/* Layout of panels: measured and drawn by the same walk from top to bottom. See eval/film_page.h.
 */
#include "eval/film_page.h"
#include "eval/axis.h"
#include "eval/font.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN      20
#define GAP         14 /* between tiles */
#define TITLE_SIZE  19.0
#define LABEL_SIZE  14.0
#define SMALL_SIZE  12.0
#define BAR_WIDTH   12
#define BAR_ROOM    92 /* colour bar with its numbers */
#define KEY_TEXT    18 /* from a key's colour to its name */
#define LEAST_WIDTH 360
#define TRACK       4 /* pixels: height of the bar that shows the progress */

typedef struct Panel {
    char *label, *note;
    Canvas *tile;
    int x, y;
} Panel;

typedef struct Bar {
    bool shown;
    Colormap map;
    double low, high;
    char *unit;
} Bar;

struct FilmPage {
    char *title, *subtitle, *caption;
    int rows, columns, tile_height, tile_width;
    bool notes;
    Panel panel[FILM_PAGE_ROWS][FILM_PAGE_COLUMNS];
    Bar bar[FILM_PAGE_ROWS];
    int key_count;
    Color key_color[FILM_PAGE_KEYS];
    char *key[FILM_PAGE_KEYS];
    int width, height, track; /* y of the progress bar */
    Canvas *still, *picture;  /* what stays; with what moves */
};

static char *copy(const char *text) {
    return text ? memory_text("%s", text) : NULL;
}

FilmPage *film_page_new(const char *title, const char *subtitle, const char *caption, int rows,
                        int columns, int tile_height, int tile_width) {
    JEPA_ASSERT(rows >= 1 && rows <= FILM_PAGE_ROWS && columns >= 1 &&
                columns <= FILM_PAGE_COLUMNS);
    FilmPage *p = memory_new(1, sizeof *p);
    p->title = copy(title);
    p->subtitle = copy(subtitle);
    p->caption = copy(caption);
    p->rows = rows;
    p->columns = columns;
    p->tile_height = tile_height;
    p->tile_width = tile_width;
    return p;
}

void film_page_free(FilmPage *p) {
    if (!p)
        return;
    for (int r = 0; r < p->rows; r++) {
        for (int c = 0; c < p->columns; c++) {
            free(p->panel[r][c].label);
            free(p->panel[r][c].note);
            canvas_free(p->panel[r][c].tile);
        }
        free(p->bar[r].unit);
    }
    for (int k = 0; k < p->key_count; k++)
        free(p->key[k]);
    canvas_free(p->still);
    canvas_free(p->picture);
    free(p->title);
    free(p->subtitle);
    free(p->caption);
    free(p);
}

static Panel *panel_of(FilmPage *p, int row, int column) {
    JEPA_ASSERT(row >= 0 && row < p->rows && column >= 0 && column < p->columns);
    return &p->panel[row][column];
}

void film_page_label(FilmPage *p, int row, int column, const char *label) {
    Panel *panel = panel_of(p, row, column);
    free(panel->label);
    panel->label = copy(label);
}

void film_page_notes(FilmPage *p) {
    p->notes = true;
}

void film_page_bar(FilmPage *p, int row, Colormap map, double low, double high, const char *unit) {
    free(p->bar[row].unit);
    p->bar[row] = (Bar){true, map, low, high, copy(unit)};
}

void film_page_key(FilmPage *p, Color color, const char *name) {
    JEPA_ASSERT(p->key_count < FILM_PAGE_KEYS);
    p->key_color[p->key_count] = color;
    p->key[p->key_count++] = copy(name);
}

/* Wrapped text from `y` down, and the y below it; canvas NULL only measures. */
static int draw_text(Canvas *canvas, int x, int y, const char *text, double size, bool bold,
                     Color color, double width) {
    char **lines;
    if (!text || !*text)
        return y;
    size_t count = font_wrap(&lines, text, size, bold, width);
    FontStyle style = {size, bold, color, FONT_LEFT, 0.0};
    for (size_t i = 0; i < count; i++) {
        if (canvas)
            font_draw(canvas, x, y + font_capital(size) + 2, lines[i], &style);
        y += (int)font_line(size);
    }
    font_lines_free(lines, count);
    return y;
}

static void draw_bar(Canvas *canvas, const Bar *bar, int x, int y, int height) {
    FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    int capital = (int)font_capital(SMALL_SIZE), length = bar->unit ? height - 20 : height;
    double values[3] = {bar->high, (bar->low + bar->high) / 2, bar->low};
    for (int i = 0; i < length; i++)
        canvas_rectangle(canvas, x, y + i, BAR_WIDTH, 1,
                         colormap_color(bar->map, 1.0 - (double)i / (length - 1)), 1);
    canvas_frame(canvas, x, y, BAR_WIDTH, length, 1, COLOR_FRAME);
    int places[3] = {y + capital, y + (length + capital) / 2, y + length};
    for (int i = 0; i < 3; i++) {
        char text[NUMBER_TEXT];
        number_text(text, values[i], 3);
        font_draw(canvas, x + BAR_WIDTH + 6, places[i], text, &style);
    }
    if (bar->unit) {
        char *unit = font_elide(bar->unit, SMALL_SIZE, false, BAR_ROOM);
        font_draw(canvas, x, y + height - 2, unit, &style);
        free(unit);
    }
}

static int draw_keys(Canvas *canvas, const FilmPage *p, int y) {
    int x = MARGIN, line = (int)font_line(SMALL_SIZE);
    FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    for (int k = 0; k < p->key_count; k++) {
        char *name = font_elide(p->key[k], SMALL_SIZE, false, p->width - 2 * MARGIN - KEY_TEXT);
        int wide = KEY_TEXT + (int)font_width(name, SMALL_SIZE, false);
        if (x > MARGIN && x + wide > p->width - MARGIN) {
            x = MARGIN;
            y += line + 2;
        }
        if (canvas) {
            canvas_rectangle(canvas, x, y + 1, 12, 12, p->key_color[k], 1);
            canvas_frame(canvas, x, y + 1, 12, 12, 1, COLOR_FRAME);
            font_draw(canvas, x + KEY_TEXT, y + 1 + font_capital(SMALL_SIZE) + 1, name, &style);
        }
        x += wide + 18;
        free(name);
    }
    return p->key_count ? y + line + 4 : y;
}

/* Everything that stays; canvas NULL only measures. Returns the height. */
static int walk(Canvas *canvas, FilmPage *p) {
    double room = p->width - 2 * MARGIN;
    int y = draw_text(canvas, MARGIN, MARGIN - 4, p->title, TITLE_SIZE, true, COLOR_INK, room);
    y = draw_text(canvas, MARGIN, y + 1, p->subtitle, SMALL_SIZE, false, COLOR_FAINT, room);
    y += 10;
    for (int r = 0; r < p->rows; r++) {
        int labels = y, top;
        for (int c = 0; c < p->columns; c++) { /* the deepest label of the row */
            int x = MARGIN + c * (p->tile_width + GAP);
            int below = draw_text(NULL, x, y, p->panel[r][c].label, LABEL_SIZE, true, COLOR_INK,
                                  p->tile_width);
            labels = below > labels ? below : labels;
        }
        top = labels + 4;
        for (int c = 0; c < p->columns; c++) {
            Panel *panel = &p->panel[r][c];
            panel->x = MARGIN + c * (p->tile_width + GAP);
            panel->y = top;
            /* labels stand on the tiles */
            int below = draw_text(NULL, 0, y, panel->label, LABEL_SIZE, true, COLOR_INK,
                                  p->tile_width);
            draw_text(canvas, panel->x, y + labels - below, panel->label, LABEL_SIZE, true,
                      COLOR_INK, p->tile_width);
        }
        if (canvas && p->bar[r].shown)
            draw_bar(canvas, &p->bar[r], MARGIN + p->columns * (p->tile_width + GAP), top,
                     p->tile_height);
        y = top + p->tile_height + (p->notes ? 4 + (int)font_line(SMALL_SIZE) : 0) + 10;
    }
    p->track = y + 2;
    y += TRACK + (int)font_line(SMALL_SIZE) + 12;
    y = draw_keys(canvas, p, y);
    y = draw_text(canvas, MARGIN, y + 2, p->caption, SMALL_SIZE, false, COLOR_FAINT,
                  room < 900 ? room : 900);
    return y + MARGIN - 6;
}

int film_page_start(FilmPage *p, Error *error) {
    bool bars = false;
    for (int r = 0; r < p->rows; r++)
        bars = bars || p->bar[r].shown;
    p->width = 2 * MARGIN + p->columns * (p->tile_width + GAP) - GAP + (bars ? GAP + BAR_ROOM : 0);
    p->width = p->width < LEAST_WIDTH ? LEAST_WIDTH : p->width;
    p->width += p->width % 2;
    p->height = walk(NULL, p);
    p->height += p->height % 2;
    if (canvas_new(&p->still, p->width, p->height, COLOR_PAPER, error) ||
        canvas_new(&p->picture, p->width, p->height, COLOR_PAPER, error))
        return -1;
    walk(p->still, p);
    for (int r = 0; r < p->rows; r++)
        for (int c = 0; c < p->columns; c++)
            if (p->panel[r][c].label &&
                canvas_new(&p->panel[r][c].tile, p->tile_width, p->tile_height, COLOR_VOID, error))
                return -1;
    return 0;
}

void film_page_size(const FilmPage *p, int *width, int *height) {
    *width = p->width;
    *height = p->height;
}

Canvas *film_page_tile(FilmPage *p, int row, int column) {
    return panel_of(p, row, column)->tile;
}

void film_page_note(FilmPage *p, int row, int column, const char *note) {
    Panel *panel = panel_of(p, row, column);
    free(panel->note);
    panel->note = copy(note);
}

static void draw_progress(const FilmPage *p, const char *moment, double progress) {
    FontStyle style = {SMALL_SIZE, false, COLOR_INK, FONT_LEFT, 0.0};
    int length = p->width - 2 * MARGIN;
    progress = progress < 0 ? 0 : progress > 1 ? 1 : progress;
    canvas_rectangle(p->picture, MARGIN, p->track, length, TRACK, COLOR_GRID, 1);
    canvas_rectangle(p->picture, MARGIN, p->track, (int)lround(length * progress), TRACK,
                     COLOR_FAINT, 1);
    char *text = font_elide(moment, SMALL_SIZE, false, length);
    font_draw(p->picture, MARGIN, p->track + TRACK + 6 + font_capital(SMALL_SIZE), text, &style);
    free(text);
}

const Canvas *film_page_picture(FilmPage *p, const char *moment, double progress) {
    memcpy(p->picture->rgb, p->still->rgb, (size_t)p->width * (size_t)p->height * 3);
    FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    for (int r = 0; r < p->rows; r++)
        for (int c = 0; c < p->columns; c++) {
            const Panel *panel = &p->panel[r][c];
            if (!panel->tile)
                continue;
            canvas_image(p->picture, panel->x, panel->y, panel->tile->rgb, p->tile_width,
                         p->tile_height);
            if (!panel->note || !p->notes)
                continue;
            char *note = font_elide(panel->note, SMALL_SIZE, false, p->tile_width);
            font_draw(p->picture, panel->x,
                      panel->y + p->tile_height + 5 + font_capital(SMALL_SIZE), note, &style);
            free(note);
        }
    draw_progress(p, moment, progress);
    return p->picture;
}
