/* Frozen features: one vector per video, from the encoder as it stands.
 *
 * Each video gives `segments` clips, one from each of its equal parts, each in `views` crops along
 * its longer side (1: the centre); each clip's tokens, after the encoder's final norm, are
 * averaged; the vectors of all segments and views are averaged. */
#ifndef JEPA_EVAL_FEATURES_H
#define JEPA_EVAL_FEATURES_H

#include "eval/encode.h"

typedef struct Features {
    int64_t count;   /* videos whose clips could all be decoded */
    int width;       /* D */
    float *rows;     /* [count][D] */
    uint32_t *files; /* [count] numbers into the index, ascending */
} Features;

/* `network`: 't' target encoder or 'c' context encoder. The model needs no masks: plan.settings 0.
 * A video that cannot be decoded is named in a warning and left out. `threads` decode. */
int features_extract(Features *features, Model *model, const VideoIndex *index,
                     const ClipSpec *spec, const FeatureViews *views, char network, int threads,
                     Error *error);
void features_free(Features *features);

#endif
