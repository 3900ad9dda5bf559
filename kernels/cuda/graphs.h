/* Passes that come again with the same shapes and addresses, launched in one call: CUDA graphs.
 *
 * The first two passes with a key are launched one by one; the third is captured and then launched
 * as a graph, as are all later ones. What a graph points to must stay: lists of lengths and their
 * like, which the caches of this device would replace, are pinned in the second pass. Weights in 16
 * bits are made current before a launch. Memory that is given back may be what a graph points to:
 * then all of them are dropped, and passes begin anew.
 *
 * While a pass is captured nothing of it happens. So nothing may be uploaded, waited for, allocated
 * or noted as done; what would do so calls cuda_graphs_spoil. A capture that was spoilt, or that
 * the driver or a library refuses, is thrown away, the pass is asked for once more, and with one
 * warning everything is launched one by one from there on. */
#ifndef JEPA_KERNELS_CUDA_GRAPHS_H
#define JEPA_KERNELS_CUDA_GRAPHS_H

#include "kernels/cuda/cuda.h"

/* Device.replay and Device.replay_end */
bool cuda_replay(uint64_t key, Device *device);
bool cuda_replay_end(Device *device);

/* `what` was asked for, which no graph can hold. True while a pass is captured, which is spoilt
 * then, and whatever is done for it is of no consequence; else nothing happens. */
bool cuda_graphs_spoil(const char *what, Device *device);

/* This list of a cache is used by the pass at work; `others` of that cache are pinned already. The
 * mark is the list's own: it is pinned as long as the mark is the device's (cuda->pins). */
void cuda_graphs_pin(uint64_t *mark, int others, Device *device);

/* All graphs, after the device was waited for; nothing is pinned any more. */
void cuda_graphs_drop(Device *device);
void cuda_graphs_close(Device *device);

/* For tests: how often a graph was launched. */
int64_t cuda_graphs_launched(const Device *device);

#endif
