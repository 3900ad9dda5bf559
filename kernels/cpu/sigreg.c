/* SIGReg on the CPU. See kernels/sigreg.h. A tile of directions of one view belongs to one thread,
 * which sums over the clips in their order, in double. Sines and cosines are evaluated at every
 * knot: stepping from knot to knot by angle addition would multiply the rounding of the angle by
 * the number of the knot. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

/* gap and statistic of `columns` directions of one view; x and gap have rows of M */
MANY_CPUS static void forward_tile(double *statistic, float *gap, const float *x, int64_t clips,
                                   int64_t directions, int64_t columns, int knots) {
    for (int64_t c = 0; c < columns; c++)
        statistic[c] = 0;
    for (int j = 0; j < knots; j++) {
        SigregKnot knot = sigreg_knot(j, knots);
        float t = (float)knot.t, *even = gap + 2 * j * directions, *odd = even + directions;
        double cosines[COLUMN_TILE] = {0}, sines[COLUMN_TILE] = {0};
        for (int64_t g = 0; g < clips; g++)
            for (int64_t c = 0; c < columns; c++) {
                float sine, cosine;
                sincos_f32(t * x[g * directions + c], &sine, &cosine);
                cosines[c] += cosine;
                sines[c] += sine;
            }
        for (int64_t c = 0; c < columns; c++) {
            double a = cosines[c] / (double)clips - knot.phi, b = sines[c] / (double)clips;
            even[c] = (float)a;
            odd[c] = (float)b;
            statistic[c] += knot.weight * (a * a + b * b) * (double)clips;
        }
    }
}

void cpu_sigreg_forward(double *loss, double *statistic, float *x, float *gap, const float *e,
                        const float *a, const SigregShape *s, double weight, Device *device) {
    int64_t k = s->width, m = s->directions, rows = s->views * s->clips;
    int64_t across = TILES(m, COLUMN_TILE);
    JEPA_ASSERT(s->knots > 1 && s->knots <= SIGREG_KNOTS_MAX);
#pragma omp parallel num_threads(device->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
            int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
            gemm(x + first * m, m, e + first * k, k, 0, a, m, 0, count, m, k, 1.0f, 0.0f);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < s->views * across; tile++) {
            int64_t v = tile / across, c = tile % across * COLUMN_TILE;
            forward_tile(statistic + v * m + c, gap + v * s->knots * 2 * m + c,
                         x + v * s->clips * m + c, s->clips, m, min_i64(COLUMN_TILE, m - c),
                         s->knots);
        }
    }
    double sum = 0;
    for (int64_t i = 0; i < s->views * m; i++)
        sum += statistic[i];
    *loss += weight * sum / (double)(s->views * m);
}

/* statistic = G Σ_j weight_j ((c - phi)² + s²), c = Σ_g cos(t_j x) / G, s = Σ_g sin(t_j x) / G
 * => dx = factor Σ_j 2 weight_j t_j (s cos(t_j x) - (c - phi) sin(t_j x)); it replaces x */
MANY_CPUS static void backward_tile(float *x, const float *gap, int64_t clips, int64_t directions,
                                    int64_t columns, int knots, double factor) {
    float t[SIGREG_KNOTS_MAX], scale[SIGREG_KNOTS_MAX];
    for (int j = 0; j < knots; j++) {
        SigregKnot knot = sigreg_knot(j, knots);
        t[j] = (float)knot.t;
        scale[j] = (float)(2 * factor * knot.weight * knot.t);
    }
    for (int64_t g = 0; g < clips; g++) {
        float sum[COLUMN_TILE] = {0}, *row = x + g * directions;
        for (int j = 1; j < knots; j++) { /* t_0 = 0 */
            const float *even = gap + 2 * j * directions, *odd = even + directions;
            for (int64_t c = 0; c < columns; c++) {
                float sine, cosine;
                sincos_f32(t[j] * row[c], &sine, &cosine);
                sum[c] += scale[j] * (odd[c] * cosine - even[c] * sine);
            }
        }
        for (int64_t c = 0; c < columns; c++)
            row[c] = sum[c];
    }
}

void cpu_sigreg_backward(float *de, float *x, const float *gap, const float *a,
                         const SigregShape *s, double weight, Device *device) {
    int64_t k = s->width, m = s->directions, rows = s->views * s->clips;
    int64_t across = TILES(m, COLUMN_TILE);
    JEPA_ASSERT(s->knots > 1 && s->knots <= SIGREG_KNOTS_MAX);
#pragma omp parallel num_threads(device->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < s->views * across; tile++) {
            int64_t v = tile / across, c = tile % across * COLUMN_TILE;
            backward_tile(x + v * s->clips * m + c, gap + v * s->knots * 2 * m + c, s->clips, m,
                          min_i64(COLUMN_TILE, m - c), s->knots, weight / (double)(s->views * m));
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < TILES(rows, ROW_TILE); tile++) {
            int64_t first = tile * ROW_TILE, count = min_i64(ROW_TILE, rows - first);
            gemm(de + first * k, k, x + first * m, m, 0, a, m, 1, count, k, m, 1.0f, 1.0f);
        }
    }
}
