/* Attention in the shape that AVX-512 with bfloat16 has, for any CPU: what tests run where there is
 * none. See attention_flash.h. */
#define SET            pairs
#define VECTOR_BYTES   64
#define BLOCK_ROWS     4
#define PAIRS          1
#define QUICK_TO_BUILD 1
#include "kernels/cpu/attention_flash.h"
