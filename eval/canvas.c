/* Drawing into a picture: rectangles, strokes by distance, images. See canvas.h. */
#include "eval/canvas.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int canvas_new(Canvas **canvas, int width, int height, Color fill, Error *error) {
    *canvas = NULL;
    if (width < 1 || height < 1 || width > CANVAS_SIDE_MAX || height > CANVAS_SIDE_MAX) {
        return error_set(
            error, ERROR_RUN,
            "picture: %d x %d pixels asked for, 1 to %d a side are possible; draw fewer "
            "rows, columns or classes",
            width, height, CANVAS_SIDE_MAX);
    }
    Canvas *made = memory_new(1, sizeof *made);
    made->width = width;
    made->height = height;
    made->rgb = memory_new((unsigned long)width * (unsigned long)height, 3);
    canvas_unclip(made);
    canvas_rectangle(made, 0, 0, width, height, fill, 1.0);
    *canvas = made;
    return 0;
}

void canvas_free(Canvas *canvas) {
    if (canvas) {
        free(canvas->rgb);
        free(canvas);
    }
}

static int limit(long value, long low, long high) {
    return (int)(value < low ? low : value > high ? high : value);
}

void canvas_clip(Canvas *canvas, int x, int y, int width, int height) {
    canvas->left = limit(x, 0, canvas->width);
    canvas->top = limit(y, 0, canvas->height);
    canvas->right = limit((long)x + (width > 0 ? width : 0), canvas->left, canvas->width);
    canvas->bottom = limit((long)y + (height > 0 ? height : 0), canvas->top, canvas->height);
}

void canvas_unclip(Canvas *canvas) {
    canvas_clip(canvas, 0, 0, canvas->width, canvas->height);
}

static uint8_t *pixel_at(const Canvas *canvas, int x, int y) {
    return canvas->rgb + ((size_t)y * (size_t)canvas->width + (size_t)x) * 3;
}

Color canvas_get(const Canvas *canvas, int x, int y) {
    JEPA_ASSERT(x >= 0 && y >= 0 && x < canvas->width && y < canvas->height);
    const uint8_t *pixel = pixel_at(canvas, x, y);
    return (Color){pixel[0], pixel[1], pixel[2]};
}

static uint8_t mix(uint8_t a, uint8_t b, double t) {
    return (uint8_t)lround(a + ((double)b - a) * t);
}

static void blend(uint8_t *pixel, Color color, double alpha) {
    pixel[0] = mix(pixel[0], color.r, alpha);
    pixel[1] = mix(pixel[1], color.g, alpha);
    pixel[2] = mix(pixel[2], color.b, alpha);
}

static double unit(double t) {
    return t > 0.0 ? (t < 1.0 ? t : 1.0) : 0.0; /* NaN becomes 0 */
}

void canvas_blend(Canvas *canvas, int x, int y, Color color, double alpha) {
    if (x >= canvas->left && x < canvas->right && y >= canvas->top && y < canvas->bottom) {
        blend(pixel_at(canvas, x, y), color, unit(alpha));
    }
}

void canvas_rectangle(Canvas *canvas, int x, int y, int width, int height, Color color,
                      double alpha) {
    if (width <= 0 || height <= 0) {
        return;
    }
    int left = limit(x, canvas->left, canvas->right);
    int right = limit((long)x + width, canvas->left, canvas->right);
    int top = limit(y, canvas->top, canvas->bottom);
    int bottom = limit((long)y + height, canvas->top, canvas->bottom);
    for (int row = top; row < bottom; row++) {
        for (int column = left; column < right; column++) {
            blend(pixel_at(canvas, column, row), color, unit(alpha));
        }
    }
}

void canvas_frame(Canvas *canvas, int x, int y, int width, int height, int thickness, Color color) {
    int inner = height - 2 * thickness;
    canvas_rectangle(canvas, x, y, width, thickness, color, 1.0);
    canvas_rectangle(canvas, x, y + height - thickness, width, thickness, color, 1.0);
    canvas_rectangle(canvas, x, y + thickness, thickness, inner, color, 1.0);
    canvas_rectangle(canvas, x + width - thickness, y + thickness, thickness, inner, color, 1.0);
}

/* How much of each pixel of a rectangle a stroke covers, 0..255. */
typedef struct Coverage {
    int left, top, right, bottom;
    uint8_t *share; /* [bottom - top][right - left] */
} Coverage;

/* Cuts the segment p..q to the rectangle grown by `margin` (Liang and Barsky); false if outside. */
static bool segment_cut(Point *p, Point *q, const Coverage *cover, double margin) {
    double from = 0.0, to = 1.0;
    double dx = q->x - p->x, dy = q->y - p->y;
    double slope[4] = {-dx, dx, -dy, dy};
    double room[4] = {p->x - (cover->left - margin), cover->right + margin - p->x,
                      p->y - (cover->top - margin), cover->bottom + margin - p->y};
    for (int side = 0; side < 4; side++) {
        if (slope[side] == 0.0) {
            if (room[side] < 0.0) {
                return false;
            }
            continue;
        }
        double at = room[side] / slope[side];
        if (slope[side] < 0.0) {
            from = fmax(from, at);
        } else {
            to = fmin(to, at);
        }
    }
    if (from > to) {
        return false;
    }
    Point start = *p;
    *p = (Point){start.x + dx * from, start.y + dy * from};
    *q = (Point){start.x + dx * to, start.y + dy * to};
    return true;
}

static void cover_segment(Coverage *cover, Point p, Point q, double width) {
    double reach = width / 2 + 0.5; /* from the middle to where coverage ends */
    if (!segment_cut(&p, &q, cover, reach + 1)) {
        return;
    }
    double dx = q.x - p.x, dy = q.y - p.y;
    double length2 = dx * dx + dy * dy;
    int top = limit((long)floor(fmin(p.y, q.y) - reach), cover->top, cover->bottom);
    int bottom = limit((long)ceil(fmax(p.y, q.y) + reach), cover->top, cover->bottom);
    for (int y = top; y < bottom; y++) {
        /* The part of the segment within reach of this row bounds the pixels to look at. */
        double a = 0.0, b = 1.0;
        if (fabs(dy) > 1e-9) {
            double first = (y + 0.5 - reach - p.y) / dy, second = (y + 0.5 + reach - p.y) / dy;
            a = unit(fmin(first, second));
            b = unit(fmax(first, second));
        }
        double xa = p.x + dx * a, xb = p.x + dx * b;
        int left = limit((long)floor(fmin(xa, xb) - reach), cover->left, cover->right);
        int right = limit((long)ceil(fmax(xa, xb) + reach), cover->left, cover->right);
        uint8_t *row = cover->share +
                       (size_t)(y - cover->top) * (size_t)(cover->right - cover->left);
        for (int x = left; x < right; x++) {
            double px = x + 0.5 - p.x, py = y + 0.5 - p.y;
            double t = length2 > 0.0 ? unit((px * dx + py * dy) / length2) : 0.0;
            double share = unit(reach - hypot(px - dx * t, py - dy * t));
            /* A stroke thinner than a pixel is paler, not narrower. */
            uint8_t level = (uint8_t)lround(255 * fmin(share, width));
            uint8_t *old = &row[x - cover->left];
            *old = level > *old ? level : *old;
        }
    }
}

static bool finite_point(Point p) {
    return isfinite(p.x) && isfinite(p.y) && fabs(p.x) < 1e9 && fabs(p.y) < 1e9;
}

void canvas_stroke(Canvas *canvas, const Point *points, size_t count, double width, Color color,
                   double alpha) {
    double low_x = INFINITY, low_y = INFINITY, high_x = -INFINITY, high_y = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (finite_point(points[i])) {
            low_x = fmin(low_x, points[i].x);
            high_x = fmax(high_x, points[i].x);
            low_y = fmin(low_y, points[i].y);
            high_y = fmax(high_y, points[i].y);
        }
    }
    if (low_x > high_x || !(width > 0.0) || width > CANVAS_SIDE_MAX) {
        return;
    }
    Coverage cover;
    cover.left = limit((long)floor(low_x - width), canvas->left, canvas->right);
    cover.right = limit((long)ceil(high_x + width), canvas->left, canvas->right);
    cover.top = limit((long)floor(low_y - width), canvas->top, canvas->bottom);
    cover.bottom = limit((long)ceil(high_y + width), canvas->top, canvas->bottom);
    if (cover.left >= cover.right || cover.top >= cover.bottom) {
        return;
    }
    size_t across = (size_t)(cover.right - cover.left);
    cover.share = memory_new((size_t)(cover.bottom - cover.top), across);
    for (size_t i = 0; i < count; i++) {
        if (!finite_point(points[i])) {
            continue;
        }
        bool before = i > 0 && finite_point(points[i - 1]);
        bool after = i + 1 < count && finite_point(points[i + 1]);
        if (after) {
            cover_segment(&cover, points[i], points[i + 1], width);
        } else if (!before) {
            cover_segment(&cover, points[i], points[i], width);
        }
    }
    for (int y = cover.top; y < cover.bottom; y++) {
        for (int x = cover.left; x < cover.right; x++) {
            uint8_t share =
                cover.share[(size_t)(y - cover.top) * across + (size_t)(x - cover.left)];
            if (share) {
                blend(pixel_at(canvas, x, y), color, unit(alpha) * share / 255.0);
            }
        }
    }
    free(cover.share);
}

void canvas_line(Canvas *canvas, double x0, double y0, double x1, double y1, double width,
                 Color color, double alpha) {
    Point points[2] = {{x0, y0}, {x1, y1}};
    canvas_stroke(canvas, points, 2, width, color, alpha);
}

void canvas_image(Canvas *canvas, int x, int y, const uint8_t *rgb, int width, int height) {
    int left = limit(x, canvas->left, canvas->right);
    int right = limit((long)x + width, canvas->left, canvas->right);
    int top = limit(y, canvas->top, canvas->bottom);
    int bottom = limit((long)y + height, canvas->top, canvas->bottom);
    if (left >= right) {
        return;
    }
    for (int row = top; row < bottom; row++) {
        memcpy(pixel_at(canvas, left, row),
               rgb + ((size_t)(row - y) * (size_t)width + (size_t)(left - x)) * 3,
               (size_t)(right - left) * 3);
    }
}

Color color_mix(Color a, Color b, double t) {
    return (Color){mix(a.r, b.r, unit(t)), mix(a.g, b.g, unit(t)), mix(a.b, b.b, unit(t))};
}

Color color_text_on(Color background) {
    /* Luma of BT.709 on stored values: near enough to decide between two colours. */
    double luma = 0.2126 * background.r + 0.7152 * background.g + 0.0722 * background.b;
    return luma < 140.0 ? COLOR_PAPER : COLOR_INK;
}
