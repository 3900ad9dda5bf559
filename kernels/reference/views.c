/* Reference operations of the objective over views: batch normalisation, the invariance loss and
 * SIGReg. See kernels/reference/networks.c. */
#include "kernels/device.h"
#include <math.h>

void reference_batchnorm_forward(float *y, float *mean, float *rstd, float *running_mean,
                                 float *running_var, const float *x, const float *w, const float *b,
                                 int64_t rows, int64_t width, double eps, double momentum,
                                 Device *device) {
    (void)device;
    JEPA_ASSERT(rows > 1);
    for (int64_t d = 0; d < width; d++) {
        double m = 0, squares = 0;
        for (int64_t r = 0; r < rows; r++)
            m += x[r * width + d] / (double)rows;
        for (int64_t r = 0; r < rows; r++)
            squares += (x[r * width + d] - m) * (x[r * width + d] - m);
        double s = 1.0 / sqrt(squares / (double)rows + eps);
        for (int64_t r = 0; r < rows; r++)
            y[r * width + d] = (float)((x[r * width + d] - m) * s * w[d] + b[d]);
        mean[d] = (float)m;
        rstd[d] = (float)s;
        if (running_mean) {
            double variance = squares / (double)(rows - 1);
            running_mean[d] = (float)(running_mean[d] + momentum * (m - running_mean[d]));
            running_var[d] = (float)(running_var[d] + momentum * (variance - running_var[d]));
        }
    }
}

void reference_batchnorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                                  const float *mean, const float *rstd, const float *w,
                                  int64_t rows, int64_t width, Device *device) {
    (void)device;
    for (int64_t d = 0; d < width; d++) {
        double g_sum = 0, gn_sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            double n = ((double)x[r * width + d] - mean[d]) * rstd[d];
            g_sum += dy[r * width + d];
            gn_sum += dy[r * width + d] * n;
        }
        for (int64_t r = 0; r < rows; r++) {
            double n = ((double)x[r * width + d] - mean[d]) * rstd[d];
            double g = dy[r * width + d] - g_sum / (double)rows - n * gn_sum / (double)rows;
            dx[r * width + d] = (float)((double)rstd[d] * w[d] * g);
        }
        dw[d] += (float)gn_sum;
        db[d] += (float)g_sum;
    }
}

void reference_invariance_forward(double *loss, const float *e, int64_t views, int64_t clips,
                                  int64_t width, double weight, Device *device) {
    (void)device;
    double sum = 0;
    for (int64_t v = 0; v < views; v++)
        for (int64_t i = 0; i < clips * width; i++) {
            double d = (double)e[i] - e[v * clips * width + i];
            sum += d * d;
        }
    *loss += weight * sum / (double)(views * clips * width);
}

void reference_invariance_backward(float *de, const float *e, int64_t views, int64_t clips,
                                   int64_t width, double weight, Device *device) {
    (void)device;
    int64_t n = clips * width;
    for (int64_t i = 0; i < n; i++) {
        double total = 0;
        for (int64_t v = 0; v < views; v++) {
            double d = 2 * weight * ((double)e[i] - e[v * n + i]) / (double)(views * n);
            de[v * n + i] = (float)-d;
            total += d;
        }
        de[i] = (float)total;
    }
}

void reference_sigreg_forward(double *loss, double *statistic, float *x, float *gap, const float *e,
                              const float *a, const SigregShape *s, double weight, Device *device) {
    (void)device;
    int64_t width = s->width, directions = s->directions;
    double total = 0;
    for (int64_t v = 0; v < s->views; v++)
        for (int64_t m = 0; m < directions; m++) {
            for (int64_t g = v * s->clips; g < (v + 1) * s->clips; g++) {
                double dot = 0;
                for (int64_t k = 0; k < width; k++)
                    dot += (double)e[g * width + k] * a[k * directions + m];
                x[g * directions + m] = (float)dot;
            }
            double sum = 0;
            for (int j = 0; j < s->knots; j++) {
                SigregKnot knot = sigreg_knot(j, s->knots);
                double even = 0, odd = 0;
                for (int64_t g = v * s->clips; g < (v + 1) * s->clips; g++) {
                    even += cos(knot.t * x[g * directions + m]) / (double)s->clips;
                    odd += sin(knot.t * x[g * directions + m]) / (double)s->clips;
                }
                even -= knot.phi;
                gap[((v * s->knots + j) * 2 + 0) * directions + m] = (float)even;
                gap[((v * s->knots + j) * 2 + 1) * directions + m] = (float)odd;
                sum += knot.weight * (even * even + odd * odd);
            }
            statistic[v * directions + m] = sum * (double)s->clips;
            total += sum * (double)s->clips;
        }
    *loss += weight * total / (double)(s->views * directions);
}

void reference_sigreg_backward(float *de, float *x, const float *gap, const float *a,
                               const SigregShape *s, double weight, Device *device) {
    (void)device;
    int64_t width = s->width, directions = s->directions;
    for (int64_t v = 0; v < s->views; v++)
        for (int64_t g = v * s->clips; g < (v + 1) * s->clips; g++) {
            for (int64_t m = 0; m < directions; m++) {
                double dx = 0, place = x[g * directions + m];
                for (int j = 0; j < s->knots; j++) {
                    SigregKnot knot = sigreg_knot(j, s->knots);
                    double even = gap[((v * s->knots + j) * 2 + 0) * directions + m];
                    double odd = gap[((v * s->knots + j) * 2 + 1) * directions + m];
                    dx += 2 * knot.weight * knot.t *
                          (odd * cos(knot.t * place) - even * sin(knot.t * place));
                }
                x[g * directions + m] = (float)(weight * dx / (double)(s->views * directions));
            }
            for (int64_t k = 0; k < width; k++) {
                double sum = 0;
                for (int64_t m = 0; m < directions; m++)
                    sum += (double)x[g * directions + m] * a[k * directions + m];
                de[g * width + k] += (float)sum;
            }
        }
}
