/* Sine-cosine positions. See jepa/positions.h. */
#include "jepa/positions.h"
#include <math.h>

/* Writes as many of the axis's `d` channels as fit before `limit`. */
static int axis(float *row, int at, int limit, int position, int d) {
    for (int i = 0; i < d && at < limit; i++, at++) {
        int k = i % (d / 2);
        double angle = position / pow(10000.0, k / (d / 2.0));
        row[at] = (float)(i < d / 2 ? sin(angle) : cos(angle));
    }
    return at;
}

void positions_sincos(float *table, MaskGrid grid, int width, bool uniform_power) {
    int third = (width + 5) / 6 * 2;
    int d_time = uniform_power ? third : width / 2, d_space = uniform_power ? third : width / 4;
    float *row = table;
    for (int t = 0; t < grid.time; t++)
        for (int h = 0; h < grid.height; h++)
            for (int w = 0; w < grid.width; w++, row += width) {
                int at = axis(row, 0, width, t, d_time);
                at = axis(row, at, width, h, d_space);
                at = axis(row, at, width, w, d_space);
                while (at < width) /* widths that four does not divide */
                    row[at++] = 0;
            }
}

void positions_sincos_image(float *table, MaskGrid grid, int width) {
    float *row = table;
    for (int h = 0; h < grid.height; h++)
        for (int w = 0; w < grid.width; w++, row += width) {
            int at = axis(row, 0, width, w, width / 2);
            at = axis(row, at, width, h, width / 2);
            while (at < width)
                row[at++] = 0;
        }
}

void positions_rope(float *table, MaskGrid grid, int head, Positions form, int side) {
    int d = head / 3 / 2 * 2, half = d / 2;
    double rows = side && grid.height > 1 ? (side - 1.0) / (grid.height - 1) : 1;
    double columns = side && grid.width > 1 ? (side - 1.0) / (grid.width - 1) : 1;
    float *out = table;
    for (int t = 0; t < grid.time; t++)
        for (int h = 0; h < grid.height; h++)
            for (int w = 0; w < grid.width; w++, out += 2 * head) {
                const double position[3] = {t, h * rows, w * columns};
                for (int j = 0; j < head; j++) {
                    int k = j % (d ? d : 1);
                    k = form == POSITIONS_ROPE_TILED ? k % (half ? half : 1) : k / 2;
                    double angle = j < 3 * d ? position[j / d] * pow(10000.0, -(double)k / half)
                                             : 0;
                    out[j] = (float)cos(angle);
                    out[head + j] = (float)sin(angle);
                }
            }
}

typedef struct Blend {
    int low, high;
    double share; /* of high */
} Blend;

static Blend blend(int i, int to, int from) {
    double x = (i + 0.5) * from / to - 0.5;
    x = x < 0 ? 0 : x;
    int low = (int)x;
    low = low > from - 1 ? from - 1 : low;
    return (Blend){low, low + 1 < from ? low + 1 : low, x - low};
}

void positions_interpolate(float *out, MaskGrid to, const float *table, MaskGrid from, int width) {
    for (int t = 0; t < to.time; t++)
        for (int h = 0; h < to.height; h++)
            for (int w = 0; w < to.width; w++, out += width) {
                Blend bt = blend(t, to.time, from.time), bh = blend(h, to.height, from.height),
                      bw = blend(w, to.width, from.width);
                for (int d = 0; d < width; d++)
                    out[d] = 0;
                for (int corner = 0; corner < 8; corner++) {
                    int ct = corner & 4 ? bt.high : bt.low, ch = corner & 2 ? bh.high : bh.low,
                        cw = corner & 1 ? bw.high : bw.low;
                    double weight = (corner & 4 ? bt.share : 1 - bt.share) *
                                    (corner & 2 ? bh.share : 1 - bh.share) *
                                    (corner & 1 ? bw.share : 1 - bw.share);
                    const float *row = table +
                                       (((int64_t)ct * from.height + ch) * from.width + cw) * width;
                    for (int d = 0; d < width && weight != 0; d++)
                        out[d] += (float)(weight * row[d]);
                }
            }
}
