/* Opening a device: the tables of operations, host memory for the CPU devices. */
#include "kernels/device.h"
#include "base/machine.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include <stdlib.h>
#include <string.h>

const float patch_mean[PATCH_CHANNELS] = {0.485f, 0.456f, 0.406f};
const float patch_std[PATCH_CHANNELS] = {0.229f, 0.224f, 0.225f};

static int host_allocate(void **memory, size_t bytes, Device *device, Error *error) {
    (void)device;
    size_t rounded = (bytes + 63) / 64 * 64;
    *memory = aligned_alloc(64, rounded ? rounded : 64);
    if (!*memory)
        return error_set(error, ERROR_RUN,
                         "not enough memory for %.1f MiB: use a smaller batch or model",
                         (double)bytes / (1 << 20));
    memset(*memory, 0, rounded ? rounded : 64);
    return 0;
}

static void host_release(void *memory, Device *device) {
    (void)device;
    free(memory);
}

static void host_upload(void *to, const void *host, size_t bytes, Device *device) {
    (void)device;
    memcpy(to, host, bytes);
}

static void host_download(void *host, const void *from, size_t bytes, Device *device) {
    (void)device;
    memcpy(host, from, bytes);
}

static void host_zero(void *memory, size_t bytes, Device *device) {
    (void)device;
    memset(memory, 0, bytes);
}

static void host_wait(Device *device) {
    (void)device;
}

#define OPERATIONS(device)                                                                         \
    .linear_forward = device##_linear_forward,                                                     \
    .linear_residual_forward = device##_linear_residual_forward,                                   \
    .linear_gelu_forward = device##_linear_gelu_forward,                                           \
    .linear_gelu_backward_input = device##_linear_gelu_backward_input,                             \
    .linear_weights_bytes = device##_linear_weights_bytes,                                         \
    .linear_weights_add = device##_linear_weights_add,                                             \
    .linear_weights_changed = device##_linear_weights_changed,                                     \
    .linear_weights_remove = device##_linear_weights_remove,                                       \
    .layernorm_values = device##_layernorm_values, .layernorm_again = device##_layernorm_again,    \
    .rows_narrow = device##_rows_narrow, .rows_add = device##_rows_add,                            \
    .linear_backward_input = device##_linear_backward_input,                                       \
    .linear_backward_weight = device##_linear_backward_weight,                                     \
    .layernorm_forward = device##_layernorm_forward,                                               \
    .layernorm_backward = device##_layernorm_backward, .gelu_forward = device##_gelu_forward,      \
    .gelu_backward = device##_gelu_backward, .swiglu_forward = device##_swiglu_forward,            \
    .swiglu_backward = device##_swiglu_backward, .rope_forward = device##_rope_forward,            \
    .rope_backward = device##_rope_backward, .rows_blend = device##_rows_blend,                    \
    .rows_columns = device##_rows_columns, .attention_forward = device##_attention_forward,        \
    .attention_backward = device##_attention_backward, .patches_cut = device##_patches_cut,        \
    .rows_gather = device##_rows_gather, .rows_scatter_add = device##_rows_scatter_add,            \
    .rows_sum = device##_rows_sum, .rows_mean = device##_rows_mean,                                \
    .loss_forward = device##_loss_forward, .loss_backward = device##_loss_backward,                \
    .loss_total = device##_loss_total, .spread_forward = device##_spread_forward,                  \
    .spread_backward = device##_spread_backward, .square_sums = device##_square_sums,              \
    .sums_add = device##_sums_add, .rows_widen = device##_rows_widen, .add = device##_add,         \
    .adamw_ema = device##_adamw_ema, .batchnorm_forward = device##_batchnorm_forward,              \
    .batchnorm_backward = device##_batchnorm_backward,                                             \
    .invariance_forward = device##_invariance_forward,                                             \
    .invariance_backward = device##_invariance_backward,                                           \
    .sigreg_forward = device##_sigreg_forward, .sigreg_backward = device##_sigreg_backward

static const Device tables[] = {
    {.name = "cpu", OPERATIONS(cpu)},
    {.name = "reference", OPERATIONS(reference)},
};

int device_open(Device **device, const char *name, int threads, Error *error) {
    const Device *table = NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(name, tables[i].name))
            table = &tables[i];
    if (!table)
        return error_set(error, ERROR_USAGE, "there is no device \"%s\": use cpu", name);
    Device *made = memory_new(1, sizeof *made);
    *made = *table;
    made->threads = threads > 0 ? threads : device_threads_available();
    if (gemm_open(&made->gemm, made->threads, error)) {
        free(made);
        return -1;
    }
    made->exact = made;
    made->on_host = true;
    made->attention = cpu_attention_best();
    made->allocate = host_allocate;
    made->release = host_release;
    made->upload = host_upload;
    made->download = host_download;
    made->zero = host_zero;
    made->post = host_download;
    made->wait = host_wait;
    *device = made;
    return 0;
}

void device_close(Device *device) {
    if (!device)
        return;
    if (device->scratch)
        device->release(device->scratch, device);
    gemm_close(device->gemm);
    if (device->exact != device)
        free(device->exact);
    free(device);
}

Precision device_set_precision(Device *device, Precision precision, bool emulate) {
    bool reference = device->linear_forward == reference_linear_forward;
    if (precision == PRECISION_BFLOAT16 && !reference &&
        (emulate || gemm_has_bfloat16(device->gemm)) && device->exact == device) {
        device->exact = memory_new(1, sizeof *device->exact);
        *device->exact = *device;
        device->exact->exact = device->exact;
        device->precision = PRECISION_BFLOAT16;
    }
    return device->precision;
}

size_t device_scratch_bytes(const Device *device, int64_t longest, int64_t head, int64_t elements) {
    int64_t attention = longest ? cpu_attention_scratch(longest, head) * device->threads : 0;
    /* a tile of whole rows may be half as large as a flat one */
    int64_t partial_sums = (2 * TILES(elements, FLAT_TILE) + 1) * (int64_t)sizeof(double);
    return (size_t)(attention > partial_sums ? attention : partial_sums);
}

int device_reserve(Device *device, size_t bytes, Error *error) {
    if (bytes <= device->scratch_bytes)
        return 0;
    if (device->scratch)
        device->release(device->scratch, device);
    device->scratch = NULL;
    device->scratch_bytes = 0;
    if (device->allocate(&device->scratch, bytes, device, error))
        return -1;
    device->scratch_bytes = bytes;
    device->exact->scratch = device->scratch;
    device->exact->scratch_bytes = bytes;
    return 0;
}

int device_threads_available(void) {
    return machine_cores();
}
