/* Passes as CUDA graphs: the same bytes with and without, over chunks, clips of several lengths,
 * changed weights, and lists that the caches would have replaced; what cannot be captured runs all
 * the same. On the emulated GPU, and (gpu_test_graphs) on a real one. */
#include "base/random.h"
#include "jepa/model.h"
#include "kernels/cuda/graphs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 3, FRAMES = 4, SIDE = 16, TOKENS = 2 * 4 * 4, DIM = 48, DEPTH = 2, HEADS = 3 };
enum { CLIP = 3 * FRAMES * SIDE * SIDE, VALUES = SAMPLES * TOKENS * DIM };

static const ModelConfig config = {.frames = FRAMES,
                                   .height = SIDE,
                                   .width = SIDE,
                                   .tubelet = 2,
                                   .patch = 4,
                                   .trained_frames = FRAMES,
                                   .trained_height = SIDE,
                                   .trained_width = SIDE,
                                   .dim = DIM,
                                   .depth = DEPTH,
                                   .heads = HEADS,
                                   .hidden = 2 * DIM,
                                   .pred_dim = 20,
                                   .pred_depth = 1,
                                   .pred_heads = 2,
                                   .pred_hidden = 40,
                                   .mask_tokens = 2,
                                   .used_mask_tokens = 2,
                                   .positions = POSITIONS_ROPE_TILED,
                                   .init_std = 0.2};

/* An encoder on a device of its own; chunks of two clips, so that three make two chunks. */
typedef struct Side {
    Device *device;
    Model model;
    float values[VALUES];
    size_t bytes;          /* of them that the last pass gave */
    void *qkv, *out, *lse; /* for 2 TOKENS rows */
} Side;

static void *take(Device *device, size_t floats) {
    void *memory;
    Error error = {0};
    if (device->allocate(&memory, floats * sizeof(float), device, &error))
        fail_msg("%s", error.text);
    return memory;
}

static Side *open_side(bool graphs, Precision precision) {
    Side *s = calloc(1, sizeof *s);
    Error error = {0};
    ModelPlan plan = {.config = config, .samples = SAMPLES};
    if (device_open(&s->device, "cuda", 0, &error))
        fail_msg("%s", error.text);
    s->device->graphs = graphs;
    s->device->rows_at_once = 2 * TOKENS;
    device_set_precision(s->device, precision, true);
    if (model_new(&s->model, &plan, s->device, &error))
        fail_msg("%s", error.text);
    assert_int_equal(s->model.target_chunk, 2);
    s->qkv = take(s->device, 2 * TOKENS * 3 * DIM);
    s->out = take(s->device, 2 * TOKENS * DIM);
    s->lse = take(s->device, 2 * TOKENS * HEADS);
    model_init(&s->model, 1);
    return s;
}

static void close_side(Side *s) {
    model_free(&s->model);
    s->device->release(s->qkv, s->device);
    s->device->release(s->out, s->device);
    s->device->release(s->lse, s->device);
    device_close(s->device);
    free(s);
}

/* Clips of so many frames, drawn from `seed`, through the encoder. */
static void run(Side *s, const int *frames, uint64_t seed) {
    static uint8_t pixels[SAMPLES * CLIP];
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (int i = 0; i < SAMPLES * CLIP; i++)
        pixels[i] = (uint8_t)random_below(&random, 256);
    ModelInput input = {.samples = SAMPLES, .pixels = pixels, .frames = frames};
    model_set_input(&s->model, &input);
    model_features(&s->model, SAMPLES, 't');
    s->bytes = (size_t)s->model.cu_target_clips[SAMPLES] * DIM * sizeof(float);
    s->device->download(s->values, s->model.target_out, s->bytes, s->device);
}

static void run_both(Side *one, Side *other, const int *frames, uint64_t seed) {
    run(one, frames, seed);
    run(other, frames, seed);
    assert_int_equal(one->bytes, other->bytes);
    assert_memory_equal(one->values, other->values, one->bytes);
}

/* More lists than the caches hold. */
static void press(Side *s) {
    enum { LISTS = 40 };
    for (int i = 0; i < LISTS; i++) {
        const int32_t cu[] = {0, 5 + i % 20, 30 + i / 20};
        s->device->attention_forward(s->out, s->lse, s->qkv, cu, NULL, 2, DIM, HEADS, s->device);
    }
}

static void the_same_bytes(void **state) {
    (void)state;
    /* the first two clips, and the last one, are chunks: of the second and third line the latter is
     * the same */
    static const int frames[][SAMPLES] = {{4, 4, 4}, {2, 4, 2}, {4, 2, 2}};
    for (int p = 0; p < 2; p++) {
        Side *plain = open_side(false, p ? PRECISION_BFLOAT16 : PRECISION_FLOAT32);
        Side *graphs = open_side(true, p ? PRECISION_BFLOAT16 : PRECISION_FLOAT32);
        for (int i = 0; i < 12; i++) {
            if (i == 7) {
                model_init(&plain->model, 2);
                model_init(&graphs->model, 2);
            }
            run_both(plain, graphs, frames[i % 3], (uint64_t)i);
            if (i % 2)
                press(graphs);
        }
        /* from the third time on: 4 - 2 of both chunks, of two first chunks, 8 - 2 of the last */
        assert_int_equal(cuda_graphs_launched(graphs->device), 2 + 2 + 2 + 2 + 6);
        assert_int_equal(cuda_graphs_launched(plain->device), 0);
        close_side(plain);
        close_side(graphs);
    }
}

/* Another network's memory goes: graphs are made anew. */
static void memory_goes(void **state) {
    (void)state;
    Side *plain = open_side(false, PRECISION_BFLOAT16);
    Side *graphs = open_side(true, PRECISION_BFLOAT16);
    void *memory = take(graphs->device, 1000);
    for (int i = 0; i < 9; i++) {
        if (i == 4)
            graphs->device->release(memory, graphs->device);
        run_both(plain, graphs, NULL, (uint64_t)i);
    }
    assert_int_equal(cuda_graphs_launched(graphs->device), 2 * (2 + 3));
    close_side(plain);
    close_side(graphs);
}

enum { COUNT = 1000 };

/* y += x, again and again; `uploads`: x is brought in between, which no graph can hold. */
static void add_often(Device *device, float *y, float *x, int times, uint64_t key, bool uploads) {
    static float ones[COUNT];
    for (int i = 0; i < COUNT; i++)
        ones[i] = 1;
    for (int i = 0; i < times; i++) {
        if (device->replay(key, device))
            continue;
        do {
            if (uploads)
                device->upload(x, ones, sizeof ones, device);
            device->add(y, x, COUNT, device);
        } while (!device->replay_end(device));
    }
}

static void assert_all(Device *device, const float *y, float value) {
    static float host[COUNT];
    device->download(host, y, sizeof host, device);
    for (int i = 0; i < COUNT; i++)
        assert_true(host[i] == value);
}

static Device *open_device(void) {
    Device *device;
    Error error = {0};
    if (device_open(&device, "cuda", 0, &error))
        fail_msg("%s", error.text);
    return device;
}

static void what_cannot_be_captured(void **state) {
    (void)state;
    Device *device = open_device();
    float *x = take(device, COUNT), *y = take(device, COUNT);
    add_often(device, y, x, 1, 1, true);
    add_often(device, y, x, 5, 2, false);
    assert_int_equal(cuda_graphs_launched(device), 3);
    assert_all(device, y, 6);
    add_often(device, y, x, 6, 1, true); /* says so once */
    assert_all(device, y, 12);
    add_often(device, y, x, 6, 2, false);
    assert_all(device, y, 18);
    assert_int_equal(cuda_graphs_launched(device), 3);
    device->release(x, device);
    device->release(y, device);
    device_close(device);
}

/* More passes than there are places for. */
static void many_passes(void **state) {
    (void)state;
    Device *device = open_device();
    enum { KEYS = 40, ROUNDS = 5 };
    float *x = take(device, COUNT), *y = take(device, COUNT);
    add_often(device, y, x, 1, 1000, true);
    for (uint64_t key = 0; key < KEYS; key++)
        add_often(device, y, x, ROUNDS, key, false);
    for (int round = 0; round < ROUNDS; round++)
        for (uint64_t key = 0; key < KEYS; key++)
            add_often(device, y, x, 1, key, false);
    assert_all(device, y, 1 + 2 * KEYS * ROUNDS);
    assert_int_equal(cuda_graphs_launched(device), CUDA_PINNED * (ROUNDS - 2 + ROUNDS));
    device->release(x, device);
    device->release(y, device);
    device_close(device);
}

/* A graph reads the 16-bit copies of weights, which are made when something else reads them. */
static void weights_change(void **state) {
    (void)state;
    enum { ROWS = 4, WIDTH = 16 };
    Device *device = open_device();
    Error error = {0};
    float host[WIDTH * WIDTH], got[ROWS * WIDTH];
    uint16_t ones[ROWS * WIDTH];
    for (int i = 0; i < ROWS * WIDTH; i++)
        ones[i] = 0x3f80;
    device_set_precision(device, PRECISION_BFLOAT16, true);
    float *x = take(device, ROWS * WIDTH), *y = take(device, ROWS * WIDTH),
          *w = take(device, WIDTH * WIDTH);
    LinearWeights weights = {.w = w, .in = WIDTH, .out = WIDTH};
    assert_int_equal(device->linear_weights_add(&weights, device, &error), 0);
    device->upload(x, ones, sizeof ones, device);
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < WIDTH * WIDTH; k++)
            host[k] = (float)(i + 1);
        device->upload(w, host, sizeof host, device);
        device->linear_weights_changed(w, w + WIDTH * WIDTH, device);
        if (!device->replay(1, device))
            do
                device->linear_residual_forward(y, x, w, NULL, NULL, ROWS, WIDTH, WIDTH, device);
            while (!device->replay_end(device));
        device->download(got, y, sizeof got, device);
        for (int k = 0; k < ROWS * WIDTH; k++)
            assert_true(got[k] == (float)(WIDTH * (i + 1)));
    }
    assert_int_equal(cuda_graphs_launched(device), 4);
    device->linear_weights_remove(w, w + WIDTH * WIDTH, device);
    device->release(x, device);
    device->release(y, device);
    device->release(w, device);
    device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes), cmocka_unit_test(memory_goes),
        cmocka_unit_test(what_cannot_be_captured), cmocka_unit_test(many_passes),
        cmocka_unit_test(weights_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
