/* Operations of a step: by hand for a tiny network, and the published ViT-L. */
#include "jepa/flops.h"
#include "jepa/recipe.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void near(double value, double expected, double share) {
    if (fabs(value - expected) > share * fabs(expected))
        fail_msg("expected %g, found %g", expected, value);
}

static void by_hand(void **state) {
    (void)state;
    /* patches of 3 x 1 x 2 x 2 = 12 values */
    ModelConfig c = {.tubelet = 1,
                     .patch = 2,
                     .dim = 4,
                     .depth = 1,
                     .heads = 1,
                     .hidden = 8,
                     .pred_dim = 2,
                     .pred_depth = 3,
                     .pred_heads = 1,
                     .pred_hidden = 8,
                     .norms = 1,
                     .levels = 1};
    const int32_t all[] = {0, 10}, context[] = {0, 3, 5}, predictor[] = {0, 7, 12};
    FlopsInput in = {.all = flops_tokens(all, 1),
                     .context = flops_tokens(context, 2),
                     .predictor = flops_tokens(predictor, 2),
                     .targets = 7,
                     .joined = 5};
    near(in.context.rows, 5, 0);
    near(in.context.squares, 9 + 4, 0);
    near(in.predictor.squares, 49 + 25, 0);
    StepFlops f;
    flops_step(&f, &c, &in);
    double block = 2 * (4 * 12 + 4 * 4 + 2 * 4 * 8), cut = 2 * 12 * 4;
    double pred_block = 2 * (2 * 6 + 2 * 2 + 2 * 2 * 8);
    double target = 10 * (cut + block) + 4 * 100 * 4;
    double seen = 5 * (cut + block) + 4 * 13 * 4;
    double predicted = 5 * 2 * 4 * 2 + 3 * (12 * pred_block + 4 * 74 * 2) + 7 * 2 * 2 * 4;
    near(f.target, target, 1e-12);
    near(f.context, seen, 1e-12);
    near(f.predictor, predicted, 1e-12);
    near(f.backward, 2 * (seen + predicted) - 5 * cut, 1e-12);
    near(f.attention, 4 * 100 * 4 + 3 * (4 * 13 * 4 + 3 * 4 * 74 * 2), 1e-12);
    near(f.total, target + 3 * (seen + predicted) - 5 * cut, 1e-12);
}

/* One sample with the mean lists of the published masks: 2.55 TFLOP
 * (target encoder 1.19, context encoder 0.29, predictor 0.15 forward). */
static void published(void **state) {
    (void)state;
    Recipe recipe;
    recipe_default(&recipe); /* ViT-L/16 */
    ModelConfig c = recipe_model(&recipe);
    const int32_t all[] = {0, 1568}, context[] = {0, 363, 363 + 101},
                  predictor[] = {0, 363 + 756, 363 + 756 + 101 + 1103};
    FlopsInput in = {.all = flops_tokens(all, 1),
                     .context = flops_tokens(context, 2),
                     .predictor = flops_tokens(predictor, 2),
                     .targets = 756 + 1103,
                     .joined = 363 + 101};
    StepFlops f;
    flops_step(&f, &c, &in);
    near(f.target, 1.19e12, 0.02);
    near(f.context, 0.29e12, 0.03);
    near(f.predictor, 0.15e12, 0.05);
    near(f.total, 2.55e12, 0.03);
    recipe_free(&recipe);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(published)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
