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

typedef struct Fixture {
    Device *device;
    Model model;
    MaskRecipe recipe;
    MaskGroup masks;
    uint8_t *pixels, mirror[SAMPLES];
    LossWeights weights;
} Fixture;

static Fixture make(int threads) {
    Fixture f = {.recipe = {.settings = 2, .samples = SAMPLES, .grid = {2, 4, 4}}};
    Error error = {0};
    for (int m = 0; m < 2; m++)
        f.recipe.setting[m] = (MaskSetting){.num_blocks = 2,
                                            .aspect_ratio = {0.75, 1.5},
                                            .spatial_scale = {0.3, 0.3},
                                            .temporal_scale = {1, 1},
                                            .max_temporal_keep = m ? 0.5 : 1};
    ModelPlan plan = {.config = config,
                      .samples = SAMPLES,
                      .settings = 2,
                      .context = 2 * SAMPLES * 32,
                      .target = 2 * SAMPLES * 32,
                      .training = true};
    assert_int_equal(device_open(&f.device, "cpu", threads, &error), 0);
    assert_int_equal(model_new(&f.model, &plan, f.device, &error), 0);
    model_init(&f.model, 5);
    mask_group_new(&f.masks, &f.recipe, plan.context, plan.target);
    mask_group_draw(&f.masks, &f.recipe, 1, 2, 0, NULL);
    size_t clip = 3 * 4 * 16 * 16;
    f.pixels = malloc(SAMPLES * clip);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < SAMPLES * clip; i++)
        f.pixels[i] = (uint8_t)random_below(&random, 256);
    f.mirror[1] = 1;
    f.weights = (LossWeights){.power = 2, .reg_coeff = 0.3, .reg_weight = 1.0 / (SAMPLES * 24)};
    for (int m = 0; m < 2; m++)
        f.weights.element[m] =
            1.0 /
            (2.0 * 24 * (f.masks.cu_target[(m + 1) * SAMPLES] - f.masks.cu_target[m * SAMPLES]));
    return f;
}

static void drop(Fixture *f) {
    model_free(&f->model);
    mask_group_free(&f->masks);
    device_close(f->device);
    free(f->pixels);
}

static double loss_of(Fixture *f, bool backward) {
    ModelInput input = {.samples = SAMPLES, .pixels = f->pixels, .mirror = f->mirror};
    model_begin_step(&f->model);
    model_set_input(&f->model, &input);
    model_set_masks(&f->model, &f->masks, SAMPLES);
    model_forward_target(&f->model, SAMPLES);
    model_forward_prediction(&f->model, SAMPLES, &f->weights);
    if (backward)
        model_backward(&f->model, SAMPLES, &f->weights);
    model_finish_gradients(&f->model, f->weights.reg_coeff);
    return f->model.scalars->total;
}

/* Along its own gradient g a tensor's loss changes by |g|² per unit. The step moves the loss by
 * about 2e-3 of itself: large against float32 rounding of the activations (1e-6), small against
 * curvature, so the two agree within 2%. The keys' bias has no gradient in exact arithmetic and is
 * left out. */
static void gradient_is_the_slope_of_the_loss(void **state) {
    (void)state;
    Fixture f = make(2);
    double loss = loss_of(&f, true);
    int64_t total = f.model.table.total;
    float *gradient = malloc(sizeof *gradient * (size_t)total);
    memcpy(gradient, f.model.gradients, sizeof *gradient * (size_t)total);
    for (size_t i = 0; i < f.model.table.count; i++) {
        const Parameter *p = &f.model.table.parameters[i];
        double square = 0;
        for (int64_t k = 0; k < p->count; k++)
            square += (double)gradient[p->offset + k] * gradient[p->offset + k];
        assert_true(square > 0); /* every parameter is reached */
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
            fail_msg("%s: slope %g, gradient squared %g", p->name, slope, square);
    }
    free(gradient);
    drop(&f);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    Fixture one = make(1);
    loss_of(&one, true);
    for (int threads = 2; threads <= 4; threads++) {
        Fixture many = make(threads);
        loss_of(&many, true);
        assert_memory_equal(one.model.gradients, many.model.gradients,
                            (size_t)one.model.table.total * sizeof(float));
        assert_memory_equal(one.model.scalars, many.model.scalars, sizeof *one.model.scalars);
        drop(&many);
    }
    drop(&one);
}

/* Packed sequences do not see each other: sample 0 alone predicts the same. */
static void samples_do_not_mix(void **state) {
    (void)state;
    Fixture f = make(2);
    loss_of(&f, false);
    int64_t width = config.dim, first = f.masks.cu_target[1];
    float *together = malloc(sizeof *together * (size_t)(first * width));
    memcpy(together, f.model.z, sizeof *together * (size_t)(first * width));
    memset(f.pixels + 3 * 4 * 16 * 16, 99, 3 * 4 * 16 * 16); /* another second clip */
    loss_of(&f, false);
    assert_memory_equal(together, f.model.z, sizeof *together * (size_t)(first * width));
    free(together);
    drop(&f);
}

static void update_is_a_step_down(void **state) {
    (void)state;
    Fixture f = make(2);
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
        cmocka_unit_test(samples_do_not_mix),
        cmocka_unit_test(update_is_a_step_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
