/* Trivial predictors: the nearest visible token is found and ties go to the first; errors are those
 * of the definition; a video that stands still is predicted by its nearest token without error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "eval/trivial.h"
#include "masking/distance.h"
#include <math.h>
#include <string.h>

#define TOKENS 60
#define WIDTH  3

static const MaskGrid grid = {3, 4, 5};

/* Tokens n with (n · 7) mod 10 < `hidden` are targets. */
static void split_tokens(int32_t *target, int *targets, int32_t *context, int *contexts,
                         int hidden) {
    *targets = *contexts = 0;
    for (int n = 0; n < TOKENS; n++)
        if (n * 7 % 10 < hidden)
            target[(*targets)++] = n;
        else
            context[(*contexts)++] = n;
}

static void ties_go_to_the_first(void **state) {
    (void)state;
    /* in a row of five: 0 is as far from 2 as 4 is; one step back in time is as near as one aside
     */
    int32_t nearest[2], target[] = {2, 20 + 7};
    trivial_nearest(nearest, target, 1, (int32_t[]){0, 4}, 2, grid);
    assert_int_equal(nearest[0], 0);
    trivial_nearest(nearest, target, 2, (int32_t[]){3, 7, 20 + 6, 20 + 8}, 4, grid);
    assert_int_equal(nearest[0], 3);
    assert_int_equal(nearest[1], 7);
}

/* Its distance is that of masking/distance.h. */
static void nearest_is_nearest(void **state) {
    (void)state;
    for (int hidden = 1; hidden < 10; hidden++) {
        int32_t target[TOKENS], context[TOKENS], nearest[TOKENS];
        float distance[TOKENS];
        int targets, contexts;
        split_tokens(target, &targets, context, &contexts, hidden);
        trivial_nearest(nearest, target, targets, context, contexts, grid);
        mask_distance(distance, target, targets, context, contexts, grid);
        for (int i = 0; i < targets; i++) {
            int a = target[i], b = nearest[i], dt = a / 20 - b / 20, dy = a % 20 / 5 - b % 20 / 5,
                dx = a % 5 - b % 5;
            assert_true(nearest[i] * 7 % 10 >= hidden);
            assert_true(fabs(sqrt(dt * dt + dy * dy + dx * dx) - distance[i]) < 1e-5);
        }
    }
}

static void errors_by_definition(void **state) {
    (void)state;
    int32_t target[TOKENS], context[TOKENS], token[TOKENS];
    float h[TOKENS * WIDTH], mean[TOKENS], nearest[TOKENS], alone[TOKENS];
    int targets, contexts;
    Random random = random_at(4, RANDOM_WEIGHTS, 0, 0);
    for (int i = 0; i < TOKENS * WIDTH; i++)
        h[i] = (float)random_between(&random, -2, 2);
    split_tokens(target, &targets, context, &contexts, 6);
    trivial_errors(mean, nearest, h, WIDTH, target, targets, context, contexts, grid);
    trivial_nearest(token, target, targets, context, contexts, grid);
    for (int i = 0; i < targets; i++) {
        double of_mean = 0, of_nearest = 0;
        for (int d = 0; d < WIDTH; d++) {
            double sum = 0;
            for (int j = 0; j < targets; j++)
                sum += h[target[j] * WIDTH + d];
            of_mean += fabs(sum / targets - h[target[i] * WIDTH + d]) / WIDTH;
            of_nearest += fabs((double)h[token[i] * WIDTH + d] - h[target[i] * WIDTH + d]) / WIDTH;
        }
        assert_true(fabs(mean[i] - of_mean) < 1e-6);
        assert_true(fabs(nearest[i] - of_nearest) < 1e-6);
    }
    trivial_errors(alone, NULL, h, WIDTH, target, targets, NULL, 0, grid);
    assert_memory_equal(alone, mean, (size_t)targets * sizeof *mean);
}

/* The same features at every time step, the first of which is visible. */
static void stillness(void **state) {
    (void)state;
    int32_t target[40], context[20];
    float h[TOKENS * WIDTH], mean[40], nearest[40];
    for (int n = 0; n < TOKENS; n++) {
        if (n < 20)
            context[n] = n;
        else
            target[n - 20] = n;
        for (int d = 0; d < WIDTH; d++)
            h[n * WIDTH + d] = (float)(n % 20 * (d + 1) % 7);
    }
    trivial_errors(mean, nearest, h, WIDTH, target, 40, context, 20, grid);
    double of_mean = 0;
    for (int i = 0; i < 40; i++) {
        assert_true(nearest[i] == 0);
        of_mean += mean[i] / 40;
    }
    assert_true(of_mean > 0.5);
    assert_true(isnan(trivial_skill(0.1, of_mean, 0)));
    assert_true(fabs(trivial_skill(0.2, 0.8, 0.4) - 0.5) < 1e-12);
    assert_true(trivial_skill(0.8, 0.8, 0.4) == -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_go_to_the_first),
        cmocka_unit_test(nearest_is_nearest),
        cmocka_unit_test(errors_by_definition),
        cmocka_unit_test(stillness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
