/* Stands for kernels/cuda in a program built without a CUDA toolkit. See kernels/cuda_device.h. */
#include "kernels/cuda_device.h"

int cuda_device_open(Device *device, int ordinal, Error *error) {
    (void)device, (void)ordinal;
    return error_set(error, ERROR_USAGE,
                     "this program was built without CUDA: build it where nvcc is found, or use "
                     "--device cpu");
}

void cuda_device_close(Device *device) {
    (void)device;
}

int cuda_device_count(Error *why) {
    error_fill(why, ERROR_USAGE, "this program was built without CUDA");
    return 0;
}

int cuda_exchange_join(Exchange *exchange, Device *device, Error *why, Error *error) {
    (void)exchange, (void)device, (void)why, (void)error;
    return 0;
}
