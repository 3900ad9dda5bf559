/* Attention for AVX-512 with products of bfloat16 pairs (vdpbf16ps): bfloat16 activations only.
 * See attention_flash.h. */
#ifdef __x86_64__
#define SET          avx512bf16
#define VECTOR_BYTES 64
#define BLOCK_ROWS   4
#define PAIRS        1
#include "kernels/cpu/attention_flash.h"
#else
typedef int attention_avx512bf16_is_for_x86; /* not an empty file */
#endif
