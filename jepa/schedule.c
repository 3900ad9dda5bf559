/* Schedules. See jepa/schedule.h. */
#include "jepa/schedule.h"
#include <math.h>

static double horizon(const Schedule *s) {
    return floor(s->ipe_scale * s->epochs * s->ipe);
}

int64_t schedule_steps(const Schedule *s) {
    return (int64_t)(s->epochs * s->ipe);
}

double schedule_lr(const Schedule *s, int64_t step) {
    double at = (double)(step + 1), warm = floor(s->warmup * s->ipe);
    if (s->anneal)
        return s->lr + at / horizon(s) * (s->final_lr - s->lr);
    if (at < warm)
        return s->start_lr + at / fmax(1, warm) * (s->lr - s->start_lr);
    double progress = (at - warm) / fmax(1, horizon(s) - warm);
    return fmax(s->final_lr,
                s->final_lr + (s->lr - s->final_lr) * 0.5 * (1 + cos(M_PI * progress)));
}

double schedule_weight_decay(const Schedule *s, int64_t step) {
    double progress = (double)(step + 1) / fmax(1, horizon(s));
    double wd = s->final_weight_decay +
                (s->weight_decay - s->final_weight_decay) * 0.5 * (1 + cos(M_PI * progress));
    return s->final_weight_decay <= s->weight_decay ? fmax(s->final_weight_decay, wd)
                                                    : fmin(s->final_weight_decay, wd);
}

double schedule_momentum(const Schedule *s, int64_t step) {
    return s->ema[0] + (double)step * (s->ema[1] - s->ema[0]) / (s->ipe * s->epochs * s->ipe_scale);
}

int schedule_clips(const Schedule *s, int64_t step) {
    return floor((double)step / s->ipe) > s->warmup;
}
