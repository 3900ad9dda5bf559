/* probe_bench: what attentive probes cost beside the encoder whose tokens they read.
 *
 *   probe_bench [--sequences 16] [--epochs 20] [--batch 256] [--heads 0] [--classes 174]
 *               [--deep 2] [--deep-depth 4] [--set key=value] [--threads N] [--precision TYPE]
 *
 * One run, one machine: random weights and clips of noise that lie in memory (nothing is decoded).
 *   encoder  one pass of the target encoder over all sequences (a clip each), tokens kept as
 * float32 depth 1  the published grid of V-JEPA 2 (20 probes at once) for all epochs on these
 * tokens depth 4  one probe, one epoch, over --deep sequences; 0: not at all The model is a
 * ViT-S/16 on 16 x 224 x 224 unless --set says otherwise (keys of a recipe).
 *
 * What is printed: seconds by the clock and of the processor (all threads; the latter says more
 * where others use the machine too), and how much of an encoder pass that is. Depth 1 is measured
 * whole. A step costs the update of all probes' weights whatever its batch: with few sequences a
 * step has few, and the ratio is larger than over a data set, so the share of the updates is
 * measured too, by steps over a single token, and the ratio for the published batch is worked out:
 *     (whole - updates + epochs · sequences / 256 updates) / encoder
 * Depth 4 is one probe and one epoch over few sequences, relative to one pass over as many: for P
 * probes and E epochs multiply by P E. */
#include "base/half.h"
#include "base/log.h"
#include "base/random.h"
#include "eval/attentive.h"
#include "experiments/options.h"
#include "jepa/model.h"
#include "jepa/recipe.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PUBLISHED_BATCH 256
#define ENCODER_CLIPS   4  /* that go through the encoder at once */
#define DEPTH_HEADS     16 /* of V-JEPA 2's probes, whatever the encoder */

typedef struct Arguments {
    TextList sets;
    int64_t sequences, epochs, batch, heads, classes, deep, deep_depth, threads;
    const char *precision;
} Arguments;

typedef struct Cost {
    double seconds, cpu;
} Cost;

typedef struct Bench {
    const Arguments *arguments;
    Recipe recipe;
    ModelConfig config;
    Device *device;
    int64_t tokens;     /* N */
    uint16_t *features; /* [sequences][N][D] float16 */
    int *classes;
    Cost encoder;
} Bench;

/* Of all threads, seconds. */
static double cpu_time(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static Cost start(void) {
    return (Cost){time_now(), cpu_time()};
}

static Cost since(Cost from) {
    return (Cost){time_now() - from.seconds, cpu_time() - from.cpu};
}

static void print_cost(const char *what, Cost cost, Cost encoder) {
    printf("%-42s %9.2f s  CPU %9.2f s  %8.3f  CPU %8.3f\n", what, cost.seconds, cost.cpu,
           cost.seconds / encoder.seconds, cost.cpu / encoder.cpu);
    fflush(stdout);
}

static int encode(Bench *b, Error *error) {
    const ModelConfig *c = &b->config;
    int64_t count = b->arguments->sequences;
    size_t clip = 3 * (size_t)c->frames * (size_t)c->height * (size_t)c->width;
    ModelPlan plan = {.config = *c, .samples = ENCODER_CLIPS};
    Model model;
    if (model_new(&model, &plan, b->device, error))
        return -1;
    model_init(&model, 1);
    b->tokens = model.tokens;
    size_t each = (size_t)b->tokens * (size_t)c->dim;
    b->features = memory_new((size_t)count * each, sizeof *b->features);
    float *out = memory_new(ENCODER_CLIPS * each, sizeof *out);
    uint8_t *pixels = memory_new(clip * ENCODER_CLIPS, 1);
    for (int64_t first = -ENCODER_CLIPS; first < count; first += ENCODER_CLIPS) {
        int64_t left = count - first, n = left < ENCODER_CLIPS ? left : ENCODER_CLIPS;
        Random random = random_at(1, RANDOM_TEST, 0, (uint64_t)(first + ENCODER_CLIPS));
        for (size_t i = 0; i + 4 <= clip * ENCODER_CLIPS; i += 4) {
            uint32_t bits = random_u32(&random);
            memcpy(pixels + i, &bits, 4);
        }
        Cost begun = start();
        model_set_input(&model, &(ModelInput){.samples = (int)n, .pixels = pixels});
        model_features(&model, (int)n, 't');
        b->device->wait(b->device);
        Cost cost = since(begun);
        if (first < 0) /* the first time, a warm-up, is not counted */
            continue;
        b->encoder.seconds += cost.seconds;
        b->encoder.cpu += cost.cpu;
        b->device->download(out, model.target_out, (size_t)n * each * sizeof *out, b->device);
        for (size_t i = 0; i < (size_t)n * each; i++)
            b->features[(size_t)first * each + i] = float16_from_float(out[i]);
    }
    free(out);
    free(pixels);
    model_free(&model);
    return 0;
}

static int read_features(float *out, const int64_t *items, int64_t n, void *context, Error *error) {
    const Bench *b = context;
    size_t each = (size_t)b->tokens * (size_t)b->config.dim;
    (void)error;
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < each; k++)
            out[(size_t)i * each + k] = float16_to_float(b->features[(size_t)items[i] * each + k]);
    return 0;
}

/* Trains; the cost of that alone. */
static int train(Cost *cost, Bench *b, const AttentiveConfig *config, const AttentiveTraining *t,
                 int64_t sequences, Error *error) {
    Attentive *probe;
    double losses[ATTENTIVE_PROBES_MAX];
    TokenSource source = {.context = b,
                          .count = sequences,
                          .tokens = b->tokens,
                          .width = config->width,
                          .read = read_features};
    AttentiveLabels labels = {.classes = b->classes};
    if (attentive_new(&probe, config, t->probes, 0, b->device, error))
        return -1;
    Cost begun = start();
    int result = attentive_train(probe, losses, t, &source, &labels, error);
    *cost = since(begun);
    attentive_free(probe);
    return result;
}

/* What a step costs whatever its batch is: sequences of one token, one in a step. */
static int time_updates(Cost *cost, Bench *b, const AttentiveConfig *config, AttentiveTraining t,
                        int64_t steps, Error *error) {
    int64_t tokens = b->tokens;
    t.batch = 1;
    t.epochs = (double)steps;
    b->tokens = 1;
    int result = train(cost, b, config, &t, 1, error);
    b->tokens = tokens;
    return result;
}

static int bench_shallow(Bench *b, const AttentiveConfig *config, Error *error) {
    const Arguments *a = b->arguments;
    AttentiveTraining t;
    attentive_published(&t, 2);
    t.epochs = (double)a->epochs;
    t.batch = (int)a->batch;
    int64_t n = a->sequences, batch = a->batch < n ? a->batch : n;
    int64_t steps = a->epochs * ((n + batch - 1) / batch);
    Cost whole, updates;
    char what[80];
    if (train(&whole, b, config, &t, n, error) ||
        time_updates(&updates, b, config, t, steps, error))
        return -1;
    snprintf(what, sizeof what, "depth 1: %d probes, %" PRId64 " epochs, batch %" PRId64, t.probes,
             a->epochs, batch);
    print_cost(what, whole, b->encoder);
    snprintf(what, sizeof what, "  of it %" PRId64 " updates", steps);
    print_cost(what, updates, b->encoder);
    double share = (double)n / PUBLISHED_BATCH * (double)a->epochs / (double)steps;
    printf("  in batches of %d, as published: %.3f of an encoder pass, CPU %.3f\n", PUBLISHED_BATCH,
           (whole.seconds + (share - 1) * updates.seconds) / b->encoder.seconds,
           (whole.cpu + (share - 1) * updates.cpu) / b->encoder.cpu);
    return 0;
}

static int bench_deep(Bench *b, AttentiveConfig config, Error *error) {
    const Arguments *a = b->arguments;
    int64_t n = a->deep < a->sequences ? a->deep : a->sequences;
    AttentiveTraining t;
    attentive_published(&t, 2);
    t.probes = 1;
    t.epochs = 1;
    t.batch = (int)n;
    Cost cost, share = {b->encoder.seconds * (double)n / (double)a->sequences,
                        b->encoder.cpu * (double)n / (double)a->sequences};
    config.depth = (int)a->deep_depth;
    config.heads = DEPTH_HEADS;
    if (config.width % config.heads)
        config.heads = b->config.heads;
    if (train(&cost, b, &config, &t, n, error))
        return -1;
    char what[80];
    snprintf(what, sizeof what, "depth %d: 1 probe, 1 epoch, %" PRId64 " sequences", config.depth,
             n);
    print_cost(what, cost, share);
    printf("  so 20 probes for 20 epochs: %.0f encoder passes (400 times that)\n",
           400 * cost.cpu / share.cpu);
    return 0;
}

static int run(Bench *b, Error *error) {
    const Arguments *a = b->arguments;
    const ModelConfig *c = &b->config;
    AttentiveConfig config = {.depth = 1,
                              .width = c->dim,
                              .heads = a->heads ? (int)a->heads : c->heads,
                              .hidden = 4 * c->dim,
                              .outputs = (int)a->classes,
                              .layernorm_eps = PROBE_LAYERNORM_EPS};
    if (encode(b, error))
        return -1;
    printf("%s, %d threads, encoder in %s; %" PRId64 " sequences of %" PRId64
           " tokens, width %d; probes of %d heads\n",
           b->device->name, b->device->threads, precision_name(b->device->precision), a->sequences,
           b->tokens, c->dim, config.heads);
    printf("%-42s %11s  %15s  %8s  %12s\n", "", "", "", "passes", "passes");
    print_cost("encoder: one pass", b->encoder, b->encoder);
    b->classes = memory_new((size_t)a->sequences, sizeof *b->classes);
    for (int64_t i = 0; i < a->sequences; i++)
        b->classes[i] = (int)(i % a->classes);
    return bench_shallow(b, &config, error) || (a->deep > 0 && bench_deep(b, config, error)) ? -1
                                                                                             : 0;
}

static int open_bench(Bench *b, Error *error) {
    const Arguments *a = b->arguments;
    Precision precision;
    recipe_default(&b->recipe);
    if (recipe_set(&b->recipe, "model.model_name=vit_small", error))
        return -1;
    for (size_t i = 0; i < a->sets.count; i++)
        if (recipe_set(&b->recipe, a->sets.items[i], error))
            return -1;
    if (recipe_check(&b->recipe, error))
        return -1;
    if (precision_parse(&precision, a->precision))
        return error_set(error, ERROR_USAGE, "--precision %s: expected float32 or bfloat16",
                         a->precision);
    b->config = recipe_model(&b->recipe);
    if (device_open(&b->device, "cpu", (int)a->threads, error))
        return -1;
    device_set_precision(b->device, precision, false);
    return 0;
}

int main(int argc, char **argv) {
    const CommandHelp help = {
        "probe_bench [--sequences 16] [--epochs 20] [--batch 256] [--deep 2] [--set key=value]",
        "Attentive probes trained on tokens in memory, beside one pass of the encoder over the "
        "same "
        "clips: seconds, and both relative to that pass."};
    Arguments a = {.sequences = 16,
                   .epochs = 20,
                   .batch = 256,
                   .classes = 174,
                   .deep = 2,
                   .deep_depth = 4,
                   .precision = "float32"};
    const Option options[] = {
        {"sequences", "N", "clips, one sequence each (16)", OPTION_INTEGER, &a.sequences},
        {"epochs", "N", "of depth 1 (20)", OPTION_INTEGER, &a.epochs},
        {"batch", "N", "sequences in a step (256, or all there are)", OPTION_INTEGER, &a.batch},
        {"heads", "N", "of the probes of depth 1; 0: the encoder's (default)", OPTION_INTEGER,
         &a.heads},
        {"classes", "N", "outputs of the probes (174)", OPTION_INTEGER, &a.classes},
        {"deep", "N", "sequences for the deep probe (2); 0: none", OPTION_INTEGER, &a.deep},
        {"deep-depth", "N", "its blocks (4)", OPTION_INTEGER, &a.deep_depth},
        {"set", "KEY=VALUE", "change a key of the recipe; may be repeated", OPTION_LIST, &a.sets},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &a.threads},
        {"precision", "TYPE", "of the encoder: float32 (default) or bfloat16", OPTION_TEXT,
         &a.precision},
    };
    TextList rest = {0};
    Error error = {0};
    Bench bench = {.arguments = &a};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (!parsed && (rest.count || a.sequences < 1 || a.sequences > 1 << 20 || a.epochs < 1 ||
                    a.batch < 1 || a.batch > 1 << 20 || a.heads < 0 || a.heads > 1024 ||
                    a.classes < 1 || a.classes > 1 << 20 || a.deep < 0 || a.deep_depth < 1 ||
                    a.deep_depth > 64 || a.threads < 0 || a.threads > 1024))
        error_set(&error, ERROR_USAGE, "expected positive numbers (see --help)");
    if (!parsed && !error.code && !open_bench(&bench, &error))
        run(&bench, &error);
    if (error.code)
        fprintf(stderr, "probe_bench: %s\n", error.text);
    device_close(bench.device);
    recipe_free(&bench.recipe);
    free(bench.features);
    free(bench.classes);
    free(a.sets.items);
    free(rest.items);
    return error.code;
}
