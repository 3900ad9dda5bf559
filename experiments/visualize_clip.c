/* jepa visualize: masks, latents and errors of one clip of each video, as pictures and as films. */
#include "base/file.h"
#include "eval/latent_film.h"
#include "eval/latent_sheet.h"
#include "experiments/visualize.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One clip: what the model says of it, and what is shown of it. */
typedef struct Clip {
    Latents latents;
    ShownClip shown;
} Clip;

struct ClipShow {
    MaskGroup masks;
    int masks_shown, shown[LATENT_FILM_MASKS_MOST]; /* in films */
    bool kept;                                      /* the only clip was kept from gathering */
    Clip clip;
};

static void clip_free(Clip *c) {
    shown_clip_free(&c->shown);
    latents_free(&c->latents);
}

void clip_show_free(ClipShow *s) {
    if (!s)
        return;
    clip_free(&s->clip);
    mask_group_free(&s->masks);
    free(s);
}

/* Decodes the clip and lets the model speak. */
static int compute(Clip *c, const ClipShow *s, Show *show, const Footage *footage, Error *error) {
    int columns = 1 + s->masks_shown;
    memset(c, 0, sizeof *c);
    if ((show->parts & PART_ERRORS) && columns < latent_film_columns(LATENT_FILM_ERRORS, 1))
        columns = latent_film_columns(LATENT_FILM_ERRORS, 1);
    if (shown_clip_read(&c->shown, show, footage, columns, error))
        return -1;
    ModelInput input = {.samples = 1, .pixels = c->shown.pixels, .values = c->shown.values};
    int result = latents_compute(&c->latents, &show->model, &input, &s->masks,
                                 scene_mask_token(&show->scene), error);
    if (result)
        clip_free(c);
    return result;
}

void show_draw_masks(MaskGroup *masks, const Show *show) {
    MaskRecipe recipe = recipe_mask(&show->scene.recipe);
    int64_t most = (int64_t)recipe.settings * mask_grid_tokens(recipe.grid);
    recipe.samples = 1;
    recipe.batch = MASK_PACKED;
    mask_group_new(masks, &recipe, most, most);
    mask_group_draw(masks, &recipe, (uint64_t)show->mask_seed, 0, 0, NULL);
}

static void draw_masks(ClipShow *s, const Show *show) {
    int settings = recipe_mask(&show->scene.recipe).settings;
    show_draw_masks(&s->masks, show);
    for (int m = 0; m < settings && s->masks_shown < LATENT_FILM_MASKS_MOST; m++)
        if (show->mask == NOT_GIVEN || show->mask == m)
            s->shown[s->masks_shown++] = m;
}

/* Targets and predictions of the hidden tokens of all masks. */
static void add_rows(LatentRows *rows, const Latents *l) {
    float *answers = memory_new((size_t)l->hidden * (size_t)l->width + 1, sizeof *answers);
    for (int64_t i = 0; i < l->hidden; i++)
        memcpy(answers + i * l->width, l->target + (int64_t)l->token[i] * l->width,
               (size_t)l->width * sizeof *answers);
    latent_rows_add(rows, answers, (size_t)l->hidden, l->width);
    latent_rows_add(rows, l->predicted, (size_t)l->hidden, l->width);
    free(answers);
}

int clip_show_gather(ClipShow **out, Show *show, LatentRows *rows, Error *error) {
    ClipShow *s = memory_new(1, sizeof *s);
    *out = s;
    draw_masks(s, show);
    for (size_t i = 0; i < show->count; i++) {
        Clip clip;
        if (compute(&clip, s, show, &show->footage[i], error))
            return -1;
        add_rows(rows, &clip.latents);
        if (show->count == 1) {
            s->clip = clip;
            s->kept = true;
        } else {
            clip_free(&clip);
        }
    }
    return 0;
}

/* "15 %" or "15 to 20 %" */
static char *percent_text(const double share[2]) {
    return share[0] == share[1] ? memory_text("%.3g %%", 100 * share[0])
                                : memory_text("%.3g to %.3g %%", 100 * share[0], 100 * share[1]);
}

char *show_mask_text(const MaskSetting *setting) {
    if (setting->kind == MASK_TUBE)
        return memory_text("%.3g %% of the places through all of time", 100 * setting->ratio);
    bool ijepa = setting->kind == MASK_IJEPA;
    char *space = percent_text(ijepa ? setting->pred_mask_scale : setting->spatial_scale),
         *time = percent_text(setting->temporal_scale);
    bool whole = ijepa || (setting->temporal_scale[0] == 1 && setting->temporal_scale[1] == 1);
    int blocks = ijepa ? 1 : setting->num_blocks;
    bool cut = setting->max_temporal_keep > 0 && setting->max_temporal_keep < 1;
    char *keep = cut ? memory_text(", seen is only the first %.3g %% of the time",
                                   100 * setting->max_temporal_keep)
                     : memory_text("%s", "");
    char *text = memory_text("%d block%s of %s of the picture%s%s%s%s", blocks,
                             blocks == 1 ? "" : "s", space, whole ? "" : " and ", whole ? "" : time,
                             whole ? "" : " of the time", keep);
    free(keep);
    free(space);
    free(time);
    return text;
}

static int write_pictures(const Clip *c, LatentPaint *paint, const Show *show,
                          const Footage *footage, const char *folder, char *const *texts,
                          Error *error) {
    const Scene *scene = &show->scene;
    int steps = c->latents.grid.time, result = 0;
    double *seconds = memory_new((size_t)steps, sizeof *seconds);
    int64_t *numbers = memory_new((size_t)steps, sizeof *numbers);
    for (int t = 0; t < steps; t++) {
        numbers[t] = c->shown.draw.frames[t * scene->config.tubelet];
        seconds[t] = video_file_seconds(&footage->file, numbers[t]);
    }
    char *origin = show_origin(show, footage, c->shown.draw.frames);
    char *input = memory_text("%d×%d pixels", clip_width(&scene->clip), scene->clip.crop);
    LatentPictures pictures = {.paint = paint,
                               .axes = &show->axes,
                               .tile_height = c->shown.small[0],
                               .tile_width = c->shown.small[1],
                               .frames = (const uint8_t *const *)c->shown.small_frames,
                               .whole = (const uint8_t *const *)c->shown.whole_frames,
                               .whole_height = c->shown.whole[0],
                               .whole_width = c->shown.whole[1],
                               .seconds = seconds,
                               .number = numbers,
                               .video = show_name(footage),
                               .origin = origin,
                               .input = input,
                               .mask_text = (const char *const *)texts,
                               .mask_name = "Mask",
                               .only = show->mask == NOT_GIVEN ? -1 : (int)show->mask};
    memcpy(pictures.part, c->shown.part, sizeof pictures.part);
    static const unsigned bits[][2] = {{PART_MASKS, LATENT_MASKS_PICTURE},
                                       {PART_LATENTS, LATENT_LATENTS_PICTURE},
                                       {PART_ERRORS, LATENT_ERRORS_PICTURE},
                                       {PART_SHEET, LATENT_SHEET_PICTURE}};
    for (size_t i = 0; i < sizeof bits / sizeof *bits && !result; i++)
        if (show->parts & bits[i][0])
            result = latent_picture_write(&pictures, bits[i][1], NULL, NULL, folder, stdout, error);
    free(origin);
    free(input);
    free(seconds);
    free(numbers);
    return result;
}

/* One film of the clip, picture by picture. */
static int write_film(const Clip *c, LatentPaint *paint, const LatentFilmSpec *spec,
                      const Show *show, const Footage *footage, Error *error) {
    LatentFilm *film;
    int frames = show->scene.clip.frames, result = 0;
    if (latent_film_open(&film, spec, error))
        return -1;
    for (int f = 0; f < frames && !result; f++) {
        char *moment = show_moment(footage, c->shown.draw.frames[f]);
        result = latent_film_add(film, paint, f / show->scene.config.tubelet,
                                 c->shown.large_frames[f], NULL, moment, (f + 1.0) / frames, error);
        free(moment);
    }
    if (!result)
        return latent_film_close(film, stdout, error);
    latent_film_abandon(film);
    return -1;
}

static int write_films(const Clip *c, LatentPaint *paint, const ClipShow *s, const Show *show,
                       const Footage *footage, const char *folder, char *const *texts,
                       Error *error) {
    static const struct {
        unsigned part;
        LatentFilmKind kind;
        const char *what, *name;
    } kinds[] = {{PART_MASKS, LATENT_FILM_MASKS, "What is hidden", "masks"},
                 {PART_LATENTS, LATENT_FILM_LATENTS, "Target and predicted latents", "latents"},
                 {PART_ERRORS, LATENT_FILM_ERRORS, "Where the prediction errs", "errors"}};
    int result = 0;
    char *crop = show_crop(footage, &c->shown.draw);
    char *subtitle = memory_text("%s%s", show->scene.source, crop);
    for (int i = 0; i < s->masks_shown; i++) {
        char *longer = memory_text("%s\nmask %d: %s", subtitle, s->shown[i], texts[s->shown[i]]);
        free(subtitle);
        subtitle = longer;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !result; i++) {
        if (!(show->parts & kinds[i].part))
            continue;
        char *title = memory_text("%s: %s", kinds[i].what, show_name(footage));
        LatentFilmSpec spec = {
            .kind = kinds[i].kind,
            .masks = s->masks_shown,
            .tile_height = c->shown.large[0],
            .tile_width = c->shown.large[1],
            .title = title,
            .subtitle = subtitle,
            .low = paint->low,
            .high = paint->high,
            .folder = folder,
            .name = kinds[i].name,
            .formats = show->formats,
            .rate = film_rate(show_rate(footage, c->shown.draw.frames, show->scene.clip.frames))};
        memcpy(spec.mask, s->shown, sizeof spec.mask);
        result = write_film(c, paint, &spec, show, footage, error);
        free(title);
    }
    free(crop);
    free(subtitle);
    return result;
}

static void print_measures(const Clip *c, const Show *show, const Footage *footage) {
    printf("video                  %s\n", footage->file.name);
    printf("mask   hidden   error   of the mean   of the nearest   skill   cosine\n");
    for (int m = 0; m < c->latents.settings; m++) {
        const LatentMask *mask = &c->latents.mask[m];
        if (show->mask == NOT_GIVEN || show->mask == m)
            printf("%4d   %4.0f %%   %.3f         %.3f            %.3f  %6.3f   %6.3f\n", m,
                   100 * mask->share, mask->error, mask->mean, mask->nearest, mask->skill,
                   mask->cosine);
    }
}

static int draw_clip(const Clip *c, const ClipShow *s, const Show *show, size_t i, Error *error) {
    const Footage *footage = &show->footage[i];
    MaskRecipe recipe = recipe_mask(&show->scene.recipe);
    char *texts[MASK_SETTINGS_MAX], *folder = show_folder(show, i, error);
    LatentPaint paint;
    int result = folder ? 0 : -1;
    for (int m = 0; m < recipe.settings; m++)
        texts[m] = show_mask_text(&recipe.setting[m]);
    latent_paint_new(&paint, &c->latents, &show->axes,
                     show->smooth ? UPSCALE_SMOOTH : UPSCALE_NEAREST);
    latent_errors_range(&paint.low, &paint.high, &c->latents);
    print_measures(c, show, footage);
    if (!result && show->formats & FILM_STILL)
        result = write_pictures(c, &paint, show, footage, folder, texts, error);
    if (!result && show->formats & FILM_MOVES)
        result = write_films(c, &paint, s, show, footage, folder, texts, error);
    latent_paint_free(&paint);
    for (int m = 0; m < recipe.settings; m++)
        free(texts[m]);
    free(folder);
    return result;
}

int clip_show_draw(ClipShow *s, Show *show, Error *error) {
    int result = 0;
    for (size_t i = 0; i < show->count && !result; i++) {
        Clip clip = s->clip;
        if (!s->kept && compute(&clip, s, show, &show->footage[i], error))
            return -1;
        result = draw_clip(&clip, s, show, i, error);
        if (!s->kept)
            clip_free(&clip);
    }
    return result;
}
