/* The colours of a stream: matrix, range and transfer, with the usual guesses where it says
 * nothing. Numbers are those of ITU-T H.273 as libavutil names them. */
#ifndef JEPA_VIDEO_COLOUR_H
#define JEPA_VIDEO_COLOUR_H

#include "base/error.h"
#include <stdbool.h>

struct AVFrame;

typedef enum VideoTransfer { VIDEO_SDR, VIDEO_PQ, VIDEO_HLG } VideoTransfer;

typedef struct VideoColour {
    int format; /* pixel format; yuvj ones as their yuv twins */
    int matrix; /* libswscale's SWS_CS_ number; means nothing for RGB and grey */
    bool full;  /* full range: 0 to 2^n - 1, else 16 to 235 and 240, times 2^(n - 8) */
    bool wide;  /* BT.2020 primaries */
    VideoTransfer transfer;
} VideoColour;

/* Fallbacks: a matrix that is not said is BT.709 from 720 lines or 1280 columns on, else BT.601; a
 * range that is not said is limited, but full for RGB and the yuvj formats. Errors: matrices that
 * libswscale cannot turn into RGB (YCgCo, ICtCp and other rare ones) are refused, not guessed. */
int video_colour_of(VideoColour *colour, const struct AVFrame *frame, Error *error);

#endif
