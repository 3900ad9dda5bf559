/* The CUDA device: opening it, its memory, and what goes to it and comes back.
 *
 * The host never waits for the device inside a step: uploads are copied into pinned memory and go
 * their own way (kernels/cuda/cuda.h), arithmetic is queued on one stream. Only `download` waits;
 * `post` and `wait` bring scalars back later. */
#include "kernels/device.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/graphs.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/weights.h"
#include "kernels/cuda_device.h"
#include "kernels/operations.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void cuda_failed(const char *file, int line, const char *call, cudaError_t status) {
    fprintf(stderr,
            "jepa: the GPU failed: %s (%s) at %s:%d, %s. The last checkpoint is whole: go on with "
            "--resume; if it happens again, look at the driver's messages (dmesg, nvidia-smi)\n",
            cudaGetErrorString(status), cudaGetErrorName(status), file, line, call);
    abort();
}

/* ---- memory ---- */

static int allocate(void **memory, size_t bytes, Device *device, Error *error) {
    size_t rounded = (bytes + 255) / 256 * 256;
    cudaError_t status = cudaMalloc(memory, rounded ? rounded : 256);
    if (status != cudaSuccess) {
        size_t available = 0, all = 0;
        *memory = NULL;
        cudaGetLastError(); /* it is told here; later calls start afresh */
        cudaMemGetInfo(&available, &all);
        return error_set(error, ERROR_RUN,
                         "%s has no %.1f MiB of memory left (%.1f of %.1f MiB are free): use a "
                         "smaller optimization.micro_batch or model, or end what else uses it",
                         device->name, (double)bytes / (1 << 20), (double)available / (1 << 20),
                         (double)all / (1 << 20));
    }
    CUDA_CHECK(cudaMemsetAsync(*memory, 0, rounded ? rounded : 256, device->cuda->stream));
    return 0;
}

static void release(void *memory, Device *device) {
    if (cuda_graphs_spoil("it gives memory back", device))
        return;
    CUDA_CHECK(cudaStreamSynchronize(device->cuda->stream));
    cuda_graphs_drop(device); /* they may point to it */
    CUDA_CHECK(cudaFree(memory));
}

/* ---- to the device ---- */

/* Room for `bytes` in the ring, at most a segment. */
static size_t ring_take(CudaRing *ring, size_t bytes, cudaStream_t stream) {
    if (ring->used + bytes > CUDA_SEGMENT_BYTES) {
        CUDA_CHECK(cudaEventRecord(ring->read[ring->segment], stream));
        ring->segment = (ring->segment + 1) % CUDA_RING_SEGMENTS;
        ring->used = 0;
        CUDA_CHECK(cudaEventSynchronize(ring->read[ring->segment]));
    }
    size_t at = (size_t)ring->segment * CUDA_SEGMENT_BYTES + ring->used;
    ring->used += (bytes + 255) / 256 * 256;
    return at;
}

#define SMALL_UPLOAD ((size_t)64 << 10) /* bytes: not worth a copy on a stream of its own */

static void upload_part(void *to, const void *host, size_t bytes, Cuda *cuda) {
    CudaRing *ring = &cuda->ring;
    size_t at = ring_take(ring, bytes, cuda->stream);
    memcpy(ring->host + at, host, bytes);
    if (bytes <= SMALL_UPLOAD) {
        CUDA_CHECK(
            cudaMemcpyAsync(to, ring->host + at, bytes, cudaMemcpyHostToDevice, cuda->stream));
        return;
    }
    CUDA_CHECK(cudaMemcpyAsync(ring->device + at, ring->host + at, bytes, cudaMemcpyHostToDevice,
                               cuda->copy));
    CUDA_CHECK(cudaEventRecord(ring->arrived, cuda->copy));
    CUDA_CHECK(cudaStreamWaitEvent(cuda->stream, ring->arrived, 0));
    CUDA_CHECK(
        cudaMemcpyAsync(to, ring->device + at, bytes, cudaMemcpyDeviceToDevice, cuda->stream));
}

static void upload(void *to, const void *host, size_t bytes, Device *device) {
    if (cuda_graphs_spoil("it uploads something", device))
        return;
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done < CUDA_SEGMENT_BYTES ? bytes - done : CUDA_SEGMENT_BYTES;
        upload_part((char *)to + done, (const char *)host + done, part, device->cuda);
        done += part;
    }
}

const CudaLengths *cuda_lengths(const int32_t *cu_seqlens, int64_t sequences, Device *device) {
    Cuda *cuda = device->cuda;
    CudaLengths *oldest = NULL;
    size_t bytes = (size_t)(sequences + 1) * sizeof *cu_seqlens;
    int pinned = 0;
    for (int i = 0; i < cuda->lengths_count; i++)
        pinned += cuda->pins && cuda->lengths[i].pinned == cuda->pins;
    for (int i = 0; i < cuda->lengths_count; i++) {
        CudaLengths *l = &cuda->lengths[i];
        if (l->used && l->sequences == sequences && !memcmp(l->host, cu_seqlens, bytes)) {
            l->used = ++cuda->clock;
            cuda_graphs_pin(&l->pinned, pinned, device);
            return l;
        }
        bool stays = cuda->pins && l->pinned == cuda->pins;
        if (!stays && (!oldest || l->used < oldest->used))
            oldest = l;
    }
    JEPA_ASSERT(sequences + 1 <= oldest->room);
    memcpy(oldest->host, cu_seqlens, bytes);
    oldest->sequences = sequences;
    oldest->longest = 0;
    for (int64_t s = 0; s < sequences; s++)
        if (cu_seqlens[s + 1] - cu_seqlens[s] > oldest->longest)
            oldest->longest = cu_seqlens[s + 1] - cu_seqlens[s];
    oldest->used = cuda_graphs_spoil("it has a new list of lengths", device) ? 0 : ++cuda->clock;
    oldest->serial = ++cuda->lists;
    oldest->pinned = 0;
    cuda_graphs_pin(&oldest->pinned, pinned, device);
    upload(oldest->device, cu_seqlens, bytes, device);
    return oldest;
}

/* ---- and back ---- */

static void download(void *host, const void *from, size_t bytes, Device *device) {
    if (cuda_graphs_spoil("it downloads something", device))
        return;
    CUDA_CHECK(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, device->cuda->stream));
    CUDA_CHECK(cudaStreamSynchronize(device->cuda->stream));
}

static void wait(Device *device) {
    CudaPosts *posts = &device->cuda->posts;
    if (!posts->count)
        return;
    CUDA_CHECK(cudaEventSynchronize(posts->arrived));
    for (int i = 0; i < posts->count; i++)
        memcpy(posts->post[i].host, posts->pinned + posts->post[i].at, posts->post[i].bytes);
    posts->count = 0;
    posts->used = 0;
}

static void post(void *host, const void *from, size_t bytes, Device *device) {
    CudaPosts *posts = &device->cuda->posts;
    if (cuda_graphs_spoil("it posts something", device))
        return;
    JEPA_ASSERT(posts->count < CUDA_POSTS && posts->used + bytes <= CUDA_POST_BYTES);
    posts->post[posts->count++] = (struct CudaPost){host, posts->used, bytes};
    CUDA_CHECK(cudaMemcpyAsync(posts->pinned + posts->used, from, bytes, cudaMemcpyDeviceToHost,
                               device->cuda->stream));
    CUDA_CHECK(cudaEventRecord(posts->arrived, device->cuda->stream));
    posts->used += (bytes + 63) / 64 * 64;
}

static size_t available(const Device *device) {
    size_t free_now = 0, all = 0;
    (void)device;
    CUDA_CHECK(cudaMemGetInfo(&free_now, &all));
    return free_now;
}

static void zero(void *memory, size_t bytes, Device *device) {
    CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, device->cuda->stream));
}

/* ---- opening ---- */

int cuda_device_count(Error *why) {
    int count = 0, driver = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    cudaGetLastError();
    if (status == cudaSuccess && count)
        return count;
    cudaDriverGetVersion(&driver);
    if (!driver)
        error_fill(why, ERROR_RUN, "no GPU: no NVIDIA driver is installed");
    else if (driver / 1000 < CUDART_VERSION / 1000)
        error_fill(
            why, ERROR_RUN, "no GPU: the driver is made for CUDA %d.%d, this program for %d.%d",
            driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else
        error_fill(why, ERROR_RUN, "no GPU: %s (%s)", cudaGetErrorString(status),
                   cudaGetErrorName(status));
    return 0;
}

static int make_ring(CudaRing *ring) {
    size_t bytes = CUDA_RING_SEGMENTS * CUDA_SEGMENT_BYTES;
    if (cudaHostAlloc((void **)&ring->host, bytes, cudaHostAllocDefault) != cudaSuccess ||
        cudaMalloc((void **)&ring->device, bytes) != cudaSuccess ||
        cudaEventCreateWithFlags(&ring->arrived, cudaEventDisableTiming) != cudaSuccess)
        return -1;
    for (int i = 0; i < CUDA_RING_SEGMENTS; i++)
        if (cudaEventCreateWithFlags(&ring->read[i], cudaEventDisableTiming) != cudaSuccess)
            return -1;
    return 0;
}

static void free_ring(CudaRing *ring) {
    for (int i = 0; i < CUDA_RING_SEGMENTS; i++)
        if (ring->read[i])
            cudaEventDestroy(ring->read[i]);
    if (ring->arrived)
        cudaEventDestroy(ring->arrived);
    cudaFree(ring->device);
    cudaFreeHost(ring->host);
}

#define LENGTHS_ROOM ((int64_t)1 << 16) /* sequences of a pass, at most; 256 KiB */

static int make_lengths(Cuda *cuda, int lists) {
    for (int i = 0; i < lists; i++) {
        CudaLengths *l = &cuda->lengths[cuda->lengths_count];
        if (cudaMalloc((void **)&l->device, (size_t)LENGTHS_ROOM * sizeof *l->device) !=
            cudaSuccess) {
            cudaGetLastError();
            return -1;
        }
        l->room = LENGTHS_ROOM;
        l->host = memory_new((size_t)l->room, sizeof *l->host);
        cuda->lengths_count++;
    }
    return 0;
}

int cuda_lengths_more(int lists, Device *device) {
    return make_lengths(device->cuda, lists);
}

void cuda_device_close(Device *device) {
    Cuda *cuda = device->cuda;
    if (!cuda)
        return;
    if (cuda->stream)
        cudaStreamSynchronize(cuda->stream);
    cuda_graphs_close(device);
    cuda_weights_close(device);
    cuda_gemm_close(device);
    cuda_attention_close(device);
    free_ring(&cuda->ring);
    if (cuda->posts.arrived)
        cudaEventDestroy(cuda->posts.arrived);
    cudaFreeHost(cuda->posts.pinned);
    for (int i = 0; i < cuda->lengths_count; i++) {
        free(cuda->lengths[i].host);
        cudaFree(cuda->lengths[i].device);
    }
    if (cuda->copy)
        cudaStreamDestroy(cuda->copy);
    if (cuda->stream)
        cudaStreamDestroy(cuda->stream);
    free(cuda);
    device->cuda = NULL;
}

static int open_streams(Cuda *cuda) {
    return cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking) != cudaSuccess ||
           cudaStreamCreateWithFlags(&cuda->copy, cudaStreamNonBlocking) != cudaSuccess ||
           make_ring(&cuda->ring) || make_lengths(cuda, CUDA_LENGTHS) ||
           cudaHostAlloc((void **)&cuda->posts.pinned, CUDA_POST_BYTES, cudaHostAllocDefault) !=
               cudaSuccess ||
           cudaEventCreateWithFlags(&cuda->posts.arrived, cudaEventDisableTiming) != cudaSuccess;
}

/* 32 clips of 1568 tokens: GEMMs of that height fill the largest cards (not measured) */
#define CUDA_ROWS 50176

static void report(FILE *file, const Device *device) {
    cuda_attention_report(file, device);
    cuda_gemm_report(device, file);
}

static const Device table = {OPERATIONS(cuda),
                             .allocate = allocate,
                             .release = release,
                             .upload = upload,
                             .download = download,
                             .zero = zero,
                             .attention_plan = cuda_attention_plan,
                             .replay = cuda_replay,
                             .replay_end = cuda_replay_end,
                             .report = report,
                             .post = post,
                             .wait = wait,
                             .rows_at_once = CUDA_ROWS,
                             .scratch_needed = cuda_scratch,
                             .has_fp8 = cuda_gemm_has_eights,
                             .memory = available};

int cuda_device_open(Device *device, int ordinal, Error *error) {
    Error why = {0};
    struct cudaDeviceProp card;
    int count = cuda_device_count(&why);
    if (!count)
        return error_set(error, ERROR_RUN, "--device cuda: %s; use --device cpu", why.text);
    if (ordinal >= count)
        return error_set(error, ERROR_USAGE,
                         "--device cuda:%d: the GPUs here are cuda:0 to cuda:%d", ordinal,
                         count - 1);
    int threads = device->threads;
    *device = table;
    device->threads = threads;
    device->exact = device;
    Cuda *cuda = device->cuda = memory_new(1, sizeof *cuda);
    cuda->ordinal = ordinal;
    snprintf(device->own_name, sizeof device->own_name, "cuda:%d", ordinal);
    device->name = device->own_name;
    if (cudaSetDevice(ordinal) != cudaSuccess ||
        cudaGetDeviceProperties(&card, ordinal) != cudaSuccess || open_streams(cuda)) {
        error_set(error, ERROR_RUN, "--device cuda:%d does not work: %s; use --device cpu", ordinal,
                  cudaGetErrorString(cudaGetLastError()));
        cuda_device_close(device);
        return -1;
    }
    if (cuda_gemm_open(device, card.major, error)) {
        cuda_device_close(device);
        return -1;
    }
    cuda->capability = 10 * card.major + card.minor;
    cuda->shared_bytes = card.sharedMemPerBlockOptin;
    snprintf(device->what, sizeof device->what, "%.100s, %d multiprocessors, %.1f GiB", card.name,
             card.multiProcessorCount, (double)card.totalGlobalMem / (1 << 30));
    return 0;
}
