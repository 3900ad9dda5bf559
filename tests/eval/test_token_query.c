/* Similarity and attention of a token: rows of attention sum to 1 and give, with the values, what
 * the kernel gives; causal order; passes of a model leave the queries and keys of the block that
 * was asked for, in float32 and bfloat16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "eval/token_query.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N     37
#define WIDTH 24
#define HEADS 3

static float *normals(size_t count, uint64_t slot) {
    float *values = memory_new(count, sizeof *values);
    Random random = random_at(3, RANDOM_TEST, 0, slot);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)random_normal(&random);
    return values;
}

static void similarity(void **state) {
    (void)state;
    float *rows = normals(N * WIDTH, 0), alike[N];
    for (int d = 0; d < WIDTH; d++) {
        rows[5 * WIDTH + d] = 2.5f * rows[8 * WIDTH + d];
        rows[6 * WIDTH + d] = -rows[8 * WIDTH + d];
        rows[7 * WIDTH + d] = 0;
    }
    token_similarity(alike, rows, N, WIDTH, 8);
    assert_true(fabsf(alike[8] - 1) < 1e-6f && fabsf(alike[5] - 1) < 1e-6f);
    assert_true(fabsf(alike[6] + 1) < 1e-6f && alike[7] == 0);
    double product = 0, own = 0, other = 0;
    for (int d = 0; d < WIDTH; d++) {
        product += (double)rows[8 * WIDTH + d] * rows[20 * WIDTH + d];
        own += (double)rows[8 * WIDTH + d] * rows[8 * WIDTH + d];
        other += (double)rows[20 * WIDTH + d] * rows[20 * WIDTH + d];
    }
    assert_true(fabs(alike[20] - product / sqrt(own * other)) < 1e-6);
    free(rows);
}

/* Σ_n attention[n] v[n] is the kernel's output, and exp(s - lse) its probabilities. `blocks` of the
 * causal order, or NULL. */
static void against_kernel(const float *qkv, const int32_t *blocks, Device *device) {
    int32_t cu[2] = {0, N};
    int channels = WIDTH / HEADS;
    float out[N * WIDTH], lse[N * HEADS], attention[N];
    device->attention_forward(out, lse, qkv, cu, blocks, 1, WIDTH, HEADS, device);
    for (int q = 0; q < N; q++)
        for (int h = 0; h < HEADS; h++) {
            double sum = 0, mixed[WIDTH / HEADS] = {0}, score = 0;
            token_attention(attention, qkv, blocks, N, WIDTH, HEADS, h, q);
            for (int n = 0; n < N; n++) {
                assert_true(attention[n] >= 0);
                assert_true(!blocks || blocks[n] <= blocks[q] || attention[n] == 0);
                sum += attention[n];
                for (int d = 0; d < channels; d++)
                    mixed[d] += (double)attention[n] *
                                qkv[n * 3 * WIDTH + 2 * WIDTH + h * channels + d];
            }
            assert_true(fabs(sum - 1) < 1e-5);
            /* the kernel sums in float32 */
            for (int d = 0; d < channels; d++)
                assert_true(fabs(mixed[d] - out[q * WIDTH + h * channels + d]) < 1e-4);
            for (int d = 0; d < channels; d++)
                score += (double)qkv[q * 3 * WIDTH + h * channels + d] *
                         qkv[q * 3 * WIDTH + WIDTH + h * channels + d];
            double own = exp(score / sqrt(channels) - lse[q * HEADS + h]);
            assert_true(fabs(own - attention[q]) < 1e-4);
        }
}

static void attention(void **state) {
    (void)state;
    Error error = {0};
    Device *device;
    float *qkv = normals(N * 3 * WIDTH, 1);
    int32_t blocks[N];
    assert_int_equal(device_open(&device, "reference", 1, &error), 0);
    for (int n = 0; n < N; n++)
        blocks[n] = n ? (n - 1) / 9 : INT32_MAX; /* a class token that reads all */
    against_kernel(qkv, NULL, device);
    against_kernel(qkv, blocks, device);
    device_close(device);
    /* scores that would overflow without care */
    for (int i = 0; i < N * 3 * WIDTH; i++)
        qkv[i] *= 60;
    float row[N];
    double sum = 0;
    token_attention(row, qkv, NULL, N, WIDTH, HEADS, 1, 4);
    for (int n = 0; n < N; n++)
        sum += row[n];
    assert_true(fabs(sum - 1) < 1e-6);
    free(qkv);
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
                         .depth = 3,
                         .heads = 2,
                         .hidden = 48,
                         .pred_dim = 12,
                         .pred_depth = 1,
                         .pred_heads = 2,
                         .pred_hidden = 24,
                         .mask_tokens = 1,
                         .used_mask_tokens = 1,
                         .init_std = 0.2};
}

/* What a model that keeps every block has of block `block`. */
static float *kept_qkv(Model *model, const ModelInput *input, int block, size_t count) {
    float *qkv = memory_new(count, sizeof *qkv);
    const Activation *from = model->act_target.blocks[block].qkv;
    model_set_input(model, input);
    model_features(model, 1, 't');
    if (model->device->precision == PRECISION_FLOAT32) {
        model->device->download(qkv, from, count * sizeof *qkv, model->device);
        return qkv;
    }
    uint16_t *narrow = memory_new(count, sizeof *narrow);
    model->device->download(narrow, from, count * sizeof *narrow, model->device);
    for (size_t i = 0; i < count; i++)
        qkv[i] = bfloat16_to_float(narrow[i]);
    free(narrow);
    return qkv;
}

static void passes(void **state) {
    (void)state;
    Error error = {0};
    float *values = normals(3 * 4 * 16 * 16, 2);
    ModelInput input = {.samples = 1, .values = values};
    for (int narrow = 0; narrow < 2; narrow++) {
        /* keeping a block fuses less: rounding differs, by an ulp of the type a layer */
        float near = narrow ? 6.0f / 128 : 1e-5f;
        Device *device;
        Model model, keeps;
        assert_int_equal(device_open(&device, "cpu", 2, &error), 0);
        device_set_precision(device, narrow ? PRECISION_BFLOAT16 : PRECISION_FLOAT32, true);
        ModelPlan plan = {.config = small_config(), .samples = 1, .float_input = true},
                  keeping = plan;
        keeping.keep_target = true;
        assert_int_equal(model_new(&model, &plan, device, &error), 0);
        assert_int_equal(model_new(&keeps, &keeping, device, &error), 0);
        model_init(&model, 8);
        model_init(&keeps, 8);
        size_t count = (size_t)model.rows * 3 * 24;
        for (int block = 0; block < 3; block++) {
            TokenFeatures f;
            model_set_input(&model, &input);
            token_features(&f, &model, 't', block);
            assert_int_equal(f.rows, 2 * 4 * 4);
            assert_int_equal(f.heads, 2);
            assert_int_equal(f.extra, 0);
            assert_null(f.step);
            float *kept = kept_qkv(&keeps, &input, block, count);
            for (size_t i = 0; i < count; i++)
                assert_true(fabsf(kept[i] - f.qkv[i]) <= near * (1 + fabsf(kept[i])));
            /* the encoder's output, whichever block was asked for */
            for (int64_t i = 0; i < f.rows * f.width; i++)
                assert_true(fabsf(f.values[i] - keeps.target_out[i]) <=
                            near * (1 + fabsf(f.values[i])));
            free(kept);
            token_features_free(&f);
        }
        model_free(&model);
        model_free(&keeps);
        device_close(device);
    }
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(similarity),
        cmocka_unit_test(attention),
        cmocka_unit_test(passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
