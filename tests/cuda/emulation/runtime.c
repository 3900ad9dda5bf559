/* The part of the CUDA runtime that kernels/cuda uses, on the CPU: one device, whose memory is the
 * host's and whose streams do everything at once. For tests; linked instead of the runtime. */
#include "tests/cuda/emulation/apart.h"
#include "tests/cuda/emulation/capture.h"
#include <cuda_runtime_api.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t taken; /* bytes, of device and pinned memory */

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
    *all = (size_t)(mib ? atoi(mib) : 16 << 10) << 20;
    *available = *all > taken ? *all - taken : 0;
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

/* ---- memory apart ---- */

#define APART_BYTES ((size_t)64 << 30) /* of addresses; pages come as they are touched */
#define APART_PAGE  ((size_t)4096)
#define APART_HUGE  ((size_t)2 << 20) /* of large pages few need other rights at every launch */

static char *apart; /* device memory begins here; NULL: it is the host's */
static size_t apart_taken;
static int on_device; /* how much is at work there */

static void set_rights(int rights) {
    if (apart && apart_taken &&
        mprotect(apart, (apart_taken + APART_HUGE - 1) / APART_HUGE * APART_HUGE, rights)) {
        perror("emulation: device memory apart");
        abort();
    }
}
void emulation_device_begin(void) {
    if (!on_device++)
        set_rights(PROT_READ | PROT_WRITE);
}
void emulation_device_end(void) {
    if (!--on_device)
        set_rights(PROT_NONE);
}

/* What is free is not given out again: there is room enough. */
static cudaError_t take_apart(void **memory, size_t bytes) {
    size_t whole = (bytes + APART_PAGE - 1) / APART_PAGE * APART_PAGE;
    if (!apart) {
        char *all = mmap(NULL, APART_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
        if (all == MAP_FAILED)
            return cudaErrorMemoryAllocation;
        madvise(all, APART_BYTES, MADV_HUGEPAGE);
        apart = all + (APART_HUGE - (uintptr_t)all % APART_HUGE) % APART_HUGE;
    }
    if (whole > APART_BYTES - APART_HUGE - apart_taken)
        return cudaErrorMemoryAllocation;
    *memory = apart + apart_taken;
    apart_taken += whole;
    emulation_device_begin();
    memset(*memory, 0xff, bytes);
    emulation_device_end();
    return cudaSuccess;
}

/* ---- memory ---- */

/* Fresh memory is not zero on a device either. As large as asked for, no more: AddressSanitizer
 * sees a kernel that reads or writes behind it. */
static cudaError_t take(void **memory, size_t bytes) {
    if (posix_memalign(memory, 256, bytes ? bytes : 1))
        return cudaErrorMemoryAllocation;
    memset(*memory, 0xff, bytes);
    taken += malloc_usable_size(*memory);
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **memory, size_t bytes) {
    if (emulation_refuses())
        return cudaErrorStreamCaptureUnsupported;
    return getenv("JEPA_EMULATE_APART") ? take_apart(memory, bytes ? bytes : 1)
                                        : take(memory, bytes);
}
cudaError_t cudaFree(void *memory) {
    if (emulation_refuses())
        return cudaErrorStreamCaptureUnsupported;
    if (!apart) {
        taken -= malloc_usable_size(memory);
        free(memory);
    }
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    return take(memory, bytes);
}
cudaError_t cudaFreeHost(void *memory) {
    taken -= malloc_usable_size(memory);
    free(memory);
    return cudaSuccess;
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
    emulation_device_begin();
    for (size_t i = 0; i < r->height; i++)
        if (r->from)
            memmove((char *)r->to + i * r->to_pitch, (const char *)r->from + i * r->from_pitch,
                    r->width);
        else
            memset((char *)r->to + i * r->to_pitch, r->value, r->width);
    emulation_device_end();
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
