/* The whole model, without values from elsewhere: its gradient against differences of its loss,
 * packed against one sample at a time, and the same bits for any number of threads. */
#include "base/random.h"
#include "jepa/model.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLES 2

/* A small model of the first kind; the variants change it. */
static const ModelConfig config = {.frames = 4,
                                   .height = 16,
                                   .width = 16,
                                   .tubelet = 2,
                                   .patch = 4,
                                   .trained_frames = 4,
                                   .trained_height = 16,
                                   .trained_width = 16,
                                   .dim = 24,
                                   .depth = 2,
                                   .heads = 3,
                                   .hidden = 48,
                                   .pred_dim = 20,
                                   .pred_depth = 2,
                                   .pred_heads = 2,
                                   .pred_hidden = 40,
                                   .mask_tokens = 2,
                                   .used_mask_tokens = 2,
                                   .uniform_power = true,
                                   .init_std = 0.2};

/* The networks of the family. */
typedef enum Variant {
    SINCOS,   /* V-JEPA 1 */
    ROTARY,   /* V-JEPA 2: tiled rotary positions, SwiGLU, stochastic depth, not square */
    DENSE,    /* V-JEPA 2.1: four levels, context loss by distance, modality embeddings */
    PICTURES, /* 2.1's second kind of input, beside DENSE's weights: its own patch embedding */
    PLANE,    /* I-JEPA: pictures, three targets from one context, smooth L1 */
    LENGTHS,  /* V-JEPA 2 with clips of two lengths */
    TEACHER,  /* another, frozen encoder as the target */
    VARIANTS
} Variant;

static const char *const variant_names[VARIANTS] = {"sincos", "rotary",  "dense",  "pictures",
                                                    "plane",  "lengths", "teacher"};

static ModelConfig config_of(Variant variant) {
    ModelConfig c = config;
    if (variant == ROTARY || variant == DENSE || variant == PICTURES || variant == LENGTHS)
        c.positions = POSITIONS_ROPE_TILED;
    if (variant == ROTARY) {
        c.swiglu = c.pred_swiglu = true;
        c.drop_path = 0.4;
        c.width = c.trained_width = 12;
        c.token_by_length = true;
        c.used_mask_tokens = 1;
    }
    if (variant == DENSE || variant == PICTURES) {
        c.positions = POSITIONS_ROPE;
        c.rope_side = 16;
        c.depth = 4;
        c.norms = c.levels = 4;
        c.modality = c.image_patches = c.context_loss = true;
    }
    if (variant == PICTURES || variant == PLANE)
        c.frames = c.trained_frames = c.tubelet = 1;
    if (variant == PLANE) {
        c.plane = true;
        c.mask_tokens = c.used_mask_tokens = 1;
    }
    if (variant == LENGTHS)
        c.token_by_length = true;
    if (variant == TEACHER) {
        c.frozen = true;
        c.teacher = (EncoderConfig){.dim = 16,
                                    .depth = 1,
                                    .heads = 2,
                                    .hidden = 32,
                                    .positions = POSITIONS_ROPE_TILED,
                                    .norms = 1};
    }
    return c;
}

typedef struct Fixture {
    Device *device;
    Model model;
    MaskRecipe recipe;
    MaskGroup masks;
    uint8_t *pixels, mirror[SAMPLES];
    LossWeights weights;
    double length_weights[2][MASK_SETTINGS_MAX];
    int frames[SAMPLES], steps[SAMPLES], length[SAMPLES];
    Variant variant;
} Fixture;

static void set_weights(Fixture *f, const ModelConfig *c) {
    int settings = f->recipe.settings, width = f->model.target_width;
    f->weights = (LossWeights){.power = f->variant == PLANE ? LOSS_SMOOTH_L1 : 2,
                               .by_distance = f->variant == DENSE,
                               .reg_coeff = f->variant == SINCOS ? 0.3 : 0,
                               .reg_weight = 1.0 / (SAMPLES * width)};
    for (int m = 0; m < settings; m++) {
        int e = f->masks.context_of[m];
        double targets = f->masks.cu_target[(m + 1) * SAMPLES] - f->masks.cu_target[m * SAMPLES];
        double contexts = f->masks.cu_context[(e + 1) * SAMPLES] - f->masks.cu_context[e * SAMPLES];
        f->weights.element[m] = 1.0 / (settings * width * targets);
        f->weights.context[m] = c->context_loss ? 0.5 / (settings * width * contexts) : 0;
        f->length_weights[0][m] = 0.25;
        f->length_weights[1][m] = 1.5;
    }
    if (f->variant == LENGTHS)
        f->weights.length = (const double(*)[MASK_SETTINGS_MAX])f->length_weights;
}

static Fixture make_as(Variant variant, int threads, Precision precision, bool checkpointing) {
    ModelConfig c = config_of(variant);
    Fixture f = {.variant = variant, .recipe = {.samples = SAMPLES, .grid = config_grid(&c)}};
    Error error = {0};
    if (variant == PLANE) {
        MaskSetting setting = {.kind = MASK_IJEPA,
                               .aspect_ratio = {0.75, 1.5},
                               .pred_mask_scale = {0.2, 0.3},
                               .enc_mask_scale = {0.85, 1},
                               .min_keep = 1};
        mask_ijepa(&f.recipe, &setting, 3);
    } else {
        f.recipe.settings = 2;
        for (int m = 0; m < 2; m++)
            f.recipe.setting[m] = (MaskSetting){.num_blocks = 2,
                                                .aspect_ratio = {0.75, 1.5},
                                                .spatial_scale = {0.3, 0.3},
                                                .temporal_scale = {1, 1},
                                                .max_temporal_keep = m ? 0.5 : 1};
    }
    int settings = f.recipe.settings, most = settings * SAMPLES * 32;
    ModelPlan plan = {.config = c,
                      .samples = SAMPLES,
                      .settings = settings,
                      .contexts = mask_contexts(&f.recipe),
                      .context = most,
                      .target = most,
                      .picture = variant == PICTURES,
                      .training = true,
                      .checkpointing = checkpointing};
    assert_int_equal(config_check(&c, &error), 0);
    assert_int_equal(device_open(&f.device, "cpu", threads, &error), 0);
    assert_int_equal(device_set_precision(f.device, precision, true), precision);
    assert_int_equal(model_new(&f.model, &plan, f.device, &error), 0);
    model_init(&f.model, 5);
    if (c.teacher.dim)
        for (int64_t i = 0; i < f.model.target_table.owner[OWNER_ENCODER].end; i++)
            f.model.target[i] = (float)(0.3 * sin((double)i));
    for (int b = 0; b < SAMPLES; b++) { /* the second clip has half of the frames */
        f.length[b] = variant == LENGTHS ? b : 0;
        f.frames[b] = c.frames / (f.length[b] + 1);
        f.steps[b] = f.frames[b] / c.tubelet;
    }
    mask_group_new(&f.masks, &f.recipe, plan.context, plan.target);
    mask_group_draw(&f.masks, &f.recipe, 1, 2, 0, f.steps);
    size_t clip = (size_t)(3 * c.frames * c.height * c.width);
    f.pixels = malloc(SAMPLES * clip);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < SAMPLES * clip; i++)
        f.pixels[i] = (uint8_t)random_below(&random, 256);
    f.mirror[1] = 1;
    set_weights(&f, &c);
    return f;
}

static Fixture make(Variant variant, int threads) {
    return make_as(variant, threads, PRECISION_FLOAT32, false);
}

static void drop(Fixture *f) {
    model_free(&f->model);
    mask_group_free(&f->masks);
    device_close(f->device);
    free(f->pixels);
}

static double loss_of(Fixture *f, bool backward) {
    /* addresses inside the fixture, which may have been moved since */
    if (f->weights.length)
        f->weights.length = (const double(*)[MASK_SETTINGS_MAX])f->length_weights;
    ModelInput input = {.samples = SAMPLES,
                        .pixels = f->pixels,
                        .mirror = f->mirror,
                        .frames = f->variant == LENGTHS ? f->frames : NULL};
    model_begin_step(&f->model);
    model_set_input(&f->model, &input);
    model_set_masks(&f->model, &f->masks, SAMPLES);
    if (f->variant == LENGTHS)
        model_set_lengths(&f->model, f->length, SAMPLES);
    model_set_drops(&f->model, 0, SAMPLES, SAMPLES, 3, 4, 0);
    model_forward_target(&f->model, SAMPLES);
    model_forward_prediction(&f->model, SAMPLES, &f->weights);
    if (backward)
        model_backward(&f->model, SAMPLES, &f->weights);
    model_finish_gradients(&f->model, f->weights.reg_coeff);
    return f->model.scalars->total;
}

/* Parameters that this variant does not use: the other modality's, mask tokens to spare. */
static bool is_unused(Variant variant, const char *name) {
    const char *other = variant == PICTURES ? "video_mod" : "img";
    if (strstr(name, other))
        return true;
    if (variant == PICTURES && strstr(name, "encoder.patch_embed.proj"))
        return true;
    return variant == ROTARY && !strcmp(name, "predictor.mask_tokens.1");
}

/* Along its own gradient g a tensor's loss changes by |g|² per unit. The step moves the loss by
 * about 2e-3 of itself: large against float32 rounding of the activations (1e-6), small against
 * curvature, so the two agree within 2%. The keys' bias has no gradient in exact arithmetic and is
 * left out. */
static void check_slopes(Variant variant) {
    Fixture f = make(variant, 2);
    double loss = loss_of(&f, true);
    int64_t total = f.model.table.total;
    float *gradient = malloc(sizeof *gradient * (size_t)total);
    memcpy(gradient, f.model.gradients, sizeof *gradient * (size_t)total);
    for (size_t i = 0; i < f.model.table.count; i++) {
        const Parameter *p = &f.model.table.parameters[i];
        double square = 0;
        for (int64_t k = 0; k < p->count; k++)
            square += (double)gradient[p->offset + k] * gradient[p->offset + k];
        if (is_unused(variant, p->name)) {
            assert_true(square == 0);
            continue;
        }
        if (!(square > 0)) /* every parameter is reached */
            fail_msg("%s: %s has no gradient", variant_names[variant], p->name);
        double step = 1e-3 * loss / square, ends[2];
        float *kept = malloc(sizeof *kept * (size_t)p->count);
        memcpy(kept, f.model.weights + p->offset, sizeof *kept * (size_t)p->count);
        for (int side = 0; side < 2; side++) {
            for (int64_t k = 0; k < p->count; k++)
                f.model.weights[p->offset + k] = (float)(kept[k] + (side ? step : -step) *
                                                                       gradient[p->offset + k]);
            ends[side] = loss_of(&f, false);
        }
        memcpy(f.model.weights + p->offset, kept, sizeof *kept * (size_t)p->count);
        free(kept);
        double slope = (ends[1] - ends[0]) / (2 * step);
        if (fabs(slope - square) > 0.02 * square)
            fail_msg("%s: %s: slope %g, gradient squared %g", variant_names[variant], p->name,
                     slope, square);
    }
    free(gradient);
    drop(&f);
}

static void gradient_is_the_slope_of_the_loss(void **state) {
    (void)state;
    for (int v = 0; v < VARIANTS; v++)
        check_slopes((Variant)v);
}

/* The same bits for any number of threads, and where the blocks are computed again on the way back
 * instead of being kept; in both precisions. */
static void threads_change_no_bit(void **state) {
    (void)state;
    for (int v = 0; v < 2 * VARIANTS; v++) {
        Precision precision = v < VARIANTS ? PRECISION_FLOAT32 : PRECISION_BFLOAT16;
        Variant variant = (Variant)(v % VARIANTS);
        Fixture one = make_as(variant, 1, precision, false);
        loss_of(&one, true);
        for (int threads = 1; threads <= 4; threads++) {
            Fixture many = make_as(variant, threads, precision, threads % 2);
            loss_of(&many, true);
            assert_memory_equal(one.model.gradients, many.model.gradients,
                                (size_t)one.model.table.total * sizeof(float));
            assert_memory_equal(one.model.scalars, many.model.scalars, sizeof *one.model.scalars);
            if (threads % 2)
                assert_true(many.model.arena.by_kind[MEMORY_ACTIVATIONS] <
                            one.model.arena.by_kind[MEMORY_ACTIVATIONS]);
            drop(&many);
        }
        drop(&one);
    }
}

/* bfloat16 moves the loss by little, and takes less memory. */
static void bfloat16_is_near(void **state) {
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        Fixture exact = make((Variant)v, 2),
                half = make_as((Variant)v, 2, PRECISION_BFLOAT16, false);
        double a = loss_of(&exact, true), b = loss_of(&half, true);
        if (a == b || fabs(a - b) > 0.01 * a)
            fail_msg("%s: loss %g in bfloat16, %g in float32", variant_names[v], b, a);
        assert_true(half.model.arena.by_kind[MEMORY_ACTIVATIONS] <
                    0.8 * (double)exact.model.arena.by_kind[MEMORY_ACTIVATIONS]);
        drop(&exact);
        drop(&half);
    }
}

/* Packed sequences do not see each other: the first sample predicts the same beside any second. */
static void samples_do_not_mix(void **state) {
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        Fixture f = make((Variant)v, 2);
        loss_of(&f, false);
        const ModelConfig *c = &f.model.plan.config;
        int64_t first = f.masks.cu_target[1] * (int64_t)f.model.target_width;
        size_t clip = (size_t)(3 * c->frames * c->height * c->width);
        float *together = malloc(sizeof *together * (size_t)first);
        memcpy(together, f.model.z, sizeof *together * (size_t)first);
        memset(f.pixels + clip, 99, clip); /* another second clip */
        loss_of(&f, false);
        assert_memory_equal(together, f.model.z, sizeof *together * (size_t)first);
        free(together);
        drop(&f);
    }
}

/* Two kinds of input over one set of weights: the second model's gradients go into the first's. */
static void models_share_weights(void **state) {
    (void)state;
    Fixture f = make(DENSE, 2), alone = make(PICTURES, 2);
    Error error = {0};
    ModelPlan plan = alone.model.plan;
    Model beside;
    /* the config of the weights is the clips' one; only the input differs */
    plan.config.tubelet = 1;
    plan.beside = &f.model;
    assert_int_equal(model_new(&beside, &plan, f.device, &error), 0);
    assert_ptr_equal(beside.weights, f.model.weights);
    assert_int_equal(beside.table.total, f.model.table.total);
    double clips = loss_of(&f, true);
    int64_t total = f.model.table.total;
    float *before = malloc(sizeof *before * (size_t)total);
    memcpy(before, f.model.gradients, sizeof *before * (size_t)total);
    ModelInput input = {.samples = SAMPLES, .pixels = alone.pixels, .mirror = alone.mirror};
    model_set_input(&beside, &input);
    model_set_masks(&beside, &alone.masks, SAMPLES);
    model_forward_target(&beside, SAMPLES);
    model_forward_prediction(&beside, SAMPLES, &alone.weights);
    model_backward(&beside, SAMPLES, &alone.weights);
    model_finish_gradients(&f.model, 0);
    assert_true(f.model.scalars->total > clips); /* both losses are in it */
    for (size_t i = 0; i < f.model.table.count; i++) {
        const Parameter *p = &f.model.table.parameters[i];
        bool moved = memcmp(before + p->offset, f.model.gradients + p->offset,
                            sizeof(float) * (size_t)p->count);
        if (moved == is_unused(PICTURES, p->name))
            fail_msg("%s: pictures %s its gradient", p->name, moved ? "changed" : "left");
    }
    free(before);
    model_free(&beside);
    drop(&f);
    drop(&alone);
}

/* Stochastic depth: the same draw gives the same loss, another step another one, none at rest. */
static void drops_are_drawn_by_step(void **state) {
    (void)state;
    Fixture f = make(ROTARY, 2);
    double first = loss_of(&f, false), second = loss_of(&f, false), other[4];
    assert_true(first == second);
    bool differs = false;
    for (uint64_t step = 0; step < 4; step++) {
        model_begin_step(&f.model);
        model_set_drops(&f.model, 0, SAMPLES, SAMPLES, 3, 50 + step, 0);
        model_forward_prediction(&f.model, SAMPLES, &f.weights);
        other[step] = f.model.scalars->loss[0];
        differs = differs || other[step] != other[0];
    }
    assert_true(differs);
    drop(&f);
}

/* Outputs of several blocks side by side: the last is what is handed out without them, and every
 * one is the norm of its block's output. */
static void layers_are_handed_out(void **state) {
    (void)state;
    Fixture f = make(ROTARY, 2);
    const ModelConfig *c = &f.model.plan.config;
    Error error = {0};
    ModelPlan one = {.config = *c, .samples = SAMPLES}, two = one;
    two.layers = 2;
    two.layer[1] = 1;
    Model last, both;
    assert_int_equal(model_new(&last, &one, f.device, &error), 0);
    assert_int_equal(model_new(&both, &two, f.device, &error), 0);
    model_init(&last, 5);
    model_init(&both, 5);
    ModelInput input = {.samples = SAMPLES, .pixels = f.pixels};
    model_set_input(&last, &input);
    model_set_input(&both, &input);
    model_features(&last, SAMPLES, 't');
    model_features(&both, SAMPLES, 't');
    int64_t rows = SAMPLES * (int64_t)last.tokens, d = c->dim;
    for (int64_t i = 0; i < rows; i++) {
        assert_memory_equal(both.target_out + i * 2 * d + d, last.target_out + i * d,
                            sizeof(float) * (size_t)d);
        assert_memory_not_equal(both.target_out + i * 2 * d, last.target_out + i * d,
                                sizeof(float) * (size_t)d);
    }
    model_free(&last);
    model_free(&both);
    drop(&f);
}

static void update_is_a_step_down(void **state) {
    (void)state;
    Fixture f = make(SINCOS, 2);
    double before = loss_of(&f, true);
    AdamwSettings settings = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .momentum = 1, .step = 1};
    float *target = malloc(sizeof *target * (size_t)f.model.table.owner[OWNER_ENCODER].end);
    memcpy(target, f.model.target, sizeof *target * (size_t)f.model.table.owner[OWNER_ENCODER].end);
    model_update(&f.model, &settings);
    assert_true(loss_of(&f, false) < before);
    /* momentum 1: the target stands still */
    assert_memory_equal(target, f.model.target,
                        sizeof *target * (size_t)f.model.table.owner[OWNER_ENCODER].end);
    free(target);
    drop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_slope_of_the_loss),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(bfloat16_is_near),
        cmocka_unit_test(samples_do_not_mix),
        cmocka_unit_test(models_share_weights),
        cmocka_unit_test(drops_are_drawn_by_step),
        cmocka_unit_test(layers_are_handed_out),
        cmocka_unit_test(update_is_a_step_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
