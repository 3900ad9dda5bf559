/* What there is in the videos of an index, counted: for `jepa inspect` and the report. */
#ifndef JEPA_VIDEO_CENSUS_H
#define JEPA_VIDEO_CENSUS_H

#include "video/index.h"

#define TALLY_KINDS 1024 /* told apart */

/* How often each text comes. */
typedef struct Tally {
    char **texts;   /* [kinds] the most frequent first */
    size_t *counts; /* [kinds] */
    size_t kinds;
    size_t beyond; /* of more kinds than are told apart */
} Tally;

typedef struct VideoCensus {
    size_t videos, usable;
    double *seconds, *frames; /* [usable] ascending: length of each video */
    double *gaps;             /* [usable] ascending: frames from keyframe to keyframe */
    double duration;          /* seconds of all usable videos */
    double bytes;             /* of all usable files */
    Tally sizes, rates, codecs, containers, formats, colours;
    Tally classes;                               /* of the usable ones that have a label */
    size_t rotated, uneven, untimed, with_audio; /* videos */
} VideoCensus;

/* Free with video_census_free. */
void video_census(VideoCensus *census, const VideoIndex *index);
void video_census_free(VideoCensus *census);

#endif
