/* step_bench: whole training steps of a recipe on clips of noise that lie in memory.
 *
 *   step_bench RECIPE.yaml [--set key=value] [--steps 3] [--warmup 1] [--threads N] [--same-masks]
 *                          [--twin FOLDER] [--device NAME] [--from RUN] [--save RUN]
 *
 * The model calls are those of jepa/step_jepa.c and jepa/trainer.c: masks, target encoder, context
 * encoder and predictor, loss, backward, clipping, AdamW, moving average; nothing is decoded. One
 * group of clips of one length. Steps of the warm-up are not counted. The last line is
 *
 *   result MEDIAN_MS MIN_MS CPU_S PEAK_MIB TFLOP GFLOP/S
 *
 * with the least CPU time of a step over all threads (which says more than the clock where others
 * use the machine too), the peak of resident memory, the mean of the model's operations
 * (jepa/flops.h), and those of all steps over their time. On a GPU steps are queued and nothing is
 * waited for: times are those of all steps together, and memory is the GPU's. A line before says
 * the hash of all weights: --save writes a checkpoint after the last step, --from goes on from one,
 * and the hash must be that of never having stopped. --twin FOLDER writes what another program
 * needs to do the same work (experiments/bench/pytorch_twin.py): twin.json with sizes, masks and
 * schedule of each step, the clips, and a checkpoint of the first weights. */
#include "base/file.h"
#include "base/log.h"
#include "experiments/options.h"
#include "jepa/checkpoint.h"
#include "jepa/flops.h"
#include "jepa/recipe.h"
#include "jepa/reduce.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EPOCH_UNITS                                                                                \
    100000 /* videos that an epoch of an invented data set has, where it matters                   \
            */

typedef enum Part { PART_INPUT, PART_TARGET, PART_FORWARD, PART_BACKWARD, PART_UPDATE, PARTS } Part;
static const char *const part_name[PARTS] = {"input", "target", "prediction", "backward", "update"};

typedef struct Arguments {
    const char *device, *twin, *from, *save;
    TextList sets;
    int64_t steps, warmup, threads;
    bool same_masks;
} Arguments;

typedef struct Bench {
    const Arguments *arguments;
    Recipe recipe;
    Schedule schedule;
    MaskRecipe mask_recipe;
    MaskGroup masks, part; /* of the group, and of a micro-batch */
    int micro;
    Reduction reduction;
    Device *device;
    Model model;
    uint8_t *pixels; /* [B][3][frames][height][width] */
    size_t pixels_bytes;
    FILE *twin;    /* twin.json; NULL: not wanted */
    int64_t first; /* step, of the run that is gone on with */
    size_t room;   /* bytes of the device's memory that were free before all */
} Bench;

static double peak_mib(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    long kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return (double)kib / 1024;
}

/* Of all threads, seconds. */
static double cpu_time(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static int load_recipe(Recipe *recipe, const char *path, const Arguments *a, Error *error) {
    recipe_default(recipe);
    if (recipe_load(recipe, path, error))
        return -1;
    for (size_t i = 0; i < a->sets.count; i++)
        if (recipe_set(recipe, a->sets.items[i], error))
            return -1;
    if (recipe_check(recipe, error))
        return -1;
    int lengths[RECIPE_SOURCES_MAX];
    if (recipe->objective != OBJECTIVE_JEPA || recipe_groups(recipe) != 1 ||
        recipe_image_groups(recipe) || recipe_lengths(lengths, recipe) != 1)
        return error_set(error, ERROR_USAGE,
                         "expected a recipe with a predictor and one group of videos of one length "
                         "(nodes: 1, tasks_per_node: 1)");
    return 0;
}

static void make_clips(Bench *b) {
    const ModelConfig *c = &b->model.plan.config;
    b->pixels_bytes = (size_t)b->mask_recipe.samples * 3 * (size_t)c->frames * (size_t)c->height *
                      (size_t)c->width;
    b->pixels = memory_new(b->pixels_bytes, 1);
    Random random = random_at((uint64_t)b->recipe.meta.seed, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < b->pixels_bytes; i++)
        b->pixels[i] = (uint8_t)(random_u32(&random) >> 24);
}

static int open_bench(Bench *b, Error *error) {
    b->schedule = recipe_schedule(&b->recipe, EPOCH_UNITS);
    b->mask_recipe = recipe_mask(&b->recipe);
    if (device_open(&b->device, b->arguments->device, (int)b->arguments->threads, error))
        return -1;
    b->room = b->device->memory(b->device);
    ModelPlan plan = {.config = recipe_model(&b->recipe),
                      .samples = b->micro = recipe_micro_batch(&b->recipe),
                      .settings = b->mask_recipe.settings,
                      .contexts = mask_contexts(&b->mask_recipe),
                      .training = true,
                      .checkpointing = b->recipe.model.use_activation_checkpointing};
    int units = recipe_slots(&b->recipe) / b->micro;
    MaskCapacity parts[2] = {{.samples = b->micro}, {.samples = recipe_slots(&b->recipe)}};
    mask_capacities(parts, 2, &b->mask_recipe);
    plan.context = parts[0].context;
    plan.target = parts[0].target;
    plan.joined = plan.context * plan.settings / plan.contexts;
    plan.gradient_sums = reduce_buffers(reduce_leaves(units, b->recipe.optimization.reduce_leaves));
    device_set_precision(b->device, recipe_precision(&b->recipe), false);
    b->device->graphs = b->recipe.meta.cuda_graphs;
    plan.target_fp8 = recipe_target_fp8(&b->recipe) && device_has_fp8(b->device);
    if (model_new(&b->model, &plan, b->device, error))
        return -1;
    model_init(&b->model, (uint64_t)b->recipe.meta.seed);
    b->reduction = (Reduction){.values = b->model.table.total, .device = b->device};
    memcpy(b->reduction.buffer, b->model.gradient_sum, sizeof b->reduction.buffer);
    MaskRecipe part = b->mask_recipe;
    part.samples = b->micro;
    mask_group_new(&b->part, &part, plan.context, plan.target);
    mask_group_new(&b->masks, &b->mask_recipe, parts[1].context, parts[1].target);
    make_clips(b);
    return 0;
}

static void close_bench(Bench *b) {
    mask_group_free(&b->masks);
    mask_group_free(&b->part);
    if (b->model.device)
        model_free(&b->model);
    device_close(b->device);
    free(b->pixels);
    recipe_free(&b->recipe);
}

/* ---- what the twin reads ---- */

static int begin_twin(Bench *b, Error *error) {
    const ModelConfig *c = &b->model.plan.config;
    const char *folder = b->arguments->twin;
    if (c->positions != POSITIONS_SINCOS || c->plane || c->class_token || c->swiglu ||
        c->pred_swiglu || c->levels > 1 || c->context_loss || c->drop_path > 0 || c->teacher.dim ||
        b->mask_recipe.contexts)
        return error_set(error, ERROR_USAGE, "the twin is a V-JEPA 1: no newer features");
    char *text = recipe_text(&b->recipe), *json = path_join(folder, "twin.json"),
         *clips = path_join(folder, "clips.bin");
    CheckpointState state = {.model = &b->model, .recipe = text};
    int status = folder_make(folder, error) || checkpoint_save(folder, &state, 1, error) ? -1 : 0;
    FILE *file = status ? NULL : fopen(clips, "wb");
    if (file && fwrite(b->pixels, 1, b->pixels_bytes, file) == b->pixels_bytes)
        b->twin = fopen(json, "w");
    if (!status && (!b->twin || fclose(file)))
        status = error_set(error, ERROR_RUN, "%s: cannot be written", folder);
    if (!status)
        fprintf(b->twin,
                "{\"dim\": %d, \"depth\": %d, \"heads\": %d, \"hidden\": %d,\n \"pred_dim\": %d, "
                "\"pred_depth\": %d, \"pred_heads\": %d, \"pred_hidden\": %d,\n \"frames\": %d, "
                "\"height\": %d, \"width\": %d, \"tubelet\": %d, \"patch\": %d, \"uniform_power\": "
                "%s,\n \"batch\": %d, \"settings\": %d, \"beta1\": %.9g, \"beta2\": %.9g, \"eps\": "
                "%.9g,\n \"steps\": [",
                c->dim, c->depth, c->heads, c->hidden, c->pred_dim, c->pred_depth, c->pred_heads,
                c->pred_hidden, c->frames, c->height, c->width, c->tubelet, c->patch,
                c->uniform_power ? "true" : "false", b->mask_recipe.samples,
                b->mask_recipe.settings, b->recipe.optimization.betas[0],
                b->recipe.optimization.betas[1], b->recipe.optimization.eps);
    free(text);
    free(json);
    free(clips);
    return status;
}

/* [setting][sample][tokens] */
static void write_lists(FILE *file, const int32_t *tokens, const int32_t *cu, int settings,
                        int samples) {
    for (int m = 0; m < settings; m++) {
        fprintf(file, "%s[", m ? ", " : "");
        for (int s = m * samples; s < (m + 1) * samples; s++) {
            fprintf(file, "%s[", s > m * samples ? ", " : "");
            for (int32_t i = cu[s]; i < cu[s + 1]; i++)
                fprintf(file, "%s%d", i > cu[s] ? ", " : "", tokens[i]);
            fputc(']', file);
        }
        fputc(']', file);
    }
}

static void write_twin_step(Bench *b, int64_t step, const AdamwSettings *s, double flops) {
    int settings = b->mask_recipe.settings, samples = b->mask_recipe.samples;
    fprintf(b->twin,
            "%s\n  {\"lr\": %.9g, \"weight_decay\": %.9g, \"momentum\": %.9g, \"max_norm\": %.9g, "
            "\"flops\": %.9g,\n   \"context\": [",
            step ? "," : "", s->lr, s->weight_decay, s->momentum, s->max_norm, flops);
    write_lists(b->twin, b->masks.context, b->masks.cu_context, settings, samples);
    fprintf(b->twin, "],\n   \"target\": [");
    write_lists(b->twin, b->masks.target, b->masks.cu_target, settings, samples);
    fprintf(b->twin, "]}");
}

static int end_twin(Bench *b, Error *error) {
    if (!b->twin)
        return 0;
    fprintf(b->twin, "]}\n");
    return fclose(b->twin)
               ? error_set(error, ERROR_RUN, "%s: cannot be written", b->arguments->twin)
               : 0;
}

/* ---- steps ---- */

/* Each setting's mean counts the same; as fill_weights in jepa/step_jepa.c for one group. */
static LossWeights loss_weights(const Bench *b) {
    const Recipe *r = &b->recipe;
    int settings = b->mask_recipe.settings, samples = b->mask_recipe.samples;
    double width = b->model.target_width;
    LossWeights weights = {.power = r->loss.smooth_l1 ? LOSS_SMOOTH_L1 : r->loss.loss_exp,
                           .reg_coeff = r->loss.reg_coeff,
                           .reg_weight = 1 / (samples * width)};
    for (int m = 0; m < settings; m++) {
        const int32_t *cu = b->masks.cu_target;
        double tokens = cu[(m + 1) * samples] - cu[m * samples];
        weights.element[m] = 1 / (settings * tokens * width);
    }
    return weights;
}

/* Of the group, from its masks. */
static StepFlops count_flops(const Bench *b) {
    const Model *m = &b->model;
    const MaskGroup *masks = &b->masks;
    int samples = b->mask_recipe.samples, sequences = m->plan.settings * samples;
    double rows = m->tokens;
    FlopsInput input = {
        .all = {samples * rows, samples * rows * rows},
        .context = flops_tokens(masks->cu_context, (int64_t)m->plan.contexts * samples),
        .targets = masks->cu_target[sequences]};
    for (int s = 0; s < sequences; s++) {
        int c = masks->context_of[s / samples] * samples + s % samples;
        double context = masks->cu_context[c + 1] - masks->cu_context[c];
        double tokens = context + masks->cu_target[s + 1] - masks->cu_target[s];
        input.joined += context;
        input.predictor.rows += tokens;
        input.predictor.squares += tokens * tokens;
    }
    StepFlops flops;
    flops_step(&flops, &m->plan.config, &input);
    return flops;
}

static void lap(double parts[PARTS], Part part, double *started) {
    double now = time_now();
    parts[part] += (now - *started) * 1e3;
    *started = now;
}

/* Samples first .. first + count - 1; a part with more tokens than are planned for in two halves.
 */
static void run_samples(Bench *b, int64_t step, int first, int count, const LossWeights *weights,
                        double parts[PARTS]) {
    const Recipe *r = &b->recipe;
    Model *model = &b->model;
    int samples = b->mask_recipe.samples;
    double started = time_now();
    MaskGroup *masks = &b->masks;
    if (b->micro < samples) {
        if (!mask_group_part(&b->part, masks, samples, first, count, b->mask_recipe.settings)) {
            run_samples(b, step, first, count / 2, weights, parts);
            run_samples(b, step, first + count / 2, count - count / 2, weights, parts);
            return;
        }
        masks = &b->part;
    }
    const uint8_t *pixels = b->pixels + b->pixels_bytes / (size_t)samples * (size_t)first;
    model_set_input(model, &(ModelInput){.samples = count, .pixels = pixels});
    model_set_masks(model, masks, count);
    model_set_drops(model, first, count, samples, (uint64_t)r->meta.seed, (uint64_t)step, 0);
    lap(parts, PART_INPUT, &started);
    model_forward_target(model, count);
    lap(parts, PART_TARGET, &started);
    model_forward_prediction(model, count, weights);
    lap(parts, PART_FORWARD, &started);
    model_backward(model, count, weights);
    lap(parts, PART_BACKWARD, &started);
}

/* One step; parts: milliseconds of each. */
static StepFlops run_step(Bench *b, int64_t step, double parts[PARTS], ModelScalars *scalars) {
    const Recipe *r = &b->recipe;
    Model *model = &b->model;
    int samples = b->mask_recipe.samples;
    double started = time_now();
    if (!b->arguments->same_masks || step == b->first)
        mask_group_draw(&b->masks, &b->mask_recipe, (uint64_t)r->meta.seed, (uint64_t)step, 0,
                        NULL);
    LossWeights weights = loss_weights(b);
    model->gradients = b->reduction.buffer[0];
    model_begin_step(model);
    int leaves = reduce_leaves(samples / b->micro, r->optimization.reduce_leaves);
    reduce_begin(&b->reduction, samples / b->micro, leaves, 0, leaves);
    lap(parts, PART_INPUT, &started);
    for (int first = 0; first < samples; first += b->micro) {
        model->gradients = reduce_place(&b->reduction);
        run_samples(b, step, first, b->micro, &weights, parts);
        started = time_now();
        reduce_next(&b->reduction);
        lap(parts, PART_UPDATE, &started);
    }
    started = time_now();
    model->gradients = b->reduction.buffer[0];
    model_finish_gradients(model, r->loss.reg_coeff);
    AdamwSettings settings = {.lr = schedule_lr(&b->schedule, step),
                              .weight_decay = schedule_weight_decay(&b->schedule, step),
                              .beta1 = r->optimization.betas[0],
                              .beta2 = r->optimization.betas[1],
                              .eps = r->optimization.eps,
                              .momentum = schedule_momentum(&b->schedule, step),
                              .max_norm = recipe_clip_grad(r), /* from the first step on */
                              .step = step + 1};
    model_update(model, &settings);
    model->device->wait(model->device); /* the step before */
    model->device->post(scalars, model->scalars, sizeof *scalars, model->device);
    lap(parts, PART_UPDATE, &started);
    StepFlops flops = count_flops(b);
    if (b->twin)
        write_twin_step(b, step, &settings, flops.total);
    return flops;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_step(const Bench *b, int64_t step, const double parts[PARTS], double ms,
                       double cpu, const StepFlops *flops, const ModelScalars *scalars) {
    printf("step %" PRId64 "%s  %.1f ms, CPU %.2f s:", step,
           step < b->arguments->warmup ? " (warm-up)" : "", ms, cpu);
    for (int p = 0; p < PARTS; p++)
        printf(" %s %.1f", part_name[p], parts[p]);
    printf("; loss %.6f, gradients %.5g %.5g; tokens", scalars->total, sqrt(scalars->square_sum[0]),
           sqrt(scalars->square_sum[1]));
    int samples = b->mask_recipe.samples;
    for (int m = 0; m < b->mask_recipe.settings; m++) {
        const int32_t *context = b->masks.cu_context, *target = b->masks.cu_target;
        int e = b->masks.context_of[m];
        printf(" %d>%d", context[(e + 1) * samples] - context[e * samples],
               target[(m + 1) * samples] - target[m * samples]);
    }
    printf("; %.4f TFLOP, %.1f GFLOP/s\n", flops->total / 1e12, flops->total / ms / 1e6);
    fflush(stdout);
}

/* Of weights and target, as the device has them. */
static void print_hash(const Bench *b) {
    const Model *m = &b->model;
    int64_t counts[2] = {m->table.total, m->target_table.owner[OWNER_ENCODER].end};
    const float *flat[2] = {m->weights, m->target};
    HashState state;
    char text[HASH_TEXT];
    hash_start(&state);
    for (int i = 0; i < 2; i++) {
        float *host = memory_new((size_t)counts[i], sizeof *host);
        m->device->download(host, flat[i], (size_t)counts[i] * sizeof *host, m->device);
        hash_add(&state, host, (size_t)counts[i] * sizeof *host);
        free(host);
    }
    Hash hash = hash_end(&state);
    hash_text(text, &hash);
    printf("weights %s\n", text);
}

/* What a step left. */
typedef struct Lap {
    double parts[PARTS], ms, cpu;
    ModelScalars scalars;
    StepFlops flops;
} Lap;

static void print_result(const Bench *b, const Lap *laps, double seconds) {
    const Arguments *a = b->arguments;
    double *times = memory_new((size_t)a->steps, sizeof *times), total = 0, least_cpu = INFINITY;
    for (int64_t i = 0; i < a->steps; i++) {
        const Lap *lap = &laps[a->warmup + i];
        times[i] = b->device->on_host ? lap->ms : 1e3 * seconds / (double)a->steps;
        total += lap->flops.total;
        least_cpu = fmin(least_cpu, lap->cpu);
    }
    qsort(times, (size_t)a->steps, sizeof *times, by_size);
    double median = (times[(a->steps - 1) / 2] + times[a->steps / 2]) / 2;
    const StepFlops *last = &laps[a->warmup + a->steps - 1].flops;
    printf("of the last step's operations: target %.1f %%, context %.1f %%, predictor %.1f %%, "
           "backward %.1f %%; attention %.1f %% of all\n",
           100 * last->target / last->total, 100 * last->context / last->total,
           100 * last->predictor / last->total, 100 * last->backward / last->total,
           100 * last->attention / last->total);
    double mib = b->device->on_host ? peak_mib()
                                    : (double)(b->room - b->device->memory(b->device)) / (1 << 20);
    printf("result %.1f %.1f %.2f %.0f %.4f %.1f\n", median, times[0], least_cpu, mib,
           total / (double)a->steps / 1e12, total / seconds / 1e9);
    free(times);
}

static void run(Bench *b) {
    const Arguments *a = b->arguments;
    int64_t count = a->warmup + a->steps;
    Lap *laps = memory_new((size_t)count, sizeof *laps);
    double started = time_now(), seconds = 0;
    ModelScalars seen;
    printf("%s, %s, %d threads, %d clips in micro-batches of %d\n", b->device->name,
           precision_name(b->device->precision), b->device->threads, b->mask_recipe.samples,
           b->micro);
    for (int64_t i = 0; i < count; i++) {
        Lap *lap = &laps[i];
        if (i == a->warmup) {
            b->device->download(&seen, b->model.scalars, sizeof seen, b->device);
            started = time_now();
        }
        lap->cpu = cpu_time();
        lap->flops = run_step(b, b->first + i, lap->parts, &lap->scalars);
        lap->cpu = cpu_time() - lap->cpu;
        for (int p = 0; p < PARTS; p++)
            lap->ms += lap->parts[p];
        if (b->device->on_host)
            print_step(b, i, lap->parts, lap->ms, lap->cpu, &lap->flops, &lap->scalars);
    }
    b->device->download(&seen, b->model.scalars, sizeof seen, b->device);
    seconds = time_now() - started;
    b->device->wait(b->device);
    for (int64_t i = 0; i < count && !b->device->on_host; i++)
        print_step(b, i, laps[i].parts, laps[i].ms, laps[i].cpu, &laps[i].flops, &laps[i].scalars);
    print_hash(b);
    print_result(b, laps, seconds);
    free(laps);
}

static int load(Bench *b, Error *error) {
    Checkpoint checkpoint;
    if (checkpoint_open(&checkpoint, b->arguments->from, error))
        return -1;
    int status = checkpoint_load(&b->model, &checkpoint, error);
    b->first = checkpoint.step;
    checkpoint_close(&checkpoint);
    return status;
}

static int save(Bench *b, Error *error) {
    char *text = recipe_text(&b->recipe);
    int64_t step = b->first + b->arguments->warmup + b->arguments->steps;
    CheckpointState state = {.model = &b->model, .recipe = text, .step = step, .updates = step};
    int status = folder_make(b->arguments->save, error) ||
                         checkpoint_save(b->arguments->save, &state, 1, error)
                     ? -1
                     : 0;
    free(text);
    return status;
}

int main(int argc, char **argv) {
    const CommandHelp help = {"step_bench RECIPE.yaml [--set key=value] [--steps 3] [--warmup 1] "
                              "[--threads N] [--same-masks] [--twin FOLDER]",
                              "Whole training steps of a recipe on clips of noise in memory: "
                              "milliseconds by part, operations, peak of resident memory."};
    Arguments a = {.device = "cpu", .steps = 3, .warmup = 1};
    const Option options[] = {
        {"set", "KEY=VALUE", "change a key of the recipe; may be repeated", OPTION_LIST, &a.sets},
        {"steps", "N", "steps that count (3)", OPTION_INTEGER, &a.steps},
        {"warmup", "N", "steps before them (1)", OPTION_INTEGER, &a.warmup},
        {"threads", "N", "threads for the arithmetic; 0: all (default)", OPTION_INTEGER,
         &a.threads},
        {"device", "NAME", "cpu (default), cuda:N or reference", OPTION_TEXT, &a.device},
        {"from", "RUN", "go on from this checkpoint", OPTION_TEXT, &a.from},
        {"save", "RUN", "write a checkpoint after the last step", OPTION_TEXT, &a.save},
        {"same-masks", NULL, "the masks of the first step in every step", OPTION_FLAG,
         &a.same_masks},
        {"twin", "FOLDER", "write what another program needs for the same work", OPTION_TEXT,
         &a.twin},
    };
    TextList rest = {0};
    Error error = {0};
    Bench bench = {.arguments = &a};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (!parsed && (rest.count != 1 || a.steps < 1 || a.warmup < 0 || a.threads < 0))
        error_set(&error, ERROR_USAGE, "expected one recipe, --steps of 1 or more (see --help)");
    if (!parsed && !error.code) {
        if (!load_recipe(&bench.recipe, rest.items[0], &a, &error) && !open_bench(&bench, &error) &&
            (!a.twin || !begin_twin(&bench, &error))) {
            if (!a.from || !load(&bench, &error))
                run(&bench);
            end_twin(&bench, &error);
            if (a.save && !error.code)
                save(&bench, &error);
        }
        close_bench(&bench);
    }
    if (error.code)
        fprintf(stderr, "step_bench: %s\n", error.text);
    free(a.sets.items);
    free(rest.items);
    return error.code;
}
