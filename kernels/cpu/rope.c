/* Rotary positions on the CPU. See kernels/rope.h. */
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

/* y_2i = x_2i c_2i - x_2i+1 s_2i,  y_2i+1 = x_2i+1 c_2i+1 + x_2i s_2i+1 */
MANY_CPUS static void turn(float *x, const float *cosine, const float *sine, int64_t head) {
    for (int64_t j = 0; j + 1 < head; j += 2) {
        float a = x[j], b = x[j + 1];
        x[j] = a * cosine[j] - b * sine[j];
        x[j + 1] = b * cosine[j + 1] + a * sine[j + 1];
    }
}

/* dx_2i = dy_2i c_2i + dy_2i+1 s_2i+1,  dx_2i+1 = dy_2i+1 c_2i+1 - dy_2i s_2i */
MANY_CPUS static void turn_back(float *d, const float *cosine, const float *sine, int64_t head) {
    for (int64_t j = 0; j + 1 < head; j += 2) {
        float a = d[j], b = d[j + 1];
        d[j] = a * cosine[j] + b * sine[j + 1];
        d[j + 1] = b * cosine[j + 1] - a * sine[j];
    }
}

void cpu_rope_forward(float *qkv, const float *table, const int32_t *token, int64_t rows,
                      int64_t width, int64_t heads, Device *device) {
    int64_t head = width / heads;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        if (token[i] < 0)
            continue;
        const float *angles = table + (int64_t)token[i] * 2 * head;
        for (int64_t h = 0; h < 2 * heads; h++) /* queries, then keys */
            turn(qkv + i * 3 * width + h * head, angles, angles + head, head);
    }
}

void cpu_rope_backward(float *dqkv, const float *table, const int32_t *token, int64_t rows,
                       int64_t width, int64_t heads, Device *device) {
    int64_t head = width / heads;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        if (token[i] < 0)
            continue;
        const float *angles = table + (int64_t)token[i] * 2 * head;
        for (int64_t h = 0; h < 2 * heads; h++)
            turn_back(dqkv + i * 3 * width + h * head, angles, angles + head, head);
    }
}
