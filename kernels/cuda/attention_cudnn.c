/* Attention by cuDNN's plans. See kernels/cuda/attention_cudnn.h.
 *
 * cuDNN is opened when the first bfloat16 network is planned. Where it is missing, too old, or has
 * no plan for a network, that network goes to the own kernels, and one line says why. The places of
 * a batch's sequences, which cuDNN wants in elements, are uploaded once for each list of lengths
 * and shape of heads, and found again by the number of that list (cuda_lengths). */
#include "kernels/cuda/attention_cudnn.h"
#include "base/log.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/graphs.h"
#include "kernels/cuda/sdpa.h"
#include "kernels/device.h"
#include <stdlib.h>
#include <string.h>

#define INDEXES   12 /* lists of lengths times shapes of heads that are at work */
#define ALIGNMENT 256
#define SHORTEST_SHARE                                                                             \
    8 /* plans begin at this part of the longest sequence: shorter ones use them */

typedef struct Index {
    uint64_t list; /* CudaLengths.serial */
    int64_t heads, head, room;
    int32_t *device; /* [sdpa_index_count(room)] */
    uint64_t used;   /* 0: never */
    uint64_t pinned; /* Cuda.pins: a graph points to it */
} Index;

typedef struct CudaAttention {
    CudnnLibrary library;
    CudnnTarget target;
    Sdpa sdpa;
    bool open, failed;
    void *workspace;
    int64_t workspace_bytes;
    Index index[INDEXES + CUDA_PINNED];
    int indexes;         /* of them that have memory */
    int64_t sequences;   /* most in a batch of any network that was planned */
    int64_t index_count; /* numbers that each of them has room for */
    int32_t *host;       /* [index_count] being filled */
    uint64_t clock;
} CudaAttention;

/* ---- opening ---- */

static CudaAttention *state_of(Device *device) {
    Cuda *cuda = device->cuda;
    if (!cuda->attention)
        cuda->attention = memory_new(1, sizeof *cuda->attention);
    return cuda->attention;
}

/* False where cuDNN cannot be had; said once. */
static bool ready(CudaAttention *a, Device *device) {
    Error error = {0};
    SdpaSettings settings = {.fast = device->fast, .chosen = device->chosen};
    if (a->open || a->failed)
        return a->open;
    int status = cuda_cudnn_open(&a->library, &a->target, device->cuda->stream,
                                 device->cuda->capability, &error);
    if (!status && settings.chosen && sdpa_open(&a->sdpa, &a->target, &settings, &error)) {
        log_warn("%s: plans are chosen anew, and the run goes on with other bits", error.text);
        settings.chosen = NULL;
    }
    if (!status && !settings.chosen)
        status = sdpa_open(&a->sdpa, &a->target, &settings, &error);
    if (status) {
        a->failed = true;
        log_info("attention: own kernels (%s)", error.text);
        return false;
    }
    return a->open = true;
}

void cuda_attention_close(Device *device) {
    CudaAttention *a = device->cuda->attention;
    if (!a)
        return;
    if (a->open)
        sdpa_close(&a->sdpa);
    cudnn_target_close(&a->target);
    cudaFree(a->workspace);
    for (int i = 0; i < a->indexes; i++)
        cudaFree(a->index[i].device);
    free(a->host);
    free(a);
    device->cuda->attention = NULL;
}

/* ---- planning ---- */

static SdpaNeed sdpa_need(const AttentionNeed *need) {
    int64_t shortest = need->varies ? need->longest / SHORTEST_SHARE : need->longest;
    return (SdpaNeed){.heads = need->heads,
                      .head = need->width / need->heads,
                      .sequences = need->sequences,
                      .shortest = shortest ? shortest : 1,
                      .longest = need->longest,
                      .rows = need->rows,
                      .lse = true,
                      .backward = need->backward};
}

/* Plans what cuDNN can do; says what it cannot. */
static void plan_all(Sdpa *sdpa, const AttentionNeed *needs, int count, Device *device, bool say) {
    for (int i = 0; i < count; i++) {
        SdpaNeed need = sdpa_need(&needs[i]);
        Error why = {0};
        if ((!sdpa_supported(sdpa, &need, device->precision, needs[i].causal, &why) ||
             sdpa_plan(sdpa, &need, &why)) &&
            say)
            log_info("attention with %d heads of %d channels: own kernels (%s)", (int)need.heads,
                     (int)need.head, why.text);
    }
}

/* Numbers of the largest index list, once these networks are planned too; *sequences: the most in a
 * batch of those before, then of all. */
static int64_t largest_index(const Sdpa *sdpa, int64_t *sequences, const AttentionNeed *needs,
                             int count) {
    for (int i = 0; i < count; i++)
        *sequences = needs[i].sequences > *sequences ? needs[i].sequences : *sequences;
    return sdpa->count ? sdpa_index_count(sdpa_index_most(sdpa, *sequences)) : 0;
}

static int indexes_of(const Device *device) {
    return device->graphs ? INDEXES + CUDA_PINNED : INDEXES;
}

static size_t bytes_of(const Sdpa *sdpa, int64_t numbers, const Device *device) {
    int64_t index = (numbers * (int64_t)sizeof(int32_t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return (size_t)(sdpa->workspace + indexes_of(device) * index);
}

static int take_memory(CudaAttention *a, int64_t numbers, Device *device, Error *error) {
    if (a->sdpa.workspace > a->workspace_bytes) {
        if (a->workspace)
            device->release(a->workspace, device);
        a->workspace = NULL;
        a->workspace_bytes = 0;
        if (device->allocate(&a->workspace, (size_t)a->sdpa.workspace, device, error))
            return -1;
        a->workspace_bytes = a->sdpa.workspace;
    }
    if (numbers <= a->index_count)
        return 0;
    a->indexes = indexes_of(device);
    for (int i = 0; i < a->indexes; i++) {
        if (a->index[i].device)
            device->release(a->index[i].device, device);
        a->index[i] = (Index){0};
        if (device->allocate((void **)&a->index[i].device, (size_t)numbers * sizeof(int32_t),
                             device, error))
            return -1;
    }
    a->index_count = numbers;
    a->host = memory_grow(a->host, (unsigned long)numbers, sizeof *a->host);
    return 0;
}

int cuda_attention_plan(size_t *bytes, const AttentionNeed *needs, int count, bool take,
                        Device *device, Error *error) {
    CudaAttention *a = state_of(device);
    *bytes = 0;
    if (device->precision != PRECISION_BFLOAT16 || !ready(a, device))
        return 0;
    if (take) {
        plan_all(&a->sdpa, needs, count, device, true);
        int64_t numbers = largest_index(&a->sdpa, &a->sequences, needs, count);
        cuda_graphs_drop(device); /* nothing is pinned any more */
        for (int i = 0; i < a->indexes; i++)
            a->index[i].used = 0; /* their room is that of the plans before */
        *bytes = bytes_of(&a->sdpa, numbers, device);
        return take_memory(a, numbers, device, error);
    }
    Sdpa dry;
    SdpaSettings settings = {.fast = device->fast, .dry = true};
    if (sdpa_open(&dry, &a->target, &settings, error))
        return -1;
    plan_all(&dry, needs, count, device, false);
    int64_t sequences = a->sequences;
    *bytes = bytes_of(&dry, largest_index(&dry, &sequences, needs, count), device);
    sdpa_close(&dry);
    return 0;
}

/* ---- running ---- */

static const int32_t *index_for(CudaAttention *a, const CudaLengths *lengths, SdpaBatch *batch,
                                Device *device) {
    Index *oldest = NULL;
    uint64_t pins = device->cuda->pins;
    int pinned = 0;
    for (int i = 0; i < a->indexes; i++)
        pinned += pins && a->index[i].pinned == pins;
    if (a->indexes == INDEXES) /* planned without graphs */
        pinned = CUDA_PINNED;
    for (int i = 0; i < a->indexes; i++) {
        Index *x = &a->index[i];
        if (x->used && x->list == lengths->serial && x->heads == batch->heads &&
            x->head == batch->head) {
            x->used = ++a->clock;
            cuda_graphs_pin(&x->pinned, pinned, device);
            batch->room = x->room;
            return x->device;
        }
        bool stays = pins && x->pinned == pins;
        if (!stays && (!oldest || x->used < oldest->used))
            oldest = x;
    }
    int64_t room = sdpa_index_room(&a->sdpa, batch->heads, batch->head, batch->sequences);
    int64_t numbers = sdpa_index_count(room);
    if (numbers > a->index_count || !oldest || cuda_graphs_spoil("it has a new index", device))
        return NULL;
    sdpa_index_fill(a->host, room, lengths->host, batch->sequences, batch->heads, batch->head);
    device->upload(oldest->device, a->host, (size_t)numbers * sizeof *a->host, device);
    *oldest = (Index){
        lengths->serial, batch->heads, batch->head, room, oldest->device, ++a->clock, 0};
    cuda_graphs_pin(&oldest->pinned, pinned, device);
    batch->room = room;
    return oldest->device;
}

/* Is there a plan for such a batch? Fills it then. */
static bool batch_of(SdpaBatch *batch, bool backward, const int32_t *cu_seqlens, int64_t sequences,
                     int64_t width, int64_t heads, Device *device) {
    CudaAttention *a = device->cuda->attention;
    if (!a || !a->open || device->precision != PRECISION_BFLOAT16 || !cu_seqlens[sequences])
        return false;
    const CudaLengths *lengths = cuda_lengths(cu_seqlens, sequences, device);
    *batch = (SdpaBatch){
        .sequences = sequences, .longest = lengths->longest, .heads = heads, .head = width / heads};
    if (!sdpa_has(&a->sdpa, backward, batch))
        return false;
    batch->index = index_for(a, lengths, batch, device);
    return batch->index != NULL;
}

static void check(int status, const Error *error, Device *device) {
    if (!status || cuda_graphs_spoil("cuDNN cannot", device))
        return;
    fprintf(stderr, "jepa: the GPU failed: %s. The last checkpoint is whole: go on with --resume\n",
            error->text);
    abort();
}

bool cuda_attention_cudnn_forward(Activation *out, float *lse, const Activation *qkv,
                                  const int32_t *cu_seqlens, int64_t sequences, int64_t width,
                                  int64_t heads, Device *device) {
    CudaAttention *a = device->cuda->attention;
    SdpaBatch batch;
    Error error = {0};
    if (!lse || !batch_of(&batch, false, cu_seqlens, sequences, width, heads, device))
        return false;
    check(sdpa_forward(out, lse, qkv, &batch, a->workspace, &a->sdpa, &error), &error, device);
    return true;
}

bool cuda_attention_cudnn_backward(Activation *dqkv, const Activation *dout, const Activation *qkv,
                                   const Activation *out, const float *lse,
                                   const int32_t *cu_seqlens, int64_t sequences, int64_t width,
                                   int64_t heads, Device *device) {
    CudaAttention *a = device->cuda->attention;
    SdpaBatch batch;
    Error error = {0};
    if (!batch_of(&batch, true, cu_seqlens, sequences, width, heads, device))
        return false;
    check(sdpa_backward(dqkv, dout, qkv, out, lse, &batch, a->workspace, &a->sdpa, &error), &error,
          device);
    return true;
}

void cuda_attention_report(FILE *file, const Device *device) {
    const CudaAttention *a = device->cuda->attention;
    if (!a || !a->open)
        return;
    char *text = sdpa_text(&a->sdpa);
    fputs(text, file);
    free(text);
}
