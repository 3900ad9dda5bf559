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

bool clip_can_be_drawn(const VideoFile *file, const ClipSpec *spec) {
    return clip_windows(file, spec) > 0 &&
           (spec->hdr == CLIP_HDR_TONEMAP || !video_file_is_hdr(file));
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

double clip_part_share(const VideoFile *file, const ClipSpec *spec, int part, int parts,
                       double within) {
    if (parts == 1)
        return within;
    double starts, whole, clip; /* all in seconds, or all in frames */
    bool timed = rate_of(spec) > 0;
    if (timed) {
        double last = video_file_seconds(file, file->frames - 1);
        clip = spec->frames / rate_of(spec);
        starts = last - time_span(spec);
        whole = file->duration > last ? file->duration : last;
    } else {
        clip = (double)spec->frames * step_of(file, spec);
        starts = (double)(file->frames - frame_span(file, spec) + 1);
        whole = (double)file->frames;
    }
    if (!(starts > 0))
        return 0;
    double length = timed ? whole / parts : floor(whole / parts), start;
    if (length > clip) {
        double room = length - clip;
        start = part * length + (timed ? within * room : floor(within * room));
    } else {
        double step = fmax(whole - clip, 0) / (parts - 1);
        start = part * (timed ? step : floor(step));
    }
    return fmin((start + (timed ? 0 : 0.5)) / starts, 1);
}

typedef struct Box {
    int top, left, height, width;
} Box;

/* torchvision's random resized crop as the published transforms use it */
static Box draw_box(const VideoFile *file, const double scale[2], const double range[2],
                    Random *random) {
    int width = video_file_width(file), height = video_file_height(file);
    double area = (double)width * height;
    Box box = {.height = height, .width = width};
    for (int i = 0; i < CROP_TRIES; i++) {
        double target = area * random_between(random, scale[0], scale[1]);
        double ratio = exp(random_between(random, log(range[0]), log(range[1])));
        int w = (int)nearbyint(sqrt(target * ratio)), h = (int)nearbyint(sqrt(target / ratio));
        if (w > 0 && w <= width && h > 0 && h <= height) {
            box.top = (int)random_below(random, (uint64_t)(height - h + 1));
            box.left = (int)random_below(random, (uint64_t)(width - w + 1));
            box.height = h;
            box.width = w;
            return box;
        }
    }
    double ratio = (double)width / height;
    if (ratio < range[0])
        box.height = (int)nearbyint(width / range[0]);
    else if (ratio > range[1])
        box.width = (int)nearbyint(height * range[1]);
    box.height = box.height < 1 ? 1 : box.height > height ? height : box.height;
    box.width = box.width < 1 ? 1 : box.width > width ? width : box.width;
    box.top = (height - box.height) / 2;
    box.left = (width - box.width) / 2;
    return box;
}

void clip_draw_crop(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *random) {
    double shape = (double)clip_width(spec) / spec->crop; /* 1: the same bits as without it */
    const double ratio[2] = {spec->ratio[0] * shape, spec->ratio[1] * shape};
    Box box = draw_box(file, spec->scale, ratio, random);
    draw->top = box.top;
    draw->left = box.left;
    draw->height = box.height;
    draw->width = box.width;
}

void clip_draw_views(ClipDraw *draw, const VideoFile *file, const ClipSpec *spec, Random *crop,
                     Random *flip, Random *colors) {
    const ClipViews *of = &spec->views;
    const double strengths[4] = {of->brightness, of->contrast, of->saturation, of->hue};
    draw->view_count = of->local_views;
    for (int v = 0; v < of->local_views; v++) {
        ClipView *view = &draw->views[v];
        Box box = draw_box(file, of->local_scale, of->local_ratio, crop);
        view->top = box.top;
        view->left = box.left;
        view->height = box.height;
        view->width = box.width;
        view->flip = random_unit(flip) < 0.5 && of->local_flip;
        augment_view_draw(&view->colors, of->jitter_probability, strengths,
                          of->grayscale_probability, colors);
    }
}

static bool in_order(const double range[2], double most) {
    return range[0] > 0 && range[0] <= range[1] && range[1] <= most;
}

static bool is_probability(double value) {
    return value >= 0 && value <= 1;
}

int clip_check_views(const ClipSpec *spec, Error *error) {
    const ClipViews *v = &spec->views;
    if (v->local_views < 0 || v->local_views > CLIP_VIEWS_MAX)
        return error_set(error, ERROR_USAGE, "local_views: expected 0 to %d, found %d",
                         CLIP_VIEWS_MAX, v->local_views);
    if (!v->local_views)
        return 0;
    if (spec->interpolation == CLIP_PUBLISHED)
        return error_set(error, ERROR_USAGE,
                         "local_views: %d local views with interpolation: published, which has "
                         "none: set interpolation to fast, or local_views to 0",
                         v->local_views);
    if (v->local_crop < 1 || v->local_crop > CLIP_CROP_MAX)
        return error_set(error, ERROR_USAGE, "local_crop: expected 1 to %d pixels, found %d",
                         CLIP_CROP_MAX, v->local_crop);
    if (!in_order(v->local_scale, 1))
        return error_set(error, ERROR_USAGE,
                         "local_scale: expected [least, most] with 0 < least <= most <= 1, found "
                         "[%g, %g]",
                         v->local_scale[0], v->local_scale[1]);
    if (!in_order(v->local_ratio, HUGE_VAL))
        return error_set(error, ERROR_USAGE,
                         "local_ratio: expected [least, most] with 0 < least <= most, found "
                         "[%g, %g]",
                         v->local_ratio[0], v->local_ratio[1]);
    if (!is_probability(v->jitter_probability) || !is_probability(v->grayscale_probability))
        return error_set(error, ERROR_USAGE,
                         "jitter_probability, grayscale_probability: expected 0 to 1, found %g "
                         "and %g",
                         v->jitter_probability, v->grayscale_probability);
    if (!(v->brightness >= 0 && v->contrast >= 0 && v->saturation >= 0))
        return error_set(error, ERROR_USAGE,
                         "brightness, contrast, saturation: expected 0 or more, found %g, %g and "
                         "%g",
                         v->brightness, v->contrast, v->saturation);
    if (!(v->hue >= 0 && v->hue <= 0.5))
        return error_set(error, ERROR_USAGE, "hue: expected 0 to 0.5 turns, found %g", v->hue);
    return 0;
}

void clip_draw_evaluation(ClipDraw *draw, const VideoIndex *index, uint32_t number,
                          const ClipSpec *spec, int segment, int segments, int view, int views) {
    VideoFile file = video_index_file(index, number);
    memset(draw, 0, sizeof *draw);
    draw->file = number;
    clip_draw_frames(draw, &file, spec, clip_part_share(&file, spec, segment, segments, 0.5));
    int width = video_file_width(&file), height = video_file_height(&file);
    /* the largest box of the clip's shape */
    int64_t w = clip_width(spec), h = spec->crop;
    draw->width = width * h <= height * w ? width : (int)(height * w / h);
    draw->height = width * h <= height * w ? (int)(width * h / w) : height;
    draw->width = draw->width < 1 ? 1 : draw->width;
    draw->height = draw->height < 1 ? 1 : draw->height;
    double share = views > 1 ? (double)view / (views - 1) : 0.5;
    draw->left = (int)(share * (width - draw->width));
    draw->top = (int)(share * (height - draw->height));
}
