/* A folder of videos transcoded into another: in parallel, resumable, with a record of every file.
 *
 *   OUT/NAME.mp4             the results, in the folders of their sources
 *   OUT/videos.csv           "path label" a line where the sources have classes, as lists are read
 *   OUT/transcode.csv        for every source: name, BLAKE2b-256, size; result, BLAKE2b-256, size;
 * or the reason why there is none OUT/transcode.yaml       the settings; other ones are refused for
 * the same OUT OUT/transcode.journal    what is done, for going on after a kill OUT/lock held while
 * at work
 */
#ifndef JEPA_VIDEO_PREPARE_H
#define JEPA_VIDEO_PREPARE_H

#include "video/transcode.h"

typedef struct PrepareSummary {
    size_t videos, done, kept, unusable; /* kept: of an earlier run, not done again */
    double frames, bytes, result_bytes;
} PrepareSummary;

/* `index` need not have every frame checked: that is done here. Results are trusted from an earlier
 * run where size and modification time of source and size of result are as recorded. Errors: OUT
 * cannot be written, or was made with other settings, or is at work. Shows progress. */
int prepare_videos(PrepareSummary *summary, const char *out, const VideoIndex *index,
                   const TranscodeSettings *settings, int threads, Error *error);

#endif
