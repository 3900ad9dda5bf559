/* A cache of decoded frames: what one clip asked of one file, in the stream's own format, before it
 * is cropped. It pays where the same frames are asked for again: evaluation passes, short videos,
 * many epochs over a small set. What comes out of it is what decoding would give, byte for byte.
 *
 * In memory the least recently used clips go when the limit is reached; in a folder each clip is a
 * file (written whole or not at all), and nothing more is added when the limit is reached. The key
 * is the hash of the file's bytes and the frame numbers, so that a changed file is never served.
 * Crops, sizes and local views are no part of the key: they are all cut from the whole frames.
 */
#ifndef JEPA_VIDEO_FRAME_CACHE_H
#define JEPA_VIDEO_FRAME_CACHE_H

#include "video/decode.h"

typedef struct FrameCache FrameCache;

typedef struct FrameCacheStats {
    uint64_t hits, misses;
    size_t bytes; /* held now */
} FrameCacheStats;

/* `folder` NULL: in memory. The folder is made if it is missing. */
int frame_cache_open(FrameCache **cache, size_t limit, const char *folder, Error *error);
void frame_cache_close(FrameCache *cache);
FrameCacheStats frame_cache_stats(FrameCache *cache);

/* video_reader_frames through the cache (NULL: straight); opens the file only where it must, with
 * `hardware` or NULL. May be called from any thread. */
int frame_cache_read(FrameCache *cache, const VideoFile *file, const int64_t *frames, size_t count,
                     double seconds, VideoHardware *hardware, bool *timed_out, VideoTake take,
                     void *context, Error *error);

#endif
