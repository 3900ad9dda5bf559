/* jepa visualize: what the model expects of one clip of each video, as real patches that are
 * nearest to its predictions, and as a decoder of latents draws them. */
#include "eval/expected_sheet.h"
#include "eval/latent_film.h"
#include "eval/latent_sheet.h"
#include "experiments/decoder_saved.h"
#include "experiments/visualize_pixels.h"
#include "jepa/recipe_compare.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ExpectedShow {
    Bank bank;
    PatchDecoder decoder;
    DecoderAbout about;
    bool has_bank, has_decoder;
    char *bank_text, *decoder_text; /* for captions; or NULL */
    MaskGroup masks;
    Device *cpu; /* bank and decoder are of the CPU */
};

static int open_bank(ExpectedShow *s, const Show *show, const Hash *recipe, Error *error) {
    s->has_bank = true;
    if (bank_open(&s->bank, show->bank, error) ||
        bank_about_matches(&s->bank.about, show->bank, &show->scene.hash, recipe, "jepa bank",
                           error))
        return -1;
    s->bank_text = memory_text("The bank: %" PRId64 " patches of %" PRId64 " videos", s->bank.rows,
                               bank_distinct(NULL, &s->bank));
    return 0;
}

static int open_decoder(ExpectedShow *s, const Show *show, const Hash *recipe, Error *error) {
    const ModelConfig *config = &show->scene.config;
    int width = (config->levels ? config->levels : 1) * config_teacher(config).dim;
    s->has_decoder = true;
    if (decoder_load(&s->decoder, &s->about, show->decoder, &show->scene.hash, recipe, width,
                     error))
        return -1;
    const PatchErrors *e = &s->about.errors;
    s->decoder_text = memory_text("On %" PRId64 " held-out videos its root mean square error is "
                                  "%.3f, that of the mean colour %.3f, of the mean of the place "
                                  "%.3f",
                                  s->about.held_out_videos, sqrt(e->decoder), sqrt(e->colour),
                                  sqrt(e->place));
    return 0;
}

int expected_show_open(ExpectedShow **out, const Show *show, Error *error) {
    ExpectedShow *s = memory_new(1, sizeof *s);
    Hash recipe = recipe_hash(&show->scene.recipe);
    *out = s;
    if ((show->bank && open_bank(s, show, &recipe, error)) ||
        (show->decoder && open_decoder(s, show, &recipe, error)))
        return -1;
    return device_open(&s->cpu, "cpu", (int)show->threads, error);
}

void expected_show_free(ExpectedShow *s) {
    if (!s)
        return;
    if (s->has_bank)
        bank_close(&s->bank);
    if (s->has_decoder) {
        patch_decoder_free(&s->decoder);
        decoder_about_free(&s->about);
    }
    free(s->bank_text);
    free(s->decoder_text);
    mask_group_free(&s->masks);
    device_close(s->cpu);
    free(s);
}

void expected_show_texts(ExpectedPictures *p, const ExpectedShow *s, const Footage *footage) {
    p->bank = s->bank_text;
    p->decoder = s->decoder_text;
    p->trained_on = s->has_decoder && decoder_has_seen(&s->about, &footage->file.hash);
}

int expected_show_columns(const ExpectedShow *s) {
    return expected_film_columns(s->has_bank, s->has_decoder);
}

int expected_show_compute(Expected *expected, const Show *show, const Footage *footage,
                          const Latents *latents, const uint8_t *pixels, const float *values,
                          Error *error) {
    const ExpectedShow *s = show->expected;
    const ClipSpec *clip = &show->scene.clip;
    PatchShape shape = {clip->frames, clip->crop, clip_width(clip), show->scene.config.tubelet,
                        show->scene.config.patch};
    return expected_compute(expected, latents, pixels, values, &shape,
                            s->has_bank ? &s->bank : NULL, &footage->file.hash,
                            s->has_decoder ? &s->decoder : NULL, s->cpu, error);
}

static void print_errors(const Expected *e, const ExpectedPictures *p, const Footage *footage) {
    printf("video                  %s\n", footage->file.name);
    if (p->trained_on)
        printf("decoder                was trained on this video too\n");
    printf("root mean square error of hidden pixels, 0 to 1\n");
    printf("mask   nearest visible   mean colour   nearest real patch (of target)   decoder (of "
           "target)\n");
    for (int i = 0; i < p->masks; i++) {
        const ExpectedErrors *x = &e->errors[p->mask[i]];
        const ExpectedKind kinds[] = {EXPECTED_NEAREST, EXPECTED_NEAREST_REAL, EXPECTED_DRAWN,
                                      EXPECTED_DRAWN_REAL};
        char cell[4][16];
        for (int k = 0; k < 4; k++)
            if (isnan(x->of[kinds[k]]))
                snprintf(cell[k], sizeof cell[k], "-");
            else
                snprintf(cell[k], sizeof cell[k], "%.3f", sqrt(x->of[kinds[k]]));
        printf("%4d   %15.3f   %11.3f   %18s (%9s)   %7s (%9s)\n", p->mask[i], sqrt(x->visible),
               sqrt(x->colour), cell[0], cell[1], cell[2], cell[3]);
    }
}

/* Pictures and films of one clip. */
static int write_all(const ShownClip *c, ExpectedPictures *p, const Show *show,
                     const Footage *footage, Error *error) {
    int frames = show->scene.clip.frames, tubelet = show->scene.config.tubelet, result = 0;
    char **moments = memory_new((size_t)frames, sizeof *moments);
    char **steps = memory_new((size_t)c->time, sizeof *steps);
    char *crop = show_crop(footage, &c->draw);
    char *title = memory_text("What it expects, as pixels: %s", show_name(footage));
    char *clip = show_origin(show, footage, c->draw.frames),
         *origin = memory_text("%s%s", clip, crop);
    char *short_origin = memory_text("%s%s", show->scene.source, crop);
    for (int f = 0; f < frames; f++)
        moments[f] = show_moment(footage, c->draw.frames[f]);
    for (int t = 0; t < c->time; t++)
        steps[t] = moments[t * tubelet];
    p->title = title;
    p->origin = origin;
    p->frames = (const uint8_t *const *)c->small_frames;
    p->moments = (const char *const *)steps;
    p->tile_height = c->small[0];
    p->tile_width = c->small[1];
    if (show->formats & FILM_STILL)
        result = expected_picture_write(p, stdout, error);
    p->origin = short_origin;
    p->frames = (const uint8_t *const *)c->large_frames;
    p->moments = (const char *const *)moments;
    p->tile_height = c->large[0];
    p->tile_width = c->large[1];
    if (!result && show->formats & FILM_MOVES)
        result = expected_film_write(p, frames, show->formats,
                                     film_rate(show_rate(footage, c->draw.frames, frames)), stdout,
                                     error);
    for (int f = 0; f < frames; f++)
        free(moments[f]);
    free(moments);
    free(steps);
    free(crop);
    free(title);
    free(clip);
    free(origin);
    free(short_origin);
    return result;
}

static int draw_clip(ExpectedShow *s, Show *show, size_t i, Error *error) {
    const Footage *footage = &show->footage[i];
    MaskRecipe recipe = recipe_mask(&show->scene.recipe);
    char *texts[MASK_SETTINGS_MAX], *folder = show_folder(show, i, error);
    ShownClip shown;
    Latents latents = {0};
    Expected expected = {0};
    ExpectedPictures p = {
        .expected = &expected, .mask_text = (const char *const *)texts, .folder = folder};
    if (!folder)
        return -1;
    expected_show_texts(&p, s, footage);
    for (int m = 0; m < recipe.settings; m++) {
        texts[m] = show_mask_text(&recipe.setting[m]);
        if (show->mask == NOT_GIVEN || show->mask == m)
            p.mask[p.masks++] = m;
    }
    int result = shown_clip_read(&shown, show, footage, expected_show_columns(s), error);
    if (!result) {
        ModelInput input = {.samples = 1, .pixels = shown.pixels, .values = shown.values};
        result = latents_compute(&latents, &show->model, &input, &s->masks,
                                 scene_mask_token(&show->scene), error);
    }
    if (!result)
        result = expected_show_compute(&expected, show, footage, &latents, shown.pixels,
                                       shown.values, error);
    if (!result) {
        print_errors(&expected, &p, footage);
        result = write_all(&shown, &p, show, footage, error);
    }
    expected_free(&expected);
    latents_free(&latents);
    shown_clip_free(&shown);
    for (int m = 0; m < recipe.settings; m++)
        free(texts[m]);
    free(folder);
    return result;
}

int expected_show_draw(ExpectedShow *s, Show *show, Error *error) {
    int result = 0;
    show_draw_masks(&s->masks, show);
    for (size_t i = 0; i < show->count && !result; i++)
        result = draw_clip(s, show, i, error);
    return result;
}
