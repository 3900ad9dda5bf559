/* The sum of two flat buffers on the CPU. See kernels/add.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

MANY_CPUS static void add_tile(float *restrict y, const float *restrict x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void cpu_add(float *y, const float *x, int64_t count, Device *device) {
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t tile = 0; tile < TILES(count, FLAT_TILE); tile++)
        add_tile(y + tile * FLAT_TILE, x + tile * FLAT_TILE,
                 min_i64(FLAT_TILE, count - tile * FLAT_TILE));
}
