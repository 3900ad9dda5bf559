/* SIGReg on the GPU. See kernels/sigreg.h.
 *
 * Bound by arithmetic. At the published sizes (V G = 16,896 embeddings of K = 256, M = 1024
 * directions, 17 knots) each way has a product of 8.9 GFLOP and 290 million pairs of sine and
 * cosine, about a millisecond of an H200 by its peaks, once a step. So nothing here is clever: one
 * tiled product in float32 for x = e a and de += dx aᵀ, whose sums run over the inner index in its
 * order, and a warp of 32 directions for each knot, which sums over the clips in their order.
 * Sines and cosines are evaluated at every knot: stepping from knot to knot by angle addition would
 * multiply the rounding of the angle by the number of the knot. */
#include "kernels/cuda/tile_sums.h"

/* ---- product ---- */

#define TILE    64 /* rows and columns of a block's part of the product */
#define DEPTH   16 /* inner index of one step */
#define SIDE    4  /* rows and columns of a thread's part */
#define THREADS ((TILE / SIDE) * (TILE / SIDE))
#define PITCH   (TILE + 4) /* so that 16-byte accesses stay aligned and banks differ */
#define MOVES   (TILE * DEPTH / THREADS)

/* c[R][N] = or += a[R][I] b, where b is b[I][N], or TRANSPOSED b[N][I]. A thread moves MOVES
 * elements of either matrix at a time, those of the next step while it computes this one; rows
 * along the inner index are STRIDE apart, rows of b[I][N] are THREADS / TILE apart. */
template <bool TRANSPOSED, bool ADD>
__global__ void product_kernel(float *c, const float *a, const float *b, int64_t rows, int columns,
                               int inners) {
    CUDA_SHARED(float, left, [DEPTH][PITCH]);
    CUDA_SHARED(float, right, [DEPTH][PITCH]);
    const int STRIDE = THREADS / DEPTH;
    unsigned across = (unsigned)(columns + TILE - 1) / TILE;
    int64_t row = (int64_t)(blockIdx.x / across) * TILE;
    int column = (int)(blockIdx.x % across) * TILE, thread = (int)threadIdx.x;
    int high = (int)(rows - row < TILE ? rows - row : TILE);
    int wide = columns - column < TILE ? columns - column : TILE;
    int x = thread % (TILE / SIDE) * SIDE, y = thread / (TILE / SIDE) * SIDE;
    const float *from_left = a + (row + thread / DEPTH) * inners + thread % DEPTH;
    const float *from_right =
        b + (TRANSPOSED ? (int64_t)(column + thread / DEPTH) * inners + thread % DEPTH
                        : (int64_t)(thread / TILE) * columns + column + thread % TILE);
    float sum[SIDE][SIDE] = {}, next_left[MOVES], next_right[MOVES];
    for (int at = -DEPTH; at < inners; at += DEPTH) {
        int ahead = inners - at - DEPTH; /* what is left of the inner index */
        for (int m = 0; m < MOVES; m++) {
            int line = thread / DEPTH + m * STRIDE, inner = thread / TILE + m * (THREADS / TILE);
            next_left[m] = line < high && thread % DEPTH < ahead
                               ? from_left[(int64_t)m * STRIDE * inners]
                               : 0.0f;
            if (TRANSPOSED)
                next_right[m] = line < wide && thread % DEPTH < ahead
                                    ? from_right[(int64_t)m * STRIDE * inners]
                                    : 0.0f;
            else
                next_right[m] = thread % TILE < wide && inner < ahead
                                    ? from_right[(int64_t)m * (THREADS / TILE) * columns]
                                    : 0.0f;
        }
        from_left += DEPTH;
        from_right += TRANSPOSED ? DEPTH : (int64_t)DEPTH * columns;
        for (int k = 0; at >= 0 && k < DEPTH; k++) {
            Pack<float, SIDE> l = load<float, SIDE>(&left[k][y]);
            Pack<float, SIDE> r = load<float, SIDE>(&right[k][x]);
            for (int i = 0; i < SIDE; i++)
                for (int j = 0; j < SIDE; j++)
                    sum[i][j] += l.at[i] * r.at[j];
        }
        __syncthreads();
        for (int m = 0; m < MOVES; m++) {
            int i = m * THREADS + thread;
            left[i % DEPTH][i / DEPTH] = next_left[m];
            if (TRANSPOSED)
                right[i % DEPTH][i / DEPTH] = next_right[m];
            else
                right[i / TILE][i % TILE] = next_right[m];
        }
        __syncthreads();
    }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            if (y + i < high && x + j < wide) {
                float *to = c + (row + y + i) * columns + column + x + j;
                *to = ADD ? *to + sum[i][j] : sum[i][j];
            }
}

static unsigned product_blocks(int64_t rows, int64_t columns) {
    return blocks_for((int64_t)blocks_for(rows, TILE) * blocks_for(columns, TILE), 1);
}

/* ---- knots ---- */

typedef struct Knots {
    double phi[SIGREG_KNOTS_MAX], weight[SIGREG_KNOTS_MAX];
    float t[SIGREG_KNOTS_MAX];
} Knots;

static Knots knots_of(int count) {
    Knots knots = {};
    JEPA_ASSERT(count > 1 && count <= SIGREG_KNOTS_MAX);
    for (int j = 0; j < count; j++) {
        SigregKnot knot = sigreg_knot(j, count);
        knots.phi[j] = knot.phi;
        knots.weight[j] = knot.weight;
        knots.t[j] = (float)knot.t;
    }
    return knots;
}

/* ---- forward ---- */

#define WARPS_MOST 32 /* of a block */

/* gap and statistic of 32 directions of a view: block v · tiles + t, warp j has knots j, j + warps,
 * ..., a lane one direction. */
__global__ void __launch_bounds__(WARPS_MOST *WARP, 1)
    gap_kernel(double *statistic, float *gap, const float *x, int64_t clips, int64_t directions,
               int count, Knots knots) {
    CUDA_SHARED(double, terms, [SIGREG_KNOTS_MAX][WARP]);
    int64_t tiles = (directions + WARP - 1) / WARP, v = blockIdx.x / tiles;
    int lane = (int)threadIdx.x % WARP, warps = (int)blockDim.x / WARP;
    int64_t m = blockIdx.x % tiles * WARP + lane;
    const float *own = x + v * clips * directions + m;
    for (int j = (int)threadIdx.x / WARP; j < count; j += warps) {
        double cosines = 0, sines = 0;
        for (int64_t g = 0; m < directions && g < clips; g++) {
            float sine, cosine;
            sincosf(knots.t[j] * own[g * directions], &sine, &cosine);
            cosines += cosine;
            sines += sine;
        }
        double a = cosines / (double)clips - knots.phi[j], b = sines / (double)clips;
        if (m < directions) {
            gap[((v * count + j) * 2 + 0) * directions + m] = (float)a;
            gap[((v * count + j) * 2 + 1) * directions + m] = (float)b;
        }
        terms[j][lane] = knots.weight[j] * (a * a + b * b) * (double)clips;
    }
    __syncthreads();
    if ((int)threadIdx.x < WARP && m < directions) {
        double sum = 0;
        for (int j = 0; j < count; j++)
            sum += terms[j][lane];
        statistic[v * directions + m] = sum;
    }
}

extern "C" void cuda_sigreg_forward(double *loss, double *statistic, float *x, float *gap,
                                    const float *e, const float *a, const SigregShape *s,
                                    double weight, Device *device) {
    int64_t rows = s->views * s->clips, all = s->views * s->directions;
    Knots knots = knots_of(s->knots);
    if (!rows || !all)
        return;
    CUDA_LAUNCH((product_kernel<false, false>), product_blocks(rows, s->directions), THREADS, 0,
                device, x, e, a, rows, (int)s->directions, (int)s->width);
    int rounds = (s->knots + WARPS_MOST - 1) / WARPS_MOST;
    int warps = (s->knots + rounds - 1) / rounds;
    CUDA_LAUNCH(gap_kernel, blocks_for(s->views * blocks_for(s->directions, WARP), 1), warps * WARP,
                0, device, statistic, gap, x, s->clips, s->directions, s->knots, knots);
    tile_sums_add(loss, statistic, all, weight / (double)all, device);
}

/* ---- backward ---- */

#define CLIPS      8 /* of a thread: it reads a gap once for all of them */
#define DX_THREADS 128

/* statistic = G Σ_j weight_j ((c - phi)² + s²), c = Σ_g cos(t_j x) / G, s = Σ_g sin(t_j x) / G
 * => dx = factor Σ_j 2 weight_j t_j (s cos(t_j x) - (c - phi) sin(t_j x)); it replaces x.
 * A thread has one direction and CLIPS clips of a view. */
__global__ void dx_kernel(float *x, const float *gap, int64_t clips, int64_t directions, int count,
                          double factor, Knots knots) {
    int64_t tiles = (directions + DX_THREADS - 1) / DX_THREADS;
    int64_t chunks = (clips + CLIPS - 1) / CLIPS;
    int64_t m = blockIdx.x % tiles * DX_THREADS + threadIdx.x;
    int64_t first = blockIdx.x / tiles % chunks * CLIPS, v = blockIdx.x / tiles / chunks;
    if (m >= directions)
        return;
    int here = (int)(clips - first < CLIPS ? clips - first : CLIPS);
    float place[CLIPS], sum[CLIPS] = {};
    float *own = x + (v * clips + first) * directions + m;
    for (int g = 0; g < CLIPS; g++)
        place[g] = g < here ? own[g * directions] : 0.0f;
    for (int j = 1; j < count; j++) { /* t_0 = 0 */
        float even = gap[((v * count + j) * 2 + 0) * directions + m];
        float odd = gap[((v * count + j) * 2 + 1) * directions + m];
        float t = knots.t[j], scale = (float)(2 * factor * knots.weight[j] * (double)t);
        for (int g = 0; g < CLIPS; g++) {
            float sine, cosine;
            sincosf(t * place[g], &sine, &cosine);
            sum[g] += scale * (odd * cosine - even * sine);
        }
    }
    for (int g = 0; g < CLIPS; g++)
        if (g < here)
            own[g * directions] = sum[g];
}

extern "C" void cuda_sigreg_backward(float *de, float *x, const float *gap, const float *a,
                                     const SigregShape *s, double weight, Device *device) {
    int64_t rows = s->views * s->clips, all = s->views * s->directions;
    Knots knots = knots_of(s->knots);
    if (!rows || !all)
        return;
    CUDA_LAUNCH(
        dx_kernel,
        blocks_for(s->views * blocks_for(s->clips, CLIPS) * blocks_for(s->directions, DX_THREADS),
                   1),
        DX_THREADS, 0, device, x, gap, s->clips, s->directions, s->knots, weight / (double)all,
        knots);
    CUDA_LAUNCH((product_kernel<true, true>), product_blocks(rows, s->width), THREADS, 0, device,
                de, x, a, rows, (int)s->width, (int)s->directions);
}
