/* Inside of kernels/cuda/sdpa.h: a plan and the part of a batch that it computes. */
#ifndef JEPA_KERNELS_CUDA_SDPA_PLAN_H
#define JEPA_KERNELS_CUDA_SDPA_PLAN_H

#include "kernels/cuda/sdpa.h"
#include "kernels/cuda/sdpa_graph.h"

/* One launch takes shape.sequences sequences and shape.heads of shape.all_heads heads. */
struct SdpaPlan {
    SdpaGraphShape shape;
    Plan plan;
    int64_t dq_sum, work, bytes; /* of the workspace: delta, dq_sum, cuDNN's own, end */
};

/* The plan for a batch: the fewest tokens that hold its longest sequence, then the fewest sequences
 * that hold all of its; if none does, the most. NULL: none was prepared. */
const SdpaPlan *sdpa_find(const Sdpa *sdpa, SdpaPass pass, int64_t heads, int64_t head,
                          int64_t sequences, int64_t longest);

#endif
