/* Running attention by cuDNN: a batch, part by part. See kernels/cuda/sdpa.h. */
#include "kernels/cuda/sdpa_plan.h"
#include <inttypes.h>
#include <math.h>

#define ELEMENT 2 /* bytes of a bfloat16 */

/* ---- lengths and places ---- */

int64_t sdpa_index_room(const Sdpa *sdpa, int64_t heads, int64_t head, int64_t sequences) {
    int64_t most = 0;
    for (int i = 0; i < sdpa->count; i++) {
        const SdpaGraphShape *s = &sdpa->plans[i].shape;
        if (s->all_heads == heads && s->head == head && s->sequences > most)
            most = s->sequences;
    }
    return sequences + most; /* the last part may begin with the last sequence */
}

int64_t sdpa_index_most(const Sdpa *sdpa, int64_t sequences) {
    int64_t most = 0;
    for (int i = 0; i < sdpa->count; i++)
        most = sdpa->plans[i].shape.sequences > most ? sdpa->plans[i].shape.sequences : most;
    return sequences + most;
}

/* lengths[room], then the places in qkv, out and lse, [room + 1] each */
static const int32_t *places(const int32_t *index, int64_t room, int part) {
    return index + room + part * (room + 1);
}

int64_t sdpa_index_count(int64_t room) {
    return room + 3 * (room + 1);
}

void sdpa_index_fill(int32_t *index, int64_t room, const int32_t *cu_seqlens, int64_t sequences,
                     int64_t heads, int64_t head) {
    const int64_t scale[3] = {3 * heads * head, heads * head, heads};
    JEPA_ASSERT(sequences <= room && cu_seqlens[sequences] <= INT32_MAX / scale[0]);
    for (int64_t s = 0; s < room; s++)
        index[s] = s < sequences ? cu_seqlens[s + 1] - cu_seqlens[s] : 0;
    for (int part = 0; part < 3; part++) {
        int32_t *place = index + (places(index, room, part) - index);
        for (int64_t s = 0; s <= room; s++)
            place[s] = (int32_t)(cu_seqlens[s < sequences ? s : sequences] * scale[part]);
    }
}

/* ---- launches ---- */

/* What a launch is given: pointers by uid. */
typedef struct Given {
    int64_t uid[GRAPH_UIDS_MAX];
    void *pointer[GRAPH_UIDS_MAX];
    int count;
} Given;

/* cuDNN takes inputs and outputs as void * alike. */
static void give(Given *given, SdpaUid uid, const void *pointer) {
    JEPA_ASSERT(given->count < GRAPH_UIDS_MAX);
    given->uid[given->count] = uid;
    given->pointer[given->count++] = (void *)(uintptr_t)pointer;
}

/* The tensors of a batch; those that a pass does not have are NULL. */
typedef struct Tensors {
    const char *qkv, *out, *dout, *dqkv; /* bfloat16 */
    const float *lse;
} Tensors;

/* Queries, keys and values lie side by side in a row. */
static void give_three(Given *given, const SdpaUid uid[3], const char *rows,
                       const SdpaGraphShape *s, int64_t first_head) {
    for (int k = 0; k < 3; k++)
        give(given, uid[k], rows + (k * s->all_heads + first_head) * s->head * ELEMENT);
}

/* Sequences first .. of heads first_head .. */
static int launch(const SdpaPlan *plan, const Tensors *t, const SdpaBatch *batch, int64_t first,
                  int64_t first_head, char *workspace, Error *error) {
    const SdpaGraphShape *s = &plan->shape;
    const SdpaUid in[3] = {SDPA_Q, SDPA_K, SDPA_V}, gradient[3] = {SDPA_DQ, SDPA_DK, SDPA_DV};
    const float scale = 1 / sqrtf((float)s->head), one = 1, masked = -INFINITY;
    bool backward = s->pass == SDPA_BACKWARD || s->pass == SDPA_BACKWARD_FAST;
    Given given = {.count = 0};
    give_three(&given, in, t->qkv, s, first_head);
    give(&given, SDPA_OUT, t->out + first_head * s->head * ELEMENT);
    give(&given, SDPA_LENGTHS_Q, batch->index + first);
    give(&given, SDPA_LENGTHS_KV, batch->index + first);
    give(&given, SDPA_OFFSETS_QKV, places(batch->index, batch->room, 0) + first);
    give(&given, SDPA_OFFSETS_OUT, places(batch->index, batch->room, 1) + first);
    give(&given, SDPA_SCALE, &scale);
    give(&given, SDPA_MASKED, &masked);
    if (s->pass != SDPA_INFERENCE) {
        give(&given, SDPA_OFFSETS_LSE, places(batch->index, batch->room, 2) + first);
        give(&given, SDPA_LSE, t->lse + first_head);
    }
    if (backward) {
        give_three(&given, gradient, t->dqkv, s, first_head);
        give(&given, SDPA_DOUT, t->dout + first_head * s->head * ELEMENT);
        give(&given, SDPA_ONE, &one);
        give(&given, SDPA_DELTA, workspace);
        if (s->pass == SDPA_BACKWARD_FAST)
            give(&given, SDPA_DQ_SUM, workspace + plan->dq_sum);
    }
    return plan_run(&plan->plan, given.uid, given.pointer, given.count, workspace + plan->work,
                    error);
}

static int run(SdpaPass pass, const Tensors *t, const SdpaBatch *b, void *workspace,
               const Sdpa *sdpa, Error *error) {
    const SdpaPlan *plan = sdpa_find(sdpa, pass, b->heads, b->head, b->sequences, b->longest);
    if (!plan)
        return error_set(error, ERROR_RUN,
                         "attention: nothing was prepared for sequences of %" PRId64
                         " tokens, %" PRId64 " heads of %" PRId64,
                         b->longest, b->heads, b->head);
    const SdpaGraphShape *s = &plan->shape;
    for (int64_t first = 0; first < b->sequences; first += s->sequences) {
        JEPA_ASSERT(first + s->sequences <= b->room);
        for (int64_t head = 0; head < s->all_heads; head += s->heads)
            if (launch(plan, t, b, first, head, workspace, error))
                return -1;
    }
    return 0;
}

bool sdpa_has(const Sdpa *sdpa, bool backward, const SdpaBatch *b) {
    SdpaPass pass = !backward ? SDPA_FORWARD : sdpa->fast ? SDPA_BACKWARD_FAST : SDPA_BACKWARD;
    return sdpa_find(sdpa, pass, b->heads, b->head, b->sequences, b->longest) != NULL;
}

int sdpa_forward(void *out, float *lse, const void *qkv, const SdpaBatch *batch, void *workspace,
                 const Sdpa *sdpa, Error *error) {
    Tensors t = {.qkv = qkv, .out = out, .lse = lse};
    return run(lse ? SDPA_FORWARD : SDPA_INFERENCE, &t, batch, workspace, sdpa, error);
}

int sdpa_backward(void *dqkv, const void *dout, const void *qkv, const void *out, const float *lse,
                  const SdpaBatch *batch, void *workspace, const Sdpa *sdpa, Error *error) {
    Tensors t = {.qkv = qkv, .out = out, .dout = dout, .dqkv = dqkv, .lse = lse};
    return run(sdpa->fast ? SDPA_BACKWARD_FAST : SDPA_BACKWARD, &t, batch, workspace, sdpa, error);
}
