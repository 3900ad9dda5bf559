/* The motion test on anybody's real videos: labelled temporal variants of them.
 *
 * Every stretch that is taken from a source video gives one video of each class: the same pictures
 * in another order. Let s be the source's step and k = 0, 1, ... 2F-2 the frames s apart from the
 * stretch's start on, F the frames of a variant (even), m = F/2:
 *     double_speed    0, 2, 4, ... 2F-2           all of it in F pictures
 *     forward         m, m+1, ... m+F-1           its middle, at the source's own pace
 *     frozen          one of forward's, F times   which one is drawn at random
 *     halves_swapped  forward's second half, then its first
 *     reversed        forward's pictures, the last one first
 * The middle is taken so that all five lie around the same moment.
 *
 * What does not give the class away, and why:
 *   - appearance: each stretch is there once in every class, and all stretches of a source file are
 *     on one side of the split; files with the same bytes count as one;
 *   - size, rate, length, coding: one size (the largest square in the middle: bars would take
 *     tokens and say nothing), one rate, one number of frames, and every picture is coded by
 *     itself with the same quantiser, so that it comes out with the same pixels wherever it stands
 *     (where libx264 or MPEG-4 writes; see video/encode.h). The five files of a stretch are filled
 *     up to the same number of bytes;
 *   - rhythm: a source is taken in one whole step, s = 1, 2, ..., the one with the smallest
 *     |log(rate / (s fps))|, and never by the nearest frame to a time: from 24 to 16 frames a
 *     second that would be steps of 1, 2, 1, 2 in forward and 3, 3, 3 in double_speed, which tells
 *     them apart without looking at speed. So a source plays `pace` = s fps / rate times as fast as
 *     it was, from 1/sqrt 2 to less than sqrt 2 times: no forward is as fast as any double_speed.
 *     Sources with a rate of fps / sqrt 2 or less are left out;
 *   - stillness: a stretch in which nothing moves is left out, because its five videos are one
 *     (those in which little moves are hard, in every class alike).
 * What remains:
 *   - frozen is told by any two pictures: not even noise differs between them. It is the floor of
 *     the test: who cannot tell it looks at single pictures only;
 *   - halves_swapped has a cut in its middle, and a source with cuts of its own looks like it;
 *   - double_speed shows a stretch twice as long, whose first and last quarter no other class has;
 *   - the source's own coding has a direction: its pictures get sharper or blurrier towards the
 *     next keyframe, and reversed turns that round. Scaling down hides it, but not all of it;
 *   - pictures that a source repeats (24 frames a second stored as 30) are a rhythm again, uneven
 *     time stamps another;
 *   - a clock in the picture, for who can read it;
 *   - where another H.264 encoder writes (a bit rate only), coding depends on the neighbours.
 */
#ifndef JEPA_VIDEO_VARIANTS_H
#define JEPA_VIDEO_VARIANTS_H

#include "base/error.h"
#include "video/index.h"
#include <stdint.h>

/* Alphabetical, so that a class is also the number of its folder in sorted order. */
typedef enum VariantClass {
    VARIANT_DOUBLE_SPEED,
    VARIANT_FORWARD,
    VARIANT_FROZEN,
    VARIANT_HALVES_SWAPPED,
    VARIANT_REVERSED,
    VARIANT_CLASSES
} VariantClass;

#define VARIANT_FRAMES_MIN     4
#define VARIANT_FRAMES_MAX     128 /* 2F - 1 are decoded at once: at most CLIP_FRAMES_MAX */
#define VARIANT_SIZE_MIN       16
#define VARIANT_SIZE_MAX       1024 /* CLIP_CROP_MAX */
#define VARIANT_PER_SOURCE_MAX 1000

typedef struct VariantSpec {
    int size;       /* height and width in pixels, even */
    int fps;        /* frames per second of the variants when played */
    int frames;     /* F, even */
    int per_source; /* stretches of one source, at most; as many as fit without overlapping */
    uint64_t seed;  /* where stretches lie, which frame is frozen */
    int threads;
} VariantSpec;

typedef struct VariantSummary {
    size_t sources, used, left_out; /* used + left_out = sources */
    size_t stretches, still;        /* written; left out because nothing moves */
    size_t train, test;             /* videos */
    int64_t bytes;                  /* of all videos */
} VariantSummary;

const char *variant_class_name(VariantClass class);

/* The frame number 0..2F-2 of a stretch that picture t = 0..F-1 of a variant shows; `frozen` is the
 * one that frozen shows. */
int variant_frame(VariantClass class, int t, int frames, int frozen);

/* Writes, into a folder that is new or empty:
 *     OUT/<class>/<source>_<class>.mp4      <source>_<n>_<class>.mp4 where per_source > 1
 *     OUT/train.csv, OUT/test.csv           "path class" a line, paths relative to OUT; the last
 *                                           quarter of the sources, within each class of theirs in
 *                                           the order of the index, tests
 *     OUT/videos.csv                        both; written last, so that it marks a whole folder
 *     OUT/manifest.csv                      of every video: class, set, source and the BLAKE2b-256
 *                                           of its bytes, frames taken, pace, motion, size
 *     OUT/left_out.csv                      source,reason
 *     OUT/synth.yaml                        the settings
 * <source> is the source's name in the index without its ending, everything but letters, digits
 * and bytes above 127 as '-': it has no '_', so --group-regex '/([^_]+)_' finds it.
 *
 * Same index and spec, same bytes, whatever the number of threads; what a source gives does not
 * depend on the others. Memory: at most 1 GiB for pictures and one decoder a thread (fewer threads
 * are used where they need more). Damaged and short sources are left out with their reason. Errors:
 * OUT in use, a disk that is full, fewer than two sources that can be used; then nothing is left.
 * Shows progress. */
int variants_write(VariantSummary *summary, const char *out, const VideoIndex *index,
                   const VariantSpec *spec, Error *error);

#endif
