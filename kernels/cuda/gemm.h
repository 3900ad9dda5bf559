/* Matrix products of linear layers on the GPU, through cuBLASLt.
 *
 *   GEMM_FORWARD  result[R][out] = left[R][in] right[out][in]ᵀ     x, w
 *   GEMM_INPUT    result[R][in]  = left[R][out] right[out][in]     dy, w
 *   GEMM_WEIGHT   result[out][in] = left[R][out]ᵀ right[R][in]     dy, x
 *
 * with `added` and a bias on top, sums in float32. left and right have the device's precision, the
 * result too unless it is asked for in float32.
 *
 * What is reproducible and why. The library has many kernels; which one computes a product decides
 * the order of its sum. It is taken from the library's own heuristic, which looks at shapes, types
 * and alignment and at nothing that was measured; kernels that split the sum do so only in ways
 * that add the parts in a fixed order. So the bits of a result depend on the shape, the alignment
 * of the pointers, the card and the library's version: never on time or on what ran before.
 *
 * The number of rows differs from micro-batch to micro-batch. The heuristic is asked once for a
 * bucket of row counts, about a sixteenth of them wide, by its largest member with the same
 * divisibility by 2, 4 and 8 (kernels care for that, to 16 bytes), and the exact count is asked
 * only whether the kernel suits it; where not, the heuristic is asked for that very count. Both
 * are functions of the shape. What was asked is kept in a table of fixed size: an entry that was
 * dropped is made again, the same.
 *
 * FP8: with `left_scale` and `right_scale` the factors of GEMM_FORWARD are e4m3 with a scale for
 * each row of x and of w (kernels/cuda/eights.h), the bias is bfloat16, the result bfloat16 or
 * float32:
 *     result[r][o] = left_scale[r] right_scale[o] Σ_k left[r][k] right[o][k] + added + bias
 * The library has kernels for it on Hopper from 12.9 on. It has conditions; cuda_gemm_able says
 * whether it has one for a shape, which is a function of the shape too. */
#ifndef JEPA_KERNELS_CUDA_GEMM_H
#define JEPA_KERNELS_CUDA_GEMM_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Device Device;

typedef enum CudaGemmKind { GEMM_FORWARD, GEMM_INPUT, GEMM_WEIGHT } CudaGemmKind;

typedef struct CudaGemmCall {
    CudaGemmKind kind;
    int64_t rows, in, out; /* each at least 1 */
    void *result;
    bool float_result;        /* float32, whatever the precision */
    const void *left, *right; /* device memory, dense */
    const void *added;        /* of the result's shape and type, may be the result; or NULL */
    const void *bias;         /* of the result's type, [out]; GEMM_FORWARD only; or NULL */
    const float *left_scale, *right_scale; /* [R], [out]: FP8; else NULL */
} CudaGemmCall;

int cuda_gemm_open(Device *device, int capability, Error *error); /* 9: Hopper */
void cuda_gemm_close(Device *device);

/* device->tf32 allows float32 factors to be rounded to TensorFloat-32, 10 bits of mantissa. */
void cuda_gemm(const CudaGemmCall *call, Device *device);

/* In FP8: can the library compute such products at all, on this card and in this precision? */
bool cuda_gemm_has_eights(Device *device);
/* And this one? Its pointers count with their alignment alone. */
bool cuda_gemm_able(const CudaGemmCall *call, Device *device);
/* False, and nothing was done, where it refuses all the same. */
bool cuda_gemm_eights(const CudaGemmCall *call, Device *device);
/* Says once that layers like this one stay in bfloat16. */
void cuda_gemm_stays(const CudaGemmCall *call, Device *device);

/* The version of the library and what it chose, a line for each shape, for the run's folder. */
void cuda_gemm_report(const Device *device, FILE *out);

/* How often the heuristic was asked since the device was opened: constant in a steady state. */
uint64_t cuda_gemm_choices(const Device *device);

#endif
