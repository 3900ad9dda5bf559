/* Reference operations of the networks: plain loops, sums in double, one thread, no tricks. Slow
 * and obviously right; every other device is tested against them. Formulas: kernels/<operation>.h.
 */
#include "kernels/device.h"
#include <math.h>
#include <stdlib.h>

void reference_linear_residual_forward(float *y, const Activation *x_, const float *w,
                                       const float *b, const float *residual, int64_t rows,
                                       int64_t in, int64_t out, Device *device) {
    const float *x = x_;
    (void)device;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = (b ? b[o] : 0.0) + (residual ? residual[r * out + o] : 0.0);
            for (int64_t i = 0; i < in; i++)
                sum += (double)x[r * in + i] * w[o * in + i];
            y[r * out + o] = (float)sum;
        }
}

void reference_linear_forward(Activation *y, const Activation *x, const float *w, const float *b,
                              int64_t rows, int64_t in, int64_t out, Device *device) {
    reference_linear_residual_forward(y, x, w, b, NULL, rows, in, out, device);
}

void reference_linear_gelu_forward(Activation *activated, Activation *y, const Activation *x,
                                   const float *w, const float *b, int64_t rows, int64_t in,
                                   int64_t out, Device *device) {
    if (!y)
        y = activated;
    reference_linear_forward(y, x, w, b, rows, in, out, device);
    reference_gelu_forward(activated, y, rows * out, device);
}

void reference_linear_backward_input(Activation *dx_, const Activation *dy_, const float *w,
                                     int64_t rows, int64_t in, int64_t out, Device *device) {
    float *dx = dx_;
    const float *dy = dy_;
    (void)device;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++)
                sum += (double)dy[r * out + o] * w[o * in + i];
            dx[r * in + i] = (float)sum;
        }
}

void reference_linear_gelu_backward_input(Activation *da, Activation *x, const Activation *dy,
                                          const float *w, const Activation *a, int64_t rows,
                                          int64_t in, int64_t out, Device *device) {
    reference_linear_backward_input(da, dy, w, rows, in, out, device);
    reference_gelu_backward(da, da, a, rows * in, device);
    if (x)
        reference_gelu_forward(x, a, rows * in, device);
}

void reference_linear_backward_weight(float *dw, float *db, const Activation *dy_,
                                      const Activation *x_, int64_t rows, int64_t in, int64_t out,
                                      Device *device) {
    const float *dy = dy_, *x = x_;
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t r = 0; r < rows; r++)
                sum += (double)dy[r * out + o] * x[r * in + i];
            dw[o * in + i] += (float)sum;
        }
    if (db)
        reference_rows_sum(db, dy, NULL, rows, out, device);
}

/* This device keeps no other form of weights. */
size_t reference_linear_weights_bytes(const LinearWeights *weights, Device *device) {
    (void)weights, (void)device;
    return 0;
}
int reference_linear_weights_add(const LinearWeights *weights, Device *device, Error *error) {
    (void)weights, (void)device, (void)error;
    return 0;
}
void reference_linear_weights_changed(const float *from, const float *to, Device *device) {
    (void)from, (void)to, (void)device;
}
void reference_linear_weights_remove(const float *from, const float *to, Device *device) {
    (void)from, (void)to, (void)device;
}

void reference_layernorm_values(float *y, float *mean, float *rstd, const float *x, const float *w,
                                const float *b, int64_t rows, int64_t width, double eps,
                                Device *device) {
    reference_layernorm_forward(y, mean, rstd, x, w, b, rows, width, eps, device);
}

void reference_layernorm_again(Activation *y_, const float *x, const float *mean, const float *rstd,
                               const float *w, const float *b, int64_t rows, int64_t width,
                               Device *device) {
    float *y = y_;
    (void)device;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = (float)(((double)x[r * width + i] - mean[r]) * rstd[r] * w[i] +
                                       b[i]);
}

void reference_layernorm_forward(Activation *y_, float *mean, float *rstd, const float *x,
                                 const float *w, const float *b, int64_t rows, int64_t width,
                                 double eps, Device *device) {
    float *y = y_;
    (void)device;
    for (int64_t r = 0; r < rows; r++) {
        double m = 0, variance = 0;
        for (int64_t i = 0; i < width; i++)
            m += x[r * width + i];
        m /= (double)width;
        for (int64_t i = 0; i < width; i++)
            variance += (x[r * width + i] - m) * (x[r * width + i] - m);
        double s = 1.0 / sqrt(variance / (double)width + eps);
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = (float)((x[r * width + i] - m) * s * (w ? w[i] : 1.0) +
                                       (b ? b[i] : 0.0));
        if (mean)
            mean[r] = (float)m;
        if (rstd)
            rstd[r] = (float)s;
    }
}

void reference_layernorm_backward(float *dx, Activation *narrow, float *dw, float *db,
                                  const Activation *dy_, const float *x, const float *mean,
                                  const float *rstd, const float *w, int64_t rows, int64_t width,
                                  Device *device) {
    const float *dy = dy_;
    for (int64_t r = 0; r < rows; r++) {
        double g_mean = 0, gn_mean = 0;
        for (int64_t i = 0; i < width; i++) {
            double g = (double)dy[r * width + i] * w[i];
            g_mean += g / (double)width;
            gn_mean += g * ((double)x[r * width + i] - mean[r]) * rstd[r] / (double)width;
        }
        for (int64_t i = 0; i < width; i++) {
            double g = (double)dy[r * width + i] * w[i];
            double n = ((double)x[r * width + i] - mean[r]) * rstd[r];
            dx[r * width + i] += (float)(rstd[r] * (g - g_mean - n * gn_mean));
        }
    }
    for (int64_t i = 0; i < width; i++) {
        double weight = 0, bias = 0;
        for (int64_t r = 0; r < rows; r++) {
            weight += dy[r * width + i] * ((double)x[r * width + i] - mean[r]) * rstd[r];
            bias += dy[r * width + i];
        }
        dw[i] += (float)weight;
        db[i] += (float)bias;
    }
    if (narrow)
        reference_rows_narrow(narrow, dx, rows * width, device);
}

void reference_gelu_forward(Activation *y_, const Activation *x_, int64_t count, Device *device) {
    float *y = y_;
    const float *x = x_;
    (void)device;
    for (int64_t i = 0; i < count; i++)
        y[i] = (float)(x[i] * 0.5 * erfc(-x[i] * M_SQRT1_2));
}

void reference_gelu_backward(Activation *dx_, const Activation *dy_, const Activation *x_,
                             int64_t count, Device *device) {
    float *dx = dx_;
    const float *dy = dy_, *x = x_;
    (void)device;
    for (int64_t i = 0; i < count; i++) {
        double v = x[i], density = exp(-0.5 * v * v) / sqrt(2 * M_PI);
        dx[i] = (float)(dy[i] * (0.5 * erfc(-v * M_SQRT1_2) + v * density));
    }
}

void reference_swiglu_forward(Activation *y_, const Activation *a_, const Activation *b_,
                              int64_t count, Device *device) {
    float *y = y_;
    const float *a = a_, *b = b_;
    (void)device;
    for (int64_t i = 0; i < count; i++)
        y[i] = (float)(a[i] / (1 + exp(-(double)a[i])) * b[i]);
}

void reference_swiglu_backward(Activation *da_, Activation *db_, Activation *y,
                               const Activation *dy_, const Activation *a_, const Activation *b_,
                               int64_t count, Device *device) {
    float *da = da_, *db = db_;
    const float *dy = dy_, *a = a_, *b = b_;
    if (y)
        reference_swiglu_forward(y, a, b, count, device);
    (void)device;
    for (int64_t i = 0; i < count; i++) {
        double s = 1 / (1 + exp(-(double)a[i])), d = dy[i];
        db[i] = (float)(d * a[i] * s);
        da[i] = (float)(d * b[i] * s * (1 + a[i] * (1 - s)));
    }
}

/* The 2 x 2 matrix of a pair of channels, or its transpose. */
static void turn_rows(float *qkv, const float *table, const int32_t *token, int64_t rows,
                      int64_t width, int64_t heads, bool transpose) {
    int64_t head = width / heads;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t h = 0; h < 2 * heads && token[i] >= 0; h++)
            for (int64_t j = 0; j + 1 < head; j += 2) {
                const float *c = table + (int64_t)token[i] * 2 * head + j, *s = c + head;
                float *x = qkv + i * 3 * width + h * head + j;
                double a = x[0], b = x[1];
                x[0] = (float)(a * c[0] + (transpose ? b * s[1] : -b * s[0]));
                x[1] = (float)(b * c[1] + (transpose ? -a * s[0] : a * s[1]));
            }
}

void reference_rope_forward(Activation *qkv, const float *table, const int32_t *token, int64_t rows,
                            int64_t width, int64_t heads, Device *device) {
    (void)device;
    turn_rows(qkv, table, token, rows, width, heads, false);
}

void reference_rope_backward(Activation *dqkv, const float *table, const int32_t *token,
                             int64_t rows, int64_t width, int64_t heads, Device *device) {
    (void)device;
    turn_rows(dqkv, table, token, rows, width, heads, true);
}

/* Scores of one query against its sequence, times 1/√d; returns their log-sum-exp. */
static double scores(double *s, const float *qkv, const int32_t *block, int64_t query,
                     int64_t first, int64_t count, int64_t width, int64_t head, int64_t h) {
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++) {
        s[j] = 0;
        for (int64_t d = 0; d < head; d++)
            s[j] += (double)qkv[(first + query) * 3 * width + h * head + d] *
                    qkv[(first + j) * 3 * width + width + h * head + d];
        s[j] /= sqrt((double)head);
        if (block && block[first + j] > block[first + query])
            s[j] = -INFINITY;
        top = fmax(top, s[j]);
    }
    for (int64_t j = 0; j < count; j++)
        sum += exp(s[j] - top);
    return top + log(sum);
}

void reference_attention_forward(Activation *out_, float *lse, const Activation *qkv_,
                                 const int32_t *cu_seqlens, const int32_t *block, int64_t sequences,
                                 int64_t width, int64_t heads, Device *device) {
    float *out = out_;
    const float *qkv = qkv_;
    (void)device;
    int64_t head = width / heads;
    for (int64_t s = 0; s < sequences; s++) {
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        double *p = memory_new((size_t)count + 1, sizeof *p);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < count; i++) {
                double total = scores(p, qkv, block, i, first, count, width, head, h);
                for (int64_t d = 0; d < head; d++) {
                    double sum = 0;
                    for (int64_t j = 0; j < count; j++)
                        sum += exp(p[j] - total) *
                               qkv[(first + j) * 3 * width + 2 * width + h * head + d];
                    out[(first + i) * width + h * head + d] = (float)sum;
                }
                if (lse)
                    lse[(first + i) * heads + h] = (float)total;
            }
        free(p);
    }
}

void reference_attention_backward(Activation *dqkv_, const Activation *dout_,
                                  const Activation *qkv_, const Activation *out_, const float *lse,
                                  const int32_t *cu_seqlens, const int32_t *block,
                                  int64_t sequences, int64_t width, int64_t heads, Device *device) {
    float *dqkv = dqkv_;
    const float *dout = dout_, *qkv = qkv_, *out = out_;
    (void)device, (void)out, (void)lse;
    int64_t head = width / heads, stride = 3 * width;
    for (int64_t s = 0; s < sequences; s++) {
        int64_t first = cu_seqlens[s], count = cu_seqlens[s + 1] - first;
        double *p = memory_new((size_t)count + 1, sizeof *p);
        double *dp = memory_new((size_t)count + 1, sizeof *dp);
        double *gradient = memory_new((size_t)(count * stride) + 1, sizeof *gradient);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < count; i++) {
                double total = scores(p, qkv, block, i, first, count, width, head, h), delta = 0;
                for (int64_t j = 0; j < count; j++) {
                    p[j] = exp(p[j] - total);
                    dp[j] = 0; /* out_i = Σ_j p_j v_j  =>  dp_j = dout_i · v_j */
                    for (int64_t d = 0; d < head; d++) {
                        int64_t column = h * head + d;
                        double g = dout[(first + i) * width + column];
                        dp[j] += g * qkv[(first + j) * stride + 2 * width + column];
                        gradient[j * stride + 2 * width + column] += p[j] * g;
                    }
                    delta += p[j] * dp[j];
                }
                for (int64_t j = 0; j < count; j++) {
                    double ds = p[j] * (dp[j] - delta) / sqrt((double)head);
                    for (int64_t d = 0; d < head; d++) {
                        int64_t column = h * head + d;
                        gradient[i * stride + column] += ds *
                                                         qkv[(first + j) * stride + width + column];
                        gradient[j * stride + width + column] += ds *
                                                                 qkv[(first + i) * stride + column];
                    }
                }
            }
        for (int64_t i = 0; i < count * stride; i++)
            dqkv[first * stride + i] = (float)gradient[i];
        free(p);
        free(dp);
        free(gradient);
    }
}
