/* Drawing clips. See video/clip.h; the pixels are in video/scale.c. */
#include "video/clip.h"
#include "base/random.h"
#include <math.h>
#include <string.h>

#define CROP_TRIES 10  /* of the random resized crop before the centre is taken, published */
#define STEP_MAX   1e6 /* frames: longer than that is longer than any video that is read */

/* Attempt a of a slot draws from the streams of slot + a · 2^24: no other slot of a step uses them
 * (a step has fewer than 2^24 slots, a slot fewer than 256 attempts). */
static Random stream(uint64_t seed, RandomPurpose purpose, uint64_t step, uint64_t slot,
                     int attempt) {
    return random_at(seed, purpose, step, slot + ((uint64_t)attempt << 24));
}

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

static double frame_time(const VideoFile *file, int64_t frame) {
    if (file->pts && file->time_base[1] > 0)
        return (double)(file->pts[frame] - file->pts[0]) * file->time_base[0] / file->time_base[1];
    return file->fps > 0 ? (double)frame / file->fps : (double)frame / 25.0;
}

/* Frames nearest to, not after, start + k / fps. A clip that runs past the end repeats the last. */
static void frames_by_time(int64_t *frames, const VideoFile *file, int count, double fps,
                           double share) {
    double length = frame_time(file, file->frames - 1), span = (count - 1) / fps;
    double start = length > span ? share * (length - span) : 0;
    int64_t at = 0;
    for (int k = 0; k < count; k++) {
        double wanted = start + k / fps + 1e-9;
        while (at + 1 < file->frames && frame_time(file, at + 1) <= wanted)
            at++;
        frames[k] = at;
    }
}

/* The step that a duration in seconds asks for: int(duration · fps / frames), as published. */
static int step_of(const VideoFile *file, const ClipSpec *spec) {
    if (spec->duration <= 0)
        return spec->step;
    double step = spec->duration * file->fps / spec->frames;
    return step >= 1 ? (int)fmin(step, STEP_MAX) : 1; /* a file may claim any rate, or none */
}

/* The window at `share` (0 first, 1 last) of those possible; share < 1 draws evenly over all. */
static void choose_frames(int64_t *frames, const VideoFile *file, const ClipSpec *spec,
                          double share) {
    if (spec->fps > 0) {
        frames_by_time(frames, file, spec->frames, spec->fps, share);
        return;
    }
    int step = step_of(file, spec);
    int64_t published = (int64_t)spec->frames * step;
    int64_t span = (int64_t)(spec->frames - 1) * step + 1;
    if (spec->spacing == CLIP_SPACING_PUBLISHED && file->frames > published) {
        /* end = randint(span, frames), its end exclusive */
        int64_t ends = file->frames - published, end = published + (int64_t)(share * (double)ends);
        clip_frames_published(frames, file->frames, spec->frames, step,
                              end < file->frames ? end : file->frames - 1);
    } else if (spec->spacing == CLIP_SPACING_STEP && file->frames >= span) {
        int64_t starts = file->frames - span + 1, start = (int64_t)(share * (double)starts);
        start = start < starts ? start : starts - 1;
        for (int i = 0; i < spec->frames; i++)
            frames[i] = start + (int64_t)i * step;
    } else {
        clip_frames_published(frames, file->frames, spec->frames, step, -1);
    }
}

/* torchvision's random resized crop as the published transform uses it: one crop for all frames */
static void choose_crop(ClipDraw *draw, int width, int height, const ClipSpec *spec,
                        Random *random) {
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

void clip_draw_training(ClipDraw *draw, const VideoIndex *index, const ClipSpec *spec,
                        uint64_t seed, uint64_t step, uint64_t slots, uint64_t slot, int attempt) {
    JEPA_ASSERT(slots <= 1u << 24 && attempt >= 0 && attempt < 256 && index->usable > 0);
    memset(draw, 0, sizeof *draw);
    draw->attempt = attempt;
    if (attempt == 0) {
        uint64_t sample = step * slots + slot, n = index->usable;
        draw->file =
            index->usable_files[random_permute(seed, RANDOM_ORDER, sample / n, sample % n, n)];
    } else {
        Random random = stream(seed, RANDOM_REDRAW, step, slot, attempt);
        draw->file = index->usable_files[random_below(&random, index->usable)];
    }
    const VideoFile *file = &index->files[draw->file];
    Random frames = stream(seed, RANDOM_FRAMES, step, slot, attempt);
    Random crop = stream(seed, RANDOM_CROP, step, slot, attempt);
    Random flip = stream(seed, RANDOM_FLIP, step, slot, attempt);
    choose_frames(draw->frames, file, spec, random_unit(&frames));
    choose_crop(draw, video_file_width(file), video_file_height(file), spec, &crop);
    draw->flip = spec->flip && random_unit(&flip) < 0.5;
}

void clip_draw_evaluation(ClipDraw *draw, const VideoIndex *index, uint32_t number,
                          const ClipSpec *spec, int segment, int segments) {
    const VideoFile *file = &index->files[number];
    memset(draw, 0, sizeof *draw);
    draw->file = number;
    choose_frames(draw->frames, file, spec, (segment + 0.5) / segments);
    int width = video_file_width(file), height = video_file_height(file);
    int side = width < height ? width : height;
    draw->width = draw->height = side;
    draw->left = (width - side) / 2;
    draw->top = (height - side) / 2;
}
