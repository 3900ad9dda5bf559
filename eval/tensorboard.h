/* A run's logs as event files of TensorBoard (base/events.h).
 *
 *   FOLDER/events.out.tfevents.*              log.csv
 *   FOLDER/diagnostics/events.out.tfevents.*  diagnostics.csv: TensorBoard shows it as a run beside
 *
 * Rows are read by the log's header, whole lines only; every column of numbers becomes the tag
 * GROUP/column (eval/panels.h). Where the steps go back (a resumed run, a rewind), what was written
 * of the steps that are done again is cut out of the event files, and a new file tells readers to
 * forget it: no step is there twice. */
#ifndef JEPA_EVAL_TENSORBOARD_H
#define JEPA_EVAL_TENSORBOARD_H

#include "base/error.h"
#include <stdbool.h>

typedef struct Tensorboard Tensorboard;

/* `run`: the folder with the logs; `folder`: that of the event files, made when there is a row.
 * What an earlier process wrote there of this run is gone on with. `fresh`: the folder must hold no
 * event files yet, else it is an error. Free with tensorboard_close, also after an error. */
int tensorboard_open(Tensorboard **board, const char *run, const char *folder, bool fresh,
                     Error *error);
/* Writes the rows that have been logged since, but for those whose values are there. Errors: an
 * event file that cannot be written, or is damaged; a log that cannot be read. */
int tensorboard_update(Tensorboard *board, Error *error);
void tensorboard_close(Tensorboard *board);

#endif
