/* The contact sheet: measured first, then drawn by the same walk from top to bottom. See sheet.h.
 */
#include "eval/sheet.h"

#include "eval/axis.h"
#include "eval/font.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN       32
#define LABEL_WIDTH  196 /* column of labels at the left */
#define LABEL_GAP    20
#define TILE_GAP     6
#define ROW_GAP      14
#define TITLE_SIZE   22.0
#define SECTION_SIZE 16.0
#define LABEL_SIZE   14.0
#define SMALL_SIZE   12.0
#define BAR_GAP      18
#define BAR_WIDTH    14
#define BAR_ROOM     110 /* colour bar with its numbers */
#define KEYS         4
#define CAPTIONS     16
#define TEXT_WIDTH   860 /* longest line of a caption, pixels: longer ones are hard to read */
#define SHEET_WIDTH  640 /* least width, so that titles have room */

typedef struct Row {
    char *section;   /* heading above this row, NULL if none */
    char **headings; /* [heading_count] above this row, NULL if none */
    int heading_count;
    char *label, *explanation;
    int count; /* images; 0: the row is not filled yet */
    int tile_width;
    uint8_t **tiles; /* [count] each [tile][tile_width][3], NULL for an empty one */
    bool bar;
    Colormap map;
    double low, high;
    char *unit;
    int key_count;
    Color key_colors[KEYS];
    char *keys[KEYS];
} Row;

struct Sheet {
    char *title, *subtitle;
    int tile;
    int row_count; /* rows that have images; rows[row_count] collects headings for the next */
    Row rows[SHEET_ROWS_MAX + 1];
    int caption_count;
    char *captions[CAPTIONS];
};

static char *copy(const char *text) {
    return text ? memory_text("%s", text) : NULL;
}

Sheet *sheet_new(const char *title, const char *subtitle, int tile) {
    Sheet *sheet = memory_new(1, sizeof *sheet);
    sheet->title = copy(title);
    sheet->subtitle = copy(subtitle);
    sheet->tile = tile < 64 ? 64 : tile > 1024 ? 1024 : tile;
    return sheet;
}

static void texts_free(char **texts, int count) {
    for (int i = 0; i < count; i++) {
        free(texts[i]);
    }
}

void sheet_free(Sheet *sheet) {
    if (!sheet) {
        return;
    }
    for (int r = 0; r <= sheet->row_count; r++) {
        Row *row = &sheet->rows[r];
        texts_free(row->headings, row->heading_count);
        texts_free(row->keys, row->key_count);
        for (int i = 0; i < row->count; i++) {
            free(row->tiles[i]);
        }
        free(row->headings);
        free(row->tiles);
        free(row->section);
        free(row->label);
        free(row->explanation);
        free(row->unit);
    }
    texts_free(sheet->captions, sheet->caption_count);
    free(sheet->title);
    free(sheet->subtitle);
    free(sheet);
}

static int check_room(const Sheet *sheet, int columns, Error *error) {
    if (sheet->row_count == SHEET_ROWS_MAX || columns < 0 || columns > SHEET_COLUMNS_MAX) {
        return error_set(
            error, ERROR_RUN,
            "contact sheet: row %d with %d pictures does not fit; at most %d rows of %d",
            sheet->row_count + 1, columns, SHEET_ROWS_MAX, SHEET_COLUMNS_MAX);
    }
    return 0;
}

int sheet_headings(Sheet *sheet, const char *const *headings, int count, Error *error) {
    if (check_room(sheet, count, error)) {
        return -1;
    }
    Row *row = &sheet->rows[sheet->row_count];
    texts_free(row->headings, row->heading_count);
    free(row->headings);
    row->headings = memory_new(count ? (size_t)count : 1, sizeof *row->headings);
    row->heading_count = count;
    for (int i = 0; i < count; i++) {
        row->headings[i] = copy(headings[i] ? headings[i] : "");
    }
    return 0;
}

int sheet_section(Sheet *sheet, const char *title, Error *error) {
    if (check_room(sheet, 0, error)) {
        return -1;
    }
    free(sheet->rows[sheet->row_count].section);
    sheet->rows[sheet->row_count].section = copy(title);
    return 0;
}

int sheet_row(Sheet *sheet, const char *label, const char *explanation,
              const uint8_t *const *images, int count, int height, int width, UpscaleMode mode,
              Error *error) {
    if (check_room(sheet, count, error)) {
        return -1;
    }
    if (height < 1 || width < 1 || height > SHEET_IMAGE_MAX || width > SHEET_IMAGE_MAX ||
        count < 1) {
        return error_set(error, ERROR_RUN,
                         "contact sheet: row \"%s\" has %d pictures of %d x %d; needed are at "
                         "least one, and 1 to %d pixels a side",
                         label, count, width, height, SHEET_IMAGE_MAX);
    }
    Row *row = &sheet->rows[sheet->row_count++];
    row->label = copy(label);
    row->explanation = copy(explanation);
    row->count = count;
    row->tile_width = (int)lround((double)sheet->tile * width / height);
    row->tile_width = row->tile_width < 8 ? 8 : row->tile_width > 4096 ? 4096 : row->tile_width;
    row->tiles = memory_new((size_t)count, sizeof *row->tiles);
    for (int i = 0; i < count; i++) {
        if (images[i]) {
            row->tiles[i] = memory_new((size_t)sheet->tile * (size_t)row->tile_width, 3);
            upscale_bytes(row->tiles[i], sheet->tile, row->tile_width, images[i], height, width,
                          mode);
        }
    }
    return 0;
}

void sheet_colourbar(Sheet *sheet, Colormap map, double low, double high, const char *unit) {
    JEPA_ASSERT(sheet->row_count > 0);
    Row *row = &sheet->rows[sheet->row_count - 1];
    free(row->unit);
    row->bar = true;
    row->map = map;
    row->low = low;
    row->high = high;
    row->unit = copy(unit);
}

void sheet_key(Sheet *sheet, Color color, const char *name) {
    JEPA_ASSERT(sheet->row_count > 0);
    Row *row = &sheet->rows[sheet->row_count - 1];
    JEPA_ASSERT(row->key_count < KEYS);
    row->key_colors[row->key_count] = color;
    row->keys[row->key_count++] = copy(name);
}

void sheet_caption(Sheet *sheet, const char *text) {
    JEPA_ASSERT(sheet->caption_count < CAPTIONS);
    sheet->captions[sheet->caption_count++] = copy(text);
}

/* Draws wrapped text from `y` down and returns the y below it; with canvas NULL only measures. */
static long draw_text(Canvas *canvas, int x, long y, const char *text, double size, bool bold,
                      Color color, double width) {
    char **lines;
    size_t count = text ? font_wrap(&lines, text, size, bold, width) : 0;
    FontStyle style = {size, bold, color, FONT_LEFT, 0.0};
    for (size_t i = 0; i < count; i++) {
        if (canvas) {
            font_draw(canvas, x, (double)y + font_capital(size) + 2, lines[i], &style);
        }
        y += (long)font_line(size);
    }
    if (text) {
        font_lines_free(lines, count);
    }
    return y;
}

static void draw_bar(Canvas *canvas, const Row *row, int x, int y, int height) {
    FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    int bar = row->unit ? height - 20 : height; /* the unit stands under the bar */
    for (int i = 0; i < bar; i++) {
        canvas_rectangle(canvas, x, y + i, BAR_WIDTH, 1,
                         colormap_color(row->map, bar > 1 ? 1.0 - (double)i / (bar - 1) : 0.5),
                         1.0);
    }
    canvas_frame(canvas, x, y, BAR_WIDTH, bar, 1, COLOR_FRAME);
    int capital = (int)font_capital(SMALL_SIZE);
    double values[3] = {row->high, (row->high + row->low) / 2, row->low};
    int places[3] = {y + capital, y + (bar + capital) / 2, y + bar};
    for (int i = 0; i < 3; i++) {
        char text[NUMBER_TEXT];
        number_text(text, values[i], 3);
        font_draw(canvas, x + BAR_WIDTH + 8, places[i], text, &style);
    }
    if (row->unit) {
        char *unit = font_elide(row->unit, SMALL_SIZE, false, BAR_ROOM);
        font_draw(canvas, x, y + height - 2, unit, &style);
        free(unit);
    }
}

/* Draws a row from `y` down and returns the y below it; with canvas NULL only measures. */
static long draw_row(Canvas *canvas, const Sheet *sheet, const Row *row, long y, int width) {
    int left = MARGIN + LABEL_WIDTH + LABEL_GAP;
    if (row->section) {
        y = draw_text(canvas, MARGIN, y + 14, row->section, SECTION_SIZE, true, COLOR_INK,
                      width - 2 * MARGIN);
        if (canvas) {
            canvas_rectangle(canvas, MARGIN, (int)y + 2, width - 2 * MARGIN, 1, COLOR_FRAME, 1.0);
        }
        y += 14;
    }
    if (row->headings) {
        FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_CENTRE, 0.0};
        for (int i = 0; canvas && i < row->heading_count; i++) {
            char *text = font_elide(row->headings[i], SMALL_SIZE, false, row->tile_width);
            font_draw(canvas, left + i * (row->tile_width + TILE_GAP) + row->tile_width / 2.0,
                      (double)y + font_capital(SMALL_SIZE), text, &style);
            free(text);
        }
        y += (long)font_line(SMALL_SIZE);
    }
    for (int i = 0; canvas && i < row->count; i++) {
        int x = left + i * (row->tile_width + TILE_GAP);
        if (row->tiles[i]) {
            canvas_image(canvas, x, (int)y, row->tiles[i], row->tile_width, sheet->tile);
        } else {
            canvas_rectangle(canvas, x, (int)y, row->tile_width, sheet->tile, COLOR_VOID, 1.0);
        }
    }
    if (canvas && row->bar) {
        draw_bar(canvas, row, left + row->count * (row->tile_width + TILE_GAP) - TILE_GAP + BAR_GAP,
                 (int)y, sheet->tile);
    }
    long text = draw_text(canvas, MARGIN, y, row->label, LABEL_SIZE, true, COLOR_INK, LABEL_WIDTH);
    text = draw_text(canvas, MARGIN, text + 3, row->explanation, SMALL_SIZE, false, COLOR_FAINT,
                     LABEL_WIDTH);
    for (int k = 0; k < row->key_count; k++) {
        if (canvas) {
            canvas_rectangle(canvas, MARGIN, (int)text + 4, 12, 12, row->key_colors[k], 1.0);
            canvas_frame(canvas, MARGIN, (int)text + 4, 12, 12, 1, COLOR_FRAME);
        }
        text = draw_text(canvas, MARGIN + 19, text + 3, row->keys[k], SMALL_SIZE, false,
                         COLOR_FAINT, LABEL_WIDTH - 19);
    }
    long bottom = y + sheet->tile;
    return text > bottom ? text : bottom;
}

static long draw_all(Canvas *canvas, const Sheet *sheet, int width) {
    long y = MARGIN;
    double room = width - 2 * MARGIN;
    if (sheet->title) {
        y = draw_text(canvas, MARGIN, y, sheet->title, TITLE_SIZE, true, COLOR_INK, room);
    }
    if (sheet->subtitle) {
        y = draw_text(canvas, MARGIN, y + 2, sheet->subtitle, LABEL_SIZE, false, COLOR_FAINT,
                      fmin(room, TEXT_WIDTH + 200));
    }
    y += sheet->title || sheet->subtitle ? 18 : 0;
    for (int r = 0; r < sheet->row_count; r++) {
        y = draw_row(canvas, sheet, &sheet->rows[r], y, width);
        y += r + 1 < sheet->row_count ? ROW_GAP : 0;
    }
    if (sheet->row_count == 0) {
        y = draw_text(canvas, MARGIN, y, "No pictures.", LABEL_SIZE, false, COLOR_FAINT, room);
    }
    for (int i = 0; i < sheet->caption_count; i++) {
        y = draw_text(canvas, MARGIN, y + (i ? 8 : 22), sheet->captions[i], LABEL_SIZE, false,
                      COLOR_INK, fmin(room, TEXT_WIDTH));
    }
    return y + MARGIN;
}

int sheet_draw(Canvas **canvas, const Sheet *sheet, Error *error) {
    *canvas = NULL;
    long width = SHEET_WIDTH;
    for (int r = 0; r < sheet->row_count; r++) {
        const Row *row = &sheet->rows[r];
        long wide = MARGIN + LABEL_WIDTH + LABEL_GAP +
                    (long)row->count * (row->tile_width + TILE_GAP) - TILE_GAP +
                    (row->bar ? BAR_GAP + BAR_ROOM : 0) + MARGIN;
        width = wide > width ? wide : width;
    }
    if (width > CANVAS_SIDE_MAX) {
        return error_set(error, ERROR_RUN,
                         "contact sheet: %ld pixels wide, %d are possible; use fewer pictures in a "
                         "row or smaller tiles",
                         width, CANVAS_SIDE_MAX);
    }
    long height = draw_all(NULL, sheet, (int)width);
    if (height > CANVAS_SIDE_MAX) {
        return error_set(
            error, ERROR_RUN,
            "contact sheet: %ld pixels high, %d are possible; use fewer rows or smaller "
            "tiles",
            height, CANVAS_SIDE_MAX);
    }
    if (canvas_new(canvas, (int)width, (int)height, COLOR_PAPER, error)) {
        return -1;
    }
    draw_all(*canvas, sheet, (int)width);
    return 0;
}
