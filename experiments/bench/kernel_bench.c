/* kernel_bench: every operation of a device at the sizes of a training step, against what the
 * machine can do at most.
 *
 *   kernel_bench [THREADS] [PEAKS] [TYPE] [DEVICE] [MODEL CLIPS]
 *       THREADS   0 or nothing: all
 *       PEAKS     a file with what peak_bench or gpu_peak printed in the same run; "" for none
 *       TYPE      float32 (default) or bfloat16, where there are instructions for it
 *       DEVICE    cpu (default), cuda:0, ...
 *       MODEL     vits (default), vitb, vitl, vith; CLIPS: default 2
 *
 * Clips of 1568 tokens (16 x 224 x 224 pixels). Operations that compute are given in GFLOP/s, the
 * others in GB/s of what they must read and write once. Each is run for a fifth of a second, seven
 * times; the least time counts, the median stands beside it. Prints Markdown. */
#include "base/log.h"
#include "base/random.h"
#include "kernels/device.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKENS = 1568,
    PATCH = 3 * 2 * 16 * 16,
    SHORT = 300, /* tokens of a context */
    CLIPS_MAX = 64,
    SHORT_MAX = 5 * CLIPS_MAX
};
#define PARAMETERS_CPU ((int64_t)8 << 20)  /* 32 MiB each: larger than the caches */
#define PARAMETERS_GPU ((int64_t)64 << 20) /* likewise of a GPU */

typedef struct Sizes {
    const char *name;
    int64_t width, heads, hidden;
} Sizes;
static const Sizes models[] = {{"vits", 384, 6, 1536},
                               {"vitb", 768, 12, 3072},
                               {"vitl", 1024, 16, 4096},
                               {"vith", 1280, 16, 5120}};

#define LAPS   7
#define PERIOD 0.2 /* seconds of a lap */

typedef struct Buffers {
    Device *device;
    int64_t clip_count, rows, width, heads, hidden, shorts, parameters;
    Activation *act[6]; /* [rows][hidden]; the first three [rows][max(hidden, 3 width)] */
    float *real[4];     /* [parameters], [rows][width] at least */
    float *weights, *bias, *gradient, *lse, *mean, *rstd;
    int32_t *tokens, *clips;
    int32_t cu[CLIPS_MAX + 1], cu_short[SHORT_MAX + 1];
    uint8_t *pixels;
    double *scalars, *block_sums;
} Buffers;

typedef void Run(Buffers *b);

/* Places of the weight matrices of a block, in matrices of the largest size. */
enum { QKV, PROJECTION, FC1, FC2, MATRICES };
static const float *weights_of(const Buffers *b, int matrix) {
    return b->weights + (int64_t)matrix * b->width * b->hidden;
}

static void qkv(Buffers *b) {
    b->device->linear_forward(b->act[0], b->act[1], weights_of(b, QKV), b->bias, b->rows, b->width,
                              3 * b->width, b->device);
}
static void projection(Buffers *b) {
    b->device->linear_residual_forward(b->real[0], b->act[1], weights_of(b, PROJECTION), b->bias,
                                       b->real[1], b->rows, b->width, b->width, b->device);
}
static void fc1_gelu(Buffers *b) {
    b->device->linear_gelu_forward(b->act[0], b->act[2], b->act[1], weights_of(b, FC1), b->bias,
                                   b->rows, b->width, b->hidden, b->device);
}
static void fc2(Buffers *b) {
    b->device->linear_residual_forward(b->real[0], b->act[1], weights_of(b, FC2), b->bias,
                                       b->real[1], b->rows, b->hidden, b->width, b->device);
}
static void input_qkv(Buffers *b) {
    b->device->linear_backward_input(b->act[0], b->act[1], weights_of(b, QKV), b->rows, b->width,
                                     3 * b->width, b->device);
}
static void input_fc1(Buffers *b) {
    b->device->linear_backward_input(b->act[0], b->act[1], weights_of(b, FC1), b->rows, b->width,
                                     b->hidden, b->device);
}
static void input_gelu(Buffers *b) {
    b->device->linear_gelu_backward_input(b->act[0], b->act[2], b->act[1], weights_of(b, FC2),
                                          b->act[3], b->rows, b->hidden, b->width, b->device);
}
static void weight_qkv(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], b->rows, b->width,
                                      3 * b->width, b->device);
}
static void weight_projection(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], b->rows, b->width,
                                      b->width, b->device);
}
static void weight_fc1(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], b->rows, b->width,
                                      b->hidden, b->device);
}
static void weight_fc2(Buffers *b) {
    b->device->linear_backward_weight(b->gradient, b->lse, b->act[0], b->act[1], b->rows, b->hidden,
                                      b->width, b->device);
}
static void attention(Buffers *b) {
    b->device->attention_forward(b->act[1], b->lse, b->act[0], b->cu, NULL, b->clip_count, b->width,
                                 b->heads, b->device);
}
static void attention_short(Buffers *b) {
    b->device->attention_forward(b->act[1], b->lse, b->act[0], b->cu_short, NULL, b->shorts,
                                 b->width, b->heads, b->device);
}
static void attention_back(Buffers *b) {
    b->device->attention_backward(b->act[2], b->act[3], b->act[0], b->act[1], b->lse, b->cu, NULL,
                                  b->clip_count, b->width, b->heads, b->device);
}
static void attention_back_short(Buffers *b) {
    b->device->attention_backward(b->act[2], b->act[3], b->act[0], b->act[1], b->lse, b->cu_short,
                                  NULL, b->shorts, b->width, b->heads, b->device);
}
static void norm(Buffers *b) {
    b->device->layernorm_forward(b->act[0], b->mean, b->rstd, b->real[0], b->weights, b->bias,
                                 b->rows, b->width, 1e-6, b->device);
}
static void norm_again(Buffers *b) {
    b->device->layernorm_again(b->act[0], b->real[0], b->mean, b->rstd, b->weights, b->bias,
                               b->rows, b->width, b->device);
}
static void norm_back(Buffers *b) {
    b->device->layernorm_backward(b->real[1], NULL, b->gradient, b->bias, b->act[0], b->real[0],
                                  b->mean, b->rstd, b->weights, b->rows, b->width, b->device);
}
static void gelu(Buffers *b) {
    b->device->gelu_forward(b->act[0], b->act[1], b->rows * b->hidden, b->device);
}
static void gelu_back(Buffers *b) {
    b->device->gelu_backward(b->act[0], b->act[1], b->act[2], b->rows * b->hidden, b->device);
}
static void patches(Buffers *b) {
    PatchShape shape = {16, 224, 224, 2, 16};
    b->device->patches_cut(b->act[0], b->pixels, NULL, NULL, b->clips, b->tokens, b->rows, &shape,
                           b->device);
}
static void positions(Buffers *b) {
    b->device->rows_gather(b->real[0], NULL, b->real[0], NULL, b->real[1], b->tokens, b->rows,
                           b->width, b->device);
}
static void loss(Buffers *b) {
    b->device->loss_forward(b->scalars, b->real[0], b->real[1], b->rows, b->width, 1, 1e-6, NULL,
                            b->device);
}
static void loss_back(Buffers *b) {
    b->device->loss_backward(b->real[2], b->real[0], b->real[1], b->rows, b->width, 1, 1e-6, NULL,
                             b->device);
}
static void gradient_norm(Buffers *b) {
    b->device->square_sums(b->block_sums, b->real[0], b->parameters, b->device);
}
static void update(Buffers *b) {
    AdamwSettings settings = {1e-9, 0.04, 0.9, 0.999, 1e-8, 0.998, 10, 5};
    double zero = 0;
    b->device->adamw_ema(b->real[0], b->real[1], b->real[2], b->real[3], b->gradient, b->parameters,
                         &zero, &zero, &settings, b->device);
}

typedef struct Case {
    const char *name;
    Run *run;
    double flop;           /* 0: bytes count */
    double values, floats; /* activations and float32 values read and written */
} Case;

#define LINEAR(in, out) (2 * rows * (in) * (out))
#define SQUARES         (clips * TOKENS * TOKENS)
#define SHORT_SQUARES   (shorts * SHORT * SHORT)
#define WIDE            (rows * width)
#define BROAD           (rows * hidden)

#define CASES_MAX 32

/* All of them, at the sizes of b. */
static int make_cases(Case cases[CASES_MAX], const Buffers *b) {
    double rows = (double)b->rows, width = (double)b->width, hidden = (double)b->hidden,
           clips = (double)b->clip_count, shorts = (double)b->shorts,
           parameters = (double)b->parameters;
    const Case made[] = {
        {"linear, forward: qkv", qkv, LINEAR(width, 3 * width), 0, 0},
        {"linear + residual: projection", projection, LINEAR(width, width), 0, 0},
        {"linear + GELU: fc1", fc1_gelu, LINEAR(width, hidden), 0, 0},
        {"linear + residual: fc2", fc2, LINEAR(hidden, width), 0, 0},
        {"linear, gradient of input: qkv", input_qkv, LINEAR(width, 3 * width), 0, 0},
        {"linear, gradient of input: fc1", input_fc1, LINEAR(width, hidden), 0, 0},
        {"linear and GELU, gradient of input: fc2", input_gelu, LINEAR(hidden, width), 0, 0},
        {"linear, gradient of weights: qkv", weight_qkv, LINEAR(width, 3 * width), 0, 0},
        {"linear, gradient of weights: projection", weight_projection, LINEAR(width, width), 0, 0},
        {"linear, gradient of weights: fc1", weight_fc1, LINEAR(width, hidden), 0, 0},
        {"linear, gradient of weights: fc2", weight_fc2, LINEAR(hidden, width), 0, 0},
        {"attention, 1568 tokens", attention, 4 * SQUARES * width, 0, 0},
        {"attention, 300 tokens", attention_short, 4 * SHORT_SQUARES * width, 0, 0},
        {"attention, backward, 1568 tokens", attention_back, 8 * SQUARES * width, 0, 0},
        {"attention, backward, 300 tokens", attention_back_short, 8 * SHORT_SQUARES * width, 0, 0},
        {"layer norm", norm, 0, WIDE, WIDE},
        {"layer norm, again", norm_again, 0, WIDE, WIDE},
        {"layer norm, backward", norm_back, 0, WIDE, 3 * WIDE},
        {"GELU by itself", gelu, 0, 2 * BROAD, 0},
        {"GELU by itself, backward", gelu_back, 0, 3 * BROAD, 0},
        {"patches cut and normalised", patches, 0, rows * PATCH, rows * PATCH / 4},
        {"positions added", positions, 0, 0, 3 * WIDE},
        {"loss", loss, 0, 0, 2 * WIDE},
        {"loss, backward", loss_back, 0, 0, 3 * WIDE},
        {"gradient norm", gradient_norm, 0, 0, parameters},
        {"AdamW, clipping and moving average", update, 0, 0, 9.0 * parameters},
    };
    memcpy(cases, made, sizeof made);
    return (int)(sizeof made / sizeof *made);
}

/* Device memory for `bytes` bytes; with noise, where they are floats and `scale` says how large. */
static int take_bytes(Buffers *b, void **place, size_t bytes, double scale, Error *error) {
    if (b->device->allocate(place, bytes, b->device, error))
        return -1;
    if (scale <= 0)
        return 0;
    enum { PIECE = 1 << 16 };
    float *noise = memory_new(PIECE, sizeof *noise);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (size_t done = 0; done < bytes; done += PIECE * sizeof *noise) {
        size_t rest = bytes - done, piece = PIECE * sizeof *noise;
        for (int i = 0; i < PIECE && !(done >> 24); i++) /* the first 16 MiB, then the same again */
            noise[i] = (float)random_between(&random, -scale, scale);
        b->device->upload((char *)*place + done, noise, rest < piece ? rest : piece, b->device);
    }
    free(noise);
    return 0;
}
#define take(b, place, count, scale, error)                                                        \
    take_bytes(b, (void **)(place), (size_t)(count) * sizeof **(place), scale, error)

static int open_lists(Buffers *b, Error *error) {
    int32_t *list = memory_new((size_t)b->rows, sizeof *list);
    size_t bytes = (size_t)b->rows * sizeof *list;
    int status = take(b, &b->tokens, b->rows, 0, error) || take(b, &b->clips, b->rows, 0, error);
    for (int32_t i = 0; i < b->rows; i++)
        list[i] = i % TOKENS;
    if (!status)
        b->device->upload(b->tokens, list, bytes, b->device);
    for (int32_t i = 0; i < b->rows; i++)
        list[i] = i / TOKENS;
    if (!status)
        b->device->upload(b->clips, list, bytes, b->device);
    free(list);
    for (int i = 0; i <= b->clip_count; i++)
        b->cu[i] = i * TOKENS;
    for (int i = 0; i <= b->shorts; i++)
        b->cu_short[i] = i * SHORT;
    return status;
}

static int open_buffers(Buffers *b, Error *error) {
    Device *d = b->device;
    int64_t wide = b->rows * b->hidden;
    size_t size = activation_size(d->precision);
    ScratchNeeds needs = {.longest = TOKENS,
                          .head = b->width / b->heads,
                          .heads = b->heads,
                          .elements = b->parameters,
                          .rows = b->rows,
                          .width = b->hidden};
    if (device_reserve(d, device_scratch_bytes(d, &needs), error))
        return -1;
    for (int i = 0; i < 4; i++)
        if (take(b, &b->real[i], b->parameters, i < 2 ? 1 : 0, error))
            return -1;
    for (int i = 0; i < 6; i++) {
        if (take_bytes(b, &b->act[i], (size_t)wide * size, 0, error))
            return -1;
        for (int64_t at = 0; at < wide; at += b->parameters) {
            int64_t rest = wide - at;
            d->rows_narrow((char *)b->act[i] + (size_t)at * size, b->real[0],
                           rest < b->parameters ? rest : b->parameters, d);
        }
    }
    int64_t pixels = b->clip_count * 3 * 16 * 224 * 224;
    if (take(b, &b->weights, MATRICES * b->width * b->hidden, 0.05, error) ||
        take(b, &b->gradient, b->parameters, 0, error) || take(b, &b->bias, b->hidden, 0, error) ||
        take(b, &b->lse, b->rows * b->heads, 0, error) || take(b, &b->mean, b->rows, 0, error) ||
        take(b, &b->rstd, b->rows, 0, error) || take(b, &b->pixels, pixels, 0, error) ||
        take(b, &b->scalars, 8, 0, error) ||
        take(b, &b->block_sums, shard_blocks(b->parameters), 0, error) || open_lists(b, error))
        return -1;
    /* as a model does: the device may keep packed forms */
    const LinearWeights known[MATRICES] = {
        {weights_of(b, QKV), b->width, 3 * b->width, true, false},
        {weights_of(b, PROJECTION), b->width, b->width, true, false},
        {weights_of(b, FC1), b->width, b->hidden, true, false},
        {weights_of(b, FC2), b->hidden, b->width, true, false}};
    for (int i = 0; i < MATRICES; i++)
        if (d->linear_weights_add(&known[i], d, error))
            return -1;
    return 0;
}

/* Waits for a device that works by itself. */
static void settle(Buffers *b) {
    double ignored;
    b->device->download(&ignored, b->scalars, sizeof ignored, b->device);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one run: the least, and the median of the laps. */
static void measure(double *least, double *median, const Case *c, Buffers *b) {
    double times[LAPS], started = time_now();
    c->run(b); /* warm */
    settle(b);
    started = time_now();
    c->run(b);
    settle(b);
    double once = time_now() - started;
    int runs = once > PERIOD ? 1 : (int)(PERIOD / fmax(once, 1e-6)) + 1;
    for (int lap = 0; lap < LAPS; lap++) {
        started = time_now();
        for (int i = 0; i < runs; i++)
            c->run(b);
        settle(b);
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

static int set_sizes(Buffers *b, const char *model, int clips) {
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(model, models[i].name) && clips >= 1 && clips <= CLIPS_MAX) {
            bool gpu = !b->device->on_host;
            b->width = models[i].width, b->heads = models[i].heads, b->hidden = models[i].hidden;
            b->clip_count = clips;
            b->shorts = 5 * clips;
            b->rows = (int64_t)clips * TOKENS;
            b->parameters = gpu ? PARAMETERS_GPU : PARAMETERS_CPU;
            if (b->parameters < b->rows * b->width)
                b->parameters = b->rows * b->width;
            return 0;
        }
    return -1;
}

static int open_bench(Buffers *b, int argc, char **argv, Error *error) {
    const char *type = argc > 3 ? argv[3] : "float32";
    Precision precision;
    if (precision_parse(&precision, type))
        return error_set(error, ERROR_USAGE, "%s: expected float32 or bfloat16", type);
    if (device_open(&b->device, argc > 4 ? argv[4] : "cpu", argc > 1 ? atoi(argv[1]) : 0, error))
        return -1;
    if (device_set_precision(b->device, precision, false) != precision)
        return error_set(error, ERROR_RUN, "no instructions for %s here", type);
    if (set_sizes(b, argc > 5 ? argv[5] : "vits", argc > 6 ? atoi(argv[6]) : 2))
        return error_set(error, ERROR_USAGE, "expected vits, vitb, vitl or vith, and 1 to %d clips",
                         CLIPS_MAX);
    return open_buffers(b, error);
}

int main(int argc, char **argv) {
    const char *peaks = argc > 2 ? argv[2] : "";
    Buffers b = {0};
    Error error = {0};
    if (open_bench(&b, argc, argv, &error)) {
        fprintf(stderr, "kernel_bench: %s\n", error.text);
        device_close(b.device);
        return error.code;
    }
    Precision precision = b.device->precision;
    const char *type = precision_name(precision);
    Case cases[CASES_MAX];
    char name[64];
    int count = make_cases(cases, &b);
    snprintf(name, sizeof name, "best %s ", type);
    double flops = peak_of(peaks, name), bytes = peak_of(peaks, "peak memory-copy ");
    printf("| %s, %s, %s, %d clips | best | median | of the peak |\n| --- | ---: | ---: | ---: |\n",
           type, b.device->what, argc > 5 ? argv[5] : "vits", (int)b.clip_count);
    for (int i = 0; i < count; i++) {
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
