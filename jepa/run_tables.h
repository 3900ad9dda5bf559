/* The tables of a run (log.csv, diagnostics.csv, quarantine.csv, changes.csv): opened for
 * appending, cut back to what belongs before the step that is gone on with. Part of jepa/run.c. */
#ifndef JEPA_JEPA_RUN_TABLES_H
#define JEPA_JEPA_RUN_TABLES_H

#include "jepa/run.h"

/* Opens all tables. `step`: steps done, -1 when the run begins; `branch` of the next step. Rows of
 * steps that are done again would come twice, so they go, as does a last line that a crash cut
 * short; rows of earlier branches stay where a column says of which they are. */
int run_open_tables(Run *run, int64_t step, int64_t branch, Error *error);
/* Rows of changes.csv: what the recipe was and is from this step on. */
int run_note_changes(const Run *run, const RecipeChanges *changes, int64_t step, Error *error);

#endif
