/* Latents: errors, skill, cosine and spread of predictions with known answers; one set of colours
 * for both; the passes agree with the model's own loss; pictures have the sizes they promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/random.h"
#include "eval/latent_sheet.h"
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 5

/* Two masks: the first hides every third token, the second the later half. */
static void make_masks(MaskGroup *masks, MaskGrid grid) {
    int tokens = mask_grid_tokens(grid), hidden = 0, visible = 0;
    MaskRecipe recipe = {.settings = 2, .samples = 1, .grid = grid};
    mask_group_new(masks, &recipe, 2 * tokens, 2 * tokens);
    for (int m = 0; m < 2; m++) {
        for (int i = 0; i < tokens; i++)
            if (m ? i >= tokens / 2 : i % 3 == 0)
                masks->target[hidden++] = i;
            else
                masks->context[visible++] = i;
        masks->cu_target[m + 1] = hidden;
        masks->cu_context[m + 1] = visible;
    }
}

/* Targets are normal numbers, predictions zero. */
static void make_latents(Latents *latents, MaskGrid grid) {
    MaskGroup masks;
    make_masks(&masks, grid);
    latents_new(latents, grid, WIDTH, &masks, 2);
    Random random = random_at(5, RANDOM_WEIGHTS, 0, 0);
    for (int i = 0; i < latents->tokens * WIDTH; i++)
        latents->target[i] = (float)random_between(&random, -2, 3);
    mask_group_free(&masks);
}

static void perfect_predictions(void **state) {
    (void)state;
    Latents l;
    Error error = {0};
    make_latents(&l, (MaskGrid){2, 3, 4});
    assert_int_equal(l.hidden, 8 + 12);
    for (int64_t i = 0; i < l.hidden; i++)
        memcpy(l.predicted + i * WIDTH, l.target + l.token[i] * WIDTH, WIDTH * sizeof(float));
    assert_int_equal(latents_measure(&l, &error), 0);
    for (int m = 0; m < 2; m++) {
        assert_true(l.mask[m].error == 0 && l.mask[m].skill == 1);
        assert_true(l.mask[m].trivial > 0.5);
        assert_true(fabs(l.mask[m].cosine - 1) < 1e-9);
        assert_true(fabs(l.mask[m].spread - 1) < 1e-6);
    }
    assert_true(fabs(l.mask[0].share - 8.0 / 24) < 1e-12);
    for (int64_t i = 0; i < l.hidden; i++)
        for (int k = 0; k < LATENT_COLORS; k++) {
            float answer = l.target_rgb[l.token[i] * LATENT_COLORS + k];
            assert_true(answer >= 0 && answer <= 1);
            assert_true(fabsf(answer - l.predicted_rgb[i * LATENT_COLORS + k]) < 1e-5f);
        }
    assert_true(l.variance[0] >= l.variance[1] && l.variance[1] >= l.variance[2]);
    assert_true(l.variance[0] + l.variance[1] + l.variance[2] <= 1 + 1e-9);
    latents_free(&l);
}

/* The mean of the answers has skill 0 and no spread; a shift by 1 has error 1. */
static void known_errors(void **state) {
    (void)state;
    Latents l;
    Error error = {0};
    make_latents(&l, (MaskGrid){2, 3, 4});
    const LatentMask *mean = &l.mask[0], *shifted = &l.mask[1];
    for (int d = 0; d < WIDTH; d++) {
        double sum = 0;
        for (int64_t i = 0; i < mean->count; i++)
            sum += l.target[l.token[i] * WIDTH + d];
        for (int64_t i = 0; i < mean->count; i++)
            l.predicted[i * WIDTH + d] = (float)(sum / (double)mean->count);
    }
    for (int64_t i = shifted->first; i < l.hidden; i++)
        for (int d = 0; d < WIDTH; d++)
            l.predicted[i * WIDTH + d] = l.target[l.token[i] * WIDTH + d] + (d % 2 ? 1.0f : -1.0f);
    assert_int_equal(latents_measure(&l, &error), 0);
    assert_true(fabs(mean->skill) < 1e-6 && mean->spread < 1e-6);
    assert_true(fabs(mean->error - mean->trivial) < 1e-6);
    assert_true(fabs(shifted->error - 1) < 1e-6 && fabs(shifted->spread - 1) < 1e-6);
    for (int64_t i = shifted->first; i < l.hidden; i++)
        assert_true(fabsf(l.error[i] - 1) < 1e-5f);

    l.predicted[7] = NAN;
    assert_int_equal(latents_measure(&l, &error), -1);
    assert_non_null(strstr(error.text, "finite"));
    latents_free(&l);
}

/* A small model with initial weights, over noise. */
static void passes_agree_with_the_loss(void **state) {
    (void)state;
    Error error = {0};
    ModelConfig config = {.frames = 4,
                          .height = 16,
                          .width = 16,
                          .tubelet = 2,
                          .patch = 4,
                          .trained_frames = 4,
                          .trained_height = 16,
                          .trained_width = 16,
                          .dim = 24,
                          .depth = 2,
                          .heads = 2,
                          .hidden = 48,
                          .pred_dim = 12,
                          .pred_depth = 1,
                          .pred_heads = 2,
                          .pred_hidden = 24,
                          .mask_tokens = 2,
                                   .used_mask_tokens = 2,
                          .init_std = 0.2};
    MaskGrid grid = config_grid(&config);
    MaskGroup masks;
    Device *device;
    Model model;
    int tokens = mask_grid_tokens(grid);
    ModelPlan plan = {
        .config = config, .samples = 1, .settings = 2, .context = 2 * tokens, .target = 2 * tokens};
    assert_int_equal(config_check(&config, &error), 0);
    assert_int_equal(device_open(&device, "cpu", 2, &error), 0);
    assert_int_equal(model_new(&model, &plan, device, &error), 0);
    model_init(&model, 3);
    make_masks(&masks, grid);
    size_t bytes = (size_t)3 * 4 * 16 * 16;
    uint8_t *pixels = memory_new(bytes, 1);
    Random random = random_at(6, RANDOM_WEIGHTS, 0, 0);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)random_below(&random, 256);

    Latents l;
    assert_int_equal(
        latents_compute(&l, &model, &(ModelInput){.samples = 1, .pixels = pixels}, &masks, &error),
        0);
    assert_int_equal(l.tokens, tokens);
    LossWeights weights = {.power = 1};
    for (int m = 0; m < 2; m++)
        weights.element[m] = 1.0 / ((double)l.mask[m].count * config.dim);
    ModelScalars scalars;
    device->zero(model.scalars, sizeof scalars, device);
    model_forward_prediction(&model, 1, &weights);
    device->download(&scalars, model.scalars, sizeof scalars, device);
    for (int m = 0; m < 2; m++) {
        assert_true(l.mask[m].error > 0.01);
        assert_true(fabs(l.mask[m].error - scalars.loss[m]) < 1e-5 * scalars.loss[m]);
    }
    /* targets are normalised over their features */
    for (int i = 0; i < tokens; i++) {
        double square = 0;
        for (int d = 0; d < config.dim; d++)
            square += l.target[i * config.dim + d] * l.target[i * config.dim + d];
        assert_true(fabs(square / config.dim - 1) < 1e-2);
    }
    latents_free(&l);
    mask_group_free(&masks);
    free(pixels);
    model_free(&model);
    device_close(device);
}

static void tiles_fit(void **state) {
    (void)state;
    for (int time = 1; time <= 128; time++)
        for (int side = 1; side <= 64; side++) {
            int tile = latent_tile((MaskGrid){time, side, side});
            assert_in_range(tile, 128, 256);
            assert_true(tile % side == 0 || side > 50);
        }
    assert_int_equal(latent_tile((MaskGrid){8, 14, 14}), 196);
}

static void png_size(const char *folder, const char *name, int *width, int *height) {
    char *path = path_join(folder, name);
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, path))
        fail_msg("%s: %s", path, image.message);
    *width = (int)image.width;
    *height = (int)image.height;
    png_image_free(&image);
    free(path);
}

/* 40 time steps: 16 of them are shown; --mask 1 leaves mask 0 out. */
static void long_clips_are_thinned_out(void **state) {
    (void)state;
    Error error = {0};
    char folder[] = "/tmp/jepa_latents_XXXXXX";
    assert_non_null(mkdtemp(folder));
    MaskGrid grid = {40, 3, 4};
    Latents l;
    make_latents(&l, grid);
    assert_int_equal(latents_measure(&l, &error), 0);
    double seconds[40] = {0};
    int64_t numbers[40] = {0};
    const char *const texts[2] = {"every third", "the later half"};
    LatentPictures pictures = {.latents = &l,
                               .tile = latent_tile(grid),
                               .seconds = seconds,
                               .number = numbers,
                               .video = "a \xff video",
                               .origin = "nowhere",
                               .input = "12×16 pixels",
                               .mask_text = texts,
                               .only = 1};
    uint8_t *frames = memory_new((size_t)40 * 3, (size_t)pictures.tile * (size_t)pictures.tile);
    pictures.frames = frames;
    assert_int_equal(latent_pictures_write(&pictures, folder, NULL, &error), 0);
    int width, height;
    png_size(folder, "contact-sheet.png", &width, &height);
    assert_in_range(width, 16 * pictures.tile, 16 * pictures.tile + 600);
    assert_in_range(height, 7 * pictures.tile, 7 * pictures.tile + 900);
    png_size(folder, "error-1.png", &width, &height);
    char *absent = path_join(folder, "mask-0.png");
    assert_false(file_exists(absent));
    free(absent);
    assert_int_equal(folder_remove(folder, &error), 0);
    assert_int_equal(latent_pictures_write(&pictures, folder, NULL, &error), -1);
    assert_non_null(strstr(error.text, folder));
    free(frames);
    latents_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_predictions),        cmocka_unit_test(known_errors),
        cmocka_unit_test(passes_agree_with_the_loss), cmocka_unit_test(tiles_fit),
        cmocka_unit_test(long_clips_are_thinned_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
