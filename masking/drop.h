/* Token dropping: the encoder sees a random share of the tokens, nothing is predicted from the
 * rest.
 *
 * Source: LeVJEPA, a uniform random subset of max(1, round(N (1 - rate))) of the N tokens of a
 * view, rounded half to even. Here the subset is kept in ascending order, which attention does not
 * see.
 */
#ifndef JEPA_MASKING_DROP_H
#define JEPA_MASKING_DROP_H

#include "base/random.h"
#include <stdint.h>

/* Tokens kept of `tokens` (>= 1), for a share drop_rate in [0, 1) of them dropped. */
int mask_drop_count(int tokens, double drop_rate);

/* keep: [mask_drop_count] token numbers, ascending; the caller's. Returns how many.
 * `random`: random_at(seed, RANDOM_DROP, step, slot). */
int mask_drop(int32_t *keep, int tokens, double drop_rate, Random *random);

#endif
