/* Scratch of the CPU attention. */
#ifndef JEPA_KERNELS_CPU_ATTENTION_H
#define JEPA_KERNELS_CPU_ATTENTION_H

#include <stdint.h>

#define QUERY_BLOCK 128 /* query rows worked on at a time */

/* Bytes per thread for sequences of up to `longest` tokens. */
int64_t cpu_attention_scratch(int64_t longest);

#endif
