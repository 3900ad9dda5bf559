/* What is taken from which source video, before anything is decoded. Private to video/variants*.c
 * and their tests. */
#ifndef JEPA_VIDEO_VARIANTS_PLAN_H
#define JEPA_VIDEO_VARIANTS_PLAN_H

#include "video/variants.h"
#include <stdbool.h>

typedef struct VariantStretch {
    int64_t first; /* source frame that is its frame 0; the others lie `step` apart */
    int frozen;    /* m..m+F-1: what frozen shows */
    double motion; /* mean change of a value 0..255 from one of forward's pictures to the next */
    bool still;    /* motion is so small that the stretch was left out */
    int64_t bytes; /* of each of its five files */
} VariantStretch;

typedef struct VariantSource {
    uint32_t file; /* number in the index */
    char *name;    /* <source>; NULL where there is a reason */
    char *reason;  /* why it is left out; NULL: it is used */
    int step;      /* source frames from one picture of forward to the next */
    double pace;   /* how many times as fast as the source it plays */
    bool test;     /* side of the split */
    int count;
    VariantStretch *stretches; /* [count] */
} VariantSource;

/* sources[index->count], to be freed with variants_plan_free. Errors: two names that differ in
 * nothing that a file name keeps. */
int variants_plan(VariantSource **sources, const VideoIndex *index, const VariantSpec *spec,
                  Error *error);
void variants_plan_free(VariantSource *sources, size_t count);

/* Sets `test` of the sources that are still used. Errors: fewer than two. */
int variants_split(VariantSource *sources, const VideoIndex *index, Error *error);

/* <class>/<source>_<class>.mp4; caller frees. */
char *variant_name(const VariantSource *source, int stretch, VariantClass class,
                   const VariantSpec *spec);

#endif
