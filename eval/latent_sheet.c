/* Tiles, rows and texts of the latent pictures. See eval/latent_sheet.h. */
#include "eval/latent_sheet.h"
#include "base/file.h"
#include "eval/colormap.h"
#include "eval/png.h"
#include "eval/sheet.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE_USUAL   144  /* pixels */
#define TILE_LEAST   96   /* pixels */
#define SHEET_WIDE   2400 /* pixels, wished */
#define SHEET_BORDER 408  /* pixels of a sheet that are not tiles: labels, colour bar, margins */
#define TILE_GAP     6    /* pixels between tiles */
#define OUTSIDE      0.62 /* share of white over what the model does not see */

/* A sheet on its way, and the columns of its rows. */
typedef struct Maker {
    const LatentPictures *p;
    Sheet *sheet;
    int columns;
    int step[LATENT_COLUMNS]; /* time step of a column */
} Maker;

int latent_tile(int *width, MaskGrid grid, int wished) {
    int columns = grid.time < LATENT_COLUMNS ? grid.time : LATENT_COLUMNS;
    int most = (SHEET_WIDE - SHEET_BORDER) / columns - TILE_GAP;
    if (wished)
        return token_tile(width, grid, wished, CANVAS_SIDE_MAX / (LATENT_COLUMNS + 4));
    int height = most < TILE_USUAL ? most : TILE_USUAL;
    if (grid.time < 6 && most > TILE_USUAL) /* few columns: there is room */
        height = most < 2 * TILE_USUAL ? most : 2 * TILE_USUAL;
    height = height < TILE_LEAST ? TILE_LEAST : height;
    most = most < TILE_LEAST ? TILE_LEAST : most;
    return token_tile(width, grid, height, most > 2 * height ? 2 * height : most);
}

char *latent_mask_measures(const LatentMask *mask) {
    const char *sign = mask->skill <= -0.0005 ? "−" : "";
    return memory_text("%.0f %% of the tokens hidden · error %.3f, of the mean answer %.3f, of the "
                       "nearest visible token %.3f · skill %s%.3f · cosine %.3f",
                       100 * mask->share, mask->error, mask->mean, mask->nearest, sign,
                       fabs(mask->skill), mask->cosine);
}

/* "Mask 2" */
static char *mask_name(const LatentPictures *p, int m) {
    return p->paint->latents->settings > 1 ? memory_text("%s %d", p->mask_name, m)
                                           : memory_text("%s", p->mask_name);
}

static char *explain(const LatentPictures *p, LatentQuantity quantity) {
    const Latents *l = p->paint->latents;
    const LatentMask *mask = &l->mask[p->paint->mask];
    switch (quantity) {
    case LATENT_FRAME:
        return memory_text("The first frame of each time step, sharper than the model sees it: %s.",
                           p->input);
    case LATENT_MASKED:
        return memory_text("The context encoder sees only what is untouched.");
    case LATENT_TARGET:
        return memory_text("What the target encoder makes of the whole clip. Like colours: like "
                           "features.");
    case LATENT_PREDICTED:
        return memory_text(
            "Within the lines: what the predictor expects there; it varies %.0f %% as "
            "much as the answers. Around them: %s.",
            100 * mask->spread,
            l->seen ? "the context encoder's latents of what is visible"
                    : "the target latents of what is visible");
    case LATENT_ERROR:
        return memory_text("Mean |z − h| over the %d features of a token. Dark is good.", l->width);
    case LATENT_ERROR_MEAN:
        return memory_text("The same for a predictor that always says the mean answer.");
    case LATENT_ERROR_NEAREST:
        return memory_text("The same for one that repeats the target latent of the nearest visible "
                           "token.");
    case LATENT_QUANTITIES:
        break;
    }
    return NULL;
}

static char *heading(const Maker *m, int step, LatentQuantity quantity) {
    const LatentPictures *p = m->p;
    if (quantity < LATENT_ERROR)
        return memory_text("%.2f s · frame %" PRId64, p->seconds[step], p->number[step]);
    double error = latent_step_error(p->paint, quantity, step);
    return isnan(error) ? memory_text("nothing hidden") : memory_text("mean %.3f", error);
}

/* One row of tiles of a quantity, with its label (NULL: the quantity's name). */
static int add_row(const Maker *m, LatentQuantity quantity, const char *label, bool headings,
                   Error *error) {
    const LatentPictures *p = m->p;
    Canvas *tiles[LATENT_COLUMNS] = {NULL};
    const uint8_t *images[LATENT_COLUMNS];
    char *titles[LATENT_COLUMNS] = {NULL}, *text = explain(p, quantity);
    int result = 0;
    for (int i = 0; i < m->columns && !result; i++) {
        int step = m->step[i];
        result = canvas_new(&tiles[i], p->tile_width, p->tile_height, COLOR_CONTEXT, error);
        if (result)
            break;
        latent_paint_tile(tiles[i], p->paint, quantity, step, p->frames[step]);
        images[i] = tiles[i]->rgb;
        titles[i] = heading(m, step, quantity);
    }
    if (!result && headings)
        result = sheet_headings(m->sheet, (const char *const *)titles, m->columns, error);
    if (!result)
        result = sheet_row(m->sheet, label ? label : latent_quantity_name(quantity), text, images,
                           m->columns, p->tile_height, p->tile_width, UPSCALE_NEAREST, error);
    if (!result && quantity == LATENT_MASKED)
        sheet_key(m->sheet, COLOR_HIDDEN, "hidden: to be predicted");
    if (!result && quantity >= LATENT_ERROR)
        sheet_key(m->sheet, COLOR_CONTEXT, "nothing to predict");
    if (!result && quantity == LATENT_ERROR)
        sheet_colourbar(m->sheet, COLORMAP_DEPTH, p->paint->low, p->paint->high, "mean |z − h|");
    for (int i = 0; i < m->columns; i++) {
        canvas_free(tiles[i]);
        free(titles[i]);
    }
    free(text);
    return result;
}

/* The whole frames, pale where the model does not look. */
static int add_whole(const Maker *m, Error *error) {
    const LatentPictures *p = m->p;
    Canvas *tiles[LATENT_COLUMNS] = {NULL};
    const uint8_t *images[LATENT_COLUMNS];
    char *titles[LATENT_COLUMNS] = {NULL};
    /* at the top of the tile, in its middle */
    int across = (p->tile_width - p->whole_width) / 2, down = 0;
    int left = across + p->part[0], top = down + p->part[1], width = p->part[2],
        height = p->part[3], result = 0;
    for (int i = 0; i < m->columns && !result; i++) {
        result = canvas_new(&tiles[i], p->tile_width, p->tile_height, COLOR_PAPER, error);
        if (result)
            break;
        Canvas *tile = tiles[i];
        canvas_image(tile, across, down, p->whole[m->step[i]], p->whole_width, p->whole_height);
        for (int y = down; y < down + p->whole_height; y++)
            for (int x = across; x < across + p->whole_width; x++)
                if (x < left || y < top || x >= left + width || y >= top + height)
                    canvas_blend(tile, x, y, COLOR_PAPER, OUTSIDE);
        canvas_frame(tile, left, top, width, height, 1, COLOR_INK);
        images[i] = tile->rgb;
        titles[i] = heading(m, m->step[i], LATENT_FRAME);
    }
    if (!result)
        result = sheet_headings(m->sheet, (const char *const *)titles, m->columns, error);
    if (!result)
        result = sheet_row(m->sheet, "Whole frames", "The model sees what lies within the lines.",
                           images, m->columns, p->tile_height, p->tile_width, UPSCALE_NEAREST,
                           error);
    for (int i = 0; i < m->columns; i++) {
        canvas_free(tiles[i]);
        free(titles[i]);
    }
    return result;
}

static int add_frames(const Maker *m, Error *error) {
    if (m->p->whole && add_whole(m, error))
        return -1;
    return add_row(m, LATENT_FRAME, NULL, !m->p->whole, error);
}

/* Heading of a mask setting, with its measures. */
static int add_section(const Maker *m, int mask, bool measures, Error *error) {
    const LatentPictures *p = m->p;
    char *name = mask_name(p, mask), *more = NULL;
    if (measures)
        more = latent_mask_measures(&p->paint->latents->mask[mask]);
    else
        more = memory_text("%.0f %% of the tokens hidden",
                           100 * p->paint->latents->mask[mask].share);
    char *title = memory_text("%s: %s · %s", name, p->mask_text[mask], more);
    int result = sheet_section(m->sheet, title, error);
    free(name);
    free(more);
    free(title);
    return result;
}

/* The rows of one picture. */
static int fill(const Maker *m, unsigned picture, Error *error) {
    const LatentPictures *p = m->p;
    bool all = picture == LATENT_SHEET_PICTURE;
    if (picture != LATENT_ERRORS_PICTURE && add_frames(m, error))
        return -1;
    if ((all || picture == LATENT_LATENTS_PICTURE) && add_row(m, LATENT_TARGET, NULL, false, error))
        return -1;
    for (int i = 0; i < p->paint->latents->settings; i++) {
        if (p->only >= 0 && p->only != i)
            continue;
        latent_paint_choose(p->paint, i);
        if (add_section(m, i, picture != LATENT_MASKS_PICTURE, error))
            return -1;
        bool latents = all || picture == LATENT_LATENTS_PICTURE,
             errors = all || picture == LATENT_ERRORS_PICTURE;
        if ((all || !latents) && add_row(m, LATENT_MASKED, NULL, true, error))
            return -1;
        if (latents && add_row(m, LATENT_PREDICTED, NULL, !all, error))
            return -1;
        for (LatentQuantity q = LATENT_ERROR; errors && q < LATENT_QUANTITIES; q++)
            if (add_row(m, q, NULL, true, error))
                return -1;
    }
    return 0;
}

static void caption_colors(Sheet *sheet, const LatentAxes *axes) {
    double share[LATENT_COLORS], all = 0;
    for (int k = 0; k < LATENT_COLORS; k++) {
        share[k] = 100 * latent_axes_share(axes, k);
        all += share[k];
    }
    char *text = memory_text(
        "Colours of latents: three principal components of target and predicted tokens, fitted on "
        "both together: the first as lightness, the second from blue to yellow, the third from "
        "green to pink. They carry %.0f %%, %.0f %% and %.0f %% of the variance, %.0f %% in all; "
        "the rest is not seen here. The same colour is the same place along these axes in every "
        "row "
        "and under every mask.",
        share[0], share[1], share[2], all);
    sheet_caption(sheet, text);
    free(text);
}

static void caption_errors(Sheet *sheet) {
    sheet_caption(
        sheet, "Error: mean |z − h| of prediction z and target h, which is normalised to mean 0 "
               "and variance 1 over its features; one scale for all masks and predictors, what "
               "lies beyond takes the colour at its end. Skill: 1 − error / error of the better "
               "trivial predictor; 1 is perfect, 0 no better than it, below 0 worse. Both trivial "
               "predictors are told more than the model: the mean of the answers, and latents of "
               "an encoder that has seen the whole clip.");
}

static const struct Known {
    unsigned bit;
    const char *what, *name;
} known[] = {{LATENT_MASKS_PICTURE, "What is hidden", "masks"},
             {LATENT_LATENTS_PICTURE, "Target and predicted latents", "latents"},
             {LATENT_ERRORS_PICTURE, "Where the prediction errs", "errors"},
             {LATENT_SHEET_PICTURE, "What the model predicts", "contact-sheet"}};

int latent_picture_write(const LatentPictures *p, unsigned picture, const char *what,
                         const char *name, const char *folder, FILE *list, Error *error) {
    int time = p->paint->latents->grid.time, k = 0;
    Maker m = {.p = p, .columns = time < LATENT_COLUMNS ? time : LATENT_COLUMNS};
    for (int i = 0; i < m.columns; i++)
        m.step[i] = i * time / m.columns;
    while (known[k].bit != picture)
        k++;
    char *title = memory_text("%s: %s", what ? what : known[k].what, p->video);
    char *file = memory_text("%s.png", name ? name : known[k].name),
         *path = path_join(folder, file);
    Canvas *canvas = NULL;
    m.sheet = sheet_new(title, p->origin, p->tile_height);
    int result = fill(&m, picture, error);
    if (!result && (picture & (LATENT_LATENTS_PICTURE | LATENT_SHEET_PICTURE)))
        caption_colors(m.sheet, p->axes);
    if (!result && (picture & (LATENT_ERRORS_PICTURE | LATENT_SHEET_PICTURE)))
        caption_errors(m.sheet);
    if (!result && m.columns < time) {
        char *text = memory_text("Columns: %d of %d time steps, spread evenly.", m.columns, time);
        sheet_caption(m.sheet, text);
        free(text);
    }
    if (!result)
        result = sheet_draw(&canvas, m.sheet, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result && list)
        fprintf(list, "%s\n", path);
    canvas_free(canvas);
    sheet_free(m.sheet);
    free(title);
    free(file);
    free(path);
    return result;
}
