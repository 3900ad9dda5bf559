/* The confusion matrix, laid out in whole pixels. See confusion.h. */
#include "eval/confusion.h"

#include "eval/axis.h"
#include "eval/colormap.h"
#include "eval/font.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MARGIN       28
#define TITLE_SIZE   22.0
#define SMALL_SIZE   13.0
#define NAME_WIDTH   200 /* longest name, pixels */
#define NAME_HEIGHT  160 /* longest name above a column */
#define BAR_WIDTH    18
#define BAR_HEIGHT   220
#define LEGEND_WIDTH 130 /* colour bar with its numbers */
#define TEXT_MIN     11.0

/* Side of a cell in pixels: room for both numbers up to 30 classes, for the percentage up to 60,
 * and for the name beside the row up to 500. */
static int cell_size(int classes) {
    return classes <= 6     ? 84
           : classes <= 12  ? 64
           : classes <= 30  ? 46
           : classes <= 60  ? 32
           : classes <= 120 ? 20
           : classes <= 900 ? 16
                            : 3;
}

static int64_t row_sum(const int64_t *counts, int classes, int row) {
    int64_t sum = 0;
    for (int j = 0; j < classes; j++) {
        sum += counts[(size_t)row * (size_t)classes + (size_t)j];
    }
    return sum;
}

double confusion_accuracy(const int64_t *counts, int classes) {
    double right = 0.0, all = 0.0;
    for (int i = 0; i < classes; i++) {
        right += (double)counts[(size_t)i * (size_t)classes + (size_t)i];
        all += (double)row_sum(counts, classes, i);
    }
    return all > 0.0 ? right / all : NAN;
}

double confusion_mean_recall(const int64_t *counts, int classes) {
    double sum = 0.0;
    int rows = 0;
    for (int i = 0; i < classes; i++) {
        int64_t all = row_sum(counts, classes, i);
        if (all > 0) {
            sum += (double)counts[(size_t)i * (size_t)classes + (size_t)i] / (double)all;
            rows++;
        }
    }
    return rows > 0 ? sum / rows : NAN;
}

/* Everything measured before anything is drawn. */
typedef struct Layout {
    int classes, cell;
    double name_size;  /* font size of the class names; 0: too many classes for names */
    int names;         /* width of the names on the left */
    int heads;         /* height of the names above */
    bool upright;      /* column names are short enough to stand level */
    int head;          /* height of title and subtitle */
    int sums;          /* width of the column of row sums */
    int left, top;     /* of the matrix */
    int width, height; /* of the picture */
} Layout;

/* The share a cell shows, as people write it: never 100 or 0 for what is not. */
static void share_text(char text[NUMBER_TEXT], int64_t count, int64_t all, bool sign) {
    double share = 100.0 * (double)count / (double)all;
    double rounded = share > 99.0 && count < all ? 99.0 : round(share);
    const char *less = count > 0 && rounded < 1.0 ? "<" : "";
    snprintf(text, NUMBER_TEXT, "%s%.0f%s", less, *less ? 1.0 : rounded, sign ? "%" : "");
}

static void draw_cell(Canvas *canvas, int x, int y, int cell, int64_t count, int64_t all) {
    if (all == 0) {
        canvas_rectangle(canvas, x, y, cell, cell, COLOR_VOID, 1.0);
        return;
    }
    /* The square root lifts rare confusions out of the white; the colour bar shows the same scale.
     */
    Color color = colormap_color(COLORMAP_PAPER, sqrt((double)count / (double)all) * 0.9);
    canvas_rectangle(canvas, x, y, cell, cell, color, 1.0);
    if (count == 0 || cell < 30) {
        return;
    }
    double large = cell >= 80 ? 18.0 : cell >= 60 ? 15.0 : cell >= 40 ? 12.0 : TEXT_MIN;
    double small = cell >= 60 ? 12.0 : TEXT_MIN;
    FontStyle style = {large, cell >= 40, color_text_on(color), FONT_CENTRE, 0.0};
    int middle = x + cell / 2, half = (int)font_capital(large) / 2;
    char text[NUMBER_TEXT], whole[NUMBER_TEXT];
    share_text(text, count, all, cell >= 40);
    number_whole(whole, (double)count);
    bool both = cell >= 40 && font_width(whole, small, false) <= cell - 4;
    int lift = both ? (int)lround(cell * 0.14) : 0;
    font_draw(canvas, middle, y + cell / 2 + half - lift, text, &style);
    if (both) {
        style.size = small;
        style.bold = false;
        font_draw(canvas, middle,
                  y + cell / 2 + lift + (int)font_capital(small) / 2 + (cell >= 60 ? 4 : 2), whole,
                  &style);
    }
}

static void draw_legend(Canvas *canvas, int x, int y) {
    FontStyle style = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    font_draw(canvas, x, y + 10, "share of the row", &style);
    y += 26;
    for (int i = 0; i < BAR_HEIGHT; i++) {
        double share = 1.0 - (i + 0.5) / BAR_HEIGHT;
        canvas_rectangle(canvas, x, y + i, BAR_WIDTH, 1,
                         colormap_color(COLORMAP_PAPER, share * 0.9), 1.0);
    }
    canvas_frame(canvas, x, y, BAR_WIDTH, BAR_HEIGHT, 1, COLOR_FRAME);
    style.size = 12.0;
    static const int marks[] = {0, 1, 5, 10, 25, 50, 75, 100};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        int at = y + (int)lround((BAR_HEIGHT - 1) * (1.0 - sqrt(marks[i] / 100.0)));
        char text[NUMBER_TEXT];
        snprintf(text, sizeof text, "%d %%", marks[i]);
        canvas_rectangle(canvas, x + BAR_WIDTH, at, 4, 1, COLOR_FRAME, 1.0);
        font_draw(canvas, x + BAR_WIDTH + 9, at + 4, text, &style);
    }
    y += BAR_HEIGHT + 18;
    canvas_rectangle(canvas, x, y, BAR_WIDTH, BAR_WIDTH, COLOR_VOID, 1.0);
    canvas_frame(canvas, x, y, BAR_WIDTH, BAR_WIDTH, 1, COLOR_FRAME);
    font_draw(canvas, x + BAR_WIDTH + 9, y + 13, "no clips", &style);
}

static char *class_name(const char *const *names, int i) {
    return names && names[i] && names[i][0] ? memory_text("%s", names[i]) : memory_text("%d", i);
}

static Layout measure(const int64_t *counts, const char *const *names, int classes, bool title,
                      double text_width) {
    Layout l = {0};
    l.classes = classes;
    l.cell = cell_size(classes);
    l.name_size = l.cell >= 40 ? SMALL_SIZE : l.cell >= 20 ? 12.0 : l.cell >= 16 ? TEXT_MIN : 0.0;
    l.head = (title ? 40 : 0) + 30;
    double widest = 0.0, sum_widest = font_width("clips", 12.0, false);
    for (int i = 0; i < classes && l.name_size > 0.0; i++) {
        char *name = class_name(names, i);
        widest = fmax(widest, font_width(name, l.name_size, false));
        free(name);
        char sum[NUMBER_TEXT];
        number_whole(sum, (double)row_sum(counts, classes, i));
        sum_widest = fmax(sum_widest, font_width(sum, 12.0, false));
    }
    l.names = (int)fmin(widest, NAME_WIDTH) + 10;
    l.upright = widest <= l.cell - 6;
    l.heads = l.upright ? 22 : (int)fmin(widest, NAME_HEIGHT) + 12;
    l.sums = l.name_size > 0.0 ? (int)sum_widest + 16 : 10;
    l.left = MARGIN + 24 + l.names;
    l.top = MARGIN + l.head + 26 + l.heads;
    int side = l.cell * classes;
    int legend = 26 + BAR_HEIGHT + 18 + BAR_WIDTH;
    int body = side > legend ? side : legend;
    int wide = l.left + side + l.sums + 24 + LEGEND_WIDTH;
    l.width = (wide > MARGIN + (int)text_width ? wide : MARGIN + (int)text_width) + MARGIN;
    l.height = l.top + body + MARGIN;
    return l;
}

static void draw_names(Canvas *canvas, const Layout *l, const char *const *names) {
    FontStyle axis = {SMALL_SIZE, true, COLOR_FAINT, FONT_LEFT, 0.0};
    font_draw(canvas, l->left, l->top - l->heads - 10, "predicted class \xE2\x86\x92", &axis);
    axis.align = FONT_RIGHT;
    axis.angle = 90.0;
    font_draw(canvas, MARGIN + 12, l->top, "\xE2\x86\x90 true class", &axis);
    int half = (int)font_capital(l->name_size) / 2;
    for (int i = 0; i < l->classes && l->name_size > 0.0; i++) {
        char *name = class_name(names, i);
        FontStyle style = {l->name_size, false, COLOR_INK, FONT_RIGHT, 0.0};
        char *shorter = font_elide(name, l->name_size, false, NAME_WIDTH);
        int middle = i * l->cell + l->cell / 2;
        font_draw(canvas, l->left - 10, l->top + middle + half, shorter, &style);
        free(shorter);
        shorter = font_elide(name, l->name_size, false, l->upright ? l->cell : NAME_HEIGHT);
        if (l->upright) {
            style.align = FONT_CENTRE;
            font_draw(canvas, l->left + middle, l->top - 8, shorter, &style);
        } else {
            style.align = FONT_LEFT;
            style.angle = 90.0;
            font_draw(canvas, l->left + middle + half, l->top - 8, shorter, &style);
        }
        free(shorter);
        free(name);
    }
}

static void draw_matrix(Canvas *canvas, const Layout *l, const int64_t *counts) {
    int side = l->cell * l->classes;
    FontStyle style = {12.0, false, COLOR_FAINT, FONT_RIGHT, 0.0};
    int sums = l->left + side + l->sums;
    if (l->name_size > 0.0) {
        font_draw(canvas, sums, l->top - 8, "clips", &style);
    }
    for (int i = 0; i < l->classes; i++) {
        int64_t all = row_sum(counts, l->classes, i);
        int y = l->top + i * l->cell;
        for (int j = 0; j < l->classes; j++) {
            draw_cell(canvas, l->left + j * l->cell, y, l->cell,
                      counts[(size_t)i * (size_t)l->classes + (size_t)j], all);
        }
        if (l->name_size > 0.0) {
            char text[NUMBER_TEXT];
            number_whole(text, (double)all);
            font_draw(canvas, sums, y + l->cell / 2 + 4, text, &style);
        }
    }
    for (int i = 1; i < l->classes && l->cell >= 16; i++) {
        canvas_rectangle(canvas, l->left + i * l->cell, l->top, 1, side, COLOR_GRID, 1.0);
        canvas_rectangle(canvas, l->left, l->top + i * l->cell, side, 1, COLOR_GRID, 1.0);
    }
    canvas_frame(canvas, l->left - 1, l->top - 1, side + 2, side + 2, 1, COLOR_FRAME);
}

int confusion_draw(Canvas **canvas, const int64_t *counts, const char *const *names, int classes,
                   const char *title, const char *subtitle, Error *error) {
    *canvas = NULL;
    if (classes < 1 || classes > CONFUSION_CLASSES_MAX) {
        return error_set(error, ERROR_RUN, "confusion matrix: %d classes, 1 to %d can be drawn",
                         classes, CONFUSION_CLASSES_MAX);
    }
    int64_t all = 0, right = 0;
    for (size_t i = 0; i < (size_t)classes * (size_t)classes; i++) {
        /* 2^39 clips a cell keeps every sum of 4096 x 4096 cells inside 64 bits. */
        if (counts[i] < 0 || counts[i] > INT64_C(1) << 39) {
            return error_set(error, ERROR_RUN, "confusion matrix: cell %zu counts %lld clips", i,
                             (long long)counts[i]);
        }
        all += counts[i];
        right += i % ((size_t)classes + 1) == 0 ? counts[i] : 0;
    }
    char *accuracy = NULL;
    if (!subtitle && all > 0) {
        char a[NUMBER_TEXT], b[NUMBER_TEXT];
        number_whole(a, (double)right);
        number_whole(b, (double)all);
        accuracy = memory_text(
            "Accuracy %.1f %% (%s of %s clips) \xC2\xB7 mean over classes %.1f %%",
            100.0 * confusion_accuracy(counts, classes), a, b,
            100.0 * confusion_mean_recall(counts, classes));
    } else {
        accuracy = memory_text("%s", subtitle ? subtitle : "No clips.");
    }
    double text_width = fmin(fmax(title ? font_width(title, TITLE_SIZE, true) : 0.0,
                                  font_width(accuracy, SMALL_SIZE, false)),
                             900.0);
    Layout layout = measure(counts, names, classes, title != NULL, text_width);
    if (canvas_new(canvas, layout.width, layout.height, COLOR_PAPER, error)) {
        free(accuracy);
        return -1;
    }
    int y = MARGIN;
    double room = layout.width - 2 * MARGIN;
    if (title) {
        FontStyle style = {TITLE_SIZE, true, COLOR_INK, FONT_LEFT, 0.0};
        char *text = font_elide(title, TITLE_SIZE, true, room);
        font_draw(*canvas, MARGIN, y + 18, text, &style);
        free(text);
        y += 40;
    }
    FontStyle small = {SMALL_SIZE, false, COLOR_FAINT, FONT_LEFT, 0.0};
    char *text = font_elide(accuracy, SMALL_SIZE, false, room);
    font_draw(*canvas, MARGIN, y + 4, text, &small);
    free(text);
    free(accuracy);
    draw_names(*canvas, &layout, names);
    draw_matrix(*canvas, &layout, counts);
    draw_legend(*canvas, layout.left + layout.cell * classes + layout.sums + 24, layout.top);
    return 0;
}
