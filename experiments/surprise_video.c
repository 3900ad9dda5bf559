/* jepa surprise: the windows of one video. See experiments/surprise.h. */
#include "base/log.h"
#include "eval/png.h"
#include "experiments/surprise.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *surprise_model_name(SurpriseModel model) {
    static const char *const names[] = {"trained", "repeated", "random"};
    return names[model];
}

double surprise_axis(const Footage *footage) {
    return fmax(video_file_seconds(&footage->file, footage->file.frames - 1), 1e-3);
}

char *surprise_context_text(const Surprise *s, int c) {
    return c < s->count ? memory_text("%d", s->contexts[c]) : memory_text("least");
}

int surprise_picture(const char *path, const SurpriseSheet *sheet, Error *error) {
    Canvas *canvas = NULL;
    int result = surprise_sheet_draw(&canvas, sheet, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result)
        printf("%s\n", path);
    canvas_free(canvas);
    return result;
}

typedef struct Taking {
    Surprise *s;
    SurpriseVideo *v;
    const VideoFile *file;
    double distance[SURPRISE_TILES_MOST]; /* from the moment that a tile is meant for, seconds */
    double axis, end;                     /* 0: no tiles; seconds of the video */
    Progress progress;
    bool shown;
} Taking;

/* Tiles are the frames nearest to their moments, among those that some window has. */
static void take_tiles(Taking *t, const Window *window) {
    SurpriseVideo *v = t->v;
    size_t bytes = (size_t)v->strip.height * (size_t)v->strip.width * 3;
    for (int f = 0; f < t->s->scene.clip.frames; f++) {
        double at = video_file_seconds(t->file, window->frames[f]);
        for (int i = 0; i < v->strip.count; i++) {
            double moment = (i + 0.5) / v->strip.count * t->axis, distance = fabs(at - moment);
            if (distance >= t->distance[i] || moment > t->end)
                continue;
            t->distance[i] = distance;
            memcpy(v->tile[i], window->picture[0][f], bytes);
            v->strip.tile[i] = v->tile[i];
        }
    }
}

static int ask(double *values, double *repeated, Surprise *s, Model *model, const Window *window,
               Error *error) {
    ModelInput input = {.samples = 1, .pixels = window->pixels, .values = window->values};
    Latents l;
    if (latents_compute(&l, model, &input, &s->masks, s->token, error))
        return -1;
    surprise_values(values, &l);
    if (repeated)
        surprise_repeated(repeated, &l);
    latents_free(&l);
    return 0;
}

static int take(void *context, const Window *window, Error *error) {
    Taking *t = context;
    Surprise *s = t->s;
    SurpriseVideo *v = t->v;
    int64_t w = window->number;
    size_t at = (size_t)w * (size_t)s->count;
    int frames = s->scene.clip.frames;
    double *values[SURPRISE_MODELS];
    for (int m = 0; m < SURPRISE_MODELS; m++)
        values[m] = v->values[m] ? v->values[m] + at : NULL;
    if (ask(values[SURPRISE_TRAINED], values[SURPRISE_REPEATED], s, &s->model, window, error) ||
        (values[SURPRISE_RANDOM] &&
         ask(values[SURPRISE_RANDOM], NULL, s, &s->random, window, error)))
        return -1;
    for (int m = 0; m < SURPRISE_MODELS; m++)
        if (values[m])
            surprise_add(&v->score[m], values[m], s->count);
    v->first[w] = window->frames[0];
    v->last[w] = window->frames[frames - 1];
    v->from[w] = video_file_seconds(t->file, v->first[w]);
    v->to[w] = video_file_seconds(t->file, v->last[w]);
    for (int c = 0; c < s->count; c++)
        v->middle[c * v->count + w] =
            (video_file_seconds(t->file, window->frames[s->contexts[c]]) + v->to[w]) / 2;
    if (t->axis > 0)
        take_tiles(t, window);
    if (t->shown)
        progress_show(&t->progress, (double)w + 1, "windows");
    return 0;
}

static void make_room(SurpriseVideo *v, const Surprise *s, const VideoFile *file, bool tiles) {
    size_t n = (size_t)v->count, all = n * (size_t)s->count;
    v->first = memory_new(n, sizeof *v->first);
    v->last = memory_new(n, sizeof *v->last);
    v->from = memory_new(n, sizeof *v->from);
    v->to = memory_new(n, sizeof *v->to);
    v->middle = memory_new(all, sizeof *v->middle);
    for (int m = 0; m < SURPRISE_MODELS; m++)
        if (m != SURPRISE_RANDOM || s->has_random)
            v->values[m] = memory_new(all, sizeof *v->values[m]);
    v->strip.count = surprise_tiles(&v->strip.height, &v->strip.width, video_file_height(file),
                                    video_file_width(file));
    for (int i = 0; i < v->strip.count && tiles; i++)
        v->tile[i] = memory_new((size_t)v->strip.height * (size_t)v->strip.width * 3, 1);
}

int surprise_video(SurpriseVideo *v, Surprise *s, const Footage *footage, double axis,
                   const char *progress, Error *error) {
    const ClipSpec *clip = &s->scene.clip;
    int64_t *first = NULL;
    memset(v, 0, sizeof *v);
    /* no limit of time: the model's own counts too */
    WindowSpec spec = {.clip = clip};
    clip_draw_evaluation(&spec.crop, &footage->index, 0, clip, 0, 1, 0, 1);
    if (windows_plan(&first, &v->count, &footage->file, clip, 0, (int)s->stride, 0, error)) {
        free(first);
        return -1;
    }
    make_room(v, s, &footage->file, axis > 0);
    Taking t = {.s = s,
                .v = v,
                .file = &footage->file,
                .axis = axis,
                .end = surprise_axis(footage),
                .shown = progress};
    for (int i = 0; i < SURPRISE_TILES_MOST; i++)
        t.distance[i] = INFINITY;
    if (axis > 0)
        spec.picture[0] = (struct WindowPicture){v->strip.height, v->strip.width, true};
    if (progress)
        progress_start(&t.progress, progress, (double)v->count, 0);
    int result = windows_read(&footage->file, &spec, first, v->count, take, &t, error);
    if (progress)
        progress_end(&t.progress);
    free(first);
    return result;
}

void surprise_video_free(SurpriseVideo *v) {
    free(v->first);
    free(v->last);
    free(v->from);
    free(v->to);
    free(v->middle);
    for (int m = 0; m < SURPRISE_MODELS; m++)
        free(v->values[m]);
    for (int i = 0; i < SURPRISE_TILES_MOST; i++)
        free(v->tile[i]);
    memset(v, 0, sizeof *v);
}

void surprise_heading(FILE *file, const Surprise *s, const char *prefix) {
    fprintf(file, "%smodel,window,first_frame,last_frame,first_seconds,last_seconds", prefix);
    for (int c = 0; c < s->count; c++)
        fprintf(file, ",context_%d", s->contexts[c]);
    fprintf(file, ",least\n");
}

void surprise_rows(FILE *file, const Surprise *s, const SurpriseVideo *v, const char *prefix) {
    for (int m = 0; m < SURPRISE_MODELS; m++)
        for (int64_t w = 0; w < v->count && v->values[m]; w++) {
            const double *values = v->values[m] + w * s->count;
            fprintf(file, "%s%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%.6g,%.6g", prefix,
                    surprise_model_name((SurpriseModel)m), w, v->first[w], v->last[w], v->from[w],
                    v->to[w]);
            for (int c = 0; c < s->count; c++)
                fprintf(file, ",%.9g", values[c]);
            fprintf(file, ",%.9g\n", surprise_least(values, s->count));
        }
}

double *surprise_curve(const SurpriseVideo *v, const Surprise *s, int context) {
    double *values = memory_new((size_t)v->count + 1, sizeof *values);
    for (int64_t w = 0; w < v->count; w++)
        values[w] = v->values[SURPRISE_TRAINED][w * s->count + context];
    return values;
}

char *surprise_about(const Surprise *s, const Footage *footage) {
    const ClipSpec *clip = &s->scene.clip;
    const VideoFile *file = &footage->file;
    ClipDraw draw;
    clip_draw_evaluation(&draw, &footage->index, 0, clip, 0, 1, 0, 1);
    double seconds = video_file_seconds(file, draw.frames[clip->frames - 1]) -
                     video_file_seconds(file, draw.frames[0]);
    int width = video_file_width(file), height = video_file_height(file);
    char *part = draw.width == width && draw.height == height
                     ? memory_text("%s", "")
                     : memory_text("; it sees the middle %d×%d of %d×%d pixels", draw.width,
                                   draw.height, width, height);
    char *text = memory_text("Windows of %d frames (%.2g s), %" PRId64 " of these apart%s.",
                             clip->frames, seconds, s->stride, part);
    free(part);
    return text;
}
