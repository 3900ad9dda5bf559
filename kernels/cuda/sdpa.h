/* Attention by cuDNN: kernels/attention.h's operation for bfloat16 without causal order. What cuDNN
 * has no plan for goes to the project's own kernels; sdpa_supported says why.
 *
 *     qkv[R][3][H][hd] -> out[R][H][hd], lse[R][H]        dout, qkv, out, lse -> dqkv[R][3][H][hd]
 *
 * Everything is prepared before the first step. A plan is compiled for a number of sequences B and
 * a bucket of lengths S: a batch runs with the smallest S that its longest sequence fits, so
 * lengths that change from step to step need a handful of plans, and with lengths of 0 in the
 * places that it does not fill (as NVIDIA's Transformer Engine does to have few plans).
 *
 * The backward pass has a fixed order of sums unless the settings say `fast`. On Hopper cuDNN then
 * keeps dS whole: B H ceil64(S) ceil128(S) 2 bytes, 1950 MiB for 24 sequences of 1568 tokens and 16
 * heads. Sequences do not see each other and nor do heads, no sum crosses them, so a batch is cut
 * into as many parts as the workspace asks for, at the price of a few launches more. That is why
 * the deterministic form is the default everywhere: it always fits. On compute capability 10.0
 * to 10.3 it needs no such workspace; on 8.x and 12.x cuDNN has none for packed sequences, and own
 * kernels train.
 *
 *     sdpa_open, sdpa_plan for each network, then memory: sdpa->workspace, sdpa_index_room
 *     for each batch: sdpa_index_fill on the host, upload; sdpa_forward, sdpa_backward
 */
#ifndef JEPA_KERNELS_CUDA_SDPA_H
#define JEPA_KERNELS_CUDA_SDPA_H

#include "base/error.h"
#include "kernels/activation.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct CudnnTarget CudnnTarget;
typedef struct SdpaPlan SdpaPlan;

/* A pass takes no more than this where it can be cut. Not measured: 16 sequences of 2048 tokens and
 * 16 heads at once fill any GPU. */
#define SDPA_WORKSPACE ((int64_t)2 << 30)

typedef struct SdpaSettings {
    int64_t workspace;  /* bytes a pass may take; 0: SDPA_WORKSPACE */
    bool fast;          /* dQ by atomic additions: another rounding in each run */
    const char *chosen; /* sdpa_text of an earlier run: its plans are taken again; or NULL */
    bool dry;           /* only to see what would be planned: nothing is compiled, nothing can run,
                           workspace lacks what cuDNN adds, some KiB */
} SdpaSettings;

/* The attention of one network. */
typedef struct SdpaNeed {
    int64_t heads, head;       /* H, hd */
    int64_t sequences;         /* most in a batch */
    int64_t shortest, longest; /* bounds of a batch's longest sequence, in tokens */
    int64_t rows;              /* most in a batch */
    bool lse;                  /* forward passes hand out lse; `backward` needs it */
    bool backward;
} SdpaNeed;

typedef struct Sdpa {
    const CudnnTarget *target; /* outlives this */
    int64_t limit;             /* SdpaSettings */
    bool fast, dry;
    char *chosen;
    SdpaPlan *plans; /* [count] */
    int count;
    int64_t workspace; /* bytes that any call may need: device memory, 256-byte aligned */
} Sdpa;

int sdpa_open(Sdpa *sdpa, const CudnnTarget *target, const SdpaSettings *settings, Error *error);
void sdpa_close(Sdpa *sdpa);

/* False, with a reason, for what cuDNN does not do. Rules alone: sdpa_plan has the last word. */
bool sdpa_supported(const Sdpa *sdpa, const SdpaNeed *need, Precision precision, bool causal,
                    Error *why);
/* Prepares all passes of a network; a second of work for each bucket. Networks with the same heads
 * share plans. Fails where cuDNN has no plan; nothing of this network stays then. */
int sdpa_plan(Sdpa *sdpa, const SdpaNeed *need, Error *error);

/* What the backward pass of a whole batch of the longest sequences would take at once, in bytes:
 * for the report of a run that is planned. */
int64_t sdpa_whole_bytes(const Sdpa *sdpa, const SdpaNeed *need);
/* What was chosen, to be stored with a run: a line for cuDNN's version and the GPU, then one for
 * each plan. Caller frees. */
char *sdpa_text(const Sdpa *sdpa);

/* The lengths and places of a batch's sequences. Places that a batch of `sequences` has to have,
 * once all networks are planned; int32 numbers that many places take. */
int64_t sdpa_index_room(const Sdpa *sdpa, int64_t heads, int64_t head, int64_t sequences);
/* The most that is for batches of up to `sequences` of any network: those that share their heads go
 * by each other's plans, also by those made later. */
int64_t sdpa_index_most(const Sdpa *sdpa, int64_t sequences);
int64_t sdpa_index_count(int64_t room);
/* index: [sdpa_index_count(room)] host, to be uploaded. cu_seqlens[sequences + 1] */
void sdpa_index_fill(int32_t *index, int64_t room, const int32_t *cu_seqlens, int64_t sequences,
                     int64_t heads, int64_t head);

typedef struct SdpaBatch {
    int64_t sequences, longest;
    int64_t heads, head;
    int64_t room;
    const int32_t *index; /* device */
} SdpaBatch;

/* Is there a plan that such a batch can run with? Of the batch lengths and heads are looked at. */
bool sdpa_has(const Sdpa *sdpa, bool backward, const SdpaBatch *batch);

/* Device memory, launched on the target's stream; nothing is allocated on the device. lse NULL: not
 * wanted. workspace: sdpa->workspace bytes. */
int sdpa_forward(void *out, float *lse, const void *qkv, const SdpaBatch *batch, void *workspace,
                 const Sdpa *sdpa, Error *error);
int sdpa_backward(void *dqkv, const void *dout, const void *qkv, const void *out, const float *lse,
                  const SdpaBatch *batch, void *workspace, const Sdpa *sdpa, Error *error);

#endif
