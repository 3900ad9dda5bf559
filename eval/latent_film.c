/* FilmPage of films and what is painted into them. See eval/latent_film.h. */
#include "eval/latent_film.h"
#include "eval/film_page.h"
#include <math.h>
#include <stdlib.h>

#define FILM_WIDE   1280 /* pixels, wished */
#define FILM_BORDER 120  /* pixels of it that are not tiles */
#define TILE_MOST   288  /* pixels */
#define TILE_LEAST  128  /* pixels */
#define CELLS       (2 * (1 + LATENT_FILM_MASKS_MOST) + 4 * LATENT_FILM_MASKS_MOST)

/* A panel and what it shows. */
typedef struct Cell {
    int row, column, mask;
    LatentQuantity quantity;
    bool last; /* the last frame that was shown, instead */
} Cell;

struct LatentFilm {
    LatentFilmSpec spec;
    FilmPage *panels;
    Film *film;
    Cell cell[CELLS];
    int count, rows, columns;
};

static void add_cell(LatentFilm *f, int row, int column, int mask, LatentQuantity quantity) {
    JEPA_ASSERT(f->count < CELLS);
    f->cell[f->count++] = (Cell){.row = row, .column = column, .mask = mask, .quantity = quantity};
    f->rows = row >= f->rows ? row + 1 : f->rows;
    f->columns = column >= f->columns ? column + 1 : f->columns;
}

static void place_cells(LatentFilm *f) {
    const LatentFilmSpec *s = &f->spec;
    int first = s->mask[0];
    switch (s->kind) {
    case LATENT_FILM_MASKS:
        add_cell(f, 0, 0, first, LATENT_FRAME);
        for (int i = 0; i < s->masks; i++)
            add_cell(f, 0, 1 + i, s->mask[i], LATENT_MASKED);
        break;
    case LATENT_FILM_LATENTS:
        add_cell(f, 0, 0, first, LATENT_FRAME);
        add_cell(f, 1, 0, first, LATENT_TARGET);
        for (int i = 0; i < s->masks; i++) {
            add_cell(f, 0, 1 + i, s->mask[i], LATENT_MASKED);
            add_cell(f, 1, 1 + i, s->mask[i], LATENT_PREDICTED);
        }
        break;
    case LATENT_FILM_ERRORS:
        for (int i = 0; i < s->masks; i++) {
            add_cell(f, i, 0, s->mask[i], LATENT_MASKED);
            for (int q = 0; q < 3; q++)
                add_cell(f, i, 1 + q, s->mask[i], LATENT_ERROR + (LatentQuantity)q);
        }
        break;
    case LATENT_FILM_FUTURE:
        add_cell(f, 0, 0, first, LATENT_FRAME);
        add_cell(f, 0, 1, first, LATENT_TARGET);
        add_cell(f, 0, 2, first, LATENT_ERROR);
        add_cell(f, 1, 0, first, LATENT_FRAME);
        f->cell[f->count - 1].last = true;
        add_cell(f, 1, 1, first, LATENT_PREDICTED);
        add_cell(f, 1, 2, first, LATENT_ERROR_NEAREST);
        break;
    }
}

static char *label_of(const LatentFilm *f, const Cell *cell) {
    const LatentFilmSpec *s = &f->spec;
    bool numbered = s->masks > 1 &&
                    (cell->quantity == LATENT_MASKED || cell->quantity == LATENT_PREDICTED);
    if (cell->last)
        return memory_text("Last frame it was shown");
    if (s->kind == LATENT_FILM_FUTURE && cell->quantity == LATENT_ERROR_NEAREST)
        return memory_text("Error of repeating what was seen last");
    if (numbered)
        return memory_text("%s, mask %d", latent_quantity_name(cell->quantity), cell->mask);
    return memory_text("%s", latent_quantity_name(cell->quantity));
}

static bool is_error(LatentQuantity quantity) {
    return quantity >= LATENT_ERROR && quantity < LATENT_QUANTITIES;
}

int latent_film_columns(LatentFilmKind kind, int masks) {
    return kind == LATENT_FILM_ERRORS ? 4 : kind == LATENT_FILM_FUTURE ? 3 : 1 + masks;
}

int film_tile(int *width, int columns, MaskGrid grid, int wished) {
    int most = (FILM_WIDE - FILM_BORDER) / columns;
    most = most > TILE_MOST ? TILE_MOST : most < TILE_LEAST ? TILE_LEAST : most;
    if (wished)
        return token_tile(width, grid, wished, 1024);
    return token_tile(width, grid, most, most > 240 ? most * 3 / 2 : most);
}

static const char *caption_of(LatentFilmKind kind) {
    switch (kind) {
    case LATENT_FILM_LATENTS:
        return "Colours: three principal components of target and predicted tokens; the same "
               "colour "
               "is the same place. Around what is hidden: latents of the context encoder.";
    case LATENT_FILM_ERRORS:
        return "Error: mean |z − h| of prediction z and target h, one scale for all. Dark is good; "
               "a model that understands is darker than both trivial predictors.";
    case LATENT_FILM_FUTURE:
        return "Each prediction is made from frames before it only. Colours of latents: three "
               "principal components of target and predicted tokens. Error: mean |z − h|, dark is "
               "good. Who repeats is told more than the model: latents of an encoder that has seen "
               "the whole window.";
    case LATENT_FILM_MASKS:
        break;
    }
    return NULL;
}

int latent_film_open(LatentFilm **out, const LatentFilmSpec *spec, Error *error) {
    LatentFilm *f = memory_new(1, sizeof *f);
    int width, height;
    f->spec = *spec;
    *out = NULL;
    place_cells(f);
    f->panels = film_page_new(spec->title, spec->subtitle, caption_of(spec->kind), f->rows,
                              f->columns, spec->tile_height, spec->tile_width);
    bool errors = false, masked = false;
    for (int i = 0; i < f->count; i++) {
        const Cell *cell = &f->cell[i];
        char *label = label_of(f, cell);
        film_page_label(f->panels, cell->row, cell->column, label);
        free(label);
        if (is_error(cell->quantity))
            film_page_bar(f->panels, cell->row, COLORMAP_DEPTH, spec->low, spec->high,
                          "mean |z − h|");
        errors = errors || is_error(cell->quantity);
        masked = masked || cell->quantity == LATENT_MASKED;
    }
    if (errors) {
        film_page_notes(f->panels);
        if (spec->kind != LATENT_FILM_FUTURE)
            film_page_key(f->panels, COLOR_CONTEXT, "nothing to predict");
    }
    if (masked)
        film_page_key(f->panels, COLOR_HIDDEN, "hidden: to be predicted");
    int result = film_page_start(f->panels, error);
    if (!result) {
        film_page_size(f->panels, &width, &height);
        result = film_open(&f->film, spec->folder, spec->name, spec->formats, width, height,
                           spec->rate, error);
    }
    if (result) {
        latent_film_abandon(f);
        return -1;
    }
    *out = f;
    return 0;
}

int latent_film_add(LatentFilm *f, LatentPaint *paint, int step, const uint8_t *frame,
                    const uint8_t *last, const char *moment, double progress, Error *error) {
    for (int i = 0; i < f->count; i++) {
        const Cell *cell = &f->cell[i];
        Canvas *tile = film_page_tile(f->panels, cell->row, cell->column);
        latent_paint_choose(paint, cell->mask);
        latent_paint_tile(tile, paint, cell->quantity, step, cell->last && last ? last : frame);
        if (!is_error(cell->quantity))
            continue;
        double mean = latent_step_error(paint, cell->quantity, step);
        char *note = isnan(mean) ? memory_text("nothing hidden now")
                                 : memory_text("mean %.3f", mean);
        film_page_note(f->panels, cell->row, cell->column, note);
        free(note);
    }
    return film_frame(f->film, film_page_picture(f->panels, moment, progress), error);
}

int latent_film_close(LatentFilm *f, FILE *list, Error *error) {
    Film *film = f->film;
    f->film = NULL;
    latent_film_abandon(f);
    return film_close(film, list, error);
}

void latent_film_abandon(LatentFilm *f) {
    if (!f)
        return;
    film_page_free(f->panels);
    film_abandon(f->film);
    free(f);
}
