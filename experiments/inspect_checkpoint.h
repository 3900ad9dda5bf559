/* jepa inspect, for a checkpoint or a file of tensors. */
#ifndef JEPA_EXPERIMENTS_INSPECT_CHECKPOINT_H
#define JEPA_EXPERIMENTS_INSPECT_CHECKPOINT_H

#include "base/error.h"
#include <stdbool.h>

/* Is it a run, a step-N folder of one, or a .safetensors file? Else it is a place of videos. */
bool inspect_is_checkpoint(const char *path);

/* Prints what is in it: sizes, networks, step, source, recipe in short (`recipe`: all of it), and
 * with `tensors` a row for each tensor. Every hash of a checkpoint is verified; damage is an error,
 * after what the header says has been printed. */
int inspect_checkpoint(const char *path, bool tensors, bool recipe, Error *error);

#endif
