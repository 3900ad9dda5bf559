/* Axes: where ticks stand and how numbers are written for people. */
#ifndef JEPA_EVAL_AXIS_H
#define JEPA_EVAL_AXIS_H

#include <stdbool.h>
#include <stddef.h>

#define AXIS_TICKS  24
#define NUMBER_TEXT 32

typedef struct Axis {
    double low, high; /* low < high; on a log axis both > 0 */
    bool logarithmic;
    int count;
    double ticks[AXIS_TICKS]; /* [count] ascending, within low..high */
    char labels[AXIS_TICKS][NUMBER_TEXT];
} Axis;

/* An axis that holds low..high. Linear: ticks at steps of 1, 2 or 5 times a power of ten, about
 * `wanted` of them, and the range widened to whole steps if `round_out`. Logarithmic: at powers of
 * ten, with 2 and 5 between them if they are few, or linear where fewer than two such lie inside. A
 * range that is empty, reversed, or not finite gets a sensible neighbourhood. */
Axis axis_linear(double low, double high, int wanted, bool round_out);
Axis axis_logarithmic(double low, double high, int wanted);

/* 0..1 along the axis, outside of it below 0 or above 1; NaN where a log axis cannot show it. */
double axis_place(const Axis *axis, double value);

/* A number with at most `digits` significant digits: 0.4283, 0.5, 12,450, 3.1e-05; "–" for what is
 * not a number. */
void number_text(char text[NUMBER_TEXT], double value, int digits);
/* A whole number with commas between thousands. */
void number_whole(char text[NUMBER_TEXT], double value);

#endif
