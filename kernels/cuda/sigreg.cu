/* SIGReg on the GPU. See kernels/sigreg.h.
 *
 * Bound by arithmetic. At the published sizes (V G = 18,432 embeddings of K = 256, M = 1024
 * directions, 17 knots) each way has a product of 9.7 GFLOP and 320 million pairs of sine and
 * cosine, about a millisecond of an H200, once a step of seconds. So nothing here is clever: one
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

/* Element i of a [TILE][DEPTH] piece of a matrix whose rows run along the inner index. */
static __device__ inline float piece(const float *from, int64_t pitch, int64_t row, int64_t rows,
                                     int64_t inner, int64_t inners) {
    return row < rows && inner < inners ? from[row * pitch + inner] : 0.0f;
}

/* c[R][N] = or += a[R][I] b, where b is b[I][N], or TRANSPOSED b[N][I]. */
template <bool TRANSPOSED, bool ADD>
__global__ void product_kernel(float *c, const float *a, const float *b, int64_t rows,
                               int64_t columns, int64_t inners) {
    CUDA_SHARED(float, left, [DEPTH][PITCH]);
    CUDA_SHARED(float, right, [DEPTH][PITCH]);
    int64_t across = (columns + TILE - 1) / TILE;
    int64_t row = blockIdx.x / across * TILE, column = blockIdx.x % across * TILE;
    int thread = (int)threadIdx.x, x = thread % (TILE / SIDE) * SIDE,
        y = thread / (TILE / SIDE) * SIDE;
    float sum[SIDE][SIDE] = {}, next_left[MOVES], next_right[MOVES];
    for (int64_t at = -DEPTH; at < inners; at += DEPTH) {
        for (int m = 0; m < MOVES; m++) { /* of the step after this one: on its way meanwhile */
            int i = m * THREADS + thread;
            int64_t inner = at + DEPTH + i % DEPTH;
            next_left[m] = piece(a, inners, row + i / DEPTH, rows, inner, inners);
            next_right[m] = TRANSPOSED
                                ? piece(b, inners, column + i / DEPTH, columns, inner, inners)
                                : piece(b, columns, at + DEPTH + i / TILE, inners,
                                        column + i % TILE, columns);
        }
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
            if (row + y + i < rows && column + x + j < columns) {
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

/* gap and statistic of 32 directions of a view: block v · tiles + t, warp j has knots j, j + warps,
 * ..., a lane one direction. */
__global__ void gap_kernel(double *statistic, float *gap, const float *x, int64_t clips,
                           int64_t directions, int count, Knots knots) {
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
                device, x, e, a, rows, s->directions, s->width);
    int rounds = (s->knots + WARP - 1) / WARP; /* a block has 32 warps at most */
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
                de, x, a, rows, s->width, s->directions);
}
