/* A run's checkpoints as folders: which there are, which go, which is the best. Shared by
 * jepa/checkpoint.c and jepa/checkpoint_folder.c; the rest is in jepa/checkpoint.h. */
#ifndef JEPA_JEPA_CHECKPOINT_FOLDER_H
#define JEPA_JEPA_CHECKPOINT_FOLDER_H

#include "base/error.h"
#include <stdint.h>

int folder_move(const char *from, const char *to, Error *error);
/* Removes a checkpoint: a folder never loses its files under its final name. */
int checkpoint_folder_remove(const char *folder, Error *error);
/* The `keep` newest checkpoints stay, and of the others the newest of at most `spared` steps
 * (below 0: none). */
int checkpoint_remove_older(const char *run, int keep, int64_t spared, Error *error);

#endif
