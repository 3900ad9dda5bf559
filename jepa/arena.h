/* Planned memory: the layout code runs twice, first to measure, then to hand out addresses of one
 * block that was allocated in between. Nothing is allocated afterwards. */
#ifndef JEPA_JEPA_ARENA_H
#define JEPA_JEPA_ARENA_H

#include "kernels/device.h"

typedef enum MemoryKind {
    MEMORY_WEIGHTS,
    MEMORY_GRADIENTS,
    MEMORY_OPTIMISER,
    MEMORY_ACTIVATIONS,
    MEMORY_WORKSPACE,
    MEMORY_INPUT,
    MEMORY_KINDS
} MemoryKind;

const char *memory_kind_name(MemoryKind kind);

typedef struct Arena {
    char *base;  /* NULL while measuring */
    size_t used; /* bytes */
    size_t by_kind[MEMORY_KINDS];
    MemoryKind kind; /* what is being laid out */
} Arena;

/* The next `count` elements of `size` bytes, 64-byte aligned; NULL while measuring. */
void *arena_take(Arena *arena, int64_t count, size_t size);

static inline double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static inline float *arena_floats(Arena *arena, int64_t count) {
    return (float *)arena_take(arena, count, sizeof(float));
}
/* Activations of the device's type. */
static inline Activation *arena_activations(Arena *arena, int64_t count, const Device *device) {
    return arena_take(arena, count, activation_size(device->precision));
}
/* `values` as activations: themselves on a float32 device, else a place of their own, to be filled
 * by rows_narrow. */
static inline Activation *arena_narrowed(Arena *arena, float *values, int64_t count,
                                         const Device *device) {
    return device->precision == PRECISION_FLOAT32 ? values
                                                  : arena_activations(arena, count, device);
}
static inline int32_t *arena_indices(Arena *arena, int64_t count) {
    return (int32_t *)arena_take(arena, count, sizeof(int32_t));
}

#endif
