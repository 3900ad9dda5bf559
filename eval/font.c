/* The stroke font: measuring, fitting to pixels, drawing, eliding and wrapping. The shapes are in
 * glyphs.c. */
#include "eval/font.h"

#include "eval/glyphs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CAPITAL_SHARE 0.72 /* capital height / font size */
#define LINE_SHARE    1.38 /* line height / font size */
#define GRID_X_HEIGHT 7.0
#define GRID_CAPITAL  10.0
#define POINTS_MAX    256
#define ARC_STEP      15.0 /* degrees per chord */
#define DOT_SHARE     1.35 /* a dot is that much wider than a stroke */

/* A font at one size: where the lines of the grid come to lie. */
typedef struct Fit {
    double scale;    /* pixels per grid unit, across */
    double stroke;   /* stroke width, pixels */
    double x_height; /* pixels above the baseline of the middle of the stroke */
    double capital;
} Fit;

static Fit fit_make(double size, bool bold) {
    Fit fit;
    double capital = CAPITAL_SHARE * size;
    fit.scale = capital / GRID_CAPITAL;
    fit.stroke = fmax(1.0, size * 0.088) * (bold ? 1.45 : 1.0);
    fit.x_height = fmax(2.0, round(capital * (GRID_X_HEIGHT + 0.6) / 10.6)) - fit.stroke / 2;
    fit.capital = fmax(3.0, round(capital)) - fit.stroke / 2;
    return fit;
}

/* Height above the baseline in pixels of grid height y: straight lines between the fitted heights.
 */
static double fit_y(const Fit *fit, double y) {
    double base = fit->stroke / 2;
    if (y > GRID_X_HEIGHT) {
        return fit->x_height + (y - GRID_X_HEIGHT) * (fit->capital - fit->x_height) /
                                   (GRID_CAPITAL - GRID_X_HEIGHT);
    }
    return base + y * (fit->x_height - base) / GRID_X_HEIGHT;
}

/* The strokes of a glyph on its grid: points, where one that is not a number lifts the pen. */
typedef struct Outline {
    Point points[POINTS_MAX];
    size_t count;
    double left, right; /* extent, grid units */
} Outline;

static void outline_add(Outline *outline, double x, double y) {
    JEPA_ASSERT(outline->count < POINTS_MAX);
    outline->points[outline->count++] = (Point){x, y};
    if (isfinite(x)) {
        outline->left = fmin(outline->left, x);
        outline->right = fmax(outline->right, x);
    }
}

static double read_number(const char **path) {
    while (**path == ' ') {
        (*path)++;
    }
    double sign = 1.0, value = 0.0, place = 0.0;
    if (**path == '-') {
        sign = -1.0;
        (*path)++;
    }
    for (; (**path >= '0' && **path <= '9') || **path == '.'; (*path)++) {
        if (**path == '.') {
            place = 1.0;
            continue;
        }
        value = value * 10.0 + (**path - '0');
        place *= 10.0;
    }
    return sign * (place > 1.0 ? value / place : value);
}

/* Reads a path (glyphs.h): "x y" draws to a point, "(cx cy rx ry from to)" along an ellipse, ";"
 * lifts the pen. */
static void outline_read(Outline *outline, const char *path) {
    outline->count = 0;
    outline->left = INFINITY;
    outline->right = -INFINITY;
    while (*path) {
        if (*path == ' ' || *path == ')') {
            path++;
        } else if (*path == ';') {
            outline_add(outline, NAN, NAN);
            path++;
        } else if (*path == '(') {
            path++;
            double a[6];
            for (int i = 0; i < 6; i++) {
                a[i] = read_number(&path);
            }
            int steps = (int)ceil(fabs(a[5] - a[4]) / ARC_STEP);
            for (int i = 0; i <= steps; i++) {
                double angle = (a[4] + (a[5] - a[4]) * i / steps) * (M_PI / 180.0);
                outline_add(outline, a[0] + a[2] * cos(angle), a[1] + a[3] * sin(angle));
            }
        } else {
            double x = read_number(&path);
            outline_add(outline, x, read_number(&path));
        }
    }
    if (outline->left > outline->right) {
        outline->left = outline->right = 0.0;
    }
}

static double glyph_advance(const Glyph *glyph, const Outline *outline, const Fit *fit) {
    double ink = outline->right - outline->left;
    return fmax(1.0, round((glyph->before + ink + glyph->after) * fit->scale +
                           (fit->stroke > fit->scale * 1.6 ? fit->stroke * 0.2 : 0.0)));
}

static void glyph_draw(Canvas *canvas, double x, double y, const Glyph *glyph, Outline *outline,
                       const Fit *fit, const FontStyle *style, double cosine, double sine) {
    double ink = (outline->right - outline->left) * fit->scale;
    double half = fit->stroke / 2;
    double left = round(glyph->before * fit->scale - half) + half;
    double stretch = ink > 0.0 ? fmax(1.0, round(ink)) / ink * fit->scale : fit->scale;
    Point strokes[POINTS_MAX], dots[POINTS_MAX];
    size_t dot_count = 0;
    for (size_t i = 0; i < outline->count; i++) {
        Point p = outline->points[i];
        double along = left + (p.x - outline->left) * stretch, up = fit_y(fit, p.y);
        Point placed = {x + along * cosine - up * sine, y - along * sine - up * cosine};
        bool before = i > 0 && isfinite(outline->points[i - 1].x);
        bool after = i + 1 < outline->count && isfinite(outline->points[i + 1].x);
        bool lone = isfinite(p.x) && !before && !after;
        if (lone && dot_count + 2 <= POINTS_MAX) {
            dots[dot_count++] = placed;
            dots[dot_count++] = (Point){NAN, NAN};
        }
        strokes[i] = lone || !isfinite(p.x) ? (Point){NAN, NAN} : placed;
    }
    canvas_stroke(canvas, strokes, outline->count, fit->stroke, style->color, 1.0);
    canvas_stroke(canvas, dots, dot_count, fit->stroke * DOT_SHARE, style->color, 1.0);
}

unsigned font_decode(const char **text) {
    const unsigned char *s = (const unsigned char *)*text;
    unsigned first = s[0];
    int more = first >= 0xF0 && first < 0xF5 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
    if (first >= 0xF5) {
        more = 0;
    }
    unsigned code = more == 3 ? first & 7u : more == 2 ? first & 15u : first & 31u;
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) { /* a final zero stops here as well */
            more = -1;
            break;
        }
        code = code << 6 | (s[i] & 63u);
    }
    if (first < 0x80) {
        code = first;
    } else if (more <= 0) {
        (*text)++;
        return 0xFFFD;
    }
    *text += 1 + more;
    return code;
}

double font_width(const char *text, double size, bool bold) {
    Fit fit = fit_make(size, bold);
    Outline outline;
    double width = 0.0;
    while (*text) {
        const Glyph *glyph = glyph_find(font_decode(&text));
        outline_read(&outline, glyph->path);
        width += glyph_advance(glyph, &outline, &fit);
    }
    return width;
}

double font_capital(double size) {
    return fmax(3.0, round(CAPITAL_SHARE * size));
}

double font_line(double size) {
    return ceil(LINE_SHARE * size);
}

void font_draw(Canvas *canvas, double x, double y, const char *text, const FontStyle *style) {
    Fit fit = fit_make(style->size, style->bold);
    double radians = style->angle * (M_PI / 180.0);
    double cosine = cos(radians), sine = sin(radians);
    double share = style->align == FONT_LEFT ? 0.0 : style->align == FONT_CENTRE ? 0.5 : 1.0;
    double back = share > 0.0 ? round(share * font_width(text, style->size, style->bold)) : 0.0;
    /* Whole pixels for the origin, or the fitting to the pixel grid would be lost again. */
    x = round(x - back * cosine);
    y = round(y + back * sine);
    Outline outline;
    while (*text) {
        const Glyph *glyph = glyph_find(font_decode(&text));
        outline_read(&outline, glyph->path);
        glyph_draw(canvas, x, y, glyph, &outline, &fit, style, cosine, sine);
        double advance = glyph_advance(glyph, &outline, &fit);
        x += advance * cosine;
        y -= advance * sine;
    }
}

/* The longest beginning of `text`, in bytes and whole characters, that is at most `width` wide. */
static size_t fitting_bytes(const char *text, double size, bool bold, double width) {
    Fit fit = fit_make(size, bold);
    Outline outline;
    const char *end = text, *next = text;
    double used = 0.0;
    while (*next && *next != '\n') {
        const Glyph *glyph = glyph_find(font_decode(&next));
        outline_read(&outline, glyph->path);
        used += glyph_advance(glyph, &outline, &fit);
        if (used > width) {
            break;
        }
        end = next;
    }
    return (size_t)(end - text);
}

char *font_elide(const char *text, double size, bool bold, double width) {
    if (font_width(text, size, bold) <= width) {
        return memory_text("%s", text);
    }
    const char *dots = "\xE2\x80\xA6";
    size_t bytes = fitting_bytes(text, size, bold, width - font_width(dots, size, bold));
    while (bytes > 0 && text[bytes - 1] == ' ') {
        bytes--;
    }
    char *shorter = memory_new(bytes + 4, 1);
    memcpy(shorter, text, bytes);
    memcpy(shorter + bytes, dots, 4);
    return shorter;
}

size_t font_wrap(char ***lines, const char *text, double size, bool bold, double width) {
    size_t count = 0;
    *lines = NULL;
    while (*text) {
        size_t bytes = fitting_bytes(text, size, bold, width);
        if (bytes == 0 && *text != '\n') { /* not even one character fits: take it all the same */
            const char *next = text;
            font_decode(&next);
            bytes = (size_t)(next - text);
        }
        size_t end = bytes;
        if (text[end] && text[end] != '\n' && text[end] != ' ') {
            size_t space = end;
            while (space > 0 && text[space] != ' ') {
                space--;
            }
            end = space > 0 ? space : end;
        }
        *lines = memory_grow(*lines, count + 1, sizeof **lines);
        char *line = memory_new(end + 1, 1);
        memcpy(line, text, end);
        (*lines)[count++] = line;
        text += end;
        bool broke = *text == '\n';
        text += broke ? 1 : 0;
        while (!broke && *text == ' ') {
            text++;
        }
        if (!broke && *text == '\n') {
            text++;
        }
    }
    return count;
}

void font_lines_free(char **lines, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(lines[i]);
    }
    free(lines);
}
