/* Rotary positions on the CPU. See kernels/rope.h. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"
#include <stdbool.h>

/* y_2i = x_2i c_2i - x_2i+1 s_2i,  y_2i+1 = x_2i+1 c_2i+1 + x_2i s_2i+1 */
INLINE void turn(Activation *x, const float *cosine, const float *sine, int64_t head, Precision p) {
    for (int64_t j = 0; j + 1 < head; j += 2) {
        float a = activation_get(x, j, p), b = activation_get(x, j + 1, p);
        activation_put(x, j, a * cosine[j] - b * sine[j], p);
        activation_put(x, j + 1, b * cosine[j + 1] + a * sine[j + 1], p);
    }
}

/* dx_2i = dy_2i c_2i + dy_2i+1 s_2i+1,  dx_2i+1 = dy_2i+1 c_2i+1 - dy_2i s_2i */
INLINE void turn_back(Activation *d, const float *cosine, const float *sine, int64_t head,
                      Precision p) {
    for (int64_t j = 0; j + 1 < head; j += 2) {
        float a = activation_get(d, j, p), b = activation_get(d, j + 1, p);
        activation_put(d, j, a * cosine[j] + b * sine[j + 1], p);
        activation_put(d, j + 1, b * cosine[j + 1] - a * sine[j], p);
    }
}

/* A row's queries and keys; back: the transpose. */
INLINE void turn_heads(Activation *row, const float *angles, int64_t head, int64_t heads, bool back,
                       Precision p) {
    for (int64_t h = 0; h < 2 * heads; h++)
        if (back)
            turn_back(activation_at(row, h * head, p), angles, angles + head, head, p);
        else
            turn(activation_at(row, h * head, p), angles, angles + head, head, p);
}

MANY_CPUS static void row_float(float *row, const float *angles, int64_t head, int64_t heads,
                                bool back) {
    turn_heads(row, angles, head, heads, back, PRECISION_FLOAT32);
}
MANY_CPUS static void row_bf16(uint16_t *row, const float *angles, int64_t head, int64_t heads,
                               bool back) {
    turn_heads(row, angles, head, heads, back, PRECISION_BFLOAT16);
}

static void turn_rows(Activation *qkv, const float *table, const int32_t *token, int64_t rows,
                      int64_t width, int64_t heads, bool back, Device *device) {
    int64_t head = width / heads;
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t i = 0; i < rows; i++) {
        if (token[i] < 0)
            continue;
        const float *angles = table + (int64_t)token[i] * 2 * head;
        if (device->precision == PRECISION_BFLOAT16)
            row_bf16((uint16_t *)qkv + i * 3 * width, angles, head, heads, back);
        else
            row_float((float *)qkv + i * 3 * width, angles, head, heads, back);
    }
}

void cpu_rope_forward(Activation *qkv, const float *table, const int32_t *token, int64_t rows,
                      int64_t width, int64_t heads, Device *device) {
    turn_rows(qkv, table, token, rows, width, heads, false, device);
}

void cpu_rope_backward(Activation *dqkv, const float *table, const int32_t *token, int64_t rows,
                       int64_t width, int64_t heads, Device *device) {
    turn_rows(dqkv, table, token, rows, width, heads, true, device);
}
