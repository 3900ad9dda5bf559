/* Sums of doubles on the CPU. See kernels/sums.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

MANY_CPUS static double square_tile(const float *x, int64_t count) {
    double sum[8] = {0};
    int64_t whole = count / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += (double)x[i + k] * x[i + k];
    for (int64_t i = whole; i < count; i++)
        sum[i - whole] += (double)x[i] * x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void cpu_square_sums(double *sums, const float *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t block = 0; block < shard_blocks(count); block++) {
        int64_t end = min_i64(count, (block + 1) * SHARD_BLOCK);
        double sum = 0;
        for (int64_t i = block * SHARD_BLOCK; i < end; i += FLAT_TILE)
            sum += square_tile(x + i, min_i64(FLAT_TILE, end - i));
        sums[block] = sum;
    }
}

void cpu_sums_add(double *sum, const double *x, int64_t from, int64_t to, int64_t parts,
                  int64_t rows, int64_t width, Device *device) {
    (void)device; /* a few thousand numbers */
    for (int64_t i = from; i < to; i++) {
        const double *row = x + (i % parts * rows + i / parts) * width;
        for (int64_t d = 0; d < width; d++)
            sum[d] += row[d];
    }
}
