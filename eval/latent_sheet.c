/* Tiles, rows and texts of the latent pictures. See eval/latent_sheet.h. */
#include "eval/latent_sheet.h"
#include "base/file.h"
#include "eval/axis.h"
#include "eval/png.h"
#include "eval/sheet.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE_LEAST   128  /* pixels */
#define TILE_MOST    200  /* pixels */
#define SHEET_WIDE   2400 /* pixels, wished */
#define SHEET_BORDER 408  /* pixels of a sheet that are not tiles: labels, colour bar, margins */
#define TILE_GAP     6    /* pixels between tiles */
#define HATCH        7    /* pixels from one line of the hatching to the next */
#define TINT         0.62 /* share of the mask's colour over a hidden token */
#define EDGE_WIDTH   2    /* pixels */

#define COLOR_HIDDEN  palette_color(1)         /* vermilion */
#define COLOR_CONTEXT ((Color){222, 222, 222}) /* visible tokens where nothing is predicted */
#define COLOR_EDGE    ((Color){255, 255, 255}) /* between context and hidden tokens */

/* One row of tiles that is being filled. */
typedef struct Strip {
    Canvas *tile[LATENT_COLUMNS];
    char *heading[LATENT_COLUMNS];
    int count;
} Strip;

typedef struct Painter {
    const LatentPictures *p;
    int columns;
    int step[LATENT_COLUMNS]; /* time step of a column */
    int mask;                 /* the current one */
    int64_t *row;             /* [N] hidden row of a token under the current mask, -1: visible */
    double low, high;         /* of the error's colours */
} Painter;

int latent_tile(MaskGrid grid) {
    int columns = grid.time < LATENT_COLUMNS ? grid.time : LATENT_COLUMNS;
    int tile = (SHEET_WIDE - SHEET_BORDER) / columns - TILE_GAP;
    tile = tile > TILE_MOST ? TILE_MOST : tile < TILE_LEAST ? TILE_LEAST : tile;
    int whole = tile / grid.height * grid.height;
    if (whole < TILE_LEAST)
        whole = (TILE_LEAST + grid.height - 1) / grid.height * grid.height;
    return whole > 2 * TILE_LEAST ? tile : whole; /* a grid too fine for whole pixels */
}

static void strip_free(Strip *strip) {
    for (int i = 0; i < strip->count; i++) {
        canvas_free(strip->tile[i]);
        free(strip->heading[i]);
    }
    memset(strip, 0, sizeof *strip);
}

static int strip_new(Strip *strip, const Painter *painter, Error *error) {
    memset(strip, 0, sizeof *strip);
    for (int i = 0; i < painter->columns; i++) {
        if (canvas_new(&strip->tile[i], painter->p->tile, painter->p->tile, COLOR_CONTEXT, error)) {
            strip_free(strip);
            return -1;
        }
        strip->count++;
    }
    return 0;
}

/* Where a token lies in its tile: pixels from..to of one axis. */
static int token_edge(int place, int count, int tile) {
    return place * tile / count;
}

static void token_fill(Canvas *tile, MaskGrid grid, int y, int x, Color color) {
    int top = token_edge(y, grid.height, tile->height),
        bottom = token_edge(y + 1, grid.height, tile->height),
        left = token_edge(x, grid.width, tile->width),
        right = token_edge(x + 1, grid.width, tile->width);
    canvas_rectangle(tile, left, top, right - left, bottom - top, color, 1);
}

static Color rgb_color(const float *rgb) {
    return (Color){(uint8_t)lroundf(255 * rgb[0]), (uint8_t)lroundf(255 * rgb[1]),
                   (uint8_t)lroundf(255 * rgb[2])};
}

/* Lines where hidden and visible tokens of one time step meet. */
static void draw_edges(Canvas *tile, const Painter *painter, int step) {
    MaskGrid grid = painter->p->latents->grid;
    const int64_t *row = painter->row + (int64_t)step * grid.height * grid.width;
    for (int y = 0; y < grid.height; y++)
        for (int x = 0; x < grid.width; x++) {
            bool hidden = row[y * grid.width + x] >= 0;
            int top = token_edge(y, grid.height, tile->height),
                bottom = token_edge(y + 1, grid.height, tile->height),
                left = token_edge(x, grid.width, tile->width),
                right = token_edge(x + 1, grid.width, tile->width), half = EDGE_WIDTH / 2;
            if (x + 1 < grid.width && hidden != (row[y * grid.width + x + 1] >= 0))
                canvas_rectangle(tile, right - half, top - half, EDGE_WIDTH,
                                 bottom - top + EDGE_WIDTH, COLOR_EDGE, 1);
            if (y + 1 < grid.height && hidden != (row[(y + 1) * grid.width + x] >= 0))
                canvas_rectangle(tile, left - half, bottom - half, right - left + EDGE_WIDTH,
                                 EDGE_WIDTH, COLOR_EDGE, 1);
        }
}

typedef enum Quantity {
    FRAMES,
    FRAMES_MASKED,
    TARGET_ALL,
    TARGET_HIDDEN,
    PREDICTED,
    ERROR_MODEL,
    ERROR_TRIVIAL
} Quantity;

static void draw_frame(Canvas *tile, const Painter *painter, int step) {
    size_t bytes = (size_t)tile->width * (size_t)tile->height * 3;
    memcpy(tile->rgb, painter->p->frames + (size_t)step * bytes, bytes);
}

/* Hidden tokens lose their picture: grey, tinted and hatched. */
static void draw_mask(Canvas *tile, const Painter *painter, int step) {
    MaskGrid grid = painter->p->latents->grid;
    const int64_t *row = painter->row + (int64_t)step * grid.height * grid.width;
    for (int y = 0; y < tile->height; y++)
        for (int x = 0; x < tile->width; x++) {
            int ty = (y * grid.height + grid.height - 1) / tile->height,
                tx = (x * grid.width + grid.width - 1) / tile->width;
            ty = ty < grid.height ? ty : grid.height - 1;
            tx = tx < grid.width ? tx : grid.width - 1;
            if (row[ty * grid.width + tx] < 0)
                continue;
            Color c = canvas_get(tile, x, y);
            uint8_t grey = (uint8_t)((c.r * 54 + c.g * 183 + c.b * 19) / 256);
            canvas_blend(tile, x, y, (Color){grey, grey, grey}, 1);
            canvas_blend(tile, x, y, COLOR_HIDDEN, (x + y) % HATCH < 2 ? 1 : TINT);
        }
    draw_edges(tile, painter, step);
}

/* One tile of tokens. */
static void draw_tokens(Canvas *tile, const Painter *painter, int step, Quantity quantity) {
    const Latents *l = painter->p->latents;
    int area = l->grid.height * l->grid.width;
    for (int i = 0; i < area; i++) {
        int64_t token = (int64_t)step * area + i, row = painter->row[token];
        Color color = COLOR_CONTEXT;
        if (quantity == TARGET_ALL || (quantity == TARGET_HIDDEN && row >= 0)) {
            color = rgb_color(l->target_rgb + token * LATENT_COLORS);
        } else if (quantity == PREDICTED && row >= 0) {
            color = rgb_color(l->predicted_rgb + row * LATENT_COLORS);
        } else if (row >= 0) {
            double error = quantity == ERROR_MODEL ? l->error[row] : l->trivial[row];
            double range = painter->high - painter->low;
            color = colormap_color(COLORMAP_DEPTH, (error - painter->low) / range);
        }
        token_fill(tile, l->grid, i / l->grid.width, i % l->grid.width, color);
    }
    if (quantity != TARGET_ALL)
        draw_edges(tile, painter, step);
}

/* "mean 0.62" of the hidden tokens of one time step. */
static char *mean_text(const Painter *painter, int step, const float *values) {
    MaskGrid grid = painter->p->latents->grid;
    int area = grid.height * grid.width, count = 0;
    double sum = 0;
    for (int i = 0; i < area; i++) {
        int64_t row = painter->row[(int64_t)step * area + i];
        if (row >= 0) {
            sum += values[row];
            count++;
        }
    }
    return count ? memory_text("mean %.3f", sum / count) : memory_text("nothing hidden");
}

static char *heading(const Painter *painter, int step, Quantity quantity) {
    const LatentPictures *p = painter->p;
    if (quantity == ERROR_MODEL)
        return mean_text(painter, step, p->latents->error);
    if (quantity == ERROR_TRIVIAL)
        return mean_text(painter, step, p->latents->trivial);
    return memory_text("%.2f s · frame %" PRId64, p->seconds[step], p->number[step]);
}

/* What each row is called and how it is read. */
static const char *label_of(Quantity quantity) {
    static const char *const labels[] = {"Frames",
                                         "Mask",
                                         "Target latents",
                                         "Target latents, hidden tokens",
                                         "Predicted latents",
                                         "Error of the prediction",
                                         "Error of the mean"};
    return labels[quantity];
}

static char *explain(const Painter *painter, Quantity quantity) {
    const LatentPictures *p = painter->p;
    switch (quantity) {
    case FRAMES:
        return memory_text("The first frame of each time step, sharper than the model sees it: %s.",
                           p->input);
    case FRAMES_MASKED:
        return memory_text("The context encoder sees only what is untouched.");
    case TARGET_ALL:
        return memory_text("What the target encoder makes of the whole clip. Like colours: like "
                           "features.");
    case TARGET_HIDDEN:
        return memory_text("The answers: what the predictor should say for each hidden token.");
    case PREDICTED:
        return memory_text(
            "What it says, in the same colours. Its predictions vary %.0f %% as much "
            "as the answers.",
            100 * p->latents->mask[painter->mask].spread);
    case ERROR_MODEL:
        return memory_text("Mean |z − h| over the %d features of a token. Dark is good.",
                           p->latents->width);
    case ERROR_TRIVIAL:
        return memory_text("The same for a predictor that always says the mean answer. Above "
                           "should be darker.");
    }
    return NULL;
}

/* Adds one row to a sheet. */
static int add_row(Sheet *sheet, const Painter *painter, Quantity quantity, bool headings,
                   Error *error) {
    Strip strip;
    const uint8_t *images[LATENT_COLUMNS];
    int tile = painter->p->tile, result;
    if (strip_new(&strip, painter, error))
        return -1;
    for (int i = 0; i < strip.count; i++) {
        strip.heading[i] = heading(painter, painter->step[i], quantity);
        images[i] = strip.tile[i]->rgb;
        if (quantity == FRAMES || quantity == FRAMES_MASKED)
            draw_frame(strip.tile[i], painter, painter->step[i]);
        if (quantity == FRAMES_MASKED)
            draw_mask(strip.tile[i], painter, painter->step[i]);
        else if (quantity != FRAMES)
            draw_tokens(strip.tile[i], painter, painter->step[i], quantity);
    }
    char *text = explain(painter, quantity);
    result = headings
                 ? sheet_headings(sheet, (const char *const *)strip.heading, strip.count, error)
                 : 0;
    if (!result)
        result = sheet_row(sheet, label_of(quantity), text, images, strip.count, tile, tile,
                           UPSCALE_NEAREST, error);
    if (!result && quantity == FRAMES_MASKED)
        sheet_key(sheet, COLOR_HIDDEN, "hidden: to be predicted");
    if (!result && quantity != FRAMES && quantity != FRAMES_MASKED && quantity != TARGET_ALL)
        sheet_key(sheet, COLOR_CONTEXT, "visible: context");
    if (!result && (quantity == ERROR_MODEL || quantity == ERROR_TRIVIAL))
        sheet_colourbar(sheet, COLORMAP_DEPTH, painter->low, painter->high, "mean |z − h|");
    free(text);
    strip_free(&strip);
    return result;
}

/* Which hidden row each token is under mask m. */
static void choose_mask(Painter *painter, int m) {
    const Latents *l = painter->p->latents;
    painter->mask = m;
    for (int i = 0; i < l->tokens; i++)
        painter->row[i] = -1;
    for (int64_t i = 0; i < l->mask[m].count; i++)
        painter->row[l->token[l->mask[m].first + i]] = l->mask[m].first + i;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* One range for all errors, of the model and of the trivial predictor: percentiles 1 and 99,
 * widened to round numbers. */
static void choose_range(Painter *painter) {
    const Latents *l = painter->p->latents;
    size_t rows = (size_t)l->hidden, count = 2 * rows;
    float *all = memory_new(count, sizeof *all);
    memcpy(all, l->error, rows * sizeof *all);
    memcpy(all + rows, l->trivial, rows * sizeof *all);
    qsort(all, count, sizeof *all, ascending);
    Axis axis = axis_linear(all[count / 100], all[count - 1 - count / 100], 12, true);
    painter->low = axis.low < 0 ? 0 : axis.low;
    painter->high = axis.high;
    free(all);
}

static char *mask_title(const LatentPictures *p, int m) {
    const LatentMask *mask = &p->latents->mask[m];
    const char *sign = mask->skill <= -0.0005 ? "−" : "";
    return memory_text("Mask %d: %s · %.0f %% of the tokens hidden · error %.3f, of the mean "
                       "%.3f · skill %s%.3f · cosine %.3f",
                       m, p->mask_text[m], 100 * mask->share, mask->error, mask->trivial, sign,
                       fabs(mask->skill), mask->cosine);
}

static void caption_colors(Sheet *sheet, const Latents *l) {
    double all = l->variance[0] + l->variance[1] + l->variance[2];
    char *text = memory_text(
        "Colours of latents: the three principal components of answers and predictions, fitted on "
        "both together, as red, green and blue. They carry %.0f %%, %.0f %% and %.0f %% of the "
        "variance, %.0f %% in all; the rest is not seen here. The same colour means the same "
        "place along these axes in every row and under every mask. Each square is one token.",
        100 * l->variance[0], 100 * l->variance[1], 100 * l->variance[2], 100 * all);
    sheet_caption(sheet, text);
    free(text);
}

static void caption_errors(Sheet *sheet) {
    sheet_caption(sheet,
                  "Error: mean |z − h| of prediction z and target h, which is normalised to mean 0 "
                  "and variance 1 over its features; one scale for all masks and both predictors, "
                  "what lies beyond takes the colour at its end. Skill: 1 − error / error of the "
                  "mean; 1 is perfect, 0 no better than always saying the mean of the answers, "
                  "below 0 worse. Cosine: of z and h, mean over the hidden tokens.");
}

static void caption_columns(Sheet *sheet, const Painter *painter) {
    int time = painter->p->latents->grid.time;
    if (painter->columns == time)
        return;
    char *text = memory_text("Columns: %d of %d time steps, spread evenly.", painter->columns,
                             time);
    sheet_caption(sheet, text);
    free(text);
}

/* Draws, writes and frees a sheet. */
static int finish(Sheet *sheet, const Painter *painter, const char *folder, char *name, FILE *list,
                  Error *error) {
    Canvas *canvas = NULL;
    char *path = path_join(folder, name);
    caption_columns(sheet, painter);
    int result = sheet_draw(&canvas, sheet, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result && list)
        fprintf(list, "%s\n", path);
    canvas_free(canvas);
    sheet_free(sheet);
    free(path);
    free(name);
    return result;
}

static Sheet *sheet_titled(const LatentPictures *p, const char *what) {
    char *title = memory_text("%s: %s", what, p->video);
    Sheet *sheet = sheet_new(title, p->origin, p->tile);
    free(title);
    return sheet;
}

/* A picture of one or two rows. */
static int write_rows(const Painter *painter, const char *what, int m, const Quantity *rows,
                      int count, const char *folder, char *name, FILE *list, Error *error) {
    Sheet *sheet = sheet_titled(painter->p, what);
    int result = 0;
    if (m >= 0) {
        char *title = mask_title(painter->p, m);
        result = sheet_section(sheet, title, error);
        free(title);
    }
    for (int i = 0; i < count && !result; i++)
        result = add_row(sheet, painter, rows[i], i == 0 || rows[i] >= ERROR_MODEL, error);
    if (result) {
        sheet_free(sheet);
        free(name);
        return -1;
    }
    if (rows[0] >= TARGET_ALL && rows[0] <= PREDICTED)
        caption_colors(sheet, painter->p->latents);
    if (rows[0] >= ERROR_MODEL)
        caption_errors(sheet);
    return finish(sheet, painter, folder, name, list, error);
}

static const Quantity mask_rows[] = {FRAMES_MASKED, TARGET_HIDDEN, PREDICTED, ERROR_MODEL,
                                     ERROR_TRIVIAL};
#define MASK_ROWS (int)(sizeof mask_rows / sizeof *mask_rows)

static int write_mask(Painter *painter, int m, const char *folder, FILE *list, Error *error) {
    choose_mask(painter, m);
    int result = write_rows(painter, "What is hidden", m, mask_rows, 1, folder,
                            memory_text("mask-%d.png", m), list, error);
    if (!result)
        result = write_rows(painter, "Answers and predictions", m, mask_rows + 1, 2, folder,
                            memory_text("latents-predicted-%d.png", m), list, error);
    if (!result)
        result = write_rows(painter, "Where the prediction errs", m, mask_rows + 3, 2, folder,
                            memory_text("error-%d.png", m), list, error);
    return result;
}

static int fill_contact_sheet(Sheet *sheet, Painter *painter, Error *error) {
    const LatentPictures *p = painter->p;
    if (add_row(sheet, painter, FRAMES, true, error) ||
        add_row(sheet, painter, TARGET_ALL, false, error))
        return -1;
    for (int m = 0; m < p->latents->settings; m++) {
        if (p->only >= 0 && p->only != m)
            continue;
        char *title = mask_title(p, m);
        int result = sheet_section(sheet, title, error);
        free(title);
        choose_mask(painter, m);
        for (int i = 0; i < MASK_ROWS && !result; i++)
            result = add_row(sheet, painter, mask_rows[i], i == 0 || mask_rows[i] >= ERROR_MODEL,
                             error);
        if (result)
            return -1;
    }
    return 0;
}

static int write_contact_sheet(Painter *painter, const char *folder, FILE *list, Error *error) {
    Sheet *sheet = sheet_titled(painter->p, "What the model predicts");
    if (fill_contact_sheet(sheet, painter, error)) {
        sheet_free(sheet);
        return -1;
    }
    caption_colors(sheet, painter->p->latents);
    caption_errors(sheet);
    return finish(sheet, painter, folder, memory_text("contact-sheet.png"), list, error);
}

int latent_pictures_write(const LatentPictures *p, const char *folder, FILE *list, Error *error) {
    const Latents *l = p->latents;
    static const Quantity frames = FRAMES, target = TARGET_ALL;
    Painter painter = {.p = p};
    painter.columns = l->grid.time < LATENT_COLUMNS ? l->grid.time : LATENT_COLUMNS;
    for (int i = 0; i < painter.columns; i++)
        painter.step[i] = i * l->grid.time / painter.columns;
    painter.row = memory_new((size_t)l->tokens, sizeof *painter.row);
    choose_range(&painter);
    int result = write_rows(&painter, "Frames", -1, &frames, 1, folder, memory_text("frames.png"),
                            list, error);
    if (!result)
        result = write_rows(&painter, "Target latents", -1, &target, 1, folder,
                            memory_text("latents-target.png"), list, error);
    for (int m = 0; m < l->settings && !result; m++)
        if (p->only < 0 || p->only == m)
            result = write_mask(&painter, m, folder, list, error);
    if (!result)
        result = write_contact_sheet(&painter, folder, list, error);
    free(painter.row);
    return result;
}
