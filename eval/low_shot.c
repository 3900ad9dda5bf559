/* See eval/low_shot.h. */
#include "eval/low_shot.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>

int64_t low_shot_draw(int64_t *items, const Targets *t, double percent, uint64_t seed,
                      uint64_t draw) {
    size_t n = (size_t)t->count;
    bool *taken = memory_new(n + 1, sizeof *taken);
    int64_t *of_class = memory_new(n + 1, sizeof *of_class), count = 0;
    for (int k = 0; k < t->outputs; k++) {
        int64_t all = 0;
        for (size_t i = 0; i < n; i++)
            if (t->classes[i] == k)
                of_class[all++] = (int64_t)i;
        int64_t wanted = llround(percent / 100 * (double)all);
        wanted = wanted < 1 ? 1 : wanted > all ? all : wanted;
        /* the start of a shuffle (Fisher and Yates) */
        Random random = random_at(seed, RANDOM_LOW_SHOT, draw, (uint64_t)k);
        for (int64_t i = 0; i < wanted && i < all; i++) {
            int64_t j = i + (int64_t)random_below(&random, (uint64_t)(all - i));
            int64_t chosen = of_class[j];
            of_class[j] = of_class[i];
            of_class[i] = chosen;
            taken[chosen] = true;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (taken[i])
            items[count++] = (int64_t)i;
    free(taken);
    free(of_class);
    return count;
}
