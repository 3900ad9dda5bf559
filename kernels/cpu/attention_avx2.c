/* Attention for x86-64-v3: AVX2 with FMA, 16 registers of 32 bytes. See attention_flash.h. */
#ifdef __x86_64__
#define SET          avx2
#define VECTOR_BYTES 32
#define BLOCK_ROWS   4
#define PAIRS        0
#include "kernels/cpu/attention_flash.h"
#else
typedef int attention_avx2_is_for_x86; /* not an empty file */
#endif
