/* Rows, panels and texts of what a model expects. See eval/expected_sheet.h. */
#include "eval/expected_sheet.h"
#include "base/file.h"
#include "eval/film_page.h"
#include "eval/latent_sheet.h"
#include "eval/png.h"
#include "eval/sheet.h"
#include <math.h>
#include <stdlib.h>

#define TRAINED_ON " The decoder was trained on this video too."

static const char *explain(ExpectedKind kind) {
    switch (kind) {
    case EXPECTED_VIDEO:
        return "The first frame of each time step, sharper than the model sees it.";
    case EXPECTED_MASKED:
        return "The context encoder sees only what is untouched.";
    case EXPECTED_NEAREST:
        return "Within the lines: for each prediction the patch of another video whose target "
               "latent is nearest. Around them: the video.";
    case EXPECTED_NEAREST_REAL:
        return "The same for the target latents: the best that this bank can say.";
    case EXPECTED_DRAWN_REAL:
        return "Drawn by a decoder trained on frozen latents: the target latents of all tokens, "
               "the best that it can draw.";
    case EXPECTED_DRAWN:
        return "Within the lines: drawn by the same decoder from the predictions. Around them: the "
               "video.";
    case EXPECTED_KINDS:
        break;
    }
    return NULL;
}

static int add_row(Sheet *sheet, const ExpectedPictures *p, ExpectedKind kind, int mask,
                   const int *steps, int columns, Error *error) {
    Canvas *tiles[LATENT_COLUMNS] = {NULL};
    const uint8_t *images[LATENT_COLUMNS];
    char *titles[LATENT_COLUMNS] = {NULL};
    bool cosines = kind == EXPECTED_NEAREST || kind == EXPECTED_NEAREST_REAL;
    int result = 0, tubelet = p->expected->shape.tubelet;
    for (int i = 0; i < columns && !result; i++) {
        result = canvas_new(&tiles[i], p->tile_width, p->tile_height, COLOR_CONTEXT, error);
        if (result)
            break;
        expected_tile(tiles[i], p->expected, kind, mask, steps[i] * tubelet, p->frames[steps[i]]);
        images[i] = tiles[i]->rgb;
        double cosine = cosines ? expected_step_cosine(p->expected, kind, mask, steps[i]) : NAN;
        titles[i] = !cosines        ? memory_text("%s", p->moments[steps[i]])
                    : isnan(cosine) ? memory_text("nothing hidden")
                                    : memory_text("mean cosine %.3f", cosine);
    }
    if (!result && (cosines || kind == EXPECTED_VIDEO || kind == EXPECTED_DRAWN_REAL))
        result = sheet_headings(sheet, (const char *const *)titles, columns, error);
    else if (!result)
        result = sheet_headings(sheet, NULL, 0, error);
    if (!result)
        result = sheet_row(sheet, expected_name(kind), explain(kind), images, columns,
                           p->tile_height, p->tile_width, UPSCALE_NEAREST, error);
    if (!result && kind == EXPECTED_MASKED)
        sheet_key(sheet, COLOR_HIDDEN, "hidden: to be predicted");
    for (int i = 0; i < columns; i++) {
        canvas_free(tiles[i]);
        free(titles[i]);
    }
    return result;
}

/* "Mask 2", or the name that a mask was given; caller frees. */
static char *mask_name(const ExpectedPictures *p, int mask) {
    return p->mask_name ? memory_text("%s", p->mask_name) : memory_text("Mask %d", mask);
}

static const char *file_name(const ExpectedPictures *p) {
    return p->name ? p->name : "expected";
}

static void caption(Sheet *sheet, const ExpectedPictures *p) {
    if (p->bank) {
        char *text = memory_text(
            "Nearest real patch: by the cosine of latents behind the loss's layer norm, among the "
            "patches of a bank, this video left out. %s. It is a patch that was filmed elsewhere, "
            "not a picture that the model makes; copies of this video under other bytes would be "
            "found.",
            p->bank);
        sheet_caption(sheet, text);
        free(text);
    }
    if (p->decoder) {
        char *text = memory_text(
            "Drawn by a decoder trained on frozen latents: a shallow network, patch by patch; the "
            "model itself draws nothing. What it leaves out may still be in the latents. %s.%s",
            p->decoder, p->trained_on ? TRAINED_ON : "");
        sheet_caption(sheet, text);
        free(text);
    }
    for (int i = 0; i < p->masks; i++) {
        const ExpectedErrors *e = &p->expected->errors[p->mask[i]];
        char *name = mask_name(p, p->mask[i]);
        char *text = memory_text("%s, root mean square error of the hidden pixels (0 to 1): "
                                 "repeating the nearest visible patch %.3f, the mean visible "
                                 "colour %.3f",
                                 name, sqrt(e->visible), sqrt(e->colour));
        free(name);
        static const ExpectedKind kinds[] = {EXPECTED_NEAREST, EXPECTED_NEAREST_REAL,
                                             EXPECTED_DRAWN, EXPECTED_DRAWN_REAL};
        static const char *const names[] = {"nearest real patch of the prediction", "of the target",
                                            "decoder of the prediction", "of the target"};
        for (int k = 0; k < 4; k++)
            if (expected_has(p->expected, kinds[k])) {
                char *longer = memory_text("%s, %s %.3f", text, names[k], sqrt(e->of[kinds[k]]));
                free(text);
                text = longer;
            }
        sheet_caption(sheet, text);
        free(text);
    }
}

int expected_picture_write(const ExpectedPictures *p, FILE *list, Error *error) {
    int time = p->expected->latents->grid.time, steps[LATENT_COLUMNS];
    int columns = time < LATENT_COLUMNS ? time : LATENT_COLUMNS, result = 0;
    Sheet *sheet = sheet_new(p->title, p->origin, p->tile_height);
    Canvas *canvas = NULL;
    char *file = memory_text("%s.png", file_name(p)), *path = path_join(p->folder, file);
    for (int i = 0; i < columns; i++)
        steps[i] = i * time / columns;
    result = add_row(sheet, p, EXPECTED_VIDEO, 0, steps, columns, error);
    for (int i = 0; i < p->masks && !result; i++) {
        int m = p->mask[i];
        char *name = mask_name(p, m);
        char *title = memory_text("%s: %s · %.0f %% of the tokens hidden", name, p->mask_text[m],
                                  100 * p->expected->latents->mask[m].share);
        result = sheet_section(sheet, title, error);
        free(name);
        free(title);
        for (ExpectedKind k = EXPECTED_MASKED; k < EXPECTED_KINDS && !result; k++)
            if (expected_has(p->expected, k))
                result = add_row(sheet, p, k, m, steps, columns, error);
    }
    if (!result) {
        caption(sheet, p);
        result = sheet_draw(&canvas, sheet, error);
    }
    if (!result)
        result = png_write(path, canvas, error);
    if (!result && list)
        fprintf(list, "%s\n", path);
    canvas_free(canvas);
    sheet_free(sheet);
    free(path);
    free(file);
    return result;
}

/* ---- films ---- */

static const ExpectedKind film_kinds[] = {EXPECTED_VIDEO, EXPECTED_MASKED, EXPECTED_NEAREST,
                                          EXPECTED_DRAWN_REAL, EXPECTED_DRAWN};
#define FILM_KINDS ((int)(sizeof film_kinds / sizeof *film_kinds))

int expected_film_columns(bool bank, bool decoder) {
    return 2 + (bank ? 1 : 0) + (decoder ? 2 : 0);
}

static const char *film_label(ExpectedKind kind) {
    return kind == EXPECTED_NEAREST      ? "Nearest real patch"
           : kind == EXPECTED_DRAWN_REAL ? "Decoder: target"
           : kind == EXPECTED_DRAWN      ? "Decoder: prediction"
                                         : expected_name(kind);
}

static FilmPage *new_page(const ExpectedPictures *p, int rows, const ExpectedKind *kinds,
                          int columns) {
    char *text = memory_text(
        "%s%s%s",
        p->bank ? "Nearest real patch: for each prediction the patch of another video whose target "
                  "latent is nearest. "
                : "",
        p->decoder ? "Decoder: drawn by a shallow network trained on frozen latents, patch by "
                     "patch; of the target, the best that it can draw."
                   : "",
        p->trained_on ? TRAINED_ON : "");
    FilmPage *page = film_page_new(p->title, p->origin, text, rows, columns, p->tile_height,
                                   p->tile_width);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            bool numbered = kinds[c] == EXPECTED_MASKED && rows > 1;
            char *label = numbered ? memory_text("%s, mask %d", film_label(kinds[c]), p->mask[r])
                                   : memory_text("%s", film_label(kinds[c]));
            film_page_label(page, r, c, label);
            free(label);
        }
    film_page_key(page, COLOR_HIDDEN, "hidden: to be predicted");
    free(text);
    return page;
}

struct ExpectedFilm {
    FilmPage *page;
    Film *film;
    ExpectedKind kinds[FILM_KINDS];
    int rows, columns, mask[EXPECTED_MASKS_MOST];
};

int expected_film_open(ExpectedFilm **out, const ExpectedPictures *p, unsigned formats,
                       VideoFraction rate, Error *error) {
    ExpectedFilm *f = memory_new(1, sizeof *f);
    int width, height;
    f->rows = p->masks < EXPECTED_MASKS_MOST ? p->masks : EXPECTED_MASKS_MOST;
    for (int r = 0; r < f->rows; r++)
        f->mask[r] = p->mask[r];
    for (int k = 0; k < FILM_KINDS; k++) {
        bool bank = film_kinds[k] == EXPECTED_NEAREST,
             decoder = film_kinds[k] == EXPECTED_DRAWN_REAL || film_kinds[k] == EXPECTED_DRAWN;
        if ((!bank || p->bank) && (!decoder || p->decoder))
            f->kinds[f->columns++] = film_kinds[k];
    }
    f->page = new_page(p, f->rows, f->kinds, f->columns);
    int result = film_page_start(f->page, error);
    if (!result) {
        film_page_size(f->page, &width, &height);
        result = film_open(&f->film, p->folder, file_name(p), formats, width, height, rate, error);
    }
    if (result) {
        expected_film_abandon(f);
        return -1;
    }
    *out = f;
    return 0;
}

int expected_film_add(ExpectedFilm *f, const Expected *expected, int frame, const uint8_t *rgb,
                      const char *moment, double progress, Error *error) {
    for (int r = 0; r < f->rows; r++)
        for (int c = 0; c < f->columns; c++)
            expected_tile(film_page_tile(f->page, r, c), expected, f->kinds[c], f->mask[r], frame,
                          rgb);
    return film_frame(f->film, film_page_picture(f->page, moment, progress), error);
}

int expected_film_close(ExpectedFilm *f, FILE *list, Error *error) {
    int result = film_close(f->film, list, error);
    f->film = NULL;
    expected_film_abandon(f);
    return result;
}

void expected_film_abandon(ExpectedFilm *f) {
    if (!f)
        return;
    film_abandon(f->film);
    film_page_free(f->page);
    free(f);
}

int expected_film_write(const ExpectedPictures *p, int count, unsigned formats, VideoFraction rate,
                        FILE *list, Error *error) {
    ExpectedFilm *film;
    int result = 0;
    if (expected_film_open(&film, p, formats, rate, error))
        return -1;
    for (int i = 0; i < count && !result; i++)
        result = expected_film_add(film, p->expected, i, p->frames[i], p->moments[i],
                                   (i + 1.0) / count, error);
    if (!result)
        return expected_film_close(film, list, error);
    expected_film_abandon(film);
    return -1;
}
