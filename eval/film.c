/* Several video writers fed with the same pictures. See eval/film.h. */
#include "eval/film.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KINDS     4
#define RATE_MOST 240.0 /* pictures per second */

static const struct Kind {
    const char *name, *extension;
    unsigned bit;
} kinds[KINDS] = {{"apng", ".apng", FILM_APNG},
                  {"gif", ".gif", FILM_GIF},
                  {"mp4", ".mp4", FILM_MP4},
                  {"webm", ".webm", FILM_WEBM}};

struct Film {
    int width, height;
    VideoWriter *writers[KINDS]; /* NULL: not asked for */
    char *paths[KINDS];
};

static bool can_write(const struct Kind *kind) {
    return strcmp(video_writer_codec_of(kind->extension), "none") != 0;
}

/* "png, apng and mp4": what can be written here. Caller frees. */
static char *possible(void) {
    char *text = memory_text("png");
    for (int k = 0; k < KINDS; k++)
        if (can_write(&kinds[k])) {
            char *longer = memory_text("%s, %s", text, kinds[k].name);
            free(text);
            text = longer;
        }
    return text;
}

static int add_format(unsigned *formats, const char *word, size_t length, Error *error) {
    if (length == 3 && !memcmp(word, "png", 3)) {
        *formats |= FILM_STILL;
        return 0;
    }
    for (int k = 0; k < KINDS; k++) {
        if (strlen(kinds[k].name) != length || memcmp(kinds[k].name, word, length) != 0)
            continue;
        *formats |= kinds[k].bit;
        if (can_write(&kinds[k]))
            return 0;
        char *others = possible();
        int result = error_set(
            error, ERROR_RUN,
            "--format %s: libavcodec of this machine has no encoder for it; what "
            "can be written: %s",
            kinds[k].name, others);
        free(others);
        return result;
    }
    return error_set(error, ERROR_USAGE, "--format %.*s: expected png, apng, gif, mp4 or webm",
                     (int)length, word);
}

int film_formats(unsigned *formats, const char *text, Error *error) {
    *formats = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (add_format(formats, at, length, error))
            return -1;
        at += length;
        if (!*at)
            return 0;
    }
}

int film_open(Film **out, const char *folder, const char *name, unsigned formats, int width,
              int height, VideoFraction rate, Error *error) {
    Film *film = memory_new(1, sizeof *film);
    int result = 0;
    film->width = width;
    film->height = height;
    VideoWriterSpec spec = video_writer_plain(width, height, rate);
    for (int k = 0; k < KINDS && !result; k++) {
        if (!(formats & kinds[k].bit))
            continue;
        char *file = memory_text("%s%s", name, kinds[k].extension);
        film->paths[k] = path_join(folder, file);
        free(file);
        result = video_writer_open_spec(&film->writers[k], film->paths[k], &spec, error);
    }
    if (result) {
        film_abandon(film);
        film = NULL;
    }
    *out = film;
    return result;
}

int film_frame(Film *film, const Canvas *canvas, Error *error) {
    JEPA_ASSERT(canvas->width == film->width && canvas->height == film->height);
    for (int k = 0; k < KINDS; k++)
        if (film->writers[k] && video_writer_frame(film->writers[k], canvas->rgb, error))
            return -1;
    return 0;
}

int film_close(Film *film, FILE *list, Error *error) {
    int result = 0;
    for (int k = 0; k < KINDS && !result; k++) {
        if (!film->writers[k])
            continue;
        result = video_writer_close(film->writers[k], error);
        film->writers[k] = NULL;
        if (!result && list)
            fprintf(list, "%s\n", film->paths[k]);
    }
    film_abandon(film);
    return result;
}

void film_abandon(Film *film) {
    if (!film)
        return;
    for (int k = 0; k < KINDS; k++) {
        video_writer_abandon(film->writers[k]);
        free(film->paths[k]);
    }
    free(film);
}

VideoFraction film_rate(double rate) {
    VideoFraction best = {1, 1};
    double nearest = INFINITY;
    rate = rate > 0.01 ? fmin(rate, RATE_MOST) : 0.01; /* NaN too */
    const int denominators[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1001, 2002, 3003, 4004, 1000};
    for (size_t i = 0; i < sizeof denominators / sizeof *denominators; i++) {
        int den = denominators[i], num = (int)lround(rate * den);
        double off = fabs((double)num / den - rate);
        if (num >= 1 && off < nearest - 1e-6) {
            nearest = off;
            best = (VideoFraction){num, den};
        }
    }
    return best;
}
