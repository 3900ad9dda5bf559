/* A film strip and curves. See eval/surprise_sheet.h. Laid out from the top, once to measure and
 * once to draw. */
#include "eval/surprise_sheet.h"
#include "eval/axis.h"
#include "eval/font.h"
#include <math.h>
#include <stdlib.h>

#define MARGIN     24
#define LEFT       116 /* of the plot: room for the numbers */
#define PLOT       360 /* height */
#define TITLE_SIZE 32.0
#define TEXT_SIZE  25.0
#define KEY_LINE   40 /* of a curve in the legend, pixels */
#define TILE_GAP   4
#define TILE_WIDTH 116 /* wanted */
#define TILE_RIGHT (SURPRISE_SHEET_WIDTH - MARGIN)

typedef struct Drawing {
    const SurpriseSheet *sheet;
    Canvas *canvas; /* NULL: only measured */
    int y;
} Drawing;

int surprise_tiles(int *height, int *width, int frame_height, int frame_width) {
    int room = TILE_RIGHT - LEFT;
    double shape = (double)frame_width / frame_height;
    /* as wide as a square of that side asks for, less for tall frames, more for wide ones */
    int count = (int)lround(room / (TILE_WIDTH * fmax(1, sqrt(shape))));
    count = count < 3 ? 3 : count > SURPRISE_TILES_MOST ? SURPRISE_TILES_MOST : count;
    *width = room / count - TILE_GAP;
    *height = (int)fmin(fmax(round(*width / shape), 8), 4 * *width);
    return count;
}

static void put(const Drawing *d, double x, double y, const char *text, FontStyle style) {
    if (d->canvas)
        font_draw(d->canvas, x, y, text, &style);
}

static void paragraph(Drawing *d, const char *text, double size, bool bold, Color color) {
    char **lines;
    if (!text || !*text)
        return;
    size_t n = font_wrap(&lines, text, size, bold, SURPRISE_SHEET_WIDTH - 2 * MARGIN);
    for (size_t i = 0; i < n; i++) {
        d->y += (int)font_line(size);
        put(d, MARGIN, d->y, lines[i], (FontStyle){.size = size, .bold = bold, .color = color});
    }
    font_lines_free(lines, n);
    d->y += 14;
}

static void draw_strip(Drawing *d, const SurpriseStrip *strip) {
    if (strip->label)
        paragraph(d, strip->label, TEXT_SIZE, true, strip->color);
    double room = (double)(TILE_RIGHT - LEFT) / strip->count;
    for (int i = 0; i < strip->count && d->canvas; i++) {
        int x = (int)lround(LEFT + (i + 0.5) * room - strip->width / 2.0);
        if (strip->tile[i])
            canvas_image(d->canvas, x, d->y, strip->tile[i], strip->width, strip->height);
        else
            canvas_rectangle(d->canvas, x, d->y, strip->width, strip->height, COLOR_VOID, 1);
    }
    d->y += strip->height + 14;
}

static void draw_legend(Drawing *d) {
    double x = MARGIN;
    d->y += (int)font_line(TEXT_SIZE);
    for (int i = 0; i < d->sheet->line_count; i++) {
        const SurpriseLine *line = &d->sheet->lines[i];
        double width = KEY_LINE + 10 + font_width(line->name, TEXT_SIZE, false);
        if (x > MARGIN && x + width > TILE_RIGHT) {
            x = MARGIN;
            d->y += (int)font_line(TEXT_SIZE);
        }
        double middle = d->y - font_capital(TEXT_SIZE) / 2;
        if (d->canvas)
            canvas_line(d->canvas, x, middle, x + KEY_LINE, middle, line->thickness + 2,
                        line->color, 1);
        put(d, x + KEY_LINE + 10, d->y, line->name,
            (FontStyle){.size = TEXT_SIZE, .color = COLOR_INK});
        x += width + 28;
    }
    d->y += 18;
}

static Axis value_axis(const SurpriseSheet *s) {
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < s->line_count; i++)
        for (int64_t k = 0; k < s->lines[i].count; k++) {
            low = fmin(low, s->lines[i].y[k]);
            high = fmax(high, s->lines[i].y[k]);
        }
    return axis_linear(low, high, 5, true);
}

static void draw_grid(Drawing *d, const Axis *time, const Axis *value) {
    const FontStyle left = {.size = TEXT_SIZE, .color = COLOR_INK, .align = FONT_RIGHT},
                    below = {.size = TEXT_SIZE, .color = COLOR_INK, .align = FONT_CENTRE};
    int width = TILE_RIGHT - LEFT;
    for (int i = 0; i < value->count; i++) {
        double y = d->y + PLOT * (1 - axis_place(value, value->ticks[i]));
        canvas_line(d->canvas, LEFT, y, TILE_RIGHT, y, 1.5, COLOR_GRID, 1);
        put(d, LEFT - 10, round(y + font_capital(TEXT_SIZE) / 2), value->labels[i], left);
    }
    for (int i = 0; i < time->count; i++) {
        double x = LEFT + width * axis_place(time, time->ticks[i]);
        canvas_line(d->canvas, x, d->y, x, d->y + PLOT, 1.5, COLOR_GRID, 1);
        char *label = memory_text("%s s", time->labels[i]);
        double half = font_width(label, TEXT_SIZE, false) / 2;
        put(d, fmin(x, SURPRISE_SHEET_WIDTH - 4 - half), d->y + PLOT + font_line(TEXT_SIZE), label,
            below);
        free(label);
    }
    canvas_frame(d->canvas, LEFT, d->y, width, PLOT, 1, COLOR_FRAME);
}

static void draw_lines(Drawing *d, const Axis *time, const Axis *value) {
    int width = TILE_RIGHT - LEFT;
    for (int i = 0; i < d->sheet->line_count; i++) {
        const SurpriseLine *line = &d->sheet->lines[i];
        Point *points = memory_new((size_t)line->count + 1, sizeof *points);
        for (int64_t k = 0; k < line->count; k++)
            points[k] = (Point){LEFT + width * axis_place(time, line->x[k]),
                                d->y + PLOT * (1 - axis_place(value, line->y[k]))};
        canvas_stroke(d->canvas, points, (size_t)line->count, line->thickness, line->color, 1);
        for (int64_t k = 0; k < line->count && line->count <= 64; k++)
            canvas_stroke(d->canvas, points + k, 1, 2.5 * line->thickness, line->color, 1);
        free(points);
    }
}

/* The marked moment: a dashed line, its name at the side where there is room. */
static void draw_mark(Drawing *d, const Axis *time) {
    const SurpriseSheet *s = d->sheet;
    double place = axis_place(time, s->mark), x = LEFT + (TILE_RIGHT - LEFT) * place;
    if (!(place >= 0 && place <= 1))
        return;
    for (int y = 0; y < PLOT; y += 16)
        canvas_line(d->canvas, x, d->y + y, x, d->y + y + 8, 2.5, COLOR_INK, 1);
    if (s->mark_name)
        put(d, place < 0.5 ? x + 10 : x - 10, d->y + font_line(TEXT_SIZE), s->mark_name,
            (FontStyle){.size = TEXT_SIZE,
                        .color = COLOR_INK,
                        .align = place < 0.5 ? FONT_LEFT : FONT_RIGHT});
}

static void draw_plot(Drawing *d) {
    /* ticks at whole steps, but an axis that ends with the video, as the strip does */
    Axis time = axis_linear(0, d->sheet->seconds, 5, false), value = value_axis(d->sheet);
    if (d->sheet->unit)
        put(d, MARGIN, d->y + font_line(TEXT_SIZE) - 6, d->sheet->unit,
            (FontStyle){.size = TEXT_SIZE, .color = COLOR_FAINT});
    d->y += (int)font_line(TEXT_SIZE) + 10;
    if (d->canvas) {
        draw_grid(d, &time, &value);
        draw_lines(d, &time, &value);
        draw_mark(d, &time);
    }
    d->y += PLOT + (int)font_line(TEXT_SIZE) + 16;
}

static void draw_all(Drawing *d) {
    const SurpriseSheet *s = d->sheet;
    d->y = MARGIN / 2;
    paragraph(d, s->title, TITLE_SIZE, true, COLOR_INK);
    for (int i = 0; i < s->strip_count; i++)
        draw_strip(d, &s->strips[i]);
    draw_legend(d);
    draw_plot(d);
    paragraph(d, s->caption, TEXT_SIZE, false, COLOR_FAINT);
    d->y += MARGIN;
}

int surprise_sheet_draw(Canvas **canvas, const SurpriseSheet *sheet, Error *error) {
    Drawing d = {.sheet = sheet};
    draw_all(&d);
    if (canvas_new(canvas, SURPRISE_SHEET_WIDTH, d.y, COLOR_PAPER, error))
        return -1;
    d.canvas = *canvas;
    draw_all(&d);
    return 0;
}
