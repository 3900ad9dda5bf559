/* Ticks at 1-2-5 steps and numbers for people. See axis.h. */
#include "eval/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void number_whole(char text[NUMBER_TEXT], double value) {
    char plain[NUMBER_TEXT];
    if (!isfinite(value) || fabs(value) >= 1e12) {
        snprintf(text, NUMBER_TEXT, isfinite(value) ? "%.3g" : "\xE2\x80\x93", value);
        return;
    }
    snprintf(plain, sizeof plain, "%.0f", fabs(round(value)));
    size_t digits = strlen(plain), used = 0;
    if (round(value) < 0.0) {
        text[used++] = '-';
    }
    for (size_t i = 0; i < digits; i++) {
        text[used++] = plain[i];
        if ((digits - 1 - i) % 3 == 0 && i + 1 < digits) {
            text[used++] = ',';
        }
    }
    text[used] = 0;
}

void number_text(char text[NUMBER_TEXT], double value, int digits) {
    double size = fabs(value);
    if (!isfinite(value)) {
        snprintf(text, NUMBER_TEXT, "\xE2\x80\x93");
    } else if (value == 0.0) {
        snprintf(text, NUMBER_TEXT, "0");
    } else if (size >= 1e9 || size < 1e-4) {
        snprintf(text, NUMBER_TEXT, "%.*g", digits, value);
    } else if (size >= pow(10.0, digits - 1)) {
        number_whole(text, value);
    } else {
        int decimals = digits - 1 - (int)floor(log10(size));
        snprintf(text, NUMBER_TEXT, "%.*f", decimals, value);
        for (size_t n = strlen(text); decimals > 0 && text[n - 1] == '0'; n--, decimals--) {
            text[n - 1] = 0;
        }
        if (decimals == 0 && strchr(text, '.')) {
            *strchr(text, '.') = 0;
        }
    }
}

/* A label with as many decimals as the step between ticks needs. */
static void tick_text(char text[NUMBER_TEXT], double value, double step) {
    double size = fmax(fabs(value), step);
    if (fabs(value) < step * 1e-6) {
        snprintf(text, NUMBER_TEXT, "0");
    } else if (size >= 1e7 || (step < 0.9e-4 && size < 1e-2)) {
        int decimals = (int)(floor(log10(fabs(value)) + 1e-9) - floor(log10(step) + 1e-9));
        snprintf(text, NUMBER_TEXT, "%.*e", decimals < 0 ? 0 : decimals > 6 ? 6 : decimals, value);
    } else if (step >= 0.999) {
        number_whole(text, value);
    } else {
        snprintf(text, NUMBER_TEXT, "%.*f", (int)ceil(-log10(step) - 1e-9), value);
    }
}

/* The smallest 1, 2 or 5 times a power of ten that is not below `size`. */
static double nice_step(double size) {
    double power = pow(10.0, floor(log10(size)));
    for (int i = 0; i < 3; i++) {
        static const double steps[3] = {1.0, 2.0, 5.0};
        if (steps[i] * power >= size * (1 - 1e-9)) {
            return steps[i] * power;
        }
    }
    return 10.0 * power;
}

Axis axis_linear(double low, double high, int wanted, bool round_out) {
    Axis axis = {0};
    if (!isfinite(low) || !isfinite(high) || fabs(low) > 1e300 || fabs(high) > 1e300) {
        low = 0.0;
        high = 1.0;
    }
    if (high < low) {
        double other = low;
        low = high;
        high = other;
    }
    double least = fmax(fabs(low), fabs(high)) * 1e-9; /* below this, doubles give no fair ticks */
    if (high - low <= least) {
        double around = low == 0.0 ? 1.0 : fabs(low) * 0.1;
        low -= around;
        high += around;
    }
    wanted = wanted < 2 ? 2 : wanted > AXIS_TICKS / 3 ? AXIS_TICKS / 3 : wanted;
    double step = nice_step((high - low) / wanted);
    if (round_out) {
        low = floor(low / step + 1e-9) * step;
        high = ceil(high / step - 1e-9) * step;
    }
    axis.low = low;
    axis.high = high;
    double first = ceil(low / step - 1e-9);
    for (int i = 0; i < AXIS_TICKS; i++) {
        double tick = (first + i) * step;
        if (tick > high + step * 1e-9) {
            break;
        }
        axis.ticks[i] = tick;
        tick_text(axis.labels[i], tick, step);
        axis.count++;
    }
    return axis;
}

Axis axis_logarithmic(double low, double high, int wanted) {
    Axis axis = {0};
    axis.logarithmic = true;
    if (!isfinite(low) || !isfinite(high) || !(low > 0.0) || !(high > 0.0)) {
        low = 0.1;
        high = 1.0;
    }
    double from = log10(fmin(low, high)), to = log10(fmax(low, high));
    if (to - from < 0.3) { /* at least a factor of two, or there may be no tick at all */
        double middle = (from + to) / 2;
        from = middle - 0.15;
        to = middle + 0.15;
    }
    axis.low = pow(10.0, from);
    axis.high = pow(10.0, to);
    static const double parts[3] = {1.0, 2.0, 5.0};
    int each = (to - from) * 3 <= wanted * 1.7 ? 3 : 1;
    int skip = each == 3 ? 1 : (int)ceil((to - from) / (wanted > 1 ? wanted : 2));
    skip = skip < 1 ? 1 : skip;
    for (int power = (int)floor(from); power <= (int)ceil(to); power++) {
        if (each == 1 && power % skip != 0) {
            continue;
        }
        for (int i = 0; i < each; i++) {
            double tick = parts[i] * pow(10.0, power);
            if (axis.count < AXIS_TICKS && tick >= axis.low * (1 - 1e-9) &&
                tick <= axis.high * (1 + 1e-9)) {
                axis.ticks[axis.count] = tick;
                tick_text(axis.labels[axis.count++], tick, tick);
            }
        }
    }
    if (axis.count < 2) { /* a short range between 2 and 5, say: round numbers of a linear axis */
        Axis linear = axis_linear(axis.low, axis.high, wanted, false);
        axis.count = linear.count;
        memcpy(axis.ticks, linear.ticks, sizeof axis.ticks);
        memcpy(axis.labels, linear.labels, sizeof axis.labels);
    }
    return axis;
}

double axis_place(const Axis *axis, double value) {
    if (!axis->logarithmic) {
        return (value - axis->low) / (axis->high - axis->low);
    }
    return value > 0.0 ? log(value / axis->low) / log(axis->high / axis->low) : NAN;
}
