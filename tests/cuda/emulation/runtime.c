/* The part of the CUDA runtime that kernels/cuda uses, on the CPU: one device, whose memory is the
 * host's and whose streams do everything at once. For tests; linked instead of the runtime. */
#include "tests/cuda/emulation/capture.h"
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device ? cudaErrorInvalidDevice : cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *card, int device) {
    memset(card, 0, sizeof *card);
    strcpy(card->name, "emulated on the CPU");
    card->major = 9;
    card->multiProcessorCount = 4;
    card->totalGlobalMem = (size_t)16 << 30;
    card->sharedMemPerBlockOptin = 227 << 10;
    return device ? cudaErrorInvalidDevice : cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
/* Each rank has a card of its own; JEPA_EMULATE_ONE_CARD: all have the same one. */
cudaError_t cudaDeviceGetPCIBusId(char *id, int room, int device) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    snprintf(id, (size_t)room, "0000:%02x:%02x.0",
             rank && !getenv("JEPA_EMULATE_ONE_CARD") ? atoi(rank) + 1 : 1, device);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    const char *mib = getenv("JEPA_EMULATE_MIB"); /* another size of card */
    *available = *all = (size_t)(mib ? atoi(mib) : 16 << 10) << 20;
    return cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t status) {
    return status == cudaSuccess ? "no error" : "an error of the emulation";
}
const char *cudaGetErrorName(cudaError_t status) {
    return status == cudaSuccess ? "cudaSuccess" : "cudaErrorEmulation";
}
cudaError_t cudaGetLastError(void) {
    return cudaSuccess;
}

/* Fresh memory is not zero on a device either. As large as asked for, no more: AddressSanitizer
 * sees a kernel that reads or writes behind it. */
cudaError_t cudaMalloc(void **memory, size_t bytes) {
    if (emulation_refuses())
        return cudaErrorStreamCaptureUnsupported;
    if (posix_memalign(memory, 256, bytes ? bytes : 1))
        return cudaErrorMemoryAllocation;
    memset(*memory, 0xff, bytes);
    return cudaSuccess;
}
cudaError_t cudaFree(void *memory) {
    if (emulation_refuses())
        return cudaErrorStreamCaptureUnsupported;
    free(memory);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeHost(void *memory) {
    return cudaFree(memory);
}

/* Copies and fills of the device's memory: done at once, or kept while the stream is captured. */
typedef struct Rows {
    void *to;
    const void *from; /* NULL: filled with `value` */
    size_t to_pitch, from_pitch, width, height;
    int value;
} Rows;

static void move(void *own) {
    const Rows *r = own;
    for (size_t i = 0; i < r->height; i++)
        if (r->from)
            memmove((char *)r->to + i * r->to_pitch, (const char *)r->from + i * r->from_pitch,
                    r->width);
        else
            memset((char *)r->to + i * r->to_pitch, r->value, r->width);
}

static cudaError_t move_or_record(Rows rows, enum cudaMemcpyKind kind, cudaStream_t stream) {
    if (!emulation_captures(stream)) {
        move(&rows);
        return cudaSuccess;
    }
    if (kind != cudaMemcpyDeviceToDevice) {
        emulation_refuses();
        return cudaErrorStreamCaptureUnsupported;
    }
    Rows *kept = malloc(sizeof *kept);
    *kept = rows;
    emulation_record_call(move, free, kept);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return move_or_record((Rows){to, from, 0, 0, bytes, 1, 0}, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream) {
    return move_or_record((Rows){to, from, to_pitch, from_pitch, width, height, 0}, kind, stream);
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    return move_or_record((Rows){memory, NULL, 0, 0, bytes, 1, value}, cudaMemcpyDeviceToDevice,
                          stream);
}

static cudaError_t waited(void) {
    return emulation_refuses() ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    (void)flags;
    *stream = malloc(1);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    free(stream);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    (void)stream;
    return waited();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    (void)stream, (void)event, (void)flags;
    return waited();
}
cudaError_t cudaDeviceSynchronize(void) {
    return waited();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    (void)flags;
    *event = malloc(1);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    (void)event, (void)stream;
    return waited();
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    (void)event;
    return waited();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    (void)event;
    return waited();
}
cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute,
                                 int value) {
    (void)function, (void)attribute, (void)value;
    return cudaSuccess;
}
