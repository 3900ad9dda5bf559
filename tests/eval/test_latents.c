/* Latents: errors, skill, cosine and spread of predictions with known answers; the passes agree
 * with the model's own loss; which mask token stands for what is hidden; pictures have the sizes
 * they promise. */
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
        assert_true(l.mask[m].mean > 0.5 && l.mask[m].nearest > 0.5);
        assert_true(fabs(l.mask[m].cosine - 1) < 1e-9);
        assert_true(fabs(l.mask[m].spread - 1) < 1e-6);
    }
    assert_true(fabs(l.mask[0].share - 8.0 / 24) < 1e-12);
    assert_int_equal(l.mask[0].seen_count, 16);
    assert_int_equal(l.mask[1].seen_first, 16);
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
    assert_true(mean->mean < mean->nearest); /* random features: the mean is the better guess */
    assert_true(fabs(mean->skill) < 1e-6 && mean->spread < 1e-6);
    assert_true(fabs(mean->error - mean->mean) < 1e-6);
    assert_true(fabs(shifted->error - 1) < 1e-6 && fabs(shifted->spread - 1) < 1e-6);
    for (int64_t i = shifted->first; i < l.hidden; i++)
        assert_true(fabsf(l.error[i] - 1) < 1e-5f);

    l.predicted[7] = NAN;
    assert_int_equal(latents_measure(&l, &error), -1);
    assert_non_null(strstr(error.text, "finite"));
    latents_free(&l);
}

static ModelConfig small_config(void) {
    return (ModelConfig){.frames = 4,
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
}

static uint8_t *noise(void) {
    size_t bytes = (size_t)3 * 4 * 16 * 16;
    uint8_t *pixels = memory_new(bytes, 1);
    Random random = random_at(6, RANDOM_WEIGHTS, 0, 0);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)random_below(&random, 256);
    return pixels;
}

/* A small model with initial weights, over noise. */
static void passes_agree_with_the_loss(void **state) {
    (void)state;
    Error error = {0};
    ModelConfig config = small_config();
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
    uint8_t *pixels = noise();

    Latents l;
    assert_int_equal(latents_compute(&l, &model, &(ModelInput){.samples = 1, .pixels = pixels},
                                     &masks, -1, &error),
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
    /* targets and the context's latents are normalised over their features */
    for (int64_t i = 0; i < tokens + l.visible; i++) {
        const float *row = i < tokens ? l.target + i * config.dim
                                      : l.seen + (i - tokens) * config.dim;
        double square = 0, sum = 0;
        for (int d = 0; d < config.dim; d++) {
            square += row[d] * row[d];
            sum += row[d];
        }
        assert_true(fabs(square / config.dim - 1) < 1e-2 && fabs(sum) < 1e-3);
    }
    latents_free(&l);
    mask_group_free(&masks);
    free(pixels);
    model_free(&model);
    device_close(device);
}

/* The mask token that is asked for is the one that is used: with token 1 for both settings, the
 * first predicts something else, the second what it did. */
static void mask_tokens(void **state) {
    (void)state;
    Error error = {0};
    Latents l[2];
    uint8_t *pixels = noise();
    for (int asked = 0; asked < 2; asked++) {
        ModelConfig config = small_config();
        config.token_by_length = asked;
        MaskGrid grid = config_grid(&config);
        int tokens = mask_grid_tokens(grid);
        MaskGroup masks;
        Device *device;
        Model model;
        ModelPlan plan = {.config = config,
                          .samples = 1,
                          .settings = 2,
                          .context = 2 * tokens,
                          .target = 2 * tokens};
        assert_int_equal(device_open(&device, "cpu", 2, &error), 0);
        assert_int_equal(model_new(&model, &plan, device, &error), 0);
        model_init(&model, 3);
        make_masks(&masks, grid);
        ModelInput input = {.samples = 1, .pixels = pixels};
        assert_int_equal(latents_compute(&l[asked], &model, &input, &masks, asked ? 1 : -1, &error),
                         0);
        mask_group_free(&masks);
        model_free(&model);
        device_close(device);
    }
    for (int m = 0; m < 2; m++) {
        const LatentMask *mask = &l[0].mask[m];
        double most = 0;
        for (int64_t i = mask->first * l[0].width; i < (mask->first + mask->count) * l[0].width;
             i++)
            most = fmax(most, fabs((double)l[0].predicted[i] - l[1].predicted[i]));
        assert_true(m ? most < 1e-6 : most > 1e-3);
    }
    latents_free(&l[0]);
    latents_free(&l[1]);
    free(pixels);
}

/* Whole pixels to a token, unless there are more tokens than that; no wider than asked for. */
static void tiles_fit(void **state) {
    (void)state;
    for (int time = 1; time <= 128; time++)
        for (int side = 1; side <= 64; side++) {
            int width, height = latent_tile(&width, (MaskGrid){time, side, side}, 0);
            assert_in_range(height, 72, 288);
            assert_int_equal(width, height);
            assert_true(height % side == 0 || side > 24);
        }
    int width;
    assert_int_equal(latent_tile(&width, (MaskGrid){8, 14, 14}, 0), 140);
    assert_int_equal(latent_tile(&width, (MaskGrid){8, 14, 14}, 224), 224);
    assert_int_equal(latent_tile(&width, (MaskGrid){8, 7, 14}, 70), 70);
    assert_int_equal(width, 140);
    assert_int_equal(token_tile(&width, (MaskGrid){1, 4, 400}, 100, 200), 2);
    assert_int_equal(width, 200);
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

/* 40 time steps: 16 of them are shown; `only` 1 leaves mask 0 out; tokens wider than high. */
static void long_clips_are_thinned_out(void **state) {
    (void)state;
    Error error = {0};
    char folder[] = "/tmp/jepa_latents_XXXXXX";
    assert_non_null(mkdtemp(folder));
    MaskGrid grid = {40, 3, 4};
    Latents l;
    LatentRows rows = {0};
    LatentAxes axes;
    LatentPaint paint;
    make_latents(&l, grid);
    assert_int_equal(latents_measure(&l, &error), 0);
    latent_rows_add(&rows, l.target, (size_t)l.tokens, l.width);
    assert_int_equal(latent_axes_fit(&axes, &rows, &error), 0);
    latent_paint_new(&paint, &l, &axes, UPSCALE_NEAREST);
    latent_errors_range(&paint.low, &paint.high, &l);
    double seconds[40] = {0};
    int64_t numbers[40] = {0};
    const char *const texts[2] = {"every third", "the later half"};
    int tile, wide;
    tile = latent_tile(&wide, grid, 0);
    uint8_t *black = memory_new((size_t)tile * (size_t)wide, 3);
    const uint8_t *frames[40];
    for (int t = 0; t < 40; t++)
        frames[t] = black;
    LatentPictures pictures = {.paint = &paint,
                               .axes = &axes,
                               .tile_height = tile,
                               .tile_width = wide,
                               .frames = frames,
                               .whole = frames,
                               .whole_height = tile / 2,
                               .whole_width = wide,
                               .part = {0, 0, wide / 2, tile / 2},
                               .seconds = seconds,
                               .number = numbers,
                               .video = "a \xff video",
                               .origin = "nowhere",
                               .input = "12×16 pixels",
                               .mask_text = texts,
                               .mask_name = "Mask",
                               .only = 1};
    static const unsigned all[] = {LATENT_MASKS_PICTURE, LATENT_LATENTS_PICTURE,
                                   LATENT_ERRORS_PICTURE, LATENT_SHEET_PICTURE};
    static const char *const names[] = {"masks.png", "latents.png", "errors.png",
                                        "contact-sheet.png"};
    static const int tiles[] = {3, 4, 4, 8}; /* rows: of one mask */
    for (int i = 0; i < 4; i++) {
        int width, height;
        assert_int_equal(latent_picture_write(&pictures, all[i], NULL, NULL, folder, NULL, &error),
                         0);
        png_size(folder, names[i], &width, &height);
        assert_in_range(width, 16 * wide, 16 * wide + 600);
        assert_in_range(height, tiles[i] * tile, tiles[i] * (tile + 60) + 420);
    }
    assert_int_equal(folder_remove(folder, &error), 0);
    assert_int_equal(
        latent_picture_write(&pictures, LATENT_MASKS_PICTURE, NULL, NULL, folder, NULL, &error),
        -1);
    assert_non_null(strstr(error.text, folder));
    free(black);
    latent_paint_free(&paint);
    latent_axes_free(&axes);
    latent_rows_free(&rows);
    latents_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_predictions),
        cmocka_unit_test(known_errors),
        cmocka_unit_test(passes_agree_with_the_loss),
        cmocka_unit_test(mask_tokens),
        cmocka_unit_test(tiles_fit),
        cmocka_unit_test(long_clips_are_thinned_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
