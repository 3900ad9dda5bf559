/* The order of the sum over micro-batches, and that subtrees of ranks come to the same bits. */
#include "jepa/reduce.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VALUES 9

/* The gradient of a unit: numbers of very different sizes, so that every order has other bits. */
static float value_of(int unit, int i) {
    return sinf((float)(unit * 17 + i + 1)) * powf(10, (float)(unit * 5 % 7));
}

static void add_unit(float *to, int unit) {
    for (int i = 0; i < VALUES; i++)
        to[i] += value_of(unit, i);
}

/* Units of the step in leaf l. */
static void add_leaf(float *to, int leaf, int leaves, int units) {
    for (int u = leaf * units / leaves; u < (leaf + 1) * units / leaves; u++)
        add_unit(to, u);
}

/* Leaves first .. last, in halves whose first is the largest power of two below their number. */
static void add_tree(float *to, int first, int last, int leaves, int units) {
    int count = last - first + 1, half = 1;
    if (count == 1) {
        memset(to, 0, VALUES * sizeof *to);
        add_leaf(to, first, leaves, units);
        return;
    }
    float right[VALUES];
    while (2 * half < count)
        half *= 2;
    add_tree(to, first, first + half - 1, leaves, units);
    add_tree(right, first + half, last, leaves, units);
    for (int i = 0; i < VALUES; i++)
        to[i] += right[i];
}

/* As the trainer does it; with as few buffers as reduce_buffers says. */
static void reduce(float *sum, Device *device, int units, int most) {
    Reduction r = {.values = VALUES, .device = device};
    int buffers = reduce_buffers(reduce_leaves(units, most));
    for (int i = 0; i < buffers; i++) {
        r.buffer[i] = malloc(VALUES * sizeof(float));
        memset(r.buffer[i], i ? 0xFF : 0, VALUES * sizeof(float)); /* NaN */
    }
    int leaves = reduce_leaves(units, most);
    reduce_begin(&r, units, leaves, 0, leaves);
    for (int u = 0; u < units; u++) {
        add_unit(reduce_place(&r), u);
        reduce_next(&r);
    }
    memcpy(sum, r.buffer[0], VALUES * sizeof *sum);
    for (int i = 0; i < buffers; i++)
        free(r.buffer[i]);
}

static void sums_are_trees(void **state) {
    (void)state;
    Device *device;
    Error error = {0};
    assert_int_equal(device_open(&device, "cpu", 2, &error), 0);
    for (int most = 1; most <= 64; most *= 2)
        for (int units = 1; units <= 150; units++) {
            float sum[VALUES], expected[VALUES];
            int leaves = reduce_leaves(units, most);
            reduce(sum, device, units, most);
            add_tree(expected, 0, leaves - 1, leaves, units);
            assert_memory_equal(sum, expected, sizeof sum);
        }
    device_close(device);
}

/* 2, 4 and 8 ranks, each with its share of the leaves, then the ranks in pairs. */
static void ranks_come_to_the_same_bits(void **state) {
    (void)state;
    for (int units = 8; units <= 40; units += 8) {
        float whole[VALUES];
        add_tree(whole, 0, 7, 8, units);
        for (int ranks = 2; ranks <= 8; ranks *= 2) {
            float part[8][VALUES];
            for (int r = 0; r < ranks; r++)
                add_tree(part[r], r * 8 / ranks, (r + 1) * 8 / ranks - 1, 8, units);
            for (int step = 1; step < ranks; step *= 2)
                for (int r = 0; r < ranks; r += 2 * step)
                    for (int i = 0; i < VALUES; i++)
                        part[r][i] += part[r + step][i];
            assert_memory_equal(part[0], whole, sizeof whole);
        }
    }
}

static void as_few_buffers_as_needed(void **state) {
    (void)state;
    const int expected[][2] = {{1, 1}, {2, 2}, {3, 2}, {4, 3}, {7, 3}, {8, 4}, {64, 7}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(reduce_buffers(expected[i][0]), expected[i][1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_trees),
        cmocka_unit_test(ranks_come_to_the_same_bits),
        cmocka_unit_test(as_few_buffers_as_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
