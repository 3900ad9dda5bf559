/* Reference operations on rows, patches, losses and flat buffers. See kernels/reference/networks.c.
 */
#include "kernels/device.h"
#include <math.h>

void reference_patches_cut(Activation *patches_, const uint8_t *pixels, const float *values,
                           const uint8_t *mirror, const int32_t *clip, const int32_t *token,
                           int64_t rows, const PatchShape *s, Device *device) {
    float *patches = patches_;
    (void)device;
    int64_t across = s->width / s->patch, down = s->height / s->patch, n = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < PATCH_CHANNELS * s->tubelet * s->patch * s->patch && token[i] < 0;
             k++)
            patches[n++] = 0;
        if (token[i] < 0)
            continue;
        int64_t t = token[i] / (across * down), h = token[i] / across % down, w = token[i] % across;
        for (int64_t c = 0; c < PATCH_CHANNELS; c++)
            for (int64_t f = t * s->tubelet; f < (t + 1) * s->tubelet; f++)
                for (int64_t y = h * s->patch; y < (h + 1) * s->patch; y++)
                    for (int64_t x = w * s->patch; x < (w + 1) * s->patch; x++, n++) {
                        int64_t column = mirror && mirror[clip[i]] ? s->width - 1 - x : x;
                        int64_t from =
                            (((clip[i] * PATCH_CHANNELS + c) * s->frames + f) * s->height + y) *
                                s->width +
                            column;
                        patches[n] = values ? values[from]
                                            : (float)((pixels[from] / 255.0 - patch_mean[c]) /
                                                      patch_std[c]);
                    }
    }
}

void reference_rows_gather(float *y, const int32_t *to, const float *x, const int32_t *from,
                           const float *table, const int32_t *entry, int64_t rows, int64_t width,
                           Device *device) {
    (void)device;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < width; d++) {
            float a = x ? x[(from ? from[i] : i) * width + d] : 0;
            float b = table ? table[(entry ? entry[i] : i) * width + d] : 0;
            y[(to ? to[i] : i) * width + d] = a + b;
        }
}

void reference_rows_scatter_add(float *dx, const int32_t *from, const float *dy, const int32_t *to,
                                int64_t rows, int64_t width, Device *device) {
    (void)device;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < width; d++)
            dx[(from ? from[i] : i) * width + d] += dy[(to ? to[i] : i) * width + d];
}

void reference_rows_sum(float *sum, const float *x, const int32_t *from, int64_t rows,
                        int64_t width, Device *device) {
    (void)device;
    for (int64_t d = 0; d < width; d++) {
        double total = 0;
        for (int64_t i = 0; i < rows; i++)
            total += x[(from ? from[i] : i) * width + d];
        sum[d] += (float)total;
    }
}

void reference_rows_mean(float *mean, const float *x, const int32_t *cu_seqlens, int64_t sequences,
                         int64_t width, Device *device) {
    (void)device;
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < width; d++) {
            double total = 0;
            for (int64_t i = cu_seqlens[s]; i < cu_seqlens[s + 1]; i++)
                total += x[i * width + d];
            int64_t count = cu_seqlens[s + 1] - cu_seqlens[s];
            mean[s * width + d] = count ? (float)(total / (double)count) : 0;
        }
}

void reference_rows_blend(float *y, const float *x, const float *scale, const int32_t *cu_seqlens,
                          int64_t sequences, int64_t width, Device *device) {
    (void)device;
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t i = cu_seqlens[s] * width; i < cu_seqlens[s + 1] * width; i++)
            y[i] = (float)((x ? x[i] : 0.0) + (double)scale[s] * y[i]);
}

void reference_rows_columns(void *y, int64_t y_width, int64_t to, const void *x, int64_t x_width,
                            int64_t from, int64_t rows, int64_t width, size_t size,
                            Device *device) {
    (void)device;
    JEPA_ASSERT(size == sizeof(float));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < width; d++)
            ((float *)y)[i * y_width + to + d] = ((const float *)x)[i * x_width + from + d];
}

void reference_rows_add(Activation *y, const Activation *x, int64_t count, Device *device) {
    (void)device;
    for (int64_t i = 0; i < count; i++)
        ((float *)y)[i] += ((const float *)x)[i];
}

void reference_loss_forward(double *loss, const float *z, const float *h, int64_t rows,
                            int64_t width, double power, double weight, const float *row_weight,
                            Device *device) {
    (void)device;
    double sum = 0;
    for (int64_t i = 0; i < rows * width; i++) {
        double e = fabs((double)z[i] - h[i]), w = row_weight ? row_weight[i / width] : 1;
        if (power == LOSS_SMOOTH_L1)
            sum += w * (e < 1 ? 0.5 * e * e : e - 0.5);
        else
            sum += w * pow(e, power) / power;
    }
    *loss += weight * sum;
}

void reference_loss_backward(float *dz, const float *z, const float *h, int64_t rows, int64_t width,
                             double power, double weight, const float *row_weight, Device *device) {
    (void)device;
    for (int64_t i = 0; i < rows * width; i++) {
        double d = (double)z[i] - h[i], w = weight * (row_weight ? row_weight[i / width] : 1);
        if (power == LOSS_SMOOTH_L1)
            dz[i] = (float)(w * fmax(-1, fmin(1, d)));
        else
            dz[i] = d == 0 ? 0 : (float)(w * pow(fabs(d), power - 1) * (d > 0 ? 1 : -1));
    }
}

void reference_loss_total(double *total, const double *loss, int64_t settings, const double *reg,
                          double reg_coeff, Device *device) {
    (void)device;
    *total = reg_coeff * *reg;
    for (int64_t m = 0; m < settings; m++)
        *total += loss[m];
}

/* Variance of column d over the tokens of sequence s, from the sums of x and x²; n - 1. */
static double column_variance(const float *z, const int32_t *cu, int64_t s, int64_t width,
                              int64_t d) {
    double n = cu[s + 1] - cu[s], sum = 0, square = 0;
    for (int64_t i = cu[s]; i < cu[s + 1]; i++) {
        sum += z[i * width + d];
        square += (double)z[i * width + d] * z[i * width + d];
    }
    return n > 1 ? fmax(0, (square - sum * sum / n) / (n - 1)) : 0;
}

void reference_spread_forward(double *reg, float *spread, const float *z, const int32_t *cu_seqlens,
                              int64_t settings, int64_t samples, int64_t width, double weight,
                              Device *device) {
    (void)device;
    for (int64_t b = 0; b < samples; b++)
        for (int64_t d = 0; d < width; d++) {
            double mean = 0;
            for (int64_t m = 0; m < settings; m++) {
                int64_t s = m * samples + b;
                double value = sqrt(column_variance(z, cu_seqlens, s, width, d) + SPREAD_EPS);
                spread[s * width + d] = (float)value;
                mean += value / (double)settings;
            }
            *reg += weight * fmax(0, 1 - mean);
        }
}

void reference_spread_backward(float *dz, const float *spread, const float *z,
                               const int32_t *cu_seqlens, int64_t settings, int64_t samples,
                               int64_t width, double weight, Device *device) {
    (void)device;
    for (int64_t s = 0; s < settings * samples; s++)
        for (int64_t d = 0; d < width; d++) {
            double n = cu_seqlens[s + 1] - cu_seqlens[s], sum = 0, total = 0;
            for (int64_t m = 0; m < settings; m++)
                total += spread[(m * samples + s % samples) * width + d];
            for (int64_t i = cu_seqlens[s]; i < cu_seqlens[s + 1]; i++)
                sum += z[i * width + d];
            /* d sqrt(var + eps) / dz_i = (z_i - mean) / ((n - 1) sqrt(var + eps)) */
            for (int64_t i = cu_seqlens[s]; i < cu_seqlens[s + 1] && n > 1; i++)
                if (total < (double)settings)
                    dz[i * width + d] -= (float)(weight / (double)settings *
                                                 (z[i * width + d] - sum / n) /
                                                 ((n - 1) * spread[s * width + d]));
        }
}

void reference_add(float *y, const float *x, int64_t count, Device *device) {
    (void)device;
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void reference_square_sums(double *sums, const float *x, int64_t count, Device *device) {
    (void)device;
    for (int64_t b = 0; b < shard_blocks(count); b++)
        sums[b] = 0;
    for (int64_t i = 0; i < count; i++)
        sums[i / SHARD_BLOCK] += (double)x[i] * x[i];
}

void reference_sums_add(double *sum, const double *x, int64_t from, int64_t to, int64_t parts,
                        int64_t rows, int64_t width, Device *device) {
    (void)device;
    for (int64_t i = from; i < to; i++)
        for (int64_t d = 0; d < width; d++)
            sum[d] += x[((i % parts) * rows + i / parts) * width + d];
}

void reference_adamw_ema(float *parameters, float *first_moment, float *second_moment,
                         float *target, const float *gradients, int64_t count,
                         const double *square_sum, const double *loss, const AdamwSettings *s,
                         Device *device) {
    (void)device;
    if (!isfinite(*loss) || !isfinite(*square_sum))
        return;
    double clip = s->max_norm > 0 ? fmin(1.0, s->max_norm / (sqrt(*square_sum) + 1e-6)) : 1.0;
    double t = (double)s->step;
    for (int64_t i = 0; i < count; i++) {
        double g = gradients[i] * clip;
        double m = s->beta1 * first_moment[i] + (1 - s->beta1) * g;
        double v = s->beta2 * second_moment[i] + (1 - s->beta2) * g * g;
        double p = parameters[i] * (1 - s->lr * s->weight_decay);
        p -= s->lr / (1 - pow(s->beta1, t)) * m / (sqrt(v / (1 - pow(s->beta2, t))) + s->eps);
        parameters[i] = (float)p;
        first_moment[i] = (float)m;
        second_moment[i] = (float)v;
        if (target)
            target[i] = (float)(s->momentum * target[i] + (1 - s->momentum) * p);
    }
}

void reference_rows_narrow(Activation *y, const float *x, int64_t count, Device *device) {
    (void)device;
    for (int64_t i = 0; i < count; i++)
        ((float *)y)[i] = x[i];
}

void reference_rows_widen(float *y, const Activation *x, int64_t count, Device *device) {
    (void)device;
    for (int64_t i = 0; i < count; i++)
        y[i] = ((const float *)x)[i];
}
