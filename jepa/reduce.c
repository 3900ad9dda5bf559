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

int reduce_first_unit(int units, int leaves, int leaf) {
    return (int)((int64_t)leaf * units / leaves);
}

void reduce_begin(Reduction *r, int units, int leaves, int first_leaf, int count) {
    JEPA_ASSERT(units >= 1 && leaves >= 1 && leaves <= REDUCE_LEAVES_MAX && leaves <= units);
    JEPA_ASSERT(first_leaf >= 0 && count >= 1 && first_leaf + count <= leaves);
    r->units = units;
    r->leaves = leaves;
    r->unit = reduce_first_unit(units, leaves, first_leaf);
    r->end = reduce_first_unit(units, leaves, first_leaf + count);
    r->waiting = 0;
    r->joined = false;
}

float *reduce_place(const Reduction *r) {
    JEPA_ASSERT(r->unit < r->end);
    return r->buffer[r->waiting];
}

/* The leaf that a unit belongs to: the last l with ⌊l U/L⌋ <= unit. */
static int leaf_of(const Reduction *r, int unit) {
    return (int)((((int64_t)unit + 1) * r->leaves - 1) / r->units);
}

int reduce_leaf(const Reduction *r) {
    return leaf_of(r, r->unit);
}

bool reduce_is_last(const Reduction *r) {
    return r->unit + 1 == r->end;
}

/* From the newest sum to the oldest: what the counter does when all leaves of a whole subtree are
 * there, or at the end. */
void reduce_join(Reduction *r, int64_t from, int64_t to) {
    int newest = r->unit == r->end ? r->waiting - 1 : r->waiting;
    r->joined = true;
    for (int i = newest; i > 0; i--)
        r->device->add(r->buffer[i - 1] + from, r->buffer[i] + from, to - from, r->device);
}

/* The two newest sums become one. */
static void join(Reduction *r) {
    int last = r->waiting - 1;
    r->device->add(r->buffer[last - 1], r->buffer[last], r->values, r->device);
    r->waiting--;
}

void reduce_next(Reduction *r) {
    int leaf = leaf_of(r, r->unit++);
    bool over = r->unit == r->end;
    if (!over && leaf_of(r, r->unit) == leaf)
        return;
    r->rank[r->waiting++] = 0;
    if (r->joined) /* by whoever began to */
        return;
    while (r->waiting > 1 && r->rank[r->waiting - 2] == r->rank[r->waiting - 1]) {
        join(r);
        r->rank[r->waiting - 1]++;
    }
    while (over && r->waiting > 1) /* the number of leaves is no power of two */
        join(r);
    if (!over)
        r->device->zero(r->buffer[r->waiting], (size_t)r->values * sizeof(float), r->device);
}
