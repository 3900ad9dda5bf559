/* Collapse measures. See eval/measures.h. */
#include "eval/measures.h"
#include <math.h>
#include <stdlib.h>

double measure_std(const float *rows, int64_t n, int width) {
    double total = 0;
    for (int d = 0; d < width; d++) {
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            mean += rows[i * width + d];
        mean /= (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (rows[i * width + d] - mean) * (rows[i * width + d] - mean);
        total += sqrt(square / (double)n);
    }
    return total / width;
}

double measure_rankme(const float *rows, int64_t n, int width) {
    double *values = memory_new((size_t)width, sizeof *values);
    double rank = spectrum(values, rows, n, width, false) ? NAN : spectrum_rankme(values, width);
    free(values);
    return rank;
}

/* Evenly spaced rows of a device buffer, each normalised without affine part. Caller frees. */
static float *sample_rows(const Model *model, const float *from, int64_t rows, int width,
                          int64_t *count) {
    *count = rows < MEASURE_ROWS ? rows : MEASURE_ROWS;
    float *sample = memory_new((size_t)(*count * width) + 1, sizeof *sample);
    for (int64_t i = 0; i < *count; i++) {
        float *row = sample + i * width;
        model->device->download(row, from + i * rows / *count * width, (size_t)width * sizeof *row,
                                model->device);
        double mean = 0, square = 0;
        for (int d = 0; d < width; d++)
            mean += row[d];
        mean /= width;
        for (int d = 0; d < width; d++)
            square += (row[d] - mean) * (row[d] - mean);
        double scale = 1 / sqrt(square / width + TARGET_LAYERNORM_EPS);
        for (int d = 0; d < width; d++)
            row[d] = (float)((row[d] - mean) * scale);
    }
    return sample;
}

/* cosine and skill of the predictions, on the values that entered the loss */
static void measure_prediction(Measures *m, const Model *model) {
    int width = model->target_width;
    int64_t rows = model->target_rows, count = rows < MEASURE_ROWS ? rows : MEASURE_ROWS;
    size_t bytes = (size_t)width * sizeof(float);
    float *z = memory_new((size_t)(count * width) + 1, sizeof *z);
    float *h = memory_new((size_t)(count * width) + 1, sizeof *h);
    double *mean = memory_new((size_t)width, sizeof *mean);
    double cosine = 0, error = 0, trivial = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i * rows / count * width;
        model->device->download(z + i * width, model->z + row, bytes, model->device);
        model->device->download(h + i * width, model->h + row, bytes, model->device);
        double zh = 0, zz = 0, hh = 0;
        for (int d = 0; d < width; d++) {
            double a = z[i * width + d], b = h[i * width + d];
            zh += a * b;
            zz += a * a;
            hh += b * b;
            error += fabs(a - b);
            mean[d] += b / (double)count;
        }
        cosine += zh / (sqrt(zz * hh) + 1e-12) / (double)count;
    }
    for (int64_t i = 0; i < count; i++)
        for (int d = 0; d < width; d++)
            trivial += fabs(h[i * width + d] - mean[d]);
    m->cosine = cosine;
    m->skill = trivial > 0 ? 1 - error / trivial : NAN;
    free(z);
    free(h);
    free(mean);
}

static void measure_set(double *std, double *rank, const Model *model, const float *from,
                        int64_t rows, int width) {
    int64_t count;
    float *sample = sample_rows(model, from, rows, width, &count);
    *std = measure_std(sample, count, width);
    *rank = measure_rankme(sample, count, width);
    free(sample);
}

void measure_model(Measures *m, const Model *model) {
    const ModelConfig *c = &model->plan.config;
    measure_set(&m->context_std, &m->context_rankme, model, model->context_out,
                model->context_rows * model->levels.count, c->dim);
    if (c->objective != OBJECTIVE_JEPA)
        return; /* no target, no prediction */
    int last = model->plan.samples;
    measure_set(&m->target_std, &m->target_rankme, model, model->target_out,
                (int64_t)model->cu_target_clips[last] * model->target_levels.count,
                model->teacher.dim);
    measure_set(&m->predictor_std, &m->predictor_rankme, model, model->z,
                model->target_rows * model->target_levels.count, model->teacher.dim);
    measure_prediction(m, model);
}
