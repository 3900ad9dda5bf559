/* The published resize: against values of the published code, and by its own formula. */
#include "base/file.h"
#include "base/safetensors.h"
#include "video/resize.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER JEPA_SOURCE_DIR "/../shared/reference/transforms"

/* Same size, no crop: the pixels themselves, normalised; mirrored when asked for. */
static void test_identity(void **state) {
    (void)state;
    uint8_t pixels[3][5 * 7];
    const uint8_t *planes[3] = {pixels[0], pixels[1], pixels[2]};
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 35; i++)
            pixels[c][i] = (uint8_t)(50 * c + 3 * i);
    float out[3 * 25];
    for (int mirror = 0; mirror < 2; mirror++) {
        resize_published(out, 25, planes, 7, 0, 1, 5, 5, 5, 5, mirror != 0);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 5; y++)
                for (int x = 0; x < 5; x++) {
                    float pixel = pixels[c][y * 7 + 1 + (mirror ? 4 - x : x)];
                    float wanted = (pixel / 255 - imagenet_mean[c]) / imagenet_std[c];
                    assert_true(fabsf(out[c * 25 + y * 5 + x] - wanted) < 1e-6f * 3);
                }
    }
}

/* Enlarged twice: half-pixel centres give 3/4 and 1/4 between neighbours, the edge at the edge. */
static void test_weights(void **state) {
    (void)state;
    uint8_t pixels[4] = {0, 200, 100, 40};
    const uint8_t *planes[3] = {pixels, pixels, pixels};
    float out[3 * 16];
    resize_published(out, 16, planes, 2, 0, 0, 2, 2, 4, 4, false);
    const float row[4] = {0, 50, 150, 200};
    for (int x = 0; x < 4; x++) {
        float wanted = (row[x] - 255 * imagenet_mean[1]) / (255 * imagenet_std[1]);
        assert_true(fabsf(out[16 + x] - wanted) < 1e-5f);
    }
}

static void test_published(void **state) {
    (void)state;
    char *path = path_join(FOLDER, "crop_resize_normalise.safetensors");
    json_t *root = json_load_file(FOLDER "/cases.json", 0, NULL);
    if (!root || !file_exists(path)) {
        print_message("no " FOLDER " here: skipped\n");
        free(path);
        skip();
    }
    Safetensors tensors;
    Error error = {0};
    if (safetensors_open(&tensors, path, &error))
        fail_msg("%s", error.text);
    const TensorInfo *frames = safetensors_find(&tensors, "frames");
    assert_non_null(frames);
    int t = (int)frames->shape[0], h = (int)frames->shape[1], w = (int)frames->shape[2];
    const uint8_t *packed = frames->data;
    size_t plane = (size_t)h * (size_t)w;
    uint8_t *pixels = memory_new(3, plane);
    const uint8_t *planes[3] = {pixels, pixels + plane, pixels + 2 * plane};
    const json_t *cases = json_object_get(root, "crop_resize_normalise");
    double worst = 0, most = 0;
    assert_true(json_array_size(cases) > 0);
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *one = json_array_get(cases, k);
        int size = (int)json_integer_value(json_object_get(one, "size"));
        char name[32];
        snprintf(name, sizeof name, "expected.%zu", k);
        const TensorInfo *expected = safetensors_find(&tensors, name);
        assert_non_null(expected);
        size_t square = (size_t)size * (size_t)size, channel = (size_t)t * square;
        float *out = memory_new(3 * channel, sizeof *out);
        for (int f = 0; f < t; f++) {
            for (size_t i = 0; i < plane; i++)
                for (size_t c = 0; c < 3; c++)
                    pixels[c * plane + i] = packed[((size_t)f * plane + i) * 3 + c];
            resize_published(out + (size_t)f * square, channel, planes, w,
                             (int)json_integer_value(json_object_get(one, "top")),
                             (int)json_integer_value(json_object_get(one, "left")),
                             (int)json_integer_value(json_object_get(one, "height")),
                             (int)json_integer_value(json_object_get(one, "width")), size, size,
                             json_is_true(json_object_get(one, "flip")));
        }
        for (size_t i = 0; i < 3 * channel; i++) {
            float wanted;
            memcpy(&wanted, (const char *)expected->data + i * sizeof wanted, sizeof wanted);
            worst = fmax(worst, fabs((double)out[i] - wanted));
            most = fmax(most, fabs((double)wanted));
        }
        free(out);
    }
    print_message("largest difference %.2g of %.3g\n", worst, most);
    assert_true(worst <= 1e-6 * most); /* a few roundings of float32 */
    free(pixels);
    safetensors_close(&tensors);
    json_decref(root);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
