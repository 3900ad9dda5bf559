/* A run's folder: what lies in it, who may write to it, and how it is continued.
 *
 *   RUN/lock            held while a process trains in it; dies with the process
 *   RUN/recipe.yaml     the resolved recipe; written last at the start, so it marks a run as begun
 *   RUN/videos.index    the frozen index of the videos
 *   RUN/pictures.index  that of the pictures beside them (img_data), if there are any
 *   RUN/log.csv         a row for each step
 *   RUN/quarantine.csv  files that could not be used and slots that were re-drawn, with reasons
 *   RUN/plans.txt       with a GPU: what its libraries were told to use, shape by shape; a resumed
 *                       run takes the same
 *   RUN/tensorboard/    event files of log.csv (logging.tensorboard; eval/tensorboard.h)
 *   RUN/step-N/         checkpoints (jepa/checkpoint.h)
 */
#ifndef JEPA_JEPA_RUN_H
#define JEPA_JEPA_RUN_H

#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "video/index.h"
#include <stdio.h>

typedef struct Run {
    char *folder;
    int lock;
    VideoIndex index, pictures;
    char *recipe_text;     /* resolved */
    bool resumed;          /* a checkpoint was found */
    Checkpoint checkpoint; /* when resumed */
    FILE *log;             /* log.csv, open for appending; NULL where another rank writes it */
    FILE *quarantine;      /* likewise */
} Run;

/* Opens RUN for training with `recipe` (its data.datasets name the videos).
 * A folder that holds a run already is an error unless `resume`; then the recipe must be the same
 * and every video unchanged; the newest sound checkpoint is taken (a damaged one is named and
 * passed over), logs are cut back to its step. `threads` read the videos for the index; what is
 * known of them from earlier runs is taken from the cache (video_index_cache). */
int run_open(Run *run, const char *folder, const Recipe *recipe, bool resume, int threads,
             Error *error);
/* The same run for another rank, after rank 0 has opened it: reads what is frozen there, verifies
 * that the videos are here as they are there, and takes the checkpoint of `step` (-1: none).
 * Neither locks nor writes. ERROR_RUN: RUN or a video is not to be seen from this machine, or is
 * another. */
int run_join(Run *run, const char *folder, const Recipe *recipe, int64_t step, Error *error);
void run_close(Run *run);

/* The index of the recipe's data sets, kept in the cache from run to run. */
int run_index(VideoIndex *index, const Recipe *recipe, int threads, Error *error);

/* Has RUN been begun? (recipe.yaml is there) */
bool run_exists(const char *folder);

/* Everything written so far to the disk; before a checkpoint. */
int run_flush(Run *run, Error *error);

/* plans.txt of the device's choices, and back into the device (before anything is planned). Nothing
 * where the device chooses nothing, or there is no such file. */
int run_save_plans(const Run *run, const Device *device, Error *error);
int run_load_plans(const Run *run, Device *device, Error *error);

#endif
