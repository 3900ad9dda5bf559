/* Sums over micro-batches. See jepa/reduce.h. */
#include "jepa/reduce.h"

int reduce_leaves(int units, int most) {
    return units < most ? units : most;
}

/* The stack is highest when the last of the largest power of two of leaves is at work. */
int reduce_buffers(int leaves) {
    int buffers = 1;
    for (int n = 2; n <= leaves; n *= 2)
        buffers++;
    return buffers;
}

void reduce_begin(Reduction *r, int units, int most_leaves) {
    JEPA_ASSERT(units >= 1 && most_leaves >= 1 && most_leaves <= REDUCE_LEAVES_MAX);
    r->units = units;
    r->leaves = reduce_leaves(units, most_leaves);
    r->unit = r->waiting = 0;
}

float *reduce_place(const Reduction *r) {
    JEPA_ASSERT(r->unit < r->units);
    return r->buffer[r->waiting];
}

/* The leaf that a unit belongs to: the last l with ⌊l U/L⌋ <= unit. */
static int leaf_of(const Reduction *r, int unit) {
    return (int)((((int64_t)unit + 1) * r->leaves - 1) / r->units);
}

/* The two newest sums become one. */
static void join(Reduction *r) {
    int last = r->waiting - 1;
    r->device->add(r->buffer[last - 1], r->buffer[last], r->values, r->device);
    r->waiting--;
}

void reduce_next(Reduction *r) {
    int leaf = leaf_of(r, r->unit++);
    bool over = r->unit == r->units;
    if (!over && leaf_of(r, r->unit) == leaf)
        return;
    r->rank[r->waiting++] = 0;
    while (r->waiting > 1 && r->rank[r->waiting - 2] == r->rank[r->waiting - 1]) {
        join(r);
        r->rank[r->waiting - 1]++;
    }
    while (over && r->waiting > 1) /* the number of leaves is no power of two */
        join(r);
    if (!over)
        r->device->zero(r->buffer[r->waiting], (size_t)r->values * sizeof(float), r->device);
}
