/* Windows from one pass over a video. See video/windows.h. */
#include "video/windows.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 256 /* windows whose frames are asked for in one go: a search between two of them */

/* A decoded frame in the sizes that are wanted. */
typedef struct Frame {
    int64_t number;
    uint8_t *pixels;                   /* [3][height][width], or NULL */
    float *values;                     /* the same as published, or NULL */
    uint8_t *picture[WINDOW_PICTURES]; /* [height][width][3], or NULL */
} Frame;

typedef struct Reading {
    const VideoFile *file;
    const WindowSpec *spec;
    ClipSpec clip, one;       /* the clip's, and of a single frame of it */
    const int64_t *first;     /* first frames of the windows */
    int64_t count, next, end; /* windows; the next one; the end of those asked for */
    int64_t *wanted;          /* [wanted_count] frames asked for, ascending */
    size_t wanted_count;
    Frame *kept; /* [kept_count] ascending, the rest of [room] to be used again */
    size_t kept_count, room;
    ClipDecoder *decoder[1 + WINDOW_PICTURES]; /* one for each size: each keeps its scaler */
    uint8_t *planes; /* [3][most height][most width] on their way to a picture */
    ClipDraw draw;   /* frames of the next window */
    uint8_t *pixels; /* its clip */
    float *values;
    const uint8_t **picture[WINDOW_PICTURES]; /* [frames] */
    WindowTake take;
    void *context;
} Reading;

int window_fits(const VideoFile *file, const ClipSpec *clip, Error *error) {
    if (!clip_is_short(file, clip))
        return 0;
    double seconds = video_file_seconds(file, file->frames - 1);
    return error_set(error, ERROR_RUN,
                     "%s: %" PRId64 " frames (%.2g s) are fewer than a clip of this recipe spans: "
                     "%d frames, %s%.3g%s apart",
                     file->name ? file->name : file->path, file->frames, seconds, clip->frames,
                     clip->fps > 0 ? "1/" : "",
                     clip->fps > 0        ? clip->fps
                     : clip->duration > 0 ? clip->duration / clip->frames
                                          : clip->step,
                     clip->fps > 0 || clip->duration > 0 ? " s" : "");
}

int windows_plan(int64_t **first, int64_t *count, const VideoFile *file, const ClipSpec *clip,
                 int64_t start, int stride, int64_t most, Error *error) {
    JEPA_ASSERT(stride >= 1 && stride < clip->frames);
    *first = NULL;
    *count = 0;
    if (window_fits(file, clip, error))
        return -1;
    ClipDraw draw = {0};
    int64_t last = clip_windows(file, clip) - 1;
    if (start > last) /* says which are possible */
        return clip_draw_from(&draw, file, clip, start, error);
    for (int64_t at = start; at <= last && (!most || *count < most);) {
        if ((*count & (*count + 1)) == 0)
            *first = memory_grow(*first, 2 * (size_t)*count + 2, sizeof **first);
        (*first)[(*count)++] = at;
        if (clip_draw_from(&draw, file, clip, at, error))
            return -1;
        int64_t next = draw.frames[stride];
        if (next <= at) /* a picture, or time stamps that stand still */
            break;
        at = next;
    }
    return 0;
}

static size_t plane_of(const ClipSpec *clip) {
    return (size_t)clip->crop * (size_t)clip_width(clip);
}

/* The frame in the sizes that people want. */
static int take_pictures(Reading *r, Frame *to, const struct AVFrame *frame, Error *error) {
    for (int p = 0; p < WINDOW_PICTURES; p++) {
        ClipSpec spec = {.frames = 1,
                         .crop = r->spec->picture[p].height,
                         .crop_width = r->spec->picture[p].width,
                         .hdr = r->clip.hdr};
        ClipDraw draw = r->spec->crop;
        size_t area = plane_of(&spec);
        if (!area)
            continue;
        draw.flip = false;
        draw.view_count = 0;
        memset(&draw.augment, 0, sizeof draw.augment);
        if (r->spec->picture[p].whole) {
            draw.top = draw.left = 0;
            draw.height = video_file_height(r->file);
            draw.width = video_file_width(r->file);
        }
        if (clip_take(r->planes, NULL, 0, r->decoder[1 + p], frame, r->file, &draw, &spec, error))
            return -1;
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++)
                to->picture[p][3 * i + c] = r->planes[c * area + i];
    }
    return 0;
}

/* The place of a frame among those that are kept: where it is, or would be. */
static size_t place_of(const Reading *r, int64_t number) {
    size_t low = 0, high = r->kept_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->kept[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* NULL: not kept */
static const Frame *frame_find(const Reading *r, int64_t number) {
    size_t place = place_of(r, number);
    return place < r->kept_count && r->kept[place].number == number ? &r->kept[place] : NULL;
}

/* A place for one more frame, with memory. */
static Frame *frame_new(Reading *r, int64_t number) {
    if (r->kept_count == r->room) {
        r->kept = memory_grow(r->kept, r->room + 1, sizeof *r->kept);
        Frame *made = &r->kept[r->room++];
        *made = (Frame){0};
        size_t plane = plane_of(&r->clip);
        if (r->values)
            made->values = memory_new(3 * plane, sizeof *made->values);
        else
            made->pixels = memory_new(3 * plane, 1);
        for (int p = 0; p < WINDOW_PICTURES; p++) {
            size_t area = (size_t)r->spec->picture[p].height * (size_t)r->spec->picture[p].width;
            made->picture[p] = area ? memory_new(3 * area, 1) : NULL;
        }
    }
    size_t place = place_of(r, number);
    Frame spare = r->kept[r->kept_count];
    memmove(r->kept + place + 1, r->kept + place, (r->kept_count - place) * sizeof *r->kept);
    r->kept[place] = spare;
    r->kept[place].number = number;
    r->kept_count++;
    return &r->kept[place];
}

/* Forgets the frames before `number`: their memory goes to the end of the list. */
static void forget_before(Reading *r, int64_t number) {
    size_t gone = 0;
    while (gone < r->kept_count && r->kept[gone].number < number)
        gone++;
    for (size_t i = gone; gone && i < r->kept_count; i++) {
        Frame swap = r->kept[i - gone];
        r->kept[i - gone] = r->kept[i];
        r->kept[i] = swap;
    }
    r->kept_count -= gone;
}

static int draw_next(Reading *r, Error *error) {
    return clip_draw_from(&r->draw, r->file, &r->clip, r->first[r->next], error);
}

/* The next window from the frames that are kept, all of which have come. */
static int hand_on(Reading *r, Error *error) {
    size_t plane = plane_of(&r->clip), frames = (size_t)r->clip.frames;
    for (size_t i = 0; i < frames; i++) {
        const Frame *frame = frame_find(r, r->draw.frames[i]);
        JEPA_ASSERT(frame);
        for (size_t c = 0; c < 3; c++) {
            size_t to = (c * frames + i) * plane, from = c * plane;
            if (r->values)
                memcpy(r->values + to, frame->values + from, plane * sizeof *r->values);
            else
                memcpy(r->pixels + to, frame->pixels + from, plane);
        }
        for (int p = 0; p < WINDOW_PICTURES; p++)
            r->picture[p][i] = frame->picture[p];
    }
    Window window = {
        .number = r->next, .frames = r->draw.frames, .pixels = r->pixels, .values = r->values};
    for (int p = 0; p < WINDOW_PICTURES; p++)
        window.picture[p] = r->spec->picture[p].height ? r->picture[p] : NULL;
    if (r->take(r->context, &window, error))
        return -1;
    r->next++;
    if (r->next == r->count)
        return 0;
    forget_before(r, r->first[r->next]);
    return draw_next(r, error);
}

static bool is_complete(const Reading *r) {
    for (int i = r->clip.frames - 1; i >= 0; i--) /* the last one mostly is what it waits for */
        if (!frame_find(r, r->draw.frames[i]))
            return false;
    return true;
}

/* All windows whose frames have come. */
static int hand_on_all(Reading *r, Error *error) {
    while (r->next < r->end && is_complete(r))
        if (hand_on(r, error))
            return -1;
    return 0;
}

static int take_frame(void *context, size_t i, const struct AVFrame *frame, Error *error) {
    Reading *r = context;
    Frame *to = frame_new(r, r->wanted[i]);
    ClipDraw draw = r->spec->crop;
    draw.view_count = 0;
    if (clip_take(to->pixels, to->values, 0, r->decoder[0], frame, r->file, &draw, &r->one,
                  error) ||
        take_pictures(r, to, frame, error))
        return -1;
    return hand_on_all(r, error);
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Which frames windows next .. end - 1 need that have not come yet, each once. */
static int list_wanted(Reading *r, Error *error) {
    size_t frames = (size_t)r->clip.frames, n = 0;
    ClipDraw draw = {0};
    for (int64_t w = r->next; w < r->end; w++) {
        if (clip_draw_from(&draw, r->file, &r->clip, r->first[w], error))
            return -1;
        memcpy(r->wanted + n, draw.frames, frames * sizeof *draw.frames);
        n += frames;
    }
    qsort(r->wanted, n, sizeof *r->wanted, ascending);
    r->wanted_count = 0;
    for (size_t i = 0; i < n; i++)
        if ((!r->wanted_count || r->wanted[r->wanted_count - 1] != r->wanted[i]) &&
            !frame_find(r, r->wanted[i]))
            r->wanted[r->wanted_count++] = r->wanted[i];
    return 0;
}

static int read_all(Reading *r, VideoReader *reader, Error *error) {
    if (draw_next(r, error))
        return -1;
    while (r->next < r->count) {
        r->end = r->count - r->next > GROUP ? r->next + GROUP : r->count;
        if (list_wanted(r, error))
            return -1;
        if (hand_on_all(r, error)) /* of frames that have come already */
            return -1;
        if (r->wanted_count &&
            video_reader_frames(reader, r->wanted, r->wanted_count, take_frame, r, error))
            return -1;
    }
    return 0;
}

static void reading_start(Reading *r) {
    size_t most = 0, clip = 3 * plane_of(&r->clip) * (size_t)r->clip.frames;
    r->one = r->clip;
    r->one.frames = 1;
    if (r->clip.interpolation == CLIP_PUBLISHED)
        r->values = memory_new(clip, sizeof *r->values);
    else
        r->pixels = memory_new(clip, 1);
    for (int p = 0; p < WINDOW_PICTURES; p++) {
        size_t area = (size_t)r->spec->picture[p].height * (size_t)r->spec->picture[p].width;
        most = area > most ? area : most;
        r->picture[p] = memory_new((size_t)r->clip.frames, sizeof *r->picture[p]);
    }
    r->planes = memory_new(3 * most + 1, 1);
    r->wanted = memory_new((size_t)GROUP * (size_t)r->clip.frames, sizeof *r->wanted);
    for (int d = 0; d <= WINDOW_PICTURES; d++)
        r->decoder[d] = clip_decoder_new(0, NULL);
}

static void reading_end(Reading *r) {
    for (size_t i = 0; i < r->room; i++) {
        free(r->kept[i].pixels);
        free(r->kept[i].values);
        for (int p = 0; p < WINDOW_PICTURES; p++)
            free(r->kept[i].picture[p]);
    }
    for (int p = 0; p < WINDOW_PICTURES; p++)
        free(r->picture[p]);
    for (int d = 0; d <= WINDOW_PICTURES; d++)
        clip_decoder_free(r->decoder[d]);
    free(r->kept);
    free(r->planes);
    free(r->wanted);
    free(r->pixels);
    free(r->values);
}

int windows_read(const VideoFile *file, const WindowSpec *spec, const int64_t *first, int64_t count,
                 WindowTake take, void *context, Error *error) {
    Reading r = {.file = file,
                 .spec = spec,
                 .clip = *spec->clip,
                 .first = first,
                 .count = count,
                 .take = take,
                 .context = context};
    VideoReader *reader = NULL;
    if (count == 0)
        return 0;
    r.clip.views = (ClipViews){0};
    reading_start(&r);
    int result = video_reader_open(&reader, file, spec->timeout, error);
    if (!result)
        result = read_all(&r, reader, error);
    video_reader_close(reader);
    reading_end(&r);
    return result;
}
