/* jepa visualize: the future. The context is the first k frames of a window, the targets are all
 * later ones; windows follow each other along the video so that each frame behind the first k is
 * predicted once.
 *
 *   window 0   k k k p p p p p
 *   window 1             k k k p p p p p          p: shown in the film
 *   window 2                       k k k p p ...
 * A last window ends with the video. */
#include "base/file.h"
#include "base/log.h"
#include "eval/latent_film.h"
#include "eval/latent_sheet.h"
#include "experiments/visualize_pixels.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERRORS_OF_A_WINDOW 4096 /* for the range of their colours */

struct FutureShow {
    Model model; /* of one mask setting, beside show->model */
    bool has_model;
    MaskGroup masks;
    int token;         /* the mask token that stands for later frames */
    int context_steps; /* time steps that are seen */
    float *errors;     /* [error_count] of the windows that were gathered, of all predictors */
    size_t error_count;
    double low, high; /* ends of their colours */
};

/* Frames that are seen. */
static int seen_frames(const FutureShow *f, const Show *show) {
    return f->context_steps * show->scene.config.tubelet;
}

/* Context: the first steps; target: all others. */
static void make_masks(FutureShow *f, MaskGrid grid) {
    int area = grid.height * grid.width, tokens = mask_grid_tokens(grid),
        seen = f->context_steps * area;
    MaskRecipe recipe = {.settings = 1, .samples = 1, .grid = grid};
    mask_group_new(&f->masks, &recipe, seen, tokens - seen);
    for (int i = 0; i < tokens; i++)
        if (i < seen)
            f->masks.context[i] = i;
        else
            f->masks.target[i - seen] = i;
    f->masks.cu_context[1] = seen;
    f->masks.cu_target[1] = tokens - seen;
}

/* *context_steps: time steps that are seen. */
static int choose_steps(int *context_steps, const Show *show, Error *error) {
    const Scene *s = &show->scene;
    int tubelet = s->config.tubelet, steps = config_grid(&s->config).time;
    int64_t frames = show->context_frames;
    if (steps < 2)
        return error_set(error, ERROR_USAGE,
                         "--parts future: the clips of this checkpoint are single time steps, so "
                         "there is no later one to predict");
    if (frames == NOT_GIVEN)
        frames = (int64_t)(steps / 2) * tubelet;
    if (frames % tubelet || frames < tubelet || frames > (int64_t)(steps - 1) * tubelet)
        return error_set(error, ERROR_USAGE,
                         "--context-frames %" PRId64 ": expected a multiple of %d (frames of a "
                         "token) from %d to %d for clips of %d frames",
                         frames, tubelet, tubelet, (steps - 1) * tubelet, s->clip.frames);
    *context_steps = (int)frames / tubelet;
    return 0;
}

int future_check(const Show *show, Error *error) {
    int steps;
    return choose_steps(&steps, show, error);
}

static int make_model(FutureShow *f, Show *show, Error *error) {
    MaskGrid grid = config_grid(&show->scene.config);
    int area = grid.height * grid.width, seen = f->context_steps * area;
    ModelPlan plan = {.config = {.token_by_length = true},
                      .samples = 1,
                      .settings = 1,
                      .context = seen,
                      .target = mask_grid_tokens(grid) - seen,
                      .beside = show->has_model ? &show->model : NULL};
    if (scene_model(&f->model, &show->scene, &plan, 't', error))
        return -1;
    f->has_model = true;
    return 0;
}

static int compute(Latents *l, FutureShow *f, const Window *window, Error *error) {
    ModelInput input = {.samples = 1, .pixels = window->pixels, .values = window->values};
    return latents_compute(l, &f->model, &input, &f->masks, f->token, error);
}

/* First frames of all windows of a video, the last of which ends with it. */
static int plan_windows(int64_t **first, int64_t *count, const FutureShow *f, const Show *show,
                        const Footage *footage, Error *error) {
    const ClipSpec *clip = &show->scene.clip;
    int64_t start = show->start == NOT_GIVEN ? 0 : show->start, last;
    int stride = clip->frames - seen_frames(f, show);
    if (windows_plan(first, count, &footage->file, clip, start, stride, show->windows, error))
        return -1;
    last = clip_windows(&footage->file, clip) - 1;
    if ((!show->windows || *count < show->windows) && (*first)[*count - 1] < last) {
        *first = memory_grow(*first, (size_t)*count + 1, sizeof **first);
        (*first)[(*count)++] = last;
    }
    return 0;
}

/* ---- the axes ---- */

typedef struct Gathering {
    FutureShow *f;
    LatentRows *rows;
} Gathering;

static int gather_window(void *context, const Window *window, Error *error) {
    Gathering *g = context;
    Latents l;
    if (compute(&l, g->f, window, error))
        return -1;
    size_t hidden = (size_t)l.hidden, step = hidden / ERRORS_OF_A_WINDOW + 1;
    const float *answers = l.target + (l.tokens - l.hidden) * l.width;
    latent_rows_add(g->rows, answers, hidden, l.width);
    latent_rows_add(g->rows, l.predicted, hidden, l.width);
    g->f->errors = memory_grow(g->f->errors, g->f->error_count + 2 * (hidden / step + 1),
                               sizeof *g->f->errors);
    for (size_t i = 0; i < hidden; i += step) {
        g->f->errors[g->f->error_count++] = l.error[i];
        g->f->errors[g->f->error_count++] = l.nearest_error[i];
    }
    latents_free(&l);
    return 0;
}

/* A share of the windows of one video. */
static int gather_video(FutureShow *f, Show *show, const Footage *footage, int64_t most,
                        LatentRows *rows, Error *error) {
    int64_t *first, count;
    Gathering gathering = {f, rows};
    WindowSpec spec = {.clip = &show->scene.clip};
    if (show_draw(&spec.crop, show, footage, error))
        return -1;
    int result = plan_windows(&first, &count, f, show, footage, error);
    most = count < most ? count : most;
    for (int64_t i = 0; i < most && !result; i++)
        first[i] = first[i * count / most];
    if (!result)
        result = windows_read(&footage->file, &spec, first, most, gather_window, &gathering, error);
    free(first);
    return result;
}

int future_show_gather(FutureShow **out, Show *show, LatentRows *rows, Error *error) {
    FutureShow *f = memory_new(1, sizeof *f);
    *out = f;
    if (choose_steps(&f->context_steps, show, error))
        return -1;
    f->token = scene_late_token(&show->scene, show->mask == NOT_GIVEN ? -1 : (int)show->mask);
    make_masks(f, config_grid(&show->scene.config));
    if (make_model(f, show, error))
        return -1;
    int64_t each = FIT_WINDOWS / (int64_t)show->count;
    for (size_t i = 0; i < show->count; i++)
        if (gather_video(f, show, &show->footage[i], each ? each : 1, rows, error))
            return -1;
    latent_error_range(&f->low, &f->high, f->errors, f->error_count);
    return 0;
}

void future_show_free(FutureShow *f) {
    if (!f)
        return;
    if (f->has_model)
        model_free(&f->model);
    mask_group_free(&f->masks);
    free(f->errors);
    free(f);
}

/* ---- pictures ---- */

typedef struct Rolling {
    FutureShow *f;
    const Show *show;
    const Footage *footage;
    LatentFilm *film;     /* or NULL */
    FuturePixels *pixels; /* or NULL: there is no bank and no decoder */
    Progress progress;
    int64_t count, picture; /* windows; the one that becomes a picture, -1: none */
    int64_t shown;          /* the newest frame in the film; -1: none */
    int small[2];
    const char *folder;
    uint8_t *last; /* [tile] the newest frame that the model was shown */
    size_t tile_bytes;
    double error, trivial; /* means over the windows */
} Rolling;

static char *mask_text(const Rolling *r) {
    int seen = seen_frames(r->f, r->show);
    return memory_text("the first %d of %d frames are seen, the others predicted", seen,
                       r->show->scene.clip.frames);
}

/* One window as a contact sheet. */
static int write_picture(Rolling *r, const Window *window, LatentPaint *paint, Error *error) {
    const Scene *scene = &r->show->scene;
    int steps = config_grid(&scene->config).time, tubelet = scene->config.tubelet;
    double *seconds = memory_new((size_t)steps, sizeof *seconds);
    int64_t *numbers = memory_new((size_t)steps, sizeof *numbers);
    const uint8_t **frames = memory_new((size_t)steps, sizeof *frames);
    for (int t = 0; t < steps; t++) {
        numbers[t] = window->frames[t * tubelet];
        seconds[t] = video_file_seconds(&r->footage->file, numbers[t]);
        frames[t] = window->picture[0][t * tubelet];
    }
    char *origin = show_origin(r->show, r->footage, window->frames), *text = mask_text(r);
    char *input = memory_text("%d×%d pixels", clip_width(&scene->clip), scene->clip.crop);
    LatentPictures pictures = {.paint = paint,
                               .axes = &r->show->axes,
                               .tile_height = r->small[0],
                               .tile_width = r->small[1],
                               .frames = frames,
                               .seconds = seconds,
                               .number = numbers,
                               .video = show_name(r->footage),
                               .origin = origin,
                               .input = input,
                               .mask_text = (const char *const[]){text},
                               .mask_name = "The future",
                               .only = -1};
    int result = latent_picture_write(&pictures, LATENT_SHEET_PICTURE, "What it expects next",
                                      "future", r->folder, stdout, error);
    free(origin);
    free(text);
    free(input);
    free(seconds);
    free(numbers);
    free(frames);
    return result;
}

/* The frames of a window that are not in the film yet: of the first also those that are seen. */
static int add_to_film(Rolling *r, const Window *window, LatentPaint *paint, Error *error) {
    const VideoFile *file = &r->footage->file;
    int seen = seen_frames(r->f, r->show), frames = r->show->scene.clip.frames, result = 0;
    memcpy(r->last, window->picture[1][seen - 1], r->tile_bytes);
    double from = video_file_seconds(file, window->frames[seen - 1]);
    for (int f = window->number ? seen : 0; f < frames && !result; f++) {
        int64_t number = window->frames[f];
        if (number <= r->shown)
            continue;
        double at = video_file_seconds(file, number);
        char *when = show_moment(r->footage, number), *moment;
        if (f < seen)
            moment = memory_text("%s · shown to it", when);
        else
            moment = memory_text("%s · %.2f s ahead", when, at - from);
        const uint8_t *last = f < seen ? window->picture[1][f] : r->last;
        result = latent_film_add(r->film, paint, f / r->show->scene.config.tubelet,
                                 window->picture[1][f], last, moment,
                                 (double)(number + 1) / (double)file->frames, error);
        if (!result && r->pixels)
            result = future_pixels_frame(r->pixels, f, window->picture[2][f], moment,
                                         (double)(number + 1) / (double)file->frames, error);
        r->shown = number;
        free(when);
        free(moment);
    }
    return result;
}

static int show_window(void *context, const Window *window, Error *error) {
    Rolling *r = context;
    Latents l;
    LatentPaint paint;
    if (compute(&l, r->f, window, error))
        return -1;
    latent_paint_new(&paint, &l, &r->show->axes,
                     r->show->smooth ? UPSCALE_SMOOTH : UPSCALE_NEAREST);
    paint.low = r->f->low;
    paint.high = r->f->high;
    r->error += l.mask[0].error / (double)r->count;
    r->trivial += fmin(l.mask[0].mean, l.mask[0].nearest) / (double)r->count;
    int result = r->pixels ? future_pixels_window(r->pixels, window, &l, error) : 0;
    if (!result && r->film)
        result = add_to_film(r, window, &paint, error);
    if (!result && window->number == r->picture)
        result = write_picture(r, window, &paint, error);
    if (!result && window->number == r->picture && r->pixels)
        result = future_pixels_picture(r->pixels, window, r->small, error);
    latent_paint_free(&paint);
    latents_free(&l);
    progress_show(&r->progress, (double)window->number + 1, "windows");
    return result;
}

static int open_film(Rolling *r, const ClipDraw *draw, const int size[2], Error *error) {
    const Show *show = r->show;
    char *title = memory_text("What it expects next: %s", show_name(r->footage));
    char *crop = show_crop(r->footage, draw);
    char *subtitle = memory_text("%s · of each window of %d frames the first %d are seen%s",
                                 show->scene.source, show->scene.clip.frames,
                                 seen_frames(r->f, show), crop);
    LatentFilmSpec spec = {
        .kind = LATENT_FILM_FUTURE,
        .masks = 1,
        .tile_height = size[0],
        .tile_width = size[1],
        .title = title,
        .subtitle = subtitle,
        .low = r->f->low,
        .high = r->f->high,
        .folder = r->folder,
        .name = "future",
        .formats = show->future_formats,
        .rate = film_rate(show_rate(r->footage, draw->frames, show->scene.clip.frames))};
    int result = latent_film_open(&r->film, &spec, error);
    r->tile_bytes = (size_t)size[0] * (size_t)size[1] * 3;
    r->last = memory_new(r->tile_bytes, 1);
    free(title);
    free(crop);
    free(subtitle);
    return result;
}

static int roll(Rolling *r, Error *error) {
    const Show *show = r->show;
    MaskGrid grid = config_grid(&show->scene.config);
    int64_t *first = NULL;
    int large[2], pixels[2];
    WindowSpec spec = {
        .clip = &show->scene.clip}; /* no limit of time: the model's own counts too */
    if (show_draw(&spec.crop, show, r->footage, error) ||
        plan_windows(&first, &r->count, r->f, show, r->footage, error)) {
        free(first);
        return -1;
    }
    r->small[0] = latent_tile(&r->small[1], grid, (int)show->tile);
    large[0] = film_tile(&large[1], latent_film_columns(LATENT_FILM_FUTURE, 1), grid,
                         (int)show->tile);
    r->picture = show->future_formats & FILM_STILL ? r->count / 2 : -1;
    r->shown = -1;
    spec.picture[0] = (struct WindowPicture){r->small[0], r->small[1], false};
    spec.picture[1] = (struct WindowPicture){large[0], large[1], false};
    int result = 0;
    if (show->future_formats & FILM_MOVES)
        result = open_film(r, &spec.crop, large, error);
    if (r->pixels) {
        pixels[0] = film_tile(&pixels[1], expected_show_columns(show->expected), grid,
                              (int)show->tile);
        spec.picture[2] = (struct WindowPicture){pixels[0], pixels[1], false};
    }
    if (!result && r->film && r->pixels)
        result = future_pixels_film(
            r->pixels, &spec.crop, seen_frames(r->f, show), pixels,
            film_rate(show_rate(r->footage, spec.crop.frames, show->scene.clip.frames)), error);
    progress_start(&r->progress, "future", (double)r->count, 0);
    if (!result)
        result = windows_read(&r->footage->file, &spec, first, r->count, show_window, r, error);
    progress_end(&r->progress);
    free(first);
    return result;
}

int future_show_draw(FutureShow *f, Show *show, Error *error) {
    int result = 0;
    for (size_t i = 0; i < show->count && !result; i++) {
        char *folder = show_folder(show, i, error);
        Rolling r = {.f = f, .show = show, .footage = &show->footage[i], .folder = folder};
        if (folder && show->expected) {
            char *text = mask_text(&r);
            future_pixels_new(&r.pixels, show, r.footage, folder, text);
            free(text);
        }
        result = folder ? roll(&r, error) : -1;
        if (r.film && !result)
            result = latent_film_close(r.film, stdout, error);
        else
            latent_film_abandon(r.film);
        if (!result)
            printf("future                 %" PRId64 " windows, error %.3f, of the better trivial "
                   "predictor %.3f, skill %.3f\n",
                   r.count, r.error, r.trivial, 1 - r.error / r.trivial);
        if (!result && r.pixels)
            result = future_pixels_close(r.pixels, error);
        future_pixels_free(r.pixels);
        free(r.last);
        free(folder);
    }
    return result;
}
