/* The sections `diagnostics` and `sentry`, and checkpoint.keep_best: defaults and checks. What they
 * mean is in jepa/recipe.h, eval/diagnostics.h and jepa/sentry.h. */
#include "jepa/recipe_keys.h"
#include "jepa/rewinds.h"

#define DIAGNOSTICS_EVERY  2000
#define DIAGNOSTICS_VIDEOS 50 /* LiDAR on clips: 50 of them under 4 masks */
#define VIDEOS_MAX         4096

void recipe_default_health(Recipe *r) {
    r->diagnostics.every = DIAGNOSTICS_EVERY;
    r->diagnostics.videos = DIAGNOSTICS_VIDEOS;
    r->sentry.std_min = 0.2;
    r->sentry.rankme_min = 2;
    r->sentry.rankme_share = 0.2;
    r->sentry.patience = 1;
    r->sentry.lr_scale = 0.5;
    r->sentry.most_rewinds = 3;
}

/* What is asked for must be measured. */
static int check_measured(const Recipe *r, Error *error) {
    const char *asks = r->checkpoint.keep_best           ? "checkpoint.keep_best"
                       : r->sentry.action != SENTRY_WARN ? "sentry.action"
                                                         : NULL;
    if (asks && !r->diagnostics.every)
        return error_set(error, ERROR_USAGE,
                         "%s goes by diagnostics, which diagnostics.every: 0 turns off", asks);
    return 0;
}

int recipe_check_health(const Recipe *r, Error *error) {
    const struct {
        const char *path;
        double value, low, high;
    } numbers[] = {
        {"diagnostics.every", r->diagnostics.every, 0, 1e9},
        {"diagnostics.videos", r->diagnostics.videos, 2, VIDEOS_MAX},
        {"sentry.std_min", r->sentry.std_min, 0, 100},
        {"sentry.std_share", r->sentry.std_share, 0, 1},
        {"sentry.rankme_min", r->sentry.rankme_min, 0, 1e6},
        {"sentry.rankme_share", r->sentry.rankme_share, 0, 1},
        {"sentry.lidar_share", r->sentry.lidar_share, 0, 1},
        {"sentry.patience", r->sentry.patience, 1, 1000},
        {"sentry.lr_scale", r->sentry.lr_scale, 1e-6, 1},
        {"sentry.most_rewinds", r->sentry.most_rewinds, 0, REWINDS_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= numbers[i].low && numbers[i].value <= numbers[i].high))
            return error_set(error, ERROR_USAGE, "%s: expected %g to %g, found %g", numbers[i].path,
                             numbers[i].low, numbers[i].high, numbers[i].value);
    if (r->diagnostics.data && r->diagnostics.hold_out)
        return error_set(
            error, ERROR_USAGE,
            "diagnostics.data names videos of their own, and diagnostics.hold_out takes "
            "them from the run's: give one of them");
    return check_measured(r, error);
}
