/* gpu_peak: what a GPU does at most, for kernel_bench to compare with.
 *
 *   gpu_peak [DEVICE]
 *
 * peak memory-copy: the runtime's own copy of 2 GiB within the device, bytes read and written.
 * best bfloat16, best float32: the GEMM library on 8192 x 8192 x 8192, noise, through the linear
 * layer of this program (float32: TF32 off). The best of five laps of ten. */
#include "base/log.h"
#include "base/random.h"
#include "kernels/device.h"
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8192, LAPS = 5, RUNS = 10 };
#define COPY_BYTES ((size_t)1 << 31)

static double copy_rate(void) {
    char *to = NULL, *from = NULL;
    double best = 0;
    if (cudaMalloc((void **)&to, COPY_BYTES) != cudaSuccess ||
        cudaMalloc((void **)&from, COPY_BYTES) != cudaSuccess)
        return 0;
    for (int lap = 0; lap <= LAPS; lap++) { /* the first is not counted */
        cudaDeviceSynchronize();
        double started = time_now();
        for (int i = 0; i < RUNS; i++)
            cudaMemcpyAsync(to, from, COPY_BYTES, cudaMemcpyDeviceToDevice, NULL);
        cudaDeviceSynchronize();
        double rate = 2.0 * RUNS * (double)COPY_BYTES / (time_now() - started) / 1e9;
        best = lap && rate > best ? rate : best;
    }
    cudaFree(to);
    cudaFree(from);
    return best;
}

static int matmul_rate(double *best, Precision precision, const char *name, Error *error) {
    Device *d;
    size_t count = (size_t)SIDE * SIDE, size = activation_size(precision);
    if (device_open(&d, name, 0, error))
        return -1;
    device_set_precision(d, precision, false);
    void *x = NULL, *y = NULL;
    float *w = NULL, *noise = memory_new(count, sizeof *noise);
    int status = d->allocate(&x, count * size, d, error) ||
                 d->allocate(&y, count * size, d, error) ||
                 d->allocate((void **)&w, count * sizeof *w, d, error);
    Random random = random_at(1, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < count; i++)
        noise[i] = (float)random_between(&random, -1, 1);
    LinearWeights weights = {w, SIDE, SIDE, false, false};
    status = status || d->linear_weights_add(&weights, d, error);
    if (!status) {
        d->upload(w, noise, count * sizeof *w, d);
        d->rows_narrow(x, w, (int64_t)count, d);
        if (precision == PRECISION_FLOAT32)
            d->upload(x, noise, count * size, d);
    }
    *best = 0;
    for (int lap = 0; lap <= LAPS && !status; lap++) {
        double started = time_now(), seen;
        for (int i = 0; i < RUNS; i++)
            d->linear_forward(y, x, w, NULL, SIDE, SIDE, SIDE, d);
        d->download(&seen, y, sizeof seen, d);
        double rate = 2.0 * RUNS * SIDE * (double)SIDE * SIDE / (time_now() - started) / 1e9;
        *best = lap && rate > *best ? rate : *best;
    }
    free(noise);
    if (w)
        d->linear_weights_remove(w, w + count, d);
    void *taken[] = {x, y, w};
    for (int i = 0; i < 3; i++)
        if (taken[i])
            d->release(taken[i], d);
    device_close(d);
    return status ? -1 : 0;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "cuda";
    Error error = {0};
    double bf16, f32;
    if (matmul_rate(&bf16, PRECISION_BFLOAT16, name, &error) ||
        matmul_rate(&f32, PRECISION_FLOAT32, name, &error)) {
        fprintf(stderr, "gpu_peak: %s\n", error.text);
        return error.code;
    }
    printf("peak memory-copy %.1f GB/s\nbest bfloat16 %.1f GFLOP/s\nbest float32 %.1f GFLOP/s\n",
           copy_rate(), bf16, f32);
    return 0;
}
