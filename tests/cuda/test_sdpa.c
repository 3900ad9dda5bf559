/* Attention by cuDNN against the reference device, with cuDNN emulated operation by operation: are
 * the graphs the formulas, and does every launch get the right part of the right tensor? Batches
 * whole and cut, by sequences and by heads, in every pass. That cuDNN's own kernels compute these
 * graphs takes a GPU to see.
 *
 * Tolerance, relative to a tensor's largest entry: 2^-7 as for the CPU's bfloat16
 * (test_attention.c): P, dS and results are rounded to 8 bits of mantissa. lse is float32: 1e-5. */
#include "base/random.h"
#include "kernels/cuda/sdpa_plan.h"
#include "kernels/device.h"
#include "tests/cuda/emulation/cudnn.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEQUENCES 5
#define HEADS     6
#define HEAD      8
#define WIDTH     (HEADS * HEAD)
#define LONGEST   21

static const int32_t lengths[SEQUENCES] = {7, 21, 1, 16, 4};

typedef struct Batch {
    int64_t rows;
    int32_t cu[SEQUENCES + 1];
    uint16_t *qkv, *dout, *out, *dqkv; /* bfloat16 */
    float *lse;
    /* the reference's, from the same rounded inputs */
    float *qkv_wide, *dout_wide, *out_wide, *dqkv_wide, *lse_wide;
} Batch;

static float widened(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void fill(uint16_t *narrow, float *wide, int64_t count, uint64_t seed) {
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++) {
        float x = (float)random_normal(&random);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        narrow[i] = (uint16_t)(bits >> 16);
        wide[i] = widened(narrow[i]);
    }
}

/* Results are NaN until they are written. */
static Batch make(void) {
    Batch b = {.rows = 0};
    for (int s = 0; s < SEQUENCES; s++)
        b.cu[s + 1] = b.cu[s] + lengths[s];
    b.rows = b.cu[SEQUENCES];
    size_t rows = (size_t)b.rows;
    b.qkv = memory_new(rows * 3 * WIDTH, 2), b.dqkv = memory_new(rows * 3 * WIDTH, 2);
    b.dout = memory_new(rows * WIDTH, 2), b.out = memory_new(rows * WIDTH, 2);
    b.lse = memory_new(rows * HEADS, 4), b.lse_wide = memory_new(rows * HEADS, 4);
    b.qkv_wide = memory_new(rows * 3 * WIDTH, 4), b.dqkv_wide = memory_new(rows * 3 * WIDTH, 4);
    b.dout_wide = memory_new(rows * WIDTH, 4), b.out_wide = memory_new(rows * WIDTH, 4);
    fill(b.qkv, b.qkv_wide, b.rows * 3 * WIDTH, 1);
    fill(b.dout, b.dout_wide, b.rows * WIDTH, 2);
    memset(b.out, 0xff, rows * WIDTH * 2);
    memset(b.dqkv, 0xff, rows * 3 * WIDTH * 2);
    memset(b.lse, 0xff, rows * HEADS * 4);
    return b;
}

static void drop(Batch *b) {
    free(b->qkv), free(b->dqkv), free(b->dout), free(b->out), free(b->lse), free(b->lse_wide);
    free(b->qkv_wide), free(b->dqkv_wide), free(b->dout_wide), free(b->out_wide);
}

static void expect(Batch *b) {
    Device *reference;
    Error error = {0};
    assert_int_equal(device_open(&reference, "reference", 1, &error), 0);
    reference->attention_forward(b->out_wide, b->lse_wide, b->qkv_wide, b->cu, NULL, SEQUENCES,
                                 WIDTH, HEADS, reference);
    reference->attention_backward(b->dqkv_wide, b->dout_wide, b->qkv_wide, b->out_wide, b->lse_wide,
                                  b->cu, NULL, SEQUENCES, WIDTH, HEADS, reference);
    device_close(reference);
}

static void compare(const char *what, const uint16_t *found, const float *wanted, int64_t count) {
    double most = 0, off = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)widened(found[i]) - (double)wanted[i]);
        most = fmax(most, fabs((double)wanted[i]));
        off = difference <= off ? off : difference; /* NaN stays */
    }
    if (!(off <= most / 128))
        fail_msg("%s is off by %g of %g", what, off, most);
}

/* One batch through forward and backward; limit: bytes that a pass may take, 0: as it is. */
static void check(int64_t limit, bool fast, bool lse, int64_t sequences, int64_t heads) {
    CudnnLibrary library;
    CudnnTarget target;
    Sdpa sdpa;
    Error error = {0};
    Batch b = make();
    const SdpaNeed need = {.heads = HEADS,
                           .head = HEAD,
                           .sequences = SEQUENCES + 2, /* a batch may have fewer */
                           .shortest = 1,
                           .longest = LONGEST,
                           .rows = b.rows,
                           .lse = lse,
                           .backward = lse};
    emulated_cudnn(&library, &target, 90);
    SdpaSettings settings = {.workspace = limit, .fast = fast};
    assert_int_equal(sdpa_open(&sdpa, &target, &settings, &error), 0);
    if (sdpa_plan(&sdpa, &need, &error))
        fail_msg("%s", error.text);
    int64_t room = sdpa_index_room(&sdpa, HEADS, HEAD, SEQUENCES);
    assert_true(sdpa_index_most(&sdpa, SEQUENCES) >= room);
    int32_t *index = memory_new((size_t)sdpa_index_count(room), sizeof *index);
    void *workspace = aligned_alloc(256, (size_t)(sdpa.workspace + 255) / 256 * 256);
    sdpa_index_fill(index, room, b.cu, SEQUENCES, HEADS, HEAD);
    SdpaBatch batch = {.sequences = SEQUENCES,
                       .longest = LONGEST,
                       .heads = HEADS,
                       .head = HEAD,
                       .room = room,
                       .index = index};
    memset(workspace, 0xff, (size_t)sdpa.workspace);
    expect(&b);
    if (sdpa_forward(b.out, lse ? b.lse : NULL, b.qkv, &batch, workspace, &sdpa, &error))
        fail_msg("%s", error.text);
    compare("out", b.out, b.out_wide, b.rows * WIDTH);
    if (lse) {
        const SdpaPlan *plan = sdpa_find(&sdpa, fast ? SDPA_BACKWARD_FAST : SDPA_BACKWARD, HEADS,
                                         HEAD, 1, 1);
        assert_int_equal(plan->shape.sequences, sequences);
        assert_int_equal(plan->shape.heads, heads);
        for (int64_t i = 0; i < b.rows * HEADS; i++)
            assert_true(fabsf(b.lse[i] - b.lse_wide[i]) < 1e-5f);
        if (sdpa_backward(b.dqkv, b.dout, b.qkv, b.out, b.lse, &batch, workspace, &sdpa, &error))
            fail_msg("%s", error.text);
        compare("dqkv", b.dqkv, b.dqkv_wide, b.rows * 3 * WIDTH);
    }
    free(workspace);
    free(index);
    sdpa_close(&sdpa);
    cudnn_target_close(&target);
    drop(&b);
}

/* A head of a sequence takes 128 x 128 x 2 + 128 x 4 bytes = 32.5 KiB in this bucket. */
#define KIB(n) ((int64_t)(n)*1024)

static void whole_batches(void **state) {
    (void)state;
    check(0, false, false, 0, 0);
    check(0, false, true, SEQUENCES + 2, HEADS);
    check(0, true, true, SEQUENCES + 2, HEADS);
}

static void batches_in_parts(void **state) {
    (void)state;
    check(KIB(3 * HEADS * 33), false, true, 3, HEADS); /* 7 places: 3, 3, 1 */
    check(KIB(1 * HEADS * 33), false, true, 1, HEADS);
    check(KIB(3 * 34), false, true, 1, 3);
    check(KIB(1 * 34), false, true, 1, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_batches),
        cmocka_unit_test(batches_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
