/* Weights and biases in 16 bits. See kernels/cuda/weights.h. */
#include "kernels/cuda/weights.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/eights.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/graphs.h"
#include "kernels/cuda/narrow.h"
#include "kernels/device.h"
#include <stdlib.h>
#include <string.h>

#define BOUNDARY 256 /* bytes: a bias begins at a multiple of it behind its weights */

typedef struct Copy {
    LinearWeights of;
    const float *bias; /* [out], that was used with it last; or NULL */
    uint16_t *weights, *biases;
    uint8_t *eights; /* and their scales behind them; NULL: not in FP8 */
    bool current;    /* in 16 bits: the biases, and the weights if they are `read` so */
    bool read, eights_read, eights_current;
} Copy;

/* Device memory that grows. */
typedef struct Staging {
    void *memory;
    size_t bytes;
} Staging;

typedef struct CudaWeights {
    Copy *copies; /* in the order of their addresses */
    int64_t count, capacity;
    NarrowRange *list;      /* [2 capacity] what was converted last, as the device has it ... */
    NarrowRange *list_next; /* ... and what is to be */
    NarrowRange *device_list;
    int64_t listed;
    Staging weight, bias; /* of what nobody registered */
} CudaWeights;

static CudaWeights *weights_of(Device *device) {
    if (!device->cuda->weights)
        device->cuda->weights = memory_new(1, sizeof *device->cuda->weights);
    return device->cuda->weights;
}

static bool in_eights(const LinearWeights *weights, Device *device) {
    return weights->fp8 && weights->in % EIGHTS_WIDTH == 0 && weights->out % EIGHTS_WIDTH == 0 &&
           cuda_gemm_has_eights(device);
}

static size_t weights_room(const LinearWeights *weights) {
    size_t bytes = (size_t)(weights->in * weights->out) * sizeof(uint16_t);
    return (bytes + BOUNDARY - 1) / BOUNDARY * BOUNDARY;
}

/* In 16 bits, the bias too. */
static size_t halves_room(const LinearWeights *weights) {
    size_t bytes = weights_room(weights) + (size_t)weights->out * sizeof(uint16_t);
    return (bytes + BOUNDARY - 1) / BOUNDARY * BOUNDARY;
}

/* ---- the list of copies ---- */

size_t cuda_linear_weights_bytes(const LinearWeights *weights, Device *device) {
    if (device->precision == PRECISION_FLOAT32)
        return 0;
    size_t bytes = halves_room(weights);
    return in_eights(weights, device) ? bytes + eights_room(weights->out, weights->in) : bytes;
}

/* The first copy that does not lie before w. */
static int64_t place_of(const CudaWeights *all, const float *w) {
    int64_t low = 0, high = all->count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (all->copies[middle].of.w < w)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static Copy *copy_of(CudaWeights *all, const float *w) {
    int64_t place = place_of(all, w);
    return place < all->count && all->copies[place].of.w == w ? &all->copies[place] : NULL;
}

static int grow(CudaWeights *all, Device *device, Error *error) {
    int64_t capacity = all->capacity ? 2 * all->capacity : 64;
    void *list;
    if (device->allocate(&list, 2 * (size_t)capacity * sizeof(NarrowRange), device, error))
        return -1;
    if (all->device_list)
        device->release(all->device_list, device);
    all->device_list = list;
    all->listed = 0;
    all->capacity = capacity;
    all->copies = memory_grow(all->copies, (size_t)capacity, sizeof *all->copies);
    all->list = memory_grow(all->list, 2 * (size_t)capacity, sizeof *all->list);
    all->list_next = memory_grow(all->list_next, 2 * (size_t)capacity, sizeof *all->list);
    return 0;
}

int cuda_linear_weights_add(const LinearWeights *weights, Device *device, Error *error) {
    if (device->precision == PRECISION_FLOAT32)
        return 0;
    CudaWeights *all = weights_of(device);
    Copy copy = {.of = *weights};
    void *memory;
    if ((all->count == all->capacity && grow(all, device, error)) ||
        device->allocate(&memory, cuda_linear_weights_bytes(weights, device), device, error))
        return -1;
    copy.weights = memory;
    copy.biases = (uint16_t *)((char *)memory + weights_room(weights));
    if (in_eights(weights, device))
        copy.eights = (uint8_t *)memory + halves_room(weights);
    copy.read = !copy.eights;
    int64_t place = place_of(all, weights->w);
    memmove(&all->copies[place + 1], &all->copies[place],
            (size_t)(all->count - place) * sizeof copy);
    all->copies[place] = copy;
    all->count++;
    return 0;
}

static bool within(const float *at, const float *from, const float *to) {
    return at >= from && at < to;
}

void cuda_linear_weights_changed(const float *from, const float *to, Device *device) {
    CudaWeights *all = weights_of(device);
    for (int64_t i = 0; i < all->count; i++)
        if (within(all->copies[i].of.w, from, to) || within(all->copies[i].bias, from, to))
            all->copies[i].current = all->copies[i].eights_current = false;
}

void cuda_linear_weights_remove(const float *from, const float *to, Device *device) {
    CudaWeights *all = weights_of(device);
    int64_t kept = 0;
    for (int64_t i = 0; i < all->count; i++)
        if (within(all->copies[i].of.w, from, to))
            device->release(all->copies[i].weights, device);
        else
            all->copies[kept++] = all->copies[i];
    all->count = kept;
}

void cuda_weights_close(Device *device) {
    CudaWeights *all = device->cuda->weights;
    if (!all)
        return;
    for (int64_t i = 0; i < all->count; i++)
        cudaFree(all->copies[i].weights);
    cudaFree(all->device_list);
    cudaFree(all->weight.memory);
    cudaFree(all->bias.memory);
    free(all->copies);
    free(all->list);
    free(all->list_next);
    free(all);
    device->cuda->weights = NULL;
}

/* ---- converting ---- */

static void list_range(CudaWeights *all, int64_t *listed, int64_t *blocks, uint16_t *to,
                       const float *from, int64_t count) {
    all->list_next[(*listed)++] = (NarrowRange){from, to, count, *blocks};
    *blocks += (count + NARROW_TILE - 1) / NARROW_TILE;
}

/* Everything that is not current, in one launch. The list is the same after every step of the
 * optimiser: it is sent to the device when it differs. */
static void convert(CudaWeights *all, Device *device) {
    int64_t listed = 0, blocks = 0;
    if (cuda_graphs_spoil("its weights are not current", device))
        return;
    for (int64_t i = 0; i < all->count; i++) {
        Copy *copy = &all->copies[i];
        if (copy->current)
            continue;
        if (copy->read)
            list_range(all, &listed, &blocks, copy->weights, copy->of.w,
                       copy->of.in * copy->of.out);
        if (copy->bias)
            list_range(all, &listed, &blocks, copy->biases, copy->bias, copy->of.out);
        copy->current = true;
    }
    size_t bytes = (size_t)listed * sizeof *all->list;
    if (listed != all->listed || memcmp(all->list, all->list_next, bytes)) {
        memcpy(all->list, all->list_next, bytes);
        all->listed = listed;
        device->upload(all->device_list, all->list, bytes, device);
    }
    cuda_narrow_ranges(all->device_list, listed, blocks, device);
}

/* For what nobody registered: products follow one another on one stream, so one piece of memory
 * serves them all. */
static const void *stage(Staging *staging, const float *from, int64_t count, Device *device) {
    size_t bytes = (size_t)count * sizeof(uint16_t);
    if (cuda_graphs_spoil("it reads weights that nobody registered", device))
        return from; /* enough bytes, for what will not run */
    if (staging->bytes < bytes) {
        if (staging->memory)
            device->release(staging->memory, device);
        CUDA_CHECK(cudaMalloc(&staging->memory, bytes));
        staging->bytes = bytes;
    }
    cuda_narrow(staging->memory, from, count, device);
    return staging->memory;
}

/* Converts the copy in 8 bits if it is not current; its scales. */
static const float *current_eights(Copy *copy, Device *device) {
    int64_t in = copy->of.in, out = copy->of.out;
    float *scales = (float *)(copy->eights + eights_bytes(out, in));
    if (copy->eights_current || cuda_graphs_spoil("its weights are not current", device))
        return scales;
    cuda_eights(copy->eights, scales, copy->of.w, PRECISION_FLOAT32, out, in, device);
    copy->eights_read = copy->eights_current = true;
    return scales;
}

void cuda_weights_ready(Device *device) {
    CudaWeights *all = weights_of(device);
    bool current = true;
    for (int64_t i = 0; i < all->count; i++) {
        Copy *copy = &all->copies[i];
        current = current && copy->current;
        if (copy->eights_read)
            current_eights(copy, device);
    }
    if (!current)
        convert(all, device);
}

const void *cuda_weight(const float *w, int64_t in, int64_t out, Device *device) {
    CudaWeights *all = weights_of(device);
    Copy *copy = copy_of(all, w);
    if (!copy)
        return stage(&all->weight, w, in * out, device);
    JEPA_ASSERT(copy->of.in * copy->of.out == in * out);
    if (!copy->read && !cuda_graphs_spoil("it has new weights", device)) {
        copy->read = true;
        cuda_narrow(copy->weights, w, in * out, device);
    }
    if (!copy->current)
        convert(all, device);
    return copy->weights;
}

const uint8_t *cuda_weight_eights(const float **scales, const float *w, int64_t in, int64_t out,
                                  Device *device) {
    Copy *copy = copy_of(weights_of(device), w);
    if (!copy || !copy->eights)
        return NULL;
    JEPA_ASSERT(copy->of.in == in && copy->of.out == out);
    *scales = current_eights(copy, device);
    return copy->eights;
}

const void *cuda_bias(const float *b, const float *w, int64_t out, Device *device) {
    CudaWeights *all = weights_of(device);
    Copy *copy = copy_of(all, w);
    if (!copy)
        return stage(&all->bias, b, out, device);
    JEPA_ASSERT(copy->of.out == out);
    if (copy->bias != b && !cuda_graphs_spoil("it has a new bias", device)) { /* the first time */
        copy->bias = b;
        cuda_narrow(copy->biases, b, out, device);
    }
    if (!copy->current)
        convert(all, device);
    return copy->biases;
}
