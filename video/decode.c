/* Exact frames. See video/decode.h. */
#include "video/decode.h"
#include "video/input.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_BACK 3 /* keyframes that are tried, each further back, before the start is */

struct VideoReader {
    const VideoFile *file;
    VideoInput input;
};

int video_reader_open(VideoReader **reader, const VideoFile *file, Error *error) {
    VideoReader *made = memory_new(1, sizeof *made);
    made->file = file;
    *reader = NULL;
    if (video_input_open(&made->input, file->path, error)) {
        free(made);
        return error_prefix(error, "%s", file->name ? file->name : file->path);
    }
    *reader = made;
    return 0;
}

void video_reader_close(VideoReader *reader) {
    if (!reader)
        return;
    video_input_close(&reader->input);
    free(reader);
}

/* The keyframe at or before `frame`, `back` further; -1: none, begin at the start. */
static int64_t key_before(const VideoFile *file, int64_t frame, int back) {
    size_t low = 0, high = file->key_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (file->keys[middle].frame <= frame)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)low - 1 - back;
}

/* Hands on the frames of number `number` that are wanted next. */
static int hand_on(VideoReader *reader, int64_t number, const int64_t *frames, size_t count,
                   size_t *done, VideoTake take, void *context, Error *error) {
    while (*done < count && frames[*done] == number) {
        if (video_frame_damaged(reader->input.frame))
            return error_set(error, ERROR_RUN, "frame %" PRId64 " is damaged", number);
        if (take(context, *done, reader->input.frame, error))
            return -1;
        ++*done;
    }
    return 0;
}

/* Decodes from the start and counts: right for every file that decodes as it did when scanned. */
static int from_start(VideoReader *reader, const int64_t *frames, size_t count, size_t *done,
                      VideoTake take, void *context, Error *error) {
    int64_t number = 0;
    if (reader->input.packets) { /* a fresh start: not every container can seek */
        video_input_close(&reader->input);
        if (video_input_open(&reader->input, reader->file->path, error))
            return -1;
    }
    int more = 1;
    while (*done < count && (more = video_input_next(&reader->input, error)) == 1) {
        if (hand_on(reader, number, frames, count, done, take, context, error))
            return -1;
        number++;
    }
    if (more < 0)
        return -1;
    if (*done < count)
        return error_set(error, ERROR_RUN,
                         "frame %" PRId64 " did not come: decoding ended after %" PRId64,
                         frames[*done], number);
    return 0;
}

/* From a keyframe on, by time stamps. 1: all came; 0: one did not; -1: error. */
static int from_key(VideoReader *reader, const VideoKey *key, const int64_t *frames, size_t count,
                    size_t *done, VideoTake take, void *context, Error *error) {
    const VideoFile *file = reader->file;
    Error seek;
    if (video_input_seek(&reader->input, key->pts, &seek))
        return 0;
    int64_t number = key->frame;
    int more, first = 1;
    while (*done < count && (more = video_input_next(&reader->input, error)) == 1) {
        int64_t pts = reader->input.frame->best_effort_timestamp;
        if (first && (pts == AV_NOPTS_VALUE || pts > file->pts[frames[*done]]))
            return 0; /* landed too late */
        first = 0;
        while (number < file->frames && file->pts[number] < pts)
            number++;
        if (number >= file->frames || number > frames[*done])
            return 0; /* gone past the frame that was wanted */
        if (file->pts[number] != pts)
            continue; /* a picture before the keyframe, or one that the scan did not see */
        if (video_frame_damaged(reader->input.frame) && number == frames[*done])
            return 0; /* maybe for want of what lies before the keyframe */
        if (hand_on(reader, number, frames, count, done, take, context, error))
            return -1;
    }
    return *done == count;
}

static bool can_seek(const VideoReader *reader) {
    const VideoFile *file = reader->file;
    const char *container = reader->input.format->iformat->name;
    /* transport and program streams find no keyframe by presentation time */
    return file->pts && file->key_count > 1 && strcmp(container, "mpegts") &&
           strcmp(container, "mpeg");
}

int video_reader_frames(VideoReader *reader, const int64_t *frames, size_t count, VideoTake take,
                        void *context, Error *error) {
    const VideoFile *file = reader->file;
    size_t done = 0;
    for (size_t i = 0; i < count; i++)
        if (frames[i] < 0 || frames[i] >= file->frames || (i && frames[i] < frames[i - 1]))
            return error_set(error, ERROR_RUN,
                             "%s: frame %" PRId64 " of %" PRId64 " (0 to %" PRId64 ", ascending)",
                             file->name ? file->name : file->path, frames[i], file->frames,
                             file->frames - 1);
    int result = 0;
    for (int back = 0; back < KEYS_BACK && count && can_seek(reader); back++) {
        int64_t key = key_before(file, frames[done], back);
        if (key < 1)
            break; /* the first keyframe is the start */
        result = from_key(reader, &file->keys[key], frames, count, &done, take, context, error);
        if (result)
            break;
    }
    if (result == 0 && done < count)
        result = from_start(reader, frames, count, &done, take, context, error);
    if (result < 0)
        return error_prefix(error, "%s", file->name ? file->name : file->path);
    return 0;
}
