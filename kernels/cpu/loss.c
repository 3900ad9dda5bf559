/* The prediction loss and the spread regulariser on the CPU. See kernels/loss.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <math.h>

/* Σ over one row. Each element is added in the same order with and without weights. */
static double loss_row(const float *z, const float *h, int64_t width, double power) {
    double sum = 0;
    if (power == 1.0)
        for (int64_t i = 0; i < width; i++)
            sum += fabs((double)z[i] - h[i]);
    else if (power == 2.0)
        for (int64_t i = 0; i < width; i++) {
            double d = (double)z[i] - h[i];
            sum += d * d / 2;
        }
    else if (power == LOSS_SMOOTH_L1)
        for (int64_t i = 0; i < width; i++) {
            double e = fabs((double)z[i] - h[i]);
            sum += e < 1 ? 0.5 * e * e : e - 0.5;
        }
    else
        for (int64_t i = 0; i < width; i++)
            sum += pow(fabs((double)z[i] - h[i]), power) / power;
    return sum;
}

void cpu_loss_forward(double *loss, const float *z, const float *h, int64_t rows, int64_t width,
                      double power, double weight, const float *row_weight, Device *device) {
    double *partial = device->scratch;
    int64_t height = width < FLAT_TILE ? FLAT_TILE / width : 1; /* rows of a tile */
    JEPA_ASSERT(TILES(rows, height) * (int64_t)sizeof(double) <= (int64_t)device->scratch_bytes);
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(rows, height); tile++) {
        double sum = 0;
        for (int64_t i = tile * height; i < min_i64(rows, (tile + 1) * height); i++)
            sum += (row_weight ? row_weight[i] : 1.0) *
                   loss_row(z + i * width, h + i * width, width, power);
        partial[tile] = sum;
    }
    double sum = 0;
    for (int64_t tile = 0; tile < TILES(rows, height); tile++)
        sum += partial[tile];
    *loss += weight * sum;
}

/* loss = weight Σ |z - h|^p / p  =>  dz = weight |z - h|^(p-1) sign(z - h) */
void cpu_loss_backward(float *dz, const float *z, const float *h, int64_t rows, int64_t width,
                       double power, double weight, const float *row_weight, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t r = 0; r < rows; r++) {
        double exact = weight * (row_weight ? row_weight[r] : 1.0);
        float w = (float)exact;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            float d = z[i] - h[i];
            if (power == 1.0)
                dz[i] = d > 0 ? w : d < 0 ? -w : 0.0f;
            else if (power == 2.0)
                dz[i] = w * d;
            else if (power == LOSS_SMOOTH_L1)
                dz[i] = w * (d < -1 ? -1.0f : d > 1 ? 1.0f : d);
            else
                dz[i] = d == 0 ? 0.0f : (float)(exact * pow(fabs(d), power - 1) * (d > 0 ? 1 : -1));
        }
    }
}

void cpu_loss_total(double *total, const double *loss, int64_t settings, const double *reg,
                    double reg_coeff, Device *device) {
    (void)device;
    *total = reg_coeff * *reg;
    for (int64_t m = 0; m < settings; m++)
        *total += loss[m];
}

void cpu_spread_forward(double *reg, float *spread, const float *z, const int32_t *cu_seqlens,
                        int64_t settings, int64_t samples, int64_t width, double weight,
                        Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t s = 0; s < settings * samples; s++) {
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        for (int64_t d = 0; d < width; d++) {
            double mean = 0, square = 0;
            for (int64_t i = 0; i < count; i++)
                mean += z[(first + i) * width + d];
            mean /= (double)(count ? count : 1);
            for (int64_t i = 0; i < count; i++) {
                double e = z[(first + i) * width + d] - mean;
                square += e * e;
            }
            spread[s * width + d] = (float)sqrt((count > 1 ? square / (double)(count - 1) : 0) +
                                                SPREAD_EPS);
        }
    }
    double sum = 0;
    for (int64_t i = 0; i < samples * width; i++) {
        double mean = 0;
        for (int64_t m = 0; m < settings; m++)
            mean += spread[m * samples * width + i];
        mean /= (double)settings;
        sum += mean < 1 ? 1 - mean : 0;
    }
    *reg += weight * sum;
}

/* reg = weight Σ relu(1 - Σ_m spread / M), spread = sqrt(var + eps)
 * => dz_i += -weight / M · (z_i - mean) / ((n - 1) spread) where the relu is open */
void cpu_spread_backward(float *dz, const float *spread, const float *z, const int32_t *cu_seqlens,
                         int64_t settings, int64_t samples, int64_t width, double weight,
                         Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t s = 0; s < settings * samples; s++) {
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first, b = s % samples;
        for (int64_t d = 0; d < width && count > 1; d++) {
            double average = 0, mean = 0;
            for (int64_t m = 0; m < settings; m++)
                average += spread[(m * samples + b) * width + d];
            if (average / (double)settings >= 1)
                continue;
            for (int64_t i = 0; i < count; i++)
                mean += z[(first + i) * width + d];
            mean /= (double)count;
            double factor = -weight / (double)settings /
                            ((double)(count - 1) * spread[s * width + d]);
            for (int64_t i = 0; i < count; i++)
                dz[(first + i) * width + d] += (float)(factor *
                                                       (z[(first + i) * width + d] - mean));
        }
    }
}
