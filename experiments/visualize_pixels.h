/* The future as pixels: bank and decoder along the windows of --parts future. Private to
 * experiments/visualize*.c. */
#ifndef JEPA_EXPERIMENTS_VISUALIZE_PIXELS_H
#define JEPA_EXPERIMENTS_VISUALIZE_PIXELS_H

#include "eval/expected_sheet.h"
#include "experiments/visualize.h"

/* Of visualize_expected.c: what bank and decoder make of the latents of one clip (show->expected,
 * which is not NULL), seen as pixels or as values. Free with expected_free, also after an error. */
int expected_show_compute(Expected *expected, const Show *show, const Footage *footage,
                          const Latents *latents, const uint8_t *pixels, const float *values,
                          Error *error);
/* What pictures say of them: bank, decoder, trained_on. */
void expected_show_texts(ExpectedPictures *pictures, const ExpectedShow *expected,
                         const Footage *footage);
/* Panels of a film. */
int expected_show_columns(const ExpectedShow *expected);

typedef struct FuturePixels FuturePixels;

/* For one video; `folder` lives on, `mask_text` says what is seen. */
void future_pixels_new(FuturePixels **pixels, const Show *show, const Footage *footage,
                       const char *folder, const char *mask_text);
void future_pixels_free(FuturePixels *pixels); /* NULL is fine; leaves nothing half-written */
/* Begins FOLDER/future-expected.mp4, ...; `seen` frames of a window, tiles of size[2]. */
int future_pixels_film(FuturePixels *pixels, const ClipDraw *draw, int seen, const int size[2],
                       VideoFraction rate, Error *error);
/* The next window: everything below is of it. `latents` live as long. */
int future_pixels_window(FuturePixels *pixels, const Window *window, const Latents *latents,
                         Error *error);
/* A picture of the film: frame `frame` of the window, rgb as large as the film's tiles. */
int future_pixels_frame(FuturePixels *pixels, int frame, const uint8_t *rgb, const char *moment,
                        double progress, Error *error);
/* FOLDER/future-expected.png, tiles as window->picture[0]. */
int future_pixels_picture(FuturePixels *pixels, const Window *window, const int size[2],
                          Error *error);
/* Finishes the film, and prints the errors over all windows. */
int future_pixels_close(FuturePixels *pixels, Error *error);

#endif
