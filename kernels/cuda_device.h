/* The CUDA device's door. kernels/cuda is linked where a toolkit was found; else
 * kernels/cuda_absent.c, whose device cannot be opened. */
#ifndef JEPA_KERNELS_CUDA_DEVICE_H
#define JEPA_KERNELS_CUDA_DEVICE_H

#include "base/error.h"

typedef struct Device Device;

/* Fills a device whose `threads` are set already. ERROR_RUN where there is no driver or no GPU that
 * works; ERROR_USAGE where there is none of that number, or the program was built without CUDA. */
int cuda_device_open(Device *device, int ordinal, Error *error);
void cuda_device_close(Device *device);

/* Number of GPUs that work; 0 with the reason in `why` where there is none. Costs nothing where no
 * driver is installed. */
int cuda_device_count(Error *why);

typedef struct Exchange Exchange;

/* Gives `exchange`, which joins several ranks already, NCCL's way for what lies in device memory;
 * all else stays as it was. Nothing is changed, and `why` says the reason, where ranks share a GPU
 * or one of them has none. All ranks call it together. ERROR_RUN where NCCL does not work. */
int cuda_exchange_join(Exchange *exchange, Device *device, Error *why, Error *error);

#endif
