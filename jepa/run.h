/* A run's folder: what lies in it, who may write to it, and how it is continued.
 *
 *   RUN/lock            held while a process trains in it; dies with the process
 *   RUN/recipe.yaml     the resolved recipe; written last at the start, so it marks a run as begun
 *   RUN/videos.index    the frozen index of the videos
 *   RUN/pictures.index  that of the pictures beside them (img_data), if there are any
 *   RUN/diagnostics.index  that of the videos that diagnostics are made on (diagnostics.data)
 *   RUN/log.csv         a row for each step
 *   RUN/diagnostics.csv a row for each time the model was diagnosed
 *   RUN/rewinds.csv     a row for each time the run went back (jepa/rewinds.h)
 *   RUN/changes.csv     keys of the recipe that were changed when the run was resumed
 *   RUN/quarantine.csv  files that could not be used and slots that were re-drawn, with reasons
 *   RUN/plans.txt       with a GPU: what its libraries were told to use, shape by shape; a resumed
 *                       run takes the same
 *   RUN/tensorboard/    event files of log.csv (logging.tensorboard; eval/tensorboard.h)
 *   RUN/step-N/, best/  checkpoints (jepa/checkpoint.h)
 */
#ifndef JEPA_JEPA_RUN_H
#define JEPA_JEPA_RUN_H

#include "jepa/checkpoint.h"
#include "jepa/recipe_compare.h"
#include "jepa/rewinds.h"
#include "video/index.h"
#include <stdio.h>

typedef struct Run {
    char *folder;
    int lock;
    VideoIndex index, pictures;
    VideoIndex held_out;   /* of diagnostics.data; empty without */
    char *recipe_text;     /* resolved */
    RecipeChanges changes; /* against RUN's recipe, all of them free */
    bool rewrite;          /* recipe.yaml is not recipe_text: changed, or of an older program */
    Rewinds rewinds;
    Health health;         /* that training goes on with */
    bool resumed;          /* a checkpoint was found */
    Checkpoint checkpoint; /* when resumed */
    FILE *log;             /* log.csv, open for appending; NULL where another rank writes it */
    FILE *quarantine;      /* likewise, as all tables */
    FILE *diagnostics;
} Run;

/* Opens RUN for training with `recipe` (its data.datasets name the videos).
 * A folder that holds a run already is an error unless `resume`; then the recipe must be the same,
 * but for keys that do not decide what is computed (jepa/recipe_compare.h), and every video
 * unchanged; the newest sound checkpoint is taken (a damaged one is named and
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

/* The GPU that decodes where the recipe says data.decoder: cuda, that of the device or else the
 * first. NULL: the CPU decodes, because the recipe says so or because there is no such GPU, of
 * which one line is said. Caller closes; run_hardware_close says what it did and closes it (NULL:
 * nothing). */
VideoHardware *run_hardware_open(const Recipe *recipe, const Device *device);
void run_hardware_close(VideoHardware *hardware);

/* Has RUN been begun? (recipe.yaml is there) */
bool run_exists(const char *folder);

/* Everything written so far to the disk; before a checkpoint. */
int run_flush(Run *run, Error *error);

/* Takes the rows of this step and later ones out of quarantine.csv, which says no branch, and
 * leaves it open: for a run that goes back. */
int run_cut_quarantine(Run *run, int64_t step, Error *error);

/* plans.txt of the device's choices, and back into the device (before anything is planned). Nothing
 * where the device chooses nothing, or there is no such file. */
int run_save_plans(const Run *run, const Device *device, Error *error);
int run_load_plans(const Run *run, Device *device, Error *error);

#endif
