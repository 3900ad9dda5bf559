/* Synthetic labelled videos: textured shapes moving over textured backgrounds, with classes that no
 * single frame gives away. Labels are the class names in alphabetical order, so a label is also the
 * number of its folder. */
#ifndef JEPA_VIDEO_SYNTH_H
#define JEPA_VIDEO_SYNTH_H

#include "base/error.h"
#include <stdint.h>

typedef struct SynthSpec {
    int videos; /* how many, spread evenly over the classes */
    uint64_t seed;
    int size;   /* height and width in pixels, even */
    int frames; /* frames per video */
    int fps;
    int threads;
} SynthSpec;

/* Writes OUT/<class>/<class>_NNNNNN.mp4, OUT/videos.csv ("path label", relative), OUT/targets.csv
 * (places and velocities at the middle frame, for regression) and OUT/states.msgpack (the true
 * state of every object in every frame). Shows progress. OUT must be new or empty. */
int synth_write(const char *out, const SynthSpec *spec, Error *error);

int synth_classes(void);
const char *synth_class_name(int label);

/* Renders frame `t` of video `number` of class `label` without encoding: rgb [size][size][3]. */
void synth_render(uint8_t *rgb, const SynthSpec *spec, int label, int number, int t);

#endif
