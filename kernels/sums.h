/* Sums of doubles in a fixed order: gradient norms by block, and what ranks and parts of a step
 * have each found. */
#ifndef JEPA_KERNELS_SUMS_H
#define JEPA_KERNELS_SUMS_H

#include <stdint.h>

typedef struct Device Device;

/* sums[b] = Σ x² of block b of x[count], blocks of SHARD_BLOCK elements (kernels/shard.h), the last
 * may be short; inside a block in an order of its own that is the same for every block. */
typedef void SquareSums(double *sums, const float *x, int64_t count, Device *device);

/* sum[width] += Σ_i x[i mod parts][i / parts], i = from, from + 1 .. to - 1, in this order;
 * x[parts][rows][width]. With one part: its rows from .. to - 1. With a part for each rank: the
 * blocks that the ranks share out, in the order of their numbers. */
typedef void SumsAdd(double *sum, const double *x, int64_t from, int64_t to, int64_t parts,
                     int64_t rows, int64_t width, Device *device);

SquareSums cpu_square_sums, cuda_square_sums, reference_square_sums;
SumsAdd cpu_sums_add, cuda_sums_add, reference_sums_add;

#endif
