/* Drawing clips. See video/clip.h; the pixels are in video/scale.c. */
#include "video/clip.h"
#include "base/random.h"
#include <math.h>
#include <string.h>

#define CROP_TRIES 10  /* of the random resized crop before the centre is taken, published */
#define STEP_MAX   1e6 /* frames: longer than that is longer than any video that is read */

/* numpy.linspace(first, last, count)[i], cut to whole frames and to 0..limit. Rounded as numpy
 * rounds: i times the step, not i times the length over the steps, which gives other frames here
 * and there. */
static int64_t linspace_frame(double first, double last, int count, int i, int64_t limit) {
    double step = count > 1 ? (last - first) / (count - 1) : 0;
    double at = i && i == count - 1 ? last : i * step + first;
    int64_t frame = (int64_t)floor(fmin(at, (double)limit));
    return frame < 0 ? 0 : frame;
}

/* video_dataset.py: shorter videos give linspace over themselves with one point a step, then repeat
 * the last frame; longer ones linspace over the window, its end (exclusive) included in the
 * division, so that frames lie step · count / (count - 1) apart. */
void clip_frames_published(int64_t *frames, int64_t video_frames, int count, int step,
                           int64_t window_end) {
    int64_t span = (int64_t)count * step;
    if (window_end >= 0) {
        for (int i = 0; i < count; i++)
            frames[i] = linspace_frame((double)(window_end - span), (double)window_end, count, i,
                                       window_end - 1);
        return;
    }
    int points = (int)(video_frames / step < count ? video_frames / step : count);
    for (int i = 0; i < count; i++)
        frames[i] = i < points
                        ? linspace_frame(0, (double)video_frames, points, i, video_frames - 1)
                        : video_frames - 1;
    if (points == 1) /* linspace with one point is its start */
        frames[0] = 0;
}

/* Frames per second of a clip that goes by time; 0: it goes by frames. The published rules make a
 * step of a rate or a duration. */
static double rate_of(const ClipSpec *spec) {
    if (spec->spacing == CLIP_SPACING_PUBLISHED)
        return 0;
    return spec->fps > 0 ? spec->fps : spec->duration > 0 ? spec->frames / spec->duration : 0;
}

/* Seconds from the first frame of a clip to its last, where it goes by time. */
static double time_span(const ClipSpec *spec) {
    return (spec->frames - 1) / rate_of(spec);
}

/* Frames nearest to, not after, start + k / fps. A clip that runs past the end repeats the last, or
 * begins again. */
static void frames_by_time(int64_t *frames, const VideoFile *file, const ClipSpec *spec,
                           double share) {
    double last = video_file_seconds(file, file->frames - 1), span = time_span(spec);
    double start = last > span ? share * (last - span) : 0;
    double whole = file->duration > last ? file->duration : last;
    for (int k = 0; k < spec->frames; k++) {
        double wanted = start + k / rate_of(spec);
        if (spec->short_videos == CLIP_SHORT_LOOP && wanted > last && whole > 0)
            wanted = fmod(wanted, whole);
        frames[k] = video_file_frame_at(file, wanted);
    }
}

/* The step: as published, of a duration in seconds int(duration · rate / frames), of frames a
 * second ceil(rate) // fps, with the video's average rate. */
static int step_of(const VideoFile *file, const ClipSpec *spec) {
    if (spec->duration <= 0 && spec->fps <= 0)
        return spec->step;
    double step = spec->fps > 0 ? floor(ceil(file->fps) / fmax(floor(spec->fps), 1))
                                : spec->duration * file->fps / spec->frames;
    return step >= 1 ? (int)fmin(step, STEP_MAX) : 1; /* a file may claim any rate, or none */
}

/* Frames that a clip takes, from its first to its last. */
static int64_t frame_span(const VideoFile *file, const ClipSpec *spec) {
    int step = step_of(file, spec);
    return spec->spacing == CLIP_SPACING_PUBLISHED ? (int64_t)spec->frames * step + 1
                                                   : (int64_t)(spec->frames - 1) * step + 1;
}

bool clip_is_short(const VideoFile *file, const ClipSpec *spec) {
    if (file->frames <= 1)
        return false;
    if (rate_of(spec) > 0)
        return video_file_seconds(file, file->frames - 1) + 1e-6 < time_span(spec);
    /* published: a video of exactly frames · step frames is not left out, but spread like a short
     * one */
    bool published = spec->spacing == CLIP_SPACING_PUBLISHED;
    return file->frames < frame_span(file, spec) - published;
}

int64_t clip_stretches(const VideoFile *file, const ClipSpec *spec) {
    double rate = rate_of(spec);
    double clip = rate > 0 ? spec->frames / rate : (double)spec->frames * step_of(file, spec);
    double all = rate > 0 ? file->duration : (double)file->frames;
    double stretches = floor(all / clip + 1e-9);
    return stretches >= 1 ? (int64_t)fmin(stretches, (double)file->frames) : 1;
}

int64_t clip_windows(const VideoFile *file, const ClipSpec *spec) {
    if (clip_is_short(file, spec))
        return spec->short_videos == CLIP_SHORT_SKIP ? 0 : 1;
    if (file->frames <= 1)
        return 1;
    if (rate_of(spec) > 0) {
        double last = video_file_seconds(file, file->frames - 1);
        return video_file_frame_at(file, fmax(last - time_span(spec), 0)) + 1;
    }
    int64_t windows = file->frames - frame_span(file, spec) + 1;
    return windows < 1 ? 1 : windows;
}

int clip_draw_from(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, int64_t first,
                   Error *error) {
    int64_t last = clip_windows(file, spec) - 1;
    if (last < 0 || clip_is_short(file, spec))
        last = 0;
    if (first < 0 || first > last)
        return error_set(
            error, ERROR_USAGE,
            "a clip of this recipe can begin at frames 0 to %lld of this video, not at "
            "%lld",
            (long long)last, (long long)first);
    double share = ((double)first + 0.5) / (double)(last + 1);
    if (rate_of(spec) > 0) {
        double room = video_file_seconds(file, file->frames - 1) - time_span(spec);
        share = room > 0 ? video_file_seconds(file, first) / room : 0;
    }
    clip_draw_frames(draw, file, spec, share);
    return 0;
}

void clip_draw_frames(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, double share) {
    int64_t *frames = draw->frames;
    draw->count = spec->frames;
    if (rate_of(spec) > 0) {
        frames_by_time(frames, file, spec, share);
        return;
    }
    int step = step_of(file, spec);
    int64_t starts = file->frames - frame_span(file, spec) + 1;
    if (starts < 1 && spec->short_videos == CLIP_SHORT_LOOP) {
        for (int i = 0; i < spec->frames; i++)
            frames[i] = (int64_t)i * step % file->frames;
        return;
    }
    if (starts < 1) {
        clip_frames_published(frames, file->frames, spec->frames, step, -1);
        return;
    }
    int64_t start = (int64_t)(share * (double)starts);
    start = start < starts ? start : starts - 1;
    if (spec->spacing ==
        CLIP_SPACING_PUBLISHED) /* end = randint(span, frames), its end exclusive */
        clip_frames_published(frames, file->frames, spec->frames, step,
                              start + (int64_t)spec->frames * step);
    else
        for (int i = 0; i < spec->frames; i++)
            frames[i] = start + (int64_t)i * step;
}

/* torchvision's random resized crop as the published transform uses it */
void clip_draw_crop(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *random) {
    int width = video_file_width(file), height = video_file_height(file);
    double area = (double)width * height;
    for (int i = 0; i < CROP_TRIES; i++) {
        double target = area * random_between(random, spec->scale[0], spec->scale[1]);
        double ratio = exp(random_between(random, log(spec->ratio[0]), log(spec->ratio[1])));
        int w = (int)nearbyint(sqrt(target * ratio)), h = (int)nearbyint(sqrt(target / ratio));
        if (w > 0 && w <= width && h > 0 && h <= height) {
            draw->top = (int)random_below(random, (uint64_t)(height - h + 1));
            draw->left = (int)random_below(random, (uint64_t)(width - w + 1));
            draw->height = h;
            draw->width = w;
            return;
        }
    }
    double ratio = (double)width / height;
    draw->width = width;
    draw->height = height;
    if (ratio < spec->ratio[0])
        draw->height = (int)nearbyint(width / spec->ratio[0]);
    else if (ratio > spec->ratio[1])
        draw->width = (int)nearbyint(height * spec->ratio[1]);
    draw->height = draw->height < 1 ? 1 : draw->height > height ? height : draw->height;
    draw->width = draw->width < 1 ? 1 : draw->width > width ? width : draw->width;
    draw->top = (height - draw->height) / 2;
    draw->left = (width - draw->width) / 2;
}

void clip_draw_evaluation(ClipDraw *draw, const VideoIndex *index, uint32_t number,
                          const ClipSpec *spec, int segment, int segments, int view, int views) {
    VideoFile file = video_index_file(index, number);
    memset(draw, 0, sizeof *draw);
    draw->file = number;
    clip_draw_frames(draw, &file, spec, (segment + 0.5) / segments);
    int width = video_file_width(&file), height = video_file_height(&file);
    int side = width < height ? width : height;
    double share = views > 1 ? (double)view / (views - 1) : 0.5;
    draw->width = draw->height = side;
    draw->left = (int)(share * (width - side));
    draw->top = (int)(share * (height - side));
}
