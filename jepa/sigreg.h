/* The teacher-free objective of LeVJEPA (MLO-lab/LeVJEPA module.py, main.py): from one feature of
 * every view of every clip to the loss and back. One projector for all views,
 *     e = net3(gelu(batchnorm(net0(features))))
 * normalised over all V·G rows of the global batch; then
 *     total = invariance + lambda · SIGReg          (kernels/invariance.h, kernels/sigreg.h)
 * The features are those of the global batch, [V][G][D], view 0 the global one, clips in the order
 * of the batch: however the batch was cut to compute them, here it is whole.
 * Shapes: V views, G clips, D encoder width, F hidden width of the projector, K its output width,
 * M directions, J knots, R = V·G rows. */
#ifndef JEPA_JEPA_SIGREG_H
#define JEPA_JEPA_SIGREG_H

#include "jepa/arena.h"
#include "kernels/device.h"

#define SIGREG_HIDDEN      2048 /* published sizes and coefficients */
#define SIGREG_OUTPUT      256
#define SIGREG_DIRECTIONS  1024
#define SIGREG_LAMBDA      0.02
#define BATCHNORM_EPS      1e-5 /* PyTorch's defaults */
#define BATCHNORM_MOMENTUM 0.1

typedef struct SigregHeadShape {
    int64_t views, clips; /* V, with the global view; G */
    int64_t width;        /* D */
    int64_t hidden;       /* F */
    int64_t output;       /* K */
    int64_t directions;   /* M */
    int knots;            /* J, SIGREG_KNOTS */
    bool normalize_by_n;  /* the statistic without its factor G; published: false */
} SigregHeadShape;

/* Where the projector lies in the flat buffers, in elements. */
typedef struct SigregOffsets {
    int64_t w0, b0;     /* net.0: [F][D], [F] */
    int64_t bn_w, bn_b; /* net.1: [F], [F] */
    int64_t w3, b3;     /* net.3: [K][F], [K] */
} SigregOffsets;

/* In device memory. */
typedef struct SigregScalars {
    double invariance;
    double sigreg; /* before lambda */
    double total;  /* invariance + lambda sigreg */
} SigregScalars;

typedef struct SigregHead {
    SigregHeadShape shape;
    /* net.1's moving averages, [F] each: part of a run's state, though not of its parameters */
    float *running_mean, *running_var;
    /* what the backward pass needs */
    float *hidden;      /* [R][F] net.0 */
    float *mean, *rstd; /* [F] */
    float *normal;      /* [R][F] net.1 */
    float *activated;   /* [R][F] net.2 */
    float *embeddings;  /* [V][G][K] net.3 */
    float *projections; /* [V][G][M]; after the backward pass their gradients */
    float *gap;         /* [V][J][2][M] */
    double *statistic;  /* [V][M], to be looked at */
    /* gradients on their way back */
    float *dembeddings; /* [V][G][K] */
    float *dhidden;     /* [R][F] */
} SigregHead;

/* Takes all memory of a head of head->shape from the arena, under the kinds weights (the moving
 * averages), activations and workspace. Needs two rows or more. The device's scratch must serve
 * sums over G·K elements: device_scratch_bytes(device, 0, G·K). */
void sigreg_head_take(SigregHead *head, Arena *arena);
/* The moving averages as training starts: mean 0, variance 1. */
void sigreg_head_start(SigregHead *head, Device *device);

/* Fills host memory a[width][directions], row-major, with unit columns: `width` normal numbers
 * drawn from stream (seed, RANDOM_DIRECTIONS, step, column), over their length. Step by step they
 * are new, the same for all ranks. The published code draws them by the same law from another
 * generator. */
void sigreg_directions(float *a, int64_t width, int64_t directions, uint64_t seed, uint64_t step);

/* *scalars and what the backward pass needs, from features[V][G][D] and directions[K][M], both in
 * device memory; `weights` is the flat buffer that the offsets index. Moves the running averages.
 */
void sigreg_head_forward(SigregScalars *scalars, SigregHead *head, const float *features,
                         const float *weights, const SigregOffsets *offsets,
                         const float *directions, double lambda, Device *device);
/* dfeatures[V][G][D] = the gradient of total, and += in the flat buffer `gradients`. Once for each
 * forward pass, with the same arguments. dfeatures may not be features. */
void sigreg_head_backward(float *dfeatures, float *gradients, SigregHead *head,
                          const float *features, const float *weights, const SigregOffsets *offsets,
                          const float *directions, double lambda, Device *device);

#endif
