/* The CUDA device's own state, which Device points to. Only files in kernels/cuda include this. */
#ifndef JEPA_KERNELS_CUDA_CUDA_H
#define JEPA_KERNELS_CUDA_CUDA_H

#include "base/error.h"
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Device Device;

/* Uploads go through pinned memory, a ring of segments: the host copies into the ring and goes on;
 * the transfer runs on a stream of its own into a twin of the ring on the device, and only a copy
 * within the device waits for the arithmetic before it. A segment is used again when its event says
 * that it was read. */
#define CUDA_RING_SEGMENTS 8
#define CUDA_SEGMENT_BYTES ((size_t)8 << 20)

typedef struct CudaRing {
    char *host, *device; /* [segments][bytes] */
    cudaEvent_t arrived; /* the transfer at work */
    cudaEvent_t read[CUDA_RING_SEGMENTS];
    int segment;
    size_t used; /* bytes of the segment at work */
} CudaRing;

/* Copies to the host that are waited for later: they arrive in pinned memory, and are handed on by
 * `wait`. */
#define CUDA_POSTS      32
#define CUDA_POST_BYTES ((size_t)64 << 10) /* of all that are under way */
typedef struct CudaPosts {
    char *pinned;
    cudaEvent_t arrived; /* the last of them */
    struct CudaPost {
        void *host;
        size_t at, bytes;
    } post[CUDA_POSTS];
    int count;
    size_t used;
} CudaPosts;

/* Packed lengths on the device: cu_seqlens comes in host memory to every layer, mostly the same. */
#define CUDA_LENGTHS 8
#define CUDA_PINNED  16 /* lists more, once there are graphs, which may pin as many (graphs.h) */
typedef struct CudaLengths {
    int32_t *host;   /* [sequences + 1], a copy to compare with */
    int32_t *device; /* the same on the device */
    int64_t sequences, room;
    int32_t longest;
    uint64_t used;   /* when it was asked for last */
    uint64_t serial; /* a number of its own for every list that was uploaded */
    uint64_t pinned; /* Cuda.pins: a graph points to it */
} CudaLengths;

typedef struct Cuda {
    int ordinal;
    cudaStream_t stream; /* all arithmetic */
    cudaStream_t copy;   /* uploads */
    CudaRing ring;
    CudaPosts posts;
    CudaLengths lengths[CUDA_LENGTHS + CUDA_PINNED];
    int lengths_count;               /* that have memory */
    uint64_t clock;                  /* counts uses of `lengths` */
    uint64_t lists;                  /* uploaded so far */
    int capability;                  /* 10 major + minor */
    size_t shared_bytes;             /* most dynamic shared memory of a block */
    struct CudaAttention *attention; /* kernels/cuda/attention_cudnn.c; NULL: not planned */
    struct CudaGemm *gemm;           /* matrix products (kernels/cuda/gemm.h) */
    struct CudaWeights *weights;     /* 16-bit copies (kernels/cuda/weights.h) */
    struct CudaGraphs *graphs;       /* kernels/cuda/graphs.h; NULL: none was asked for */
    bool pinning, capturing;         /* what becomes of the pass at work */
    uint64_t pins;                   /* mark of what is pinned now; another after a drop */
} Cuda;

/* Ends the process with file, line and the runtime's words: after a failed launch nothing that the
 * device holds can be trusted. The last checkpoint is whole. Only what a capture refuses is told
 * again at its end, where nothing has happened yet (kernels/cuda/graphs.h). */
#define CUDA_CHECK(call)                                                                           \
    do {                                                                                           \
        cudaError_t status_ = (call);                                                              \
        if (status_ != cudaSuccess && !(status_ >= cudaErrorStreamCaptureUnsupported &&            \
                                        status_ <= cudaErrorStreamCaptureWrongThread))             \
            cuda_failed(__FILE__, __LINE__, #call, status_);                                       \
    } while (0)
_Noreturn void cuda_failed(const char *file, int line, const char *call, cudaError_t status);

/* cu_seqlens[sequences + 1] in device memory, ordered on the compute stream; valid until as many
 * other lists as CUDA_LENGTHS were asked for, or as long as a graph points to it. */
const CudaLengths *cuda_lengths(const int32_t *cu_seqlens, int64_t sequences, Device *device);
/* Memory for so many lists more; -1 where there is none. */
int cuda_lengths_more(int lists, Device *device);

#endif
