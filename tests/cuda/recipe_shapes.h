/* What the shipped recipes ask of a GPU: their attention and their linear layers, from the recipes
 * themselves through the code that plans a run. */
#ifndef JEPA_TESTS_CUDA_RECIPE_SHAPES_H
#define JEPA_TESTS_CUDA_RECIPE_SHAPES_H

#include "jepa/training.h"
#include "kernels/cuda/sdpa.h"
#include "masking/drop.h"
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPES_MAX 256

typedef struct AttentionShape {
    char recipe[64];
    const char *network;
    SdpaNeed need;
    Precision precision;
    bool causal;
} AttentionShape;

typedef struct LinearShape {
    int64_t rows, in, out;
    bool gelu;        /* y = gelu(x wᵀ + b), x wᵀ + b kept */
    bool before_gelu; /* its input is such a y: the gradient goes through the GELU */
    bool backward;    /* a gradient of the input is wanted, too */
} LinearShape;

typedef struct RecipeShapes {
    int recipes, attentions, linears;
    AttentionShape attention[SHAPES_MAX];
    LinearShape linear[SHAPES_MAX]; /* of recipes in bfloat16, no two the same but for rows */
} RecipeShapes;

/* A device that is asked for nothing but sizes, and writes down which weights it would keep. */
typedef struct Recorder {
    Device device; /* first: a Recorder is a Device */
    RecipeShapes *shapes;
    const ModelConfig *config;
    int64_t rows;
} Recorder;

static inline size_t record_linear(const LinearWeights *weights, Device *device) {
    const Recorder *r = (const Recorder *)(const void *)device;
    const ModelConfig *c = r->config;
    LinearShape shape = {
        .rows = r->rows, .in = weights->in, .out = weights->out, .backward = weights->backward};
    shape.gelu = (shape.in == c->dim && shape.out == c->hidden && !c->swiglu) ||
                 (shape.in == c->pred_dim && shape.out == c->pred_hidden && !c->pred_swiglu);
    shape.before_gelu = (shape.in == c->hidden && shape.out == c->dim && !c->swiglu) ||
                        (shape.in == c->pred_hidden && shape.out == c->pred_dim && !c->pred_swiglu);
    for (int i = 0; i < r->shapes->linears; i++) {
        LinearShape *known = &r->shapes->linear[i];
        if (known->in != shape.in || known->out != shape.out)
            continue;
        known->rows = known->rows > shape.rows ? known->rows : shape.rows;
        known->gelu |= shape.gelu;
        known->before_gelu |= shape.before_gelu;
        known->backward |= shape.backward;
        return 0;
    }
    JEPA_ASSERT(r->shapes->linears < SHAPES_MAX);
    r->shapes->linear[r->shapes->linears++] = shape;
    return 0;
}

static inline void add_attention(RecipeShapes *shapes, const char *path, const Recipe *recipe,
                                 const char *network, bool causal, const SdpaNeed *need) {
    JEPA_ASSERT(shapes->attentions < SHAPES_MAX);
    AttentionShape *a = &shapes->attention[shapes->attentions++];
    char *copy = memory_text("%s", path);
    *a = (AttentionShape){
        .network = network, .need = *need, .precision = recipe_precision(recipe), .causal = causal};
    snprintf(a->recipe, sizeof a->recipe, "%s", basename(copy));
    free(copy);
}

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Every network of a stream reads its own packed sequences. */
static inline void add_jepa(RecipeShapes *shapes, const char *path, const Recipe *recipe,
                            const Stream *stream) {
    const ModelPlan *p = &stream->plan;
    const ModelConfig *c = &p->config;
    EncoderConfig teacher = config_teacher(c);
    int64_t tokens = mask_grid_tokens(config_grid(c)), joined = p->joined ? p->joined : p->context;
    int64_t one = tokens; /* context tokens of a sample, over its contexts */
    bool overlap = false;
    for (int i = 0; i < stream->capacities; i++)
        if (stream->capacity[i].samples == 1)
            one = stream->capacity[i].context;
    for (int m = 0; m < stream->mask_recipe.settings; m++)
        overlap = overlap || stream->mask_recipe.setting[m].allow_overlap;
    add_attention(shapes, path, recipe, "target encoder", c->causal,
                  &(SdpaNeed){.heads = teacher.heads,
                              .head = teacher.dim / teacher.heads,
                              .sequences = p->samples,
                              .shortest = tokens,
                              .longest = tokens,
                              .rows = p->samples * tokens});
    add_attention(shapes, path, recipe, "context encoder", c->causal,
                  &(SdpaNeed){.heads = c->heads,
                              .head = c->dim / c->heads,
                              .sequences = (int64_t)p->samples * p->contexts,
                              .shortest = 1,
                              .longest = smaller(tokens, one),
                              .rows = p->context,
                              .lse = true,
                              .backward = true});
    add_attention(shapes, path, recipe, "predictor", false,
                  &(SdpaNeed){.heads = c->pred_heads,
                              .head = c->pred_dim / c->pred_heads,
                              .sequences = (int64_t)p->samples * p->settings,
                              .shortest = 1,
                              .longest = overlap ? 2 * tokens : tokens,
                              .rows = joined + p->target,
                              .lse = true,
                              .backward = true});
}

/* A teacher-free run: global and local views, each a class token and the tokens that are kept. */
static inline void add_sigreg(RecipeShapes *shapes, const char *path, const Recipe *recipe,
                              const Stream *stream) {
    static const char *const names[2] = {"global views", "local views"};
    ModelConfig c = stream->plan.config;
    for (int k = 0; k < 2; k++) {
        int64_t views = k ? recipe->sigreg.local_crops_number : 1;
        if (k)
            c.height = c.width = recipe->sigreg.local_size;
        int64_t rows = 1 + mask_drop_count(mask_grid_tokens(config_grid(&c)),
                                           recipe->sigreg.token_drop_rate);
        if (views)
            add_attention(shapes, path, recipe, names[k], c.causal,
                          &(SdpaNeed){.heads = c.heads,
                                      .head = c.dim / c.heads,
                                      .sequences = stream->plan.samples * views,
                                      .shortest = rows,
                                      .longest = rows,
                                      .rows = stream->plan.samples * views * rows,
                                      .lse = true,
                                      .backward = true});
    }
}

static inline int64_t most_rows(const Stream *stream) {
    const ModelPlan *p = &stream->plan;
    return (p->joined > p->context ? p->joined : p->context) + p->target;
}

static inline int add_recipe(RecipeShapes *shapes, const char *path, Device *cpu, Error *error) {
    Recipe recipe;
    recipe_default(&recipe);
    if (recipe_load(&recipe, path, error) || recipe_check(&recipe, error)) {
        recipe_free(&recipe);
        return -1;
    }
    Recorder recorder = {.device = *cpu, .shapes = shapes};
    TrainerConfig config = {.recipe = &recipe, .device = cpu, .loader_threads = 1};
    Training training = {.config = &config, .recipe = &recipe};
    TrainerPlan plan;
    if (training_start(&training, error)) {
        recipe_free(&recipe);
        return -1;
    }
    training_measure(&plan, &training);
    for (int i = 0; i < training.streams; i++) {
        Stream *s = &training.stream[i];
        if (recipe.objective == OBJECTIVE_SIGREG)
            add_sigreg(shapes, path, &recipe, s);
        else
            add_jepa(shapes, path, &recipe, s);
        int64_t rows = most_rows(s);
        recorder.rows = rows > recorder.rows ? rows : recorder.rows;
    }
    if (recipe_precision(&recipe) == PRECISION_BFLOAT16) { /* once more, to be written down */
        Arena arena;
        size_t scratch;
        recorder.device.linear_weights_bytes = record_linear;
        recorder.config = &training.stream[0].plan.config;
        model_measure(&arena, &scratch, &training.stream[0].plan, &recorder.device);
    }
    training_forget(&training);
    recipe_free(&recipe);
    shapes->recipes++;
    return 0;
}

/* All of experiments/recipes. Caller frees. */
static inline RecipeShapes *recipe_shapes(const char *source_folder, Error *error) {
    RecipeShapes *shapes = memory_new(1, sizeof *shapes);
    char *pattern = memory_text("%s/experiments/recipes/*.yaml", source_folder);
    glob_t files;
    Device *cpu = NULL;
    int status = device_open(&cpu, "cpu", 1, error);
    if (!status && glob(pattern, 0, NULL, &files))
        status = error_set(error, ERROR_RUN, "no recipes: %s", pattern);
    for (size_t i = 0; !status && i < files.gl_pathc; i++)
        status = add_recipe(shapes, files.gl_pathv[i], cpu, error);
    if (cpu)
        globfree(&files);
    device_close(cpu);
    free(pattern);
    return shapes;
}

#endif
