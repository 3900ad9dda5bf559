/* One entry of the index: its copies, its size as it is shown, and which frame is shown when. What
 * is in a file is found by video/scan.c; this is arithmetic on what was found. */
#include "base/error.h"
#include "video/decode.h"
#include "video/index.h"
#include <stdlib.h>
#include <string.h>

#define TIME_SLACK   1e-6 /* seconds: a time that was printed and read back still means its frame */
#define TRANSFER_PQ  16   /* ITU-T H.273, table 3 */
#define TRANSFER_HLG 18

static void drop(const void *owned) {
    free((void *)(uintptr_t)owned);
}

void video_file_free(VideoFile *file) {
    drop(file->path);
    drop(file->name);
    drop(file->reason);
    drop(file->pts);
    drop(file->key_pts);
    drop(file->key_dts);
    drop(file->key_frame);
    memset(file, 0, sizeof *file);
}

static const int64_t *copy_list(const int64_t *list, size_t rows) {
    if (!list)
        return NULL;
    int64_t *own = memory_new(rows, sizeof *own);
    if (rows)
        memcpy(own, list, rows * sizeof *own);
    return own;
}

VideoFile video_file_copy(const VideoFile *file) {
    VideoFile copy = *file;
    copy.path = file->path ? memory_text("%s", file->path) : NULL;
    copy.name = file->name ? memory_text("%s", file->name) : NULL;
    copy.reason = file->reason ? memory_text("%s", file->reason) : NULL;
    copy.pts = copy_list(file->pts, (size_t)file->frames);
    copy.key_pts = copy_list(file->key_pts, file->key_count);
    copy.key_dts = copy_list(file->key_dts, file->key_count);
    copy.key_frame = copy_list(file->key_frame, file->key_count);
    return copy;
}

double video_file_seconds(const VideoFile *file, int64_t frame) {
    if (file->timed && file->time_base[0] > 0 && file->time_base[1] > 0)
        /* unsigned: a damaged index must not make it overflow */
        return (double)(int64_t)((uint64_t)video_file_pts(file, frame) -
                                 (uint64_t)video_file_pts(file, 0)) *
               file->time_base[0] / file->time_base[1];
    return (double)frame / (file->fps > 0 ? file->fps : VIDEO_FPS_GUESS);
}

bool video_file_is_hdr(const VideoFile *file) {
    return file->colour[2] == TRANSFER_PQ || file->colour[2] == TRANSFER_HLG;
}

int video_file_width(const VideoFile *file) {
    return file->rotation % 180 ? file->height : file->width;
}

int video_file_height(const VideoFile *file) {
    return file->rotation % 180 ? file->width : file->height;
}

int64_t video_file_frame_at(const VideoFile *file, double seconds) {
    int64_t low = 0, high = file->frames - 1;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (video_file_seconds(file, middle) <= seconds + TIME_SLACK)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
