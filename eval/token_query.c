/* Similarity and attention of a token. See eval/token_query.h. */
#include "eval/token_query.h"
#include "base/half.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(const float *a, const float *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

void token_similarity(float *similarity, const float *rows, int64_t n, int width, int64_t query) {
    const float *own = rows + query * width;
    double own_norm = sqrt(dot(own, own, width));
    for (int64_t i = 0; i < n; i++) {
        const float *row = rows + i * width;
        double norm = own_norm * sqrt(dot(row, row, width));
        similarity[i] = norm > 0 ? (float)(dot(own, row, width) / norm) : 0;
    }
}

void token_attention(float *attention, const float *qkv, const int32_t *step, int64_t n, int width,
                     int heads, int head, int64_t query) {
    int channels = width / heads;
    const float *q = qkv + query * 3 * width + head * channels;
    double scale = 1 / sqrt(channels), most = -INFINITY, sum = 0;
    double *score = memory_new((size_t)n, sizeof *score);
    for (int64_t i = 0; i < n; i++) {
        bool allowed = !step || step[i] <= step[query];
        const float *k = qkv + i * 3 * width + width + head * channels;
        score[i] = allowed ? scale * dot(q, k, channels) : -INFINITY;
        most = fmax(most, score[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        score[i] = exp(score[i] - most);
        sum += score[i];
    }
    for (int64_t i = 0; i < n; i++)
        attention[i] = (float)(score[i] / sum);
    free(score);
}

/* `count` activations of the device as float32. */
static void download_activations(float *to, const Activation *from, size_t count, Device *device) {
    size_t bytes = count * activation_size(device->precision);
    if (device->precision == PRECISION_FLOAT32) {
        device->download(to, from, bytes, device);
        return;
    }
    uint16_t *narrow = memory_new(count, sizeof *narrow);
    device->download(narrow, from, bytes, device);
    for (size_t i = 0; i < count; i++)
        to[i] = bfloat16_to_float(narrow[i]);
    free(narrow);
}

void token_features(TokenFeatures *f, Model *model, char network, int block) {
    const ModelPlan *plan = &model->plan;
    Device *device = model->device;
    int area = model->grid.height * model->grid.width, depth = model->teacher_shape.depth;
    JEPA_ASSERT(plan->samples == 1 && !plan->settings && !plan->keep_target && block >= 0 &&
                block < depth);
    *f = (TokenFeatures){.rows = model->rows,
                         .width = model->teacher_shape.width,
                         .heads = model->teacher_shape.heads,
                         .extra = model->rows - model->tokens};
    size_t count = (size_t)f->rows * (size_t)f->width;
    f->values = memory_new(count, sizeof *f->values);
    f->qkv = memory_new(3 * count, sizeof *f->qkv);
    if (plan->config.causal) {
        f->step = memory_new((size_t)f->rows, sizeof *f->step);
        for (int64_t i = 0; i < f->rows; i++)
            f->step[i] = i < f->extra ? INT32_MAX : (int32_t)(i - f->extra) / area;
    }
    EncoderOutputs usual = model->features;
    model->features = (EncoderOutputs){
        .count = 1, .block = {depth - 1}, .norm = {model->teacher.norms - 1}};
    model_features(model, 1, network);
    device->download(f->values, model->target_out, count * sizeof *f->values, device);
    /* Blocks share one set of activations: a pass that ends with this one leaves its queries and
     * keys. */
    if (block != depth - 1) {
        model->features.block[0] = block;
        model_features(model, 1, network);
    }
    download_activations(f->qkv, model->act_target.blocks[0].qkv, 3 * count, device);
    model->features = usual;
}

void token_features_free(TokenFeatures *f) {
    free(f->values);
    free(f->qkv);
    free(f->step);
    memset(f, 0, sizeof *f);
}
