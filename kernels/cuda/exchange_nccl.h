/* The exchange between GPUs through NCCL. See kernels/exchange.h. */
#ifndef JEPA_KERNELS_CUDA_EXCHANGE_NCCL_H
#define JEPA_KERNELS_CUDA_EXCHANGE_NCCL_H

#include "base/error.h"

typedef struct Exchange Exchange;
typedef struct Device Device;

/* Gives `exchange`, which joins several ranks already, NCCL's way for what lies in device memory;
 * all else stays as it was. Nothing is changed, and `why` says the reason, where ranks share a GPU
 * or one of them has none. All ranks call it together. ERROR_RUN where NCCL does not work. */
int exchange_nccl_join(Exchange *exchange, Device *device, Error *why, Error *error);
/* The same without asking whether it makes sense: for one rank too, in tests. */
int exchange_nccl_use(Exchange *exchange, Device *device, Error *error);

#endif
