/* Selection sampling (Knuth, The Art of Computer Programming, vol. 2, 3.4.2, algorithm S): token i
 * is kept with probability (still to keep) / (still to come), which makes every subset of that size
 * equally likely, in order. See masking/drop.h. */
#include "masking/drop.h"
#include "base/error.h"
#include <math.h>

int mask_drop_count(int tokens, double drop_rate) {
    JEPA_ASSERT(tokens >= 1 && drop_rate >= 0 && drop_rate < 1);
    int kept = (int)nearbyint(tokens * (1 - drop_rate));
    return kept < 1 ? 1 : kept;
}

int mask_drop(int32_t *keep, int tokens, double drop_rate, Random *random) {
    int count = mask_drop_count(tokens, drop_rate), kept = 0;
    for (int i = 0; kept < count; i++)
        if (random_below(random, (uint64_t)(tokens - i)) < (uint64_t)(count - kept))
            keep[kept++] = i;
    return count;
}
