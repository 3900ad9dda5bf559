/* Opening a device: the tables of operations, host memory for the CPU devices. */
#include "kernels/device.h"
#include "base/machine.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda_device.h"
#include "kernels/operations.h"
#include <stdio.h>
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

static size_t host_scratch(const Device *device, const ScratchNeeds *needs) {
    int64_t attention = needs->longest ? cpu_attention_scratch(needs->longest, needs->head) : 0;
    /* a tile of whole rows may be half as large as a flat one */
    int64_t sums = (2 * TILES(needs->elements, FLAT_TILE) + 1) * (int64_t)sizeof(double);
    attention *= device->threads;
    return (size_t)(attention > sums ? attention : sums);
}

static size_t host_memory(const Device *device) {
    (void)device;
    return machine_memory();
}

#define HOST_ROWS 2048

#define HOST_MEMORY                                                                                \
    .on_host = true, .rows_at_once = HOST_ROWS, .allocate = host_allocate,                         \
    .release = host_release, .upload = host_upload, .download = host_download, .zero = host_zero,  \
    .post = host_download, .wait = host_wait, .scratch_needed = host_scratch,                      \
    .memory = host_memory

static const Device cpu_table = {.name = "cpu", HOST_MEMORY, OPERATIONS(cpu)};
static const Device reference_table = {.name = "reference", HOST_MEMORY, OPERATIONS(reference)};

/* "cuda" or "cuda:N": N, else -1 */
static int cuda_ordinal(const char *name) {
    char *end;
    if (strncmp(name, "cuda", 4))
        return -1;
    if (!name[4])
        return 0;
    if (name[4] != ':' || name[5] < '0' || name[5] > '9')
        return -1;
    long n = strtol(name + 5, &end, 10);
    return *end || n > 1023 ? -1 : (int)n;
}

int device_open(Device **device, const char *name, int threads, Error *error) {
    int ordinal = cuda_ordinal(name);
    bool reference = !strcmp(name, "reference");
    if (ordinal < 0 && !reference && strcmp(name, "cpu"))
        return error_set(error, ERROR_USAGE, "there is no device \"%s\": use cpu, cuda or cuda:N",
                         name);
    Device *made = memory_new(1, sizeof *made);
    gemm_one_thread();
    *made = reference ? reference_table : cpu_table;
    made->threads = threads > 0 ? threads : device_threads_available();
    made->attention = cpu_attention_best();
    made->exact = made;
    if (ordinal >= 0 ? cuda_device_open(made, ordinal, error)
                     : gemm_open(&made->gemm, made->threads, error)) {
        free(made);
        return -1;
    }
    if (ordinal < 0)
        snprintf(made->what, sizeof made->what, "%d threads", made->threads);
    *device = made;
    return 0;
}

void device_close(Device *device) {
    if (!device)
        return;
    if (device->scratch)
        device->release(device->scratch, device);
    if (device->cuda)
        cuda_device_close(device);
    else
        gemm_close(device->gemm);
    if (device->exact != device)
        free(device->exact);
    free(device->chosen);
    free(device);
}

Precision device_set_precision(Device *device, Precision precision, bool emulate) {
    bool reference = device->linear_forward == reference_linear_forward;
    bool able = device->cuda || emulate || gemm_has_bfloat16(device->gemm);
    if (precision == PRECISION_BFLOAT16 && !reference && able && device->exact == device) {
        device->exact = memory_new(1, sizeof *device->exact);
        *device->exact = *device;
        device->exact->exact = device->exact;
        device->precision = PRECISION_BFLOAT16;
    }
    return device->precision;
}

bool device_has_fp8(Device *device) {
    return device->has_fp8 && device->has_fp8(device);
}

size_t device_scratch_bytes(const Device *device, const ScratchNeeds *needs) {
    return device->scratch_needed(device, needs);
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
