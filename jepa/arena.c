/* Planned memory. See jepa/arena.h. */
#include "jepa/arena.h"

const char *memory_kind_name(MemoryKind kind) {
    static const char *const names[MEMORY_KINDS] = {"weights",     "gradients", "optimiser",
                                                    "activations", "workspace", "input"};
    return names[kind];
}

void *arena_take(Arena *arena, int64_t count, size_t size) {
    JEPA_ASSERT(count >= 0 && (size_t)count <= ((size_t)1 << 48) / size);
    size_t bytes = ((size_t)count * size + 63) / 64 * 64;
    char *place = arena->base ? arena->base + arena->used : NULL;
    arena->used += bytes;
    arena->by_kind[arena->kind] += bytes;
    return place;
}
