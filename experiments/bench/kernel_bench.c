/* kernel_bench: every operation of the CPU device at the sizes of a ViT-S/16 step, against what the
 * machine can do at most.
 *
 *   kernel_bench [THREADS] [PEAKS] [TYPE]
 *       THREADS   0 or nothing: all
 *       PEAKS     a file with what peak_bench printed in the same run; "" for none
 *       TYPE      float32 (default) or bfloat16, where there are instructions for it
 *
 * Two clips of 1568 tokens, 384 channels, 6 heads, MLP 1536. Operations that compute are given in
 * GFLOP/s, the others in GB/s of what they must read and write once. Each is run for a fifth of a
 * second, seven times; the least time counts, the median stands beside it. Prints Markdown. */
#include "base/log.h"
#include "base/random.h"
#include "kernels/device.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIPS = 2,
    TOKENS = 1568,
    ROWS = CLIPS * TOKENS,
    WIDTH = 384,
    HEADS = 6,
    HIDDEN = 1536,
    PATCH = 3 * 2 * 16 * 16,
    PARAMETERS = 8 << 20 /* 32 MiB each: larger than the caches */,
    SHORT = 300, /* tokens of a context */
    SHORT_COUNT = 10
};
#define LAPS   7
#define PERIOD 0.2 /* seconds of a lap */

typedef struct Buffers {
    Device *device;
    Activation *act[6]; /* [ROWS][HIDDEN] */
    float *real[4];     /* [PARAMETERS] */
    float *weights, *bias, *gradient, *lse, *mean, *rstd;
    int32_t *tokens, *clips;
    int32_t cu[CLIPS + 1], cu_short[SHORT_COUNT + 1];
    uint8_t *pixels;
    double *scalars, *block_sums;
} Buffers;

typedef void Run(Buffers *b);

/* Places of the weight matrices of a block, in matrices of the largest size. */
enum { QKV, PROJECTION, FC1, FC2, MATRICES };
static const float *weights_of(const Buffers *b, int matrix) {
    return b->weights + (int64_t)matrix * WIDTH * HIDDEN;
}

static void qkv(Buffers *b) {
    b->device->linear_forward(b->act[0], b->act[1], weights_of(b, QKV), b->bias, ROWS, WIDTH,
                              3 * WIDTH, b->device);
}
static void projection(Buffers *b) {
    b->device->linear_residual_forward(b->real[0], b->act[1], weights_of(b, PROJECTION), b->bias,
                                       b->real[1], ROWS, WIDTH, WIDTH, b->device);
}
static void fc1_gelu(Buffers *b) {
    b->device->linear_gelu_forward(b->act[0], b->act[2], b->act[1], weights_of(b, FC1), b->bias,
                                   ROWS, WIDTH, HIDDEN, b->device);
}
static void fc2(Buffers *b) {
    b->device->linear_residual_forward(b->real[0], b->act[1], weights_of(b, FC2), b->bias,
                                       b->real[1], ROWS, HIDDEN, WIDTH, b->device);
}
static void input_qkv(Buffers *b) {
    b->device->linear_backward_input(b->act[0], b->act[1], weights_of(b, QKV), ROWS, WIDTH,
                                     3 * WIDTH, b->device);
}
static void input_fc1(Buffers *b) {
    b->device->linear_backward_input(b->act[0], b->act[1], weights_of(b, FC1), ROWS, WIDTH, HIDDEN,
                                     b->device);
}
static void input_gelu(Buffers *b) {
    b->device->linear_gelu_backward_input(b->act[0], b->act[2], b->act[1], weights_of(b, FC2),
                                          b->act[3], ROWS, HIDDEN, WIDTH, b->device);
}
static void weight_qkv(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], ROWS, WIDTH,
                                      3 * WIDTH, b->device);
}
static void weight_projection(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], ROWS, WIDTH, WIDTH,
                                      b->device);
}
static void weight_fc1(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], ROWS, WIDTH,
                                      HIDDEN, b->device);
}
static void weight_fc2(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], ROWS, HIDDEN,
                                      WIDTH, b->device);
}
static void attention(Buffers *b) {
    b->device->attention_forward(b->act[1], b->lse, b->act[0], b->cu, NULL, CLIPS, WIDTH, HEADS,
                                 b->device);
}
static void attention_short(Buffers *b) {
    b->device->attention_forward(b->act[1], b->lse, b->act[0], b->cu_short, NULL, SHORT_COUNT,
                                 WIDTH, HEADS, b->device);
}
static void attention_back(Buffers *b) {
    b->device->attention_backward(b->act[2], b->act[3], b->act[0], b->act[1], b->lse, b->cu, NULL,
                                  CLIPS, WIDTH, HEADS, b->device);
}
static void attention_back_short(Buffers *b) {
    b->device->attention_backward(b->act[2], b->act[3], b->act[0], b->act[1], b->lse, b->cu_short,
                                  NULL, SHORT_COUNT, WIDTH, HEADS, b->device);
}
static void norm(Buffers *b) {
    b->device->layernorm_forward(b->act[0], b->mean, b->rstd, b->real[0], b->weights, b->bias, ROWS,
                                 WIDTH, 1e-6, b->device);
}
static void norm_again(Buffers *b) {
    b->device->layernorm_again(b->act[0], b->real[0], b->mean, b->rstd, b->weights, b->bias, ROWS,
                               WIDTH, b->device);
}
static void norm_back(Buffers *b) {
    b->device->layernorm_backward(b->real[1], NULL, b->gradient, b->bias, b->act[0], b->real[0],
                                  b->mean, b->rstd, b->weights, ROWS, WIDTH, b->device);
}
static void gelu(Buffers *b) {
    b->device->gelu_forward(b->act[0], b->act[1], ROWS * HIDDEN, b->device);
}
static void gelu_back(Buffers *b) {
    b->device->gelu_backward(b->act[0], b->act[1], b->act[2], ROWS * HIDDEN, b->device);
}
static void patches(Buffers *b) {
    PatchShape shape = {16, 224, 224, 2, 16};
    b->device->patches_cut(b->act[0], b->pixels, NULL, NULL, b->clips, b->tokens, ROWS, &shape,
                           b->device);
}
static void positions(Buffers *b) {
    b->device->rows_gather(b->real[0], NULL, b->real[0], NULL, b->real[1], b->tokens, ROWS, WIDTH,
                           b->device);
}
static void loss(Buffers *b) {
    b->device->loss_forward(b->scalars, b->real[0], b->real[1], ROWS, WIDTH, 1, 1e-6, NULL,
                            b->device);
}
static void loss_back(Buffers *b) {
    b->device->loss_backward(b->real[2], b->real[0], b->real[1], ROWS, WIDTH, 1, 1e-6, NULL,
                             b->device);
}
static void gradient_norm(Buffers *b) {
    b->device->square_sums(b->block_sums, b->real[0], PARAMETERS, b->device);
}
static void update(Buffers *b) {
    AdamwSettings settings = {1e-9, 0.04, 0.9, 0.999, 1e-8, 0.998, 10, 5};
    double zero = 0;
    b->device->adamw_ema(b->real[0], b->real[1], b->real[2], b->real[3], b->gradient, PARAMETERS,
                         &zero, &zero, &settings, b->device);
}

typedef struct Case {
    const char *name;
    Run *run;
    double flop;           /* 0: bytes count */
    double values, floats; /* activations and float32 values read and written */
} Case;

#define LINEAR(in, out) (2.0 * ROWS * (in) * (out))
#define SQUARES         ((double)CLIPS * TOKENS * TOKENS)
#define SHORT_SQUARES   ((double)SHORT_COUNT * SHORT * SHORT)
#define WIDE            ((double)ROWS * WIDTH)
#define BROAD           ((double)ROWS * HIDDEN)

static const Case cases[] = {
    {"linear, forward: qkv", qkv, LINEAR(WIDTH, 3 * WIDTH), 0, 0},
    {"linear + residual: projection", projection, LINEAR(WIDTH, WIDTH), 0, 0},
    {"linear + GELU: fc1", fc1_gelu, LINEAR(WIDTH, HIDDEN), 0, 0},
    {"linear + residual: fc2", fc2, LINEAR(HIDDEN, WIDTH), 0, 0},
    {"linear, gradient of input: qkv", input_qkv, LINEAR(WIDTH, 3 * WIDTH), 0, 0},
    {"linear, gradient of input: fc1", input_fc1, LINEAR(WIDTH, HIDDEN), 0, 0},
    {"linear and GELU, gradient of input: fc2", input_gelu, LINEAR(HIDDEN, WIDTH), 0, 0},
    {"linear, gradient of weights: qkv", weight_qkv, LINEAR(WIDTH, 3 * WIDTH), 0, 0},
    {"linear, gradient of weights: projection", weight_projection, LINEAR(WIDTH, WIDTH), 0, 0},
    {"linear, gradient of weights: fc1", weight_fc1, LINEAR(WIDTH, HIDDEN), 0, 0},
    {"linear, gradient of weights: fc2", weight_fc2, LINEAR(HIDDEN, WIDTH), 0, 0},
    {"attention, 1568 tokens", attention, 4 * SQUARES *WIDTH, 0, 0},
    {"attention, 300 tokens", attention_short, 4 * SHORT_SQUARES *WIDTH, 0, 0},
    {"attention, backward, 1568 tokens", attention_back, 8 * SQUARES *WIDTH, 0, 0},
    {"attention, backward, 300 tokens", attention_back_short, 8 * SHORT_SQUARES *WIDTH, 0, 0},
    {"layer norm", norm, 0, WIDE, WIDE},
    {"layer norm, again", norm_again, 0, WIDE, WIDE},
    {"layer norm, backward", norm_back, 0, WIDE, 3 * WIDE},
    {"GELU by itself", gelu, 0, 2 * BROAD, 0},
    {"GELU by itself, backward", gelu_back, 0, 3 * BROAD, 0},
    {"patches cut and normalised", patches, 0, (double)ROWS *PATCH, (double)ROWS *PATCH / 4},
    {"positions added", positions, 0, 0, 3 * WIDE},
    {"loss", loss, 0, 0, 2 * WIDE},
    {"loss, backward", loss_back, 0, 0, 3 * WIDE},
    {"gradient norm", gradient_norm, 0, 0, PARAMETERS},
    {"AdamW, clipping and moving average", update, 0, 0, 9.0 * PARAMETERS},
};

static void fill(float *x, int64_t count, double scale) {
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)random_between(&random, -scale, scale);
}

static int take_bytes(Buffers *b, void **place, size_t bytes, Error *error) {
    return b->device->allocate(place, bytes, b->device, error);
}
#define take(b, place, bytes, error) take_bytes(b, (void **)(place), bytes, error)

static int open_buffers(Buffers *b, Error *error) {
    Device *d = b->device;
    size_t wide = (size_t)ROWS * HIDDEN, size = activation_size(d->precision);
    if (device_reserve(d, device_scratch_bytes(d, TOKENS, WIDTH / HEADS, PARAMETERS), error))
        return -1;
    for (int i = 0; i < 4; i++)
        if (take(b, &b->real[i], (size_t)PARAMETERS * sizeof(float), error))
            return -1;
    fill(b->real[0], PARAMETERS, 1);
    memcpy(b->real[1], b->real[0], (size_t)PARAMETERS * sizeof(float));
    for (int i = 0; i < 6; i++) {
        if (take(b, &b->act[i], wide * size, error))
            return -1;
        d->rows_narrow(b->act[i], b->real[0], (int64_t)wide, d);
    }
    size_t pixels = (size_t)CLIPS * 3 * 16 * 224 * 224;
    if (take(b, &b->weights, (size_t)PARAMETERS * sizeof(float), error) ||
        take(b, &b->gradient, (size_t)PARAMETERS * sizeof(float), error) ||
        take(b, &b->bias, HIDDEN * sizeof(float), error) ||
        take(b, &b->lse, (size_t)ROWS * HEADS * sizeof(float), error) ||
        take(b, &b->mean, ROWS * sizeof(float), error) ||
        take(b, &b->rstd, ROWS * sizeof(float), error) ||
        take(b, &b->tokens, ROWS * sizeof(int32_t), error) ||
        take(b, &b->clips, ROWS * sizeof(int32_t), error) || take(b, &b->pixels, pixels, error) ||
        take(b, &b->scalars, 64, error) ||
        take(b, &b->block_sums, shard_blocks(PARAMETERS) * (int64_t)sizeof(double), error))
        return -1;
    fill(b->weights, PARAMETERS, 0.05);
    for (int32_t i = 0; i < ROWS; i++) {
        b->tokens[i] = i % TOKENS;
        b->clips[i] = i / TOKENS;
    }
    for (int i = 0; i <= CLIPS; i++)
        b->cu[i] = i * TOKENS;
    for (int i = 0; i <= SHORT_COUNT; i++)
        b->cu_short[i] = i * SHORT;
    /* as a model does: the device may keep packed forms */
    const LinearWeights known[MATRICES] = {{weights_of(b, QKV), WIDTH, 3 * WIDTH, true},
                                           {weights_of(b, PROJECTION), WIDTH, WIDTH, true},
                                           {weights_of(b, FC1), WIDTH, HIDDEN, true},
                                           {weights_of(b, FC2), HIDDEN, WIDTH, true}};
    for (int i = 0; i < MATRICES; i++)
        if (d->linear_weights_add(&known[i], d, error))
            return -1;
    return 0;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one run: the least, and the median of the laps. */
static void measure(double *least, double *median, const Case *c, Buffers *b) {
    double times[LAPS], started = time_now();
    c->run(b); /* warm */
    double once = time_now() - started;
    int runs = once > PERIOD ? 1 : (int)(PERIOD / fmax(once, 1e-6)) + 1;
    for (int lap = 0; lap < LAPS; lap++) {
        started = time_now();
        for (int i = 0; i < runs; i++)
            c->run(b);
        times[lap] = (time_now() - started) / runs;
    }
    qsort(times, LAPS, sizeof *times, by_size);
    *least = times[0];
    *median = times[LAPS / 2];
}

/* "best float32 196.0 GFLOP/s", "peak memory-copy 12.3 GB/s": the number after this start of a
 * line. */
static double peak_of(const char *path, const char *start) {
    FILE *file = path && *path ? fopen(path, "r") : NULL;
    char line[200];
    double value = 0;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, start, strlen(start)))
            value = atof(line + strlen(start));
    if (file)
        fclose(file);
    return value;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    const char *peaks = argc > 2 ? argv[2] : "", *type = argc > 3 ? argv[3] : "float32";
    Buffers b = {0};
    Error error = {0};
    Precision precision;
    if (precision_parse(&precision, type)) {
        fprintf(stderr, "kernel_bench: %s: expected float32 or bfloat16\n", type);
        return 2;
    }
    if (device_open(&b.device, "cpu", threads, &error)) {
        fprintf(stderr, "kernel_bench: %s\n", error.text);
        return 1;
    }
    if (device_set_precision(b.device, precision, false) != precision) {
        printf("no instructions for %s here\n", type);
        return 0;
    }
    if (open_buffers(&b, &error)) {
        fprintf(stderr, "kernel_bench: %s\n", error.text);
        return 1;
    }
    char name[64];
    snprintf(name, sizeof name, "best %s ", type);
    double flops = peak_of(peaks, name), bytes = peak_of(peaks, "peak memory-copy ");
    printf("| %s, %d threads | best | median | of the peak |\n| --- | ---: | ---: | ---: |\n", type,
           b.device->threads);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        double least, median;
        measure(&least, &median, c, &b);
        double work = c->flop > 0 ? c->flop
                                  : c->values * (double)activation_size(precision) + 4 * c->floats;
        double peak = c->flop > 0 ? flops : bytes, best = work / least / 1e9;
        printf("| %s | %.1f %s | %.1f |", c->name, best, c->flop > 0 ? "GFLOP/s" : "GB/s",
               work / median / 1e9);
        if (peak > 0)
            printf(" %.0f %% |\n", 100 * best / peak);
        else
            printf(" |\n");
        fflush(stdout);
    }
    device_close(b.device);
    return 0;
}
