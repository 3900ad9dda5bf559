/* Colours of a picture in boxes. See video/palette.h. */
#include "video/palette.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

#define STEP_BITS 5
#define BINS      (1 << (3 * STEP_BITS))

/* Pixels of similar colours: their number, sums and sums of squares. */
typedef struct Bin {
    int64_t count, sum[3], square[3];
} Bin;

typedef struct Box {
    int first, count; /* of the list of bins */
    Bin all;
    double error; /* Σ |colour - mean|² */
    int axis;     /* the channel with most of it */
} Box;

static int bin_of(const uint8_t *rgb) {
    int bin = 0;
    for (int c = 0; c < 3; c++)
        bin = bin << STEP_BITS | rgb[c] >> (8 - STEP_BITS);
    return bin;
}

static void bin_add(Bin *to, const Bin *of) {
    to->count += of->count;
    for (int c = 0; c < 3; c++) {
        to->sum[c] += of->sum[c];
        to->square[c] += of->square[c];
    }
}

static void box_measure(Box *box, const Bin *bins, const uint16_t *list) {
    memset(&box->all, 0, sizeof box->all);
    for (int i = 0; i < box->count; i++)
        bin_add(&box->all, &bins[list[box->first + i]]);
    box->error = 0;
    double largest = -1;
    for (int c = 0; c < 3; c++) {
        double mean = (double)box->all.sum[c] / (double)box->all.count;
        double error = (double)box->all.square[c] - mean * (double)box->all.sum[c];
        box->error += error;
        if (error > largest) {
            largest = error;
            box->axis = c;
        }
    }
    if (box->count == 1)
        box->error = 0; /* cannot be cut */
}

/* Brings the bins of the box whose mean is at most the box's to the front; how many these are. */
static int divide(const Box *box, const Bin *bins, uint16_t *list) {
    int c = box->axis, low = 0;
    uint16_t *own = list + box->first;
    for (int i = 0; i < box->count; i++) {
        const Bin *bin = &bins[own[i]];
        if (bin->sum[c] * box->all.count > box->all.sum[c] * bin->count)
            continue;
        uint16_t swap = own[low];
        own[low++] = own[i];
        own[i] = swap;
    }
    return low;
}

int palette_choose(uint8_t palette[PALETTE_MOST][3], uint8_t *index, const uint8_t *rgb,
                   int64_t count) {
    Bin *bins = memory_new(BINS, sizeof *bins);
    uint16_t *list = memory_new(BINS, sizeof *list);
    uint8_t *box_of = memory_new(BINS, 1);
    Box boxes[PALETTE_MOST];
    int used = 0, box_count = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *pixel = rgb + 3 * i;
        Bin *bin = &bins[bin_of(pixel)];
        bin->count++;
        for (int c = 0; c < 3; c++) {
            bin->sum[c] += pixel[c];
            bin->square[c] += pixel[c] * pixel[c];
        }
    }
    for (int i = 0; i < BINS; i++)
        if (bins[i].count)
            list[used++] = (uint16_t)i;
    if (used) {
        boxes[0] = (Box){.count = used};
        box_measure(&boxes[box_count++], bins, list);
    }
    while (used && box_count < PALETTE_MOST) {
        int worst = 0;
        for (int b = 1; b < box_count; b++)
            worst = boxes[b].error > boxes[worst].error ? b : worst;
        if (boxes[worst].error <= 0)
            break;
        int low = divide(&boxes[worst], bins, list);
        if (low == 0 || low == boxes[worst].count) { /* all its bins have one mean */
            boxes[worst].error = 0;
            continue;
        }
        boxes[box_count] = (Box){.first = boxes[worst].first + low,
                                 .count = boxes[worst].count - low};
        boxes[worst].count = low;
        box_measure(&boxes[worst], bins, list);
        box_measure(&boxes[box_count++], bins, list);
    }
    for (int b = 0; b < box_count; b++) {
        for (int c = 0; c < 3; c++)
            palette[b][c] = (uint8_t)((boxes[b].all.sum[c] + boxes[b].all.count / 2) /
                                      boxes[b].all.count);
        for (int i = 0; i < boxes[b].count; i++)
            box_of[list[boxes[b].first + i]] = (uint8_t)b;
    }
    for (int64_t i = 0; i < count; i++)
        index[i] = box_of[bin_of(rgb + 3 * i)];
    free(bins);
    free(list);
    free(box_of);
    return box_count;
}
