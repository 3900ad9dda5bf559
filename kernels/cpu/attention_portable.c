/* Attention for any CPU: vectors of 16 bytes, which every compiler can lower. See
 * attention_flash.h. */
#define SET          portable
#define VECTOR_BYTES 16
#define BLOCK_ROWS   4
#define PAIRS        0
#include "kernels/cpu/attention_flash.h"
