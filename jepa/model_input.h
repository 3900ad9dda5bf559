/* What reaches the device for a group: clips, and the index lists that follow from its masks. The
 * public parts are in jepa/model.h (model_set_input, model_set_masks, ...). */
#ifndef JEPA_JEPA_MODEL_INPUT_H
#define JEPA_JEPA_MODEL_INPUT_H

#include "jepa/model.h"

/* The rows of all tokens of `samples` clips; frames[samples] of each clip, NULL: all of
 * config.frames. Fills cu_target_clips, all_clip, all_token. */
void model_set_clips(Model *model, const int *frames, int samples);

#endif
