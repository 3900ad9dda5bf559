/* Attention for x86-64-v4: AVX-512, 32 registers of 64 bytes. See attention_flash.h. */
#ifdef __x86_64__
#define SET          avx512
#define VECTOR_BYTES 64
#define BLOCK_ROWS   8
#define PAIRS        0
#include "kernels/cpu/attention_flash.h"
#else
typedef int attention_avx512_is_for_x86; /* not an empty file */
#endif
