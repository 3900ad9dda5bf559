/* Drawing a map of clips. See eval/map_sheet.h. */
#include "eval/map_sheet.h"
#include "base/random.h"
#include "eval/colormap.h"
#include "eval/font.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN       28
#define FIELD_WIDTH  980 /* pixels: where points lie */
#define FIELD_HEIGHT 760
#define FIELD_INNER  44 /* pixels from its edge to the outermost point */
#define LEGEND_WIDTH 220
#define LEGEND_GAP   24
#define TITLE_SIZE   22.0
#define LABEL_SIZE   14.0
#define SMALL_SIZE   12.0
#define MARK         5.5 /* pixels: half of a mark's size */
#define BORDER       3   /* pixels around a thumbnail */
#define SHAPES       4

#define COLOR_NOBODY ((Color){150, 150, 150}) /* points without a class */

static bool has_classes(const MapSpec *s) {
    return s->label && s->classes > 0 && s->classes <= MAP_CLASSES_MOST;
}

static Color color_of(const MapSpec *s, size_t i) {
    return has_classes(s) && s->label[i] >= 0 ? palette_color(s->label[i])
           : s->label && s->classes > 0       ? COLOR_NOBODY
                                              : palette_color(0);
}

static int shape_of(const MapSpec *s, size_t i) {
    return has_classes(s) && s->label[i] >= 0 ? s->label[i] / PALETTE_COLORS % SHAPES : 0;
}

/* Pixels within the field, from its top left corner. */
static void lay_out(Point *points, const MapSpec *s) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < s->count; i++)
        for (int k = 0; k < 2; k++) {
            low[k] = fmin(low[k], s->place[2 * i + (size_t)k]);
            high[k] = fmax(high[k], s->place[2 * i + (size_t)k]);
        }
    double across = fmax(high[0] - low[0], 1e-12), up = fmax(high[1] - low[1], 1e-12);
    double scale = fmin((FIELD_WIDTH - 2 * FIELD_INNER) / across,
                        (FIELD_HEIGHT - 2 * FIELD_INNER) / up);
    for (size_t i = 0; i < s->count; i++) {
        points[i].x = FIELD_WIDTH / 2.0 + scale * (s->place[2 * i] - (low[0] + high[0]) / 2);
        points[i].y = FIELD_HEIGHT / 2.0 - scale * (s->place[2 * i + 1] - (low[1] + high[1]) / 2);
    }
}

void map_thumbnails(bool *chosen, const MapSpec *s) {
    Point *points = memory_new(s->count + 1, sizeof *points);
    size_t *taken = memory_new(s->count + 1, sizeof *taken), count = 0;
    double apart = MAP_THUMBNAIL + 2 * BORDER + 2;
    lay_out(points, s);
    for (size_t n = 0; n < s->count; n++) { /* in mixed order, so that no class is preferred */
        size_t i = (size_t)random_permute(0, RANDOM_DIAGNOSTIC, 0, n, s->count);
        chosen[i] = true;
        for (size_t k = 0; k < count && chosen[i]; k++)
            chosen[i] = fabs(points[i].x - points[taken[k]].x) >= apart ||
                        fabs(points[i].y - points[taken[k]].y) >= apart;
        if (chosen[i])
            taken[count++] = i;
    }
    free(points);
    free(taken);
}

/* Disc, square, triangle, diamond, each with a white rim so that neighbours stay apart. */
static void draw_mark(Canvas *canvas, double x, double y, Color color, int shape) {
    for (int pass = 0; pass < 2; pass++) {
        double half = pass ? MARK : MARK + 1.5;
        Color fill = pass ? color : COLOR_PAPER;
        if (shape == 0) {
            Point dot = {x, y};
            canvas_stroke(canvas, &dot, 1, 2 * half, fill, 1);
            continue;
        }
        for (int line = (int)floor(y - half); line <= (int)ceil(y + half); line++) {
            double v = (line + 0.5 - y) / half, wide; /* -1 top, 1 bottom */
            wide = shape == 1 ? 0.88 : shape == 2 ? (v + 1) / 2 * 1.1 : 1.1 * (1 - fabs(v));
            if (fabs(v) > 1 || wide <= 0 || (shape == 1 && fabs(v) > 0.88))
                continue;
            int left = (int)lround(x - wide * half), right = (int)lround(x + wide * half);
            canvas_rectangle(canvas, left, line, right - left, 1, fill, 1);
        }
    }
}

static void draw_thumbnail(Canvas *canvas, double x, double y, const uint8_t *rgb, Color color) {
    int side = MAP_THUMBNAIL + 2 * BORDER, left = (int)lround(x - side / 2.0),
        top = (int)lround(y - side / 2.0);
    canvas_rectangle(canvas, left, top, side, side, color, 1);
    canvas_image(canvas, left + BORDER, top + BORDER, rgb, MAP_THUMBNAIL, MAP_THUMBNAIL);
}

static void draw_points(Canvas *canvas, const MapSpec *s, int left, int top) {
    Point *points = memory_new(s->count + 1, sizeof *points);
    lay_out(points, s);
    canvas_clip(canvas, left, top, FIELD_WIDTH, FIELD_HEIGHT);
    for (int pass = 0; pass < 2; pass++) /* marks over pictures */
        for (size_t i = 0; i < s->count; i++) {
            const uint8_t *picture = s->thumbnails ? s->thumbnails[i] : NULL;
            double x = left + points[i].x, y = top + points[i].y;
            if (picture && !pass)
                draw_thumbnail(canvas, x, y, picture, color_of(s, i));
            if (!picture && pass)
                draw_mark(canvas, x, y, color_of(s, i), shape_of(s, i));
        }
    canvas_unclip(canvas);
    free(points);
}

/* Wrapped text from `y` down, and the y below it; canvas NULL only measures. */
static int draw_text(Canvas *canvas, int x, int y, const char *text, double size, bool bold,
                     Color color, double width) {
    char **lines;
    if (!text)
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

static int draw_legend(Canvas *canvas, const MapSpec *s, int x, int y) {
    int line = (int)font_line(LABEL_SIZE) + 3;
    if (s->label && s->classes > MAP_CLASSES_MOST) {
        char *text = memory_text("%d classes, more than can be told apart", s->classes);
        y = draw_text(canvas, x, y, text, LABEL_SIZE, false, COLOR_FAINT, LEGEND_WIDTH);
        free(text);
        return y;
    }
    for (int k = 0; has_classes(s) && k < s->classes; k++) {
        size_t members = 0;
        for (size_t i = 0; i < s->count; i++)
            members += s->label[i] == k;
        if (canvas) {
            char *text = memory_text("%s (%zu)", s->class_names[k], members);
            char *name = font_elide(text, LABEL_SIZE, false, LEGEND_WIDTH - 24);
            FontStyle style = {LABEL_SIZE, false, COLOR_INK, FONT_LEFT, 0.0};
            draw_mark(canvas, x + 8, y + line / 2.0, palette_color(k), k / PALETTE_COLORS % SHAPES);
            font_draw(canvas, x + 24, y + line / 2 + font_capital(LABEL_SIZE) / 2, name, &style);
            free(text);
            free(name);
        }
        y += line;
    }
    return y;
}

static int walk(Canvas *canvas, const MapSpec *s, int width) {
    double room = width - 2 * MARGIN;
    int y = draw_text(canvas, MARGIN, MARGIN - 4, s->title, TITLE_SIZE, true, COLOR_INK, room);
    y = draw_text(canvas, MARGIN, y + 2, s->subtitle, LABEL_SIZE, false, COLOR_FAINT, room) + 14;
    if (canvas) {
        canvas_rectangle(canvas, MARGIN, y, FIELD_WIDTH, FIELD_HEIGHT, (Color){250, 250, 250}, 1);
        draw_points(canvas, s, MARGIN, y);
        canvas_frame(canvas, MARGIN, y, FIELD_WIDTH, FIELD_HEIGHT, 1, COLOR_FRAME);
    }
    int legend = draw_legend(canvas, s, MARGIN + FIELD_WIDTH + LEGEND_GAP, y);
    y = y + FIELD_HEIGHT > legend ? y + FIELD_HEIGHT : legend;
    return draw_text(canvas, MARGIN, y + 14, s->caption, LABEL_SIZE, false, COLOR_INK,
                     FIELD_WIDTH < 900 ? FIELD_WIDTH : 900) +
           MARGIN;
}

int map_draw(Canvas **canvas, const MapSpec *s, Error *error) {
    int width = 2 * MARGIN + FIELD_WIDTH + (s->label ? LEGEND_GAP + LEGEND_WIDTH : 0);
    if (canvas_new(canvas, width, walk(NULL, s, width), COLOR_PAPER, error))
        return -1;
    walk(*canvas, s, width);
    return 0;
}
