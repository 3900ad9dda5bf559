/* A device: memory, copies and a table of operations. The networks call nothing else.
 *
 * kernels/cpu      fast: OpenMP over fixed blocks, a BLAS for GEMM. Always built.
 * kernels/cuda     NVIDIA GPUs: cuBLASLt, cuDNN, own kernels. Built where a toolkit is found.
 * kernels/reference plain loops with double sums; what every other device is tested against.
 *
 * Activations are float32 or bfloat16, as the device was told before the first pass
 * (kernels/activation.h). What must stay exact, such as the statistics of a loss, is computed by
 * `exact`: the same device in float32.
 *
 * Rules for every operation, on every device:
 *  - arguments: outputs, inputs, sizes, device; `d` prefixes a gradient; gradients of parameters
 * are added to (+=), all other outputs are overwritten unless the header says otherwise;
 *  - nothing is returned to the host: losses and norms are doubles in device memory;
 *  - sums have a fixed order that depends on the shapes alone, so results do not depend on the
 * number of threads: work is cut into tiles of fixed size, each computed by one thread;
 *  - nothing is allocated: scratch memory is reserved once, before the first step (the CPU's GEMM
 *    library alone keeps a kernel for each shape it meets).
 *
 * Shapes: R rows (packed tokens of many sequences), D width, S sequences, H heads.
 */
#ifndef JEPA_KERNELS_DEVICE_H
#define JEPA_KERNELS_DEVICE_H

#include "base/error.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/add.h"
#include "kernels/attention.h"
#include "kernels/batchnorm.h"
#include "kernels/gelu.h"
#include "kernels/invariance.h"
#include "kernels/layernorm.h"
#include "kernels/linear.h"
#include "kernels/loss.h"
#include "kernels/patches.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/shard.h"
#include "kernels/sigreg.h"
#include "kernels/sums.h"
#include "kernels/swiglu.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the operations will meet, for their scratch; 0: nothing of the kind. */
typedef struct ScratchNeeds {
    int64_t longest, head, heads; /* attention: tokens of a sequence, channels of a head, heads */
    int64_t elements;            /* of a flat buffer that is summed: parameters, rows of the loss */
    int64_t rows, width;         /* rows of a pass, and elements of the widest row in it */
    int64_t fp8_rows, fp8_width; /* of passes in FP8, and of what goes into their linear layers */
} ScratchNeeds;

struct Device {
    const char *name;    /* "cpu", "reference", "cuda:0" */
    bool on_host;        /* its memory is the host's: pointers may be read and written directly */
    int threads;         /* threads that operations may use */
    Precision precision; /* of activations */
    Device *exact;       /* the same device in float32; itself where it is */
    bool tf32, fast;     /* cuda: products of float32 in TF32; attention's gradients in any order */
    bool graphs;         /* cuda: replay passes that come again */
    bool fp8;            /* linear layers' forward products in FP8 from here on, if has_fp8: a pass
                            sets it, and takes it back; others ignore it */
    struct Gemm *gemm;   /* the CPU's GEMM library (kernels/cpu/gemm.h) */
    struct Cuda *cuda;   /* cuda: streams, libraries (kernels/cuda/cuda.h); else NULL */
    char own_name[24];   /* cuda: what `name` points to */
    char what[160];      /* for a person: "NVIDIA H200, 132 multiprocessors, 139.8 GiB" */
    const struct AttentionVariant *attention; /* cpu: for the instructions of this machine */
    void *scratch;                            /* device memory, reserved by device_reserve */
    size_t scratch_bytes;

    /* Memory of the device, 64-byte aligned and zeroed. Taken a few times, before the first step.
     */
    int (*allocate)(void **memory, size_t bytes, Device *device, Error *error);
    void (*release)(void *memory, Device *device);
    void (*upload)(void *to, const void *host, size_t bytes, Device *device);
    void (*download)(void *host, const void *from, size_t bytes, Device *device);
    void (*zero)(void *memory, size_t bytes, Device *device);
    /* Starts a copy to the host, after all that was asked for before; its end, with all others that
     * were started. */
    void (*post)(void *host, const void *from, size_t bytes, Device *device);
    void (*wait)(Device *device);
    size_t (*scratch_needed)(const Device *device, const ScratchNeeds *needs);
    /* A pass that may come again with the same shapes and addresses; the key says which (all that
     * they depend on is in it). replay: true, and it is done; else ask for it operation by
     * operation, then call replay_end: false, and it was not done and must be asked for once more.
     * In between nothing is uploaded, downloaded or waited for. NULL: nothing can be replayed. */
    bool (*replay)(uint64_t key, Device *device);
    bool (*replay_end)(Device *device);
    int rows_at_once; /* of a pass that keeps nothing: enough for GEMM, few enough for caches */
    size_t (*memory)(const Device *device); /* bytes that could be allocated now; 0: unknown */
    bool (*has_fp8)(Device *device);        /* in the precision that was chosen; NULL: no */

    /* What libraries were told to use, a line for each shape, and what an earlier report said,
     * which is taken again (owned). NULL: nothing is chosen. */
    void (*report)(FILE *file, const Device *device);
    char *chosen;

    LinearForward *linear_forward;
    LinearResidualForward *linear_residual_forward;
    LinearGeluForward *linear_gelu_forward;
    LinearBackwardInput *linear_backward_input;
    LinearGeluBackwardInput *linear_gelu_backward_input;
    LinearBackwardWeight *linear_backward_weight;
    LinearWeightsBytes *linear_weights_bytes;
    LinearWeightsAdd *linear_weights_add;
    LinearWeightsChanged *linear_weights_changed, *linear_weights_remove;
    LayernormForward *layernorm_forward;
    LayernormValues *layernorm_values;
    LayernormAgain *layernorm_again;
    LayernormBackward *layernorm_backward;
    BatchnormForward *batchnorm_forward;
    BatchnormBackward *batchnorm_backward;
    GeluForward *gelu_forward;
    GeluBackward *gelu_backward;
    SwigluForward *swiglu_forward;
    SwigluBackward *swiglu_backward;
    RopeForward *rope_forward;
    RopeBackward *rope_backward;
    AttentionPlan *attention_plan; /* NULL: nothing need be prepared */
    AttentionForward *attention_forward;
    AttentionBackward *attention_backward;
    PatchesCut *patches_cut;
    RowsGather *rows_gather;
    RowsScatterAdd *rows_scatter_add;
    RowsSum *rows_sum;
    RowsMean *rows_mean;
    RowsBlend *rows_blend;
    RowsColumns *rows_columns;
    RowsAdd *rows_add;
    RowsNarrow *rows_narrow;
    RowsWiden *rows_widen;
    LossForward *loss_forward;
    LossBackward *loss_backward;
    LossTotal *loss_total;
    SpreadForward *spread_forward;
    SpreadBackward *spread_backward;
    InvarianceForward *invariance_forward;
    InvarianceBackward *invariance_backward;
    SigregForward *sigreg_forward;
    SigregBackward *sigreg_backward;
    Add *add;
    SquareSums *square_sums;
    SumsAdd *sums_add;
    AdamwEma *adamw_ema;
};

/* `name` is "cpu", "reference", "cuda" or "cuda:N"; threads 0 means all that this process may use.
 */
int device_open(Device **device, const char *name, int threads, Error *error);
void device_close(Device *device);

/* Chooses the type of activations; float32 after device_open. Before anything is planned. Returns
 * what will be used: float32 where bfloat16 was asked for and the device has no instructions for
 * it, unless `emulate`: then its results are computed all the same, slowly, for tests. */
Precision device_set_precision(Device *device, Precision precision, bool emulate);

/* Can passes set Device.fp8? After device_set_precision. */
bool device_has_fp8(Device *device);

/* Scratch that the operations need for passes of these sizes. */
size_t device_scratch_bytes(const Device *device, const ScratchNeeds *needs);
int device_reserve(Device *device, size_t bytes, Error *error); /* grows only */

int device_threads_available(void); /* cores this process may run on, cgroup limit included */

#endif
