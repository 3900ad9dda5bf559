/* What a run's diagnostics said, for a person: the end of jepa pretrain. */
#ifndef JEPA_EXPERIMENTS_HEALTH_H
#define JEPA_EXPERIMENTS_HEALTH_H

#include "jepa/trainer.h"

/* The last diagnosis of RUN, what diagnoses cost, rewinds and the best checkpoint, on stdout; draws
 * RUN/diagnostics.png. Nothing where there is no diagnosis. */
int health_summary(const char *folder, const Recipe *recipe, const TrainerResult *result,
                   Error *error);

#endif
