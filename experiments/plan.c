/* jepa plan: what a run would be and take, without videos and without taking it. */
#include "experiments/plan.h"
#include "base/log.h"
#include "base/machine.h"
#include "eval/diagnostics.h"
#include "experiments/builtin.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "jepa/trainer_plan.h"
#include "kernels/cuda_device.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int plan_load_recipe(Recipe *recipe, const char *path, Error *error) {
    if (path)
        return recipe_load(recipe, path, error);
    YamlNode *root = NULL;
    int result = yaml_parse(&root, builtin_quickstart_recipe, builtin_quickstart_recipe_bytes,
                            "quickstart.yaml", error);
    if (!result)
        result = recipe_apply(recipe, root, "quickstart.yaml", error);
    yaml_release(root);
    return result;
}

int plan_open_device(Device **device, const char *name, int place, int threads, Error *error) {
    Error why = {0};
    char own[24];
    int count = name && strcmp(name, "cuda") ? 0 : cuda_device_count(&why);
    if (count) {
        snprintf(own, sizeof own, "cuda:%d", place % count);
        name = own;
    }
    if (device_open(device, name ? name : "cpu", threads, error))
        return -1;
    log_info("device %s: %s%s%s%s", (*device)->name, (*device)->what, *why.text ? " (" : "",
             why.text, *why.text ? ")" : "");
    return 0;
}

void plan_say_about(const Recipe *recipe) {
    if (recipe->ignored)
        log_info("recipe: without meaning here, ignored: %s", recipe->ignored);
}

static void plan_target_precision(Device *device, const Recipe *recipe) {
    if (!recipe_target_fp8(recipe))
        return;
    const char *type = precision_name(device->precision);
    if (device_has_fp8(device))
        log_info("recipe: model.target_precision fp8: the target encoder's linear layers in e4m3, "
                 "a scale for each row");
    else
        log_info("recipe: model.target_precision fp8: %s, the target encoder stays in %s",
                 device->on_host                          ? "only GPUs have it here"
                 : device->precision == PRECISION_FLOAT32 ? "it goes with meta.dtype bfloat16"
                                                          : "this GPU or cuBLASLt has none with a "
                                                            "scale for each row",
                 type);
}

void plan_precision(Device *device, const Recipe *recipe, bool emulate) {
    Precision wanted = recipe_precision(recipe);
    device->tf32 = recipe->meta.tf32;
    device->fast = !recipe->meta.deterministic;
    device->graphs = recipe->meta.cuda_graphs;
    Precision used = device_set_precision(device, wanted, emulate);
    if (used != wanted)
        log_info("recipe: meta.dtype %s: device %s has no instructions for bfloat16, it computes "
                 "in float32",
                 recipe->meta.dtype, device->name);
    else if (wanted == PRECISION_BFLOAT16)
        log_info("recipe: meta.dtype %s: activations and weights of the GEMMs in bfloat16%s",
                 recipe->meta.dtype, emulate ? ", emulated where there are no instructions" : "");
    plan_target_precision(device, recipe);
}

static void print_networks(const ModelConfig *c, const TrainerPlan *plan) {
    EncoderConfig encoder = config_encoder(c);
    MaskGrid grid = config_grid(c);
    printf("encoder          %d channels, %d blocks, %d heads, MLP %d%s, positions %s\n", c->dim,
           c->depth, c->heads, c->hidden, c->swiglu ? " (SwiGLU)" : "", config_positions(&encoder));
    if (c->objective == OBJECTIVE_JEPA)
        printf("predictor        %d channels, %d blocks, %d heads, %d mask tokens\n", c->pred_dim,
               c->pred_depth, c->pred_heads, c->mask_tokens);
    else
        printf("projector        %d to %d to %d channels\n", c->dim, c->projector_hidden,
               c->projector_out);
    printf("parameters       %" PRId64 "\n", plan->parameters);
    printf("clip             %d frames of %d x %d: %d x %d x %d tokens\n", c->frames, c->height,
           c->width, grid.time, grid.height, grid.width);
}

static void print_step(const Recipe *recipe, const TrainerPlan *plan) {
    printf("step             %d clips", plan->clips);
    if (plan->pictures)
        printf(" and %d pictures", plan->pictures);
    printf("; %.0f context and %.0f target tokens on average\n", plan->step_context,
           plan->step_target);
    printf("micro-batch      %d clips", plan->micro_batch);
    if (plan->pictures)
        printf(" or %d pictures", plan->picture_batch);
    printf(", at most %" PRId64 " context and %" PRId64 " target tokens", plan->context,
           plan->target);
    if (plan->units > 1)
        printf("; %d in a step, summed in %d leaves", plan->units, plan->leaves);
    putchar('\n');
    if (plan->steps)
        printf("steps            %" PRId64 "\n", plan->steps);
    else
        printf("steps            %g epochs, as long as the videos make them\n",
               recipe->optimization.epochs);
}

static void print_operations(const TrainerPlan *plan) {
    const StepFlops *f = &plan->flops;
    if (f->target > 0)
        printf("operations       target encoder %.3g, context encoder %.3g, predictor %.3g, "
               "backward %.3g: %.4g FLOP a step, of which attention %.0f %%\n",
               f->target, f->context, f->predictor, f->backward, f->total,
               100 * f->attention / f->total);
    else
        printf("operations       encoder %.3g, projector %.3g, backward %.3g: %.4g FLOP a step\n",
               f->context, f->predictor, f->backward, f->total);
    if (!plan->pictures)
        printf("                 %.4g FLOP a clip\n", f->total / plan->clips);
}

/* A column of the table: the recipe changed in one way. */
typedef struct Variant {
    const char *title;
    void (*change)(Recipe *recipe); /* NULL: as it is */
} Variant;

static void keep_activations(Recipe *recipe) {
    recipe->model.use_activation_checkpointing = false;
}
static void compute_again(Recipe *recipe) {
    recipe->model.use_activation_checkpointing = true;
}

static const Variant variants[] = {{"MiB", keep_activations}, {"checkpointing", compute_again}};
#define VARIANTS (sizeof variants / sizeof *variants)

static void print_choices(const Recipe *recipe, Device *device, int loader_threads, int ranks,
                          const TrainerHooks *hooks) {
    TrainerChoice choices[VARIANTS][TRAINER_CHOICES_MAX];
    size_t machine = device->memory(device);
    int count = 0;
    for (size_t k = 0; k < VARIANTS; k++) {
        Recipe changed = *recipe; /* its texts stay the recipe's */
        if (variants[k].change)
            variants[k].change(&changed);
        count = trainer_choices(choices[k], &changed, device, loader_threads, ranks, hooks);
    }
    if (machine)
        printf("\nMemory of %s for each optimization.micro_batch, and with\n"
               "model.use_activation_checkpointing (!: more than %s has)",
               ranks > 1 ? "a rank" : "a run", device->on_host ? "this machine" : device->name);
    printf("\n%-16s", "micro_batch");
    for (size_t k = 0; k < VARIANTS; k++)
        printf(" %13s%s", variants[k].title, k + 1 < VARIANTS ? " " : "");
    putchar('\n');
    for (int i = 0; i < count; i++) {
        printf("%-16d", choices[0][i].micro_batch);
        for (size_t k = 0; k < VARIANTS; k++)
            printf(" %13.1f%s", mib(choices[k][i].bytes),
                   machine && choices[k][i].bytes > machine ? "!"
                   : k + 1 < VARIANTS                       ? " "
                                                            : "");
        putchar('\n');
    }
}

int plan_print(const Recipe *recipe, Device *device, int loader_threads, int ranks, Error *error) {
    TrainerPlan plan;
    char kinds[400];
    const TrainerHooks hooks = {.diagnostics = diagnostics_hooks(NULL)};
    size_t machine = machine_memory();
    ModelConfig config = recipe_model(recipe);
    if (trainer_plan(&plan, recipe, device, loader_threads, ranks, &hooks, error))
        return -1;
    trainer_plan_kinds(kinds, sizeof kinds, &plan);
    print_networks(&config, &plan);
    print_step(recipe, &plan);
    print_operations(&plan);
    if (ranks > 1)
        printf("ranks            %d, each with %d of the %d leaves of the sum\n", ranks,
               plan.leaves / ranks, plan.leaves);
    printf("memory           %s: %.1f MiB%s\n", kinds, mib(plan.total),
           ranks > 1 ? " for rank 0" : "");
    if (!device->on_host)
        printf("%-16s %.1f MiB of it, of %.1f that are free%s\n", device->name, mib(plan.device),
               mib(device->memory(device)),
               plan.device > device->memory(device) ? ": too little" : "");
    if (machine)
        printf("machine          %.1f MiB%s, %d cores\n", mib(machine),
               plan.total - (device->on_host ? 0 : plan.device) > machine ? ": too little" : "",
               machine_cores());
    print_choices(recipe, device, loader_threads, ranks, &hooks);
    return 0;
}

int command_plan(int argc, char **argv) {
    const CommandHelp help = {
        "jepa plan [--recipe FILE.yaml] [--set KEY=VALUE] [--ranks N]",
        "Says what a run of the recipe would be and take: networks, tokens, steps, floating-point "
        "operations, memory by kind beside what this machine has, and memory for every "
        "optimization.micro_batch. Needs no videos and takes none of it."};
    const char *path = NULL, *name = NULL;
    int64_t threads = 0, workers = 0, ranks = 1;
    TextList sets = {0}, rest = {0};
    const Option options[] = {
        {"recipe", "FILE", "recipe in YAML; default: the built-in quickstart.yaml", OPTION_TEXT,
         &path},
        {"set", "KEY=VALUE", "change a key of the recipe; may be repeated", OPTION_LIST, &sets},
        {"threads", "N", "threads for the arithmetic; 0: all (default)", OPTION_INTEGER, &threads},
        {"workers", "N", "threads that decode; 0: from the recipe or the machine", OPTION_INTEGER,
         &workers},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &name},
        {"ranks", "N", "processes that train together; sizes are those of one", OPTION_INTEGER,
         &ranks},
    };
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && rest.count)
        error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
    else if (parsed == 0 && (threads < 0 || workers < 0))
        error_set(&error, ERROR_USAGE, "--threads and --workers: expected 0 or more");
    else if (parsed == 0 && (ranks < 1 || ranks > REDUCE_LEAVES_MAX))
        error_set(&error, ERROR_USAGE, "--ranks: expected 1 .. %d", REDUCE_LEAVES_MAX);
    else if (parsed == 0) {
        Recipe recipe;
        Device *device = NULL;
        recipe_default(&recipe);
        int status = plan_load_recipe(&recipe, path, &error);
        for (size_t i = 0; i < sets.count && !status; i++)
            status = recipe_set(&recipe, sets.items[i], &error);
        if (!status)
            status = recipe_check(&recipe, &error);
        if (!status) {
            plan_say_about(&recipe);
            status = plan_open_device(&device, name, 0, (int)threads, &error);
        }
        if (!status) {
            plan_precision(device, &recipe, false);
            plan_print(&recipe, device, (int)workers, (int)ranks, &error);
        }
        device_close(device);
        recipe_free(&recipe);
    }
    if (error.code)
        fprintf(stderr, "jepa plan: %s\n", error.text);
    free(sets.items);
    free(rest.items);
    return error.code;
}
