/* Few labels: which of the training rows a probe may see. */
#ifndef JEPA_EVAL_LOW_SHOT_H
#define JEPA_EVAL_LOW_SHOT_H

#include "eval/targets.h"

/* `percent` of the rows of every class, rounded to the nearest number, at least one: their numbers,
 * ascending, into items[n]; returns how many. Which ones is a pure function of (seed, draw, class
 * and how many rows it has); a larger share of the same draw holds a smaller one's rows. */
int64_t low_shot_draw(int64_t *items, const Targets *classes, double percent, uint64_t seed,
                      uint64_t draw);

#endif
