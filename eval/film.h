/* A film: pictures of one size, one after another, written to several kinds of file at once.
 *
 *   apng  every pixel as drawn, for the web        gif   256 colours a picture, understood anywhere
 *   mp4   small, for players and slides            webm  small, for the web
 * Files appear whole or not at all (video/encode.h). */
#ifndef JEPA_EVAL_FILM_H
#define JEPA_EVAL_FILM_H

#include "eval/canvas.h"
#include "video/encode.h"
#include <stdbool.h>
#include <stdio.h>

/* Kinds of file; FILM_STILL is no film but a PNG for the whole clip, which others write. */
#define FILM_STILL 1u
#define FILM_APNG  2u
#define FILM_GIF   4u
#define FILM_MP4   8u
#define FILM_WEBM  16u
#define FILM_MOVES (FILM_APNG | FILM_GIF | FILM_MP4 | FILM_WEBM)

/* "png,mp4" -> FILM_STILL | FILM_MP4. ERROR_USAGE for another word; ERROR_RUN, which says what this
 * machine can write instead, for a kind that its libavcodec has no encoder for. */
int film_formats(unsigned *formats, const char *text, Error *error);

typedef struct Film Film;

/* FOLDER/name.apng, ... for each of `formats` that moves; none of them is fine, and then nothing is
 * written. Sides up to 8,192 pixels, even. `rate`: pictures per second. Errors: unwritable. */
int film_open(Film **film, const char *folder, const char *name, unsigned formats, int width,
              int height, VideoFraction rate, Error *error);
int film_frame(Film *film, const Canvas *canvas, Error *error); /* of the film's size */
/* Finishes and names the files, one a line, to `list` (may be NULL). Frees always. */
int film_close(Film *film, FILE *list, Error *error);
void film_abandon(Film *film); /* leaves nothing behind; NULL is fine */

/* The nearest fraction of small numbers to a rate: 29.97 is 30000/1001, 12.5 is 25/2. */
VideoFraction film_rate(double rate);

#endif
