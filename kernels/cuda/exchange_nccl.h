/* The exchange between GPUs through NCCL. See kernels/exchange.h. */
#ifndef JEPA_KERNELS_CUDA_EXCHANGE_NCCL_H
#define JEPA_KERNELS_CUDA_EXCHANGE_NCCL_H

#include "base/error.h"

typedef struct Exchange Exchange;
typedef struct Device Device;

/* Gives `exchange` NCCL's way for what lies in device memory (cuda_exchange_join) without asking
 * whether it makes sense: for one rank too, in tests. */
int exchange_nccl_use(Exchange *exchange, Device *device, Error *error);

#endif
