/* Learning rate, weight decay and EMA momentum by step (facebookresearch/jepa
 * src/utils/schedulers.py, app/vjepa/train.py). Pure functions of the step, in double, so there is
 * no state to save.
 *
 * With ipe steps an epoch, T = int(ipe_scale · epochs · ipe) and s = step + 1 (schedules advance
 * before the step that uses them): lr:  s < warm: start + s/warm (peak - start);  then cosine from
 * peak to final over T - warm wd:  cosine from weight_decay to final_weight_decay over T ema:
 * ema[0] + step (ema[1] - ema[0]) / (ipe_scale · epochs · ipe) With ipe_scale 1.25 the cosine is
 * cut off before its end, as published. Cooldown (facebookresearch/vjepa2 src/utils/schedulers.py,
 * LinearDecaySchedule): lr + s/T (final_lr - lr), likewise cut off. */
#ifndef JEPA_JEPA_SCHEDULE_H
#define JEPA_JEPA_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Schedule {
    double epochs, ipe, ipe_scale;
    double warmup; /* epochs */
    double start_lr, lr, final_lr;
    double weight_decay, final_weight_decay;
    double ema[2];
    bool anneal; /* cooldown (V-JEPA 2, is_anneal): lr falls linearly from lr to final_lr over T */
} Schedule;

int64_t schedule_steps(const Schedule *schedule); /* epochs · ipe: the steps of the whole run */
double schedule_lr(const Schedule *schedule, int64_t step);
double schedule_weight_decay(const Schedule *schedule, int64_t step);
double schedule_momentum(const Schedule *schedule, int64_t step);
/* Published: gradients are clipped once the 0-based epoch exceeds `warmup`. */
int schedule_clips(const Schedule *schedule, int64_t step);

#endif
