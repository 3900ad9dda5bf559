/* Exact squared distance transform, axis after axis (Meijster, Roerdink and Hesselink, "A general
 * algorithm for computing distance transforms in linear time", 2000):
 *     along w:  g(t,h,w) = min over targets in the row of (w - w')²
 *     along h:  g(t,h,w) = min_i (h - i)² + g(t,i,w),  along t likewise
 * The minimum over i is the lower envelope of parabolas, found in one sweep; all in whole numbers.
 * See masking/distance.h. */
#include "masking/distance.h"
#include <math.h>
#include <stdlib.h>

#define FAR INT32_MAX /* no target so far */

/* The parabola of a place on a line: value at x is (x - place)² + height. It is the lowest from
 * `from` on. */
typedef struct Parabola {
    int32_t place, height, from;
} Parabola;

static int64_t value(const Parabola *p, int64_t x) {
    return (x - p->place) * (x - p->place) + p->height;
}

/* The first x at which `b` lies below `a`; a->place < b->place. From
 * (x - b)² + g_b < (x - a)² + g_a:  2 x (b - a) > b² - a² + g_b - g_a. */
static int64_t below_from(const Parabola *a, const Parabola *b) {
    int64_t pa = a->place, pb = b->place;
    int64_t rise = pb * pb - pa * pa + b->height - a->height, run = 2 * (pb - pa);
    return rise < 0 ? 0 : rise / run + 1; /* the line begins at 0 */
}

/* line[i · stride], i = 0..n-1: squared distances become those with this axis included. */
static void transform_line(int32_t *line, int n, int stride, Parabola *envelope) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (line[(size_t)i * stride] == FAR)
            continue;
        Parabola next = {i, line[(size_t)i * stride], 0};
        while (count && value(&next, envelope[count - 1].from) <
                            value(&envelope[count - 1], envelope[count - 1].from))
            count--;
        int64_t from = count ? below_from(&envelope[count - 1], &next) : 0;
        if (from < n) {
            next.from = (int32_t)from;
            envelope[count++] = next;
        }
    }
    if (!count)
        return;
    for (int i = n - 1; i >= 0; i--) {
        while (envelope[count - 1].from > i)
            count--;
        line[(size_t)i * stride] = (int32_t)value(&envelope[count - 1], i);
    }
}

void mask_distance(float *distance, const int32_t *context, int contexts, const int32_t *target,
                   int targets, MaskGrid grid) {
    JEPA_ASSERT(targets >= 1);
    int tokens = mask_grid_tokens(grid), plane = grid.height * grid.width;
    int side = grid.height > grid.width ? grid.height : grid.width;
    side = side > grid.time ? side : grid.time;
    int32_t *square = memory_new((size_t)tokens, sizeof *square);
    Parabola *envelope = memory_new((size_t)side, sizeof *envelope);
    for (int i = 0; i < tokens; i++)
        square[i] = FAR;
    for (int i = 0; i < targets; i++)
        square[target[i]] = 0;
    for (int i = 0; i < tokens; i += grid.width)
        transform_line(square + i, grid.width, 1, envelope);
    for (int t = 0; t < grid.time; t++)
        for (int w = 0; w < grid.width; w++)
            transform_line(square + t * plane + w, grid.height, grid.width, envelope);
    for (int i = 0; i < plane; i++)
        transform_line(square + i, grid.time, plane, envelope);
    for (int i = 0; i < contexts; i++)
        distance[i] = sqrtf((float)square[context[i]]);
    free(square);
    free(envelope);
}
