/* The trivial predictors and their errors. See eval/trivial.h. */
#include "eval/trivial.h"
#include <math.h>
#include <stdlib.h>

/* A token's place in the grid. */
typedef struct Place {
    int t, y, x;
} Place;

static Place place_of(int32_t token, MaskGrid grid) {
    int area = grid.height * grid.width;
    return (Place){token / area, token % area / grid.width, token % grid.width};
}

static int64_t square(int64_t x) {
    return x * x;
}

void trivial_nearest(int32_t *nearest, const int32_t *target, int64_t targets,
                     const int32_t *context, int64_t contexts, MaskGrid grid) {
    JEPA_ASSERT(contexts >= 1);
    Place *places = memory_new((size_t)contexts, sizeof *places);
    for (int64_t c = 0; c < contexts; c++)
        places[c] = place_of(context[c], grid);
    for (int64_t i = 0; i < targets; i++) {
        Place own = place_of(target[i], grid);
        int64_t least = INT64_MAX;
        for (int64_t c = 0; c < contexts; c++) {
            int64_t distance = square(own.t - places[c].t) + square(own.y - places[c].y) +
                               square(own.x - places[c].x);
            if (distance < least) {
                least = distance;
                nearest[i] = context[c];
            }
        }
    }
    free(places);
}

/* Mean over the targets of h, [width]. */
static double *mean_answer(const float *h, int width, const int32_t *target, int64_t targets) {
    double *mean = memory_new((size_t)width, sizeof *mean);
    for (int64_t i = 0; i < targets; i++)
        for (int d = 0; d < width; d++)
            mean[d] += h[(int64_t)target[i] * width + d];
    for (int d = 0; d < width; d++)
        mean[d] /= (double)targets;
    return mean;
}

void trivial_errors(float *mean, float *nearest, const float *h, int width, const int32_t *target,
                    int64_t targets, const int32_t *context, int64_t contexts, MaskGrid grid) {
    JEPA_ASSERT(targets >= 1);
    if (mean) {
        double *said = mean_answer(h, width, target, targets);
        for (int64_t i = 0; i < targets; i++) {
            const float *answer = h + (int64_t)target[i] * width;
            double sum = 0;
            for (int d = 0; d < width; d++)
                sum += fabs(said[d] - answer[d]);
            mean[i] = (float)(sum / width);
        }
        free(said);
    }
    if (nearest) {
        int32_t *token = memory_new((size_t)targets, sizeof *token);
        trivial_nearest(token, target, targets, context, contexts, grid);
        for (int64_t i = 0; i < targets; i++) {
            const float *answer = h + (int64_t)target[i] * width;
            const float *said = h + (int64_t)token[i] * width;
            double sum = 0;
            for (int d = 0; d < width; d++)
                sum += fabs((double)said[d] - answer[d]);
            nearest[i] = (float)(sum / width);
        }
        free(token);
    }
}

double trivial_skill(double error, double mean, double nearest) {
    double best = fmin(mean, nearest);
    return best > 0 ? 1 - error / best : NAN;
}
