/* jepa visualize: the future as pixels. What the windows of experiments/visualize_future.c predict,
 * as nearest real patches and as a decoder draws it (experiments/visualize_expected.c): a still
 * picture of one window, and a film along the video. */
#include "experiments/visualize_pixels.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct FuturePixels {
    const Show *show;
    const Footage *footage;
    ExpectedPictures pictures; /* of the window at hand */
    char *title, *mask_text;
    const char *mask_texts[1];
    Expected expected;
    ExpectedFilm *film; /* or NULL */
    int64_t windows;
    double sums[EXPECTED_KINDS], visible, colour; /* of squared errors, over the windows */
};

void future_pixels_new(FuturePixels **out, const Show *show, const Footage *footage,
                       const char *folder, const char *mask_text) {
    FuturePixels *p = memory_new(1, sizeof *p);
    p->show = show;
    p->footage = footage;
    p->title = memory_text("What it expects next, as pixels: %s", show_name(footage));
    p->mask_text = memory_text("%s", mask_text);
    p->mask_texts[0] = p->mask_text;
    p->pictures = (ExpectedPictures){.expected = &p->expected,
                                     .masks = 1,
                                     .mask_name = "The future",
                                     .mask_text = p->mask_texts,
                                     .title = p->title,
                                     .name = "future-expected",
                                     .folder = folder};
    expected_show_texts(&p->pictures, show->expected, footage);
    *out = p;
}

int future_pixels_film(FuturePixels *p, const ClipDraw *draw, int seen, const int size[2],
                       VideoFraction rate, Error *error) {
    char *crop = show_crop(p->footage, draw);
    char *origin = memory_text("%s · of each window of %d frames the first %d are seen%s",
                               p->show->scene.source, p->show->scene.clip.frames, seen, crop);
    ExpectedPictures pictures = p->pictures;
    pictures.origin = origin;
    pictures.tile_height = size[0];
    pictures.tile_width = size[1];
    int result = expected_film_open(&p->film, &pictures, p->show->future_formats, rate, error);
    free(origin);
    free(crop);
    return result;
}

int future_pixels_window(FuturePixels *p, const Window *window, const Latents *latents,
                         Error *error) {
    expected_free(&p->expected);
    p->expected = (Expected){0};
    if (expected_show_compute(&p->expected, p->show, p->footage, latents, window->pixels,
                              window->values, error))
        return -1;
    const ExpectedErrors *e = &p->expected.errors[0];
    for (int k = EXPECTED_NEAREST; k < EXPECTED_KINDS; k++)
        p->sums[k] += e->of[k];
    p->visible += e->visible;
    p->colour += e->colour;
    p->windows++;
    return 0;
}

int future_pixels_frame(FuturePixels *p, int frame, const uint8_t *rgb, const char *moment,
                        double progress, Error *error) {
    return expected_film_add(p->film, &p->expected, frame, rgb, moment, progress, error);
}

int future_pixels_picture(FuturePixels *p, const Window *window, const int size[2], Error *error) {
    const Scene *scene = &p->show->scene;
    int steps = config_grid(&scene->config).time, tubelet = scene->config.tubelet;
    const uint8_t **frames = memory_new((size_t)steps, sizeof *frames);
    char **moments = memory_new((size_t)steps, sizeof *moments);
    char *origin = show_origin(p->show, p->footage, window->frames);
    for (int t = 0; t < steps; t++) {
        frames[t] = window->picture[0][t * tubelet];
        moments[t] = show_moment(p->footage, window->frames[t * tubelet]);
    }
    ExpectedPictures pictures = p->pictures;
    pictures.origin = origin;
    pictures.frames = frames;
    pictures.moments = (const char *const *)moments;
    pictures.tile_height = size[0];
    pictures.tile_width = size[1];
    int result = expected_picture_write(&pictures, stdout, error);
    for (int t = 0; t < steps; t++)
        free(moments[t]);
    free(moments);
    free(frames);
    free(origin);
    return result;
}

/* Root of the mean over the windows; nothing where it was not asked for. */
static void print_root(const char *name, double sum, const FuturePixels *p) {
    if (!isnan(sum))
        printf("%s %.3f", name, sqrt(sum / (double)p->windows));
}

int future_pixels_close(FuturePixels *p, Error *error) {
    int result = p->film ? expected_film_close(p->film, stdout, error) : 0;
    p->film = NULL;
    if (result || !p->windows)
        return result;
    if (p->pictures.trained_on)
        printf("decoder                was trained on this video too\n");
    printf("future, as pixels      %" PRId64 " windows, root mean square error:", p->windows);
    print_root(" nearest visible", p->visible, p);
    print_root(", mean colour", p->colour, p);
    print_root(", nearest real patch", p->sums[EXPECTED_NEAREST], p);
    print_root(" (of target", p->sums[EXPECTED_NEAREST_REAL], p);
    printf("%s", isnan(p->sums[EXPECTED_NEAREST]) ? "" : ")");
    print_root(", decoder", p->sums[EXPECTED_DRAWN], p);
    print_root(" (of target", p->sums[EXPECTED_DRAWN_REAL], p);
    printf("%s\n", isnan(p->sums[EXPECTED_DRAWN]) ? "" : ")");
    return 0;
}

void future_pixels_free(FuturePixels *p) {
    if (!p)
        return;
    expected_film_abandon(p->film);
    expected_free(&p->expected);
    free(p->title);
    free(p->mask_text);
    free(p);
}
