/* jepa visualize: the frames of one clip, for the model and for people. */
#include "eval/latent_film.h"
#include "eval/latent_sheet.h"
#include "experiments/visualize.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE 0.98 /* share of the frame that counts as all of it */

typedef struct Taking {
    const Show *show;
    ShownClip *clip;
} Taking;

/* Every `every`-th of the window's pictures. */
static uint8_t **copy_pictures(const uint8_t *const *pictures, int count, int every,
                               const int size[2]) {
    size_t bytes = (size_t)size[0] * (size_t)size[1] * 3;
    uint8_t **copies = memory_new((size_t)count + 1, sizeof *copies);
    for (int i = 0; i < count; i++) {
        copies[i] = memory_new(bytes, 1);
        memcpy(copies[i], pictures[i * every], bytes);
    }
    return copies;
}

static int take(void *context, const Window *window, Error *error) {
    const Taking *t = context;
    ShownClip *c = t->clip;
    const ClipSpec *spec = &t->show->scene.clip;
    int tubelet = t->show->scene.config.tubelet;
    size_t count = 3 * (size_t)spec->frames * (size_t)spec->crop * (size_t)clip_width(spec);
    (void)error;
    /* where clips go by time, one that begins at this very frame may hold a neighbour's frames */
    memcpy(c->draw.frames, window->frames, (size_t)spec->frames * sizeof *c->draw.frames);
    if (window->pixels) {
        c->pixels = memory_new(count, 1);
        memcpy(c->pixels, window->pixels, count);
    } else {
        c->values = memory_new(count, sizeof *c->values);
        memcpy(c->values, window->values, count * sizeof *c->values);
    }
    c->small_frames = copy_pictures(window->picture[0], c->time, tubelet, c->small);
    if (window->picture[1])
        c->large_frames = copy_pictures(window->picture[1], spec->frames, 1, c->large);
    if (window->picture[2])
        c->whole_frames = copy_pictures(window->picture[2], c->time, tubelet, c->whole);
    return 0;
}

/* Height and width of the whole frame within a tile, and where in it the model's crop lies; false
 * if the model sees nearly all of it. */
static bool place_whole(ShownClip *c, const Footage *footage) {
    const ClipDraw *draw = &c->draw;
    double w = video_file_width(&footage->file), h = video_file_height(&footage->file);
    double scale = fmin(c->small[1] / w, c->small[0] / h);
    c->whole[0] = (int)fmax(1, round(h * scale));
    c->whole[1] = (int)fmax(1, round(w * scale));
    c->part[0] = (int)round(draw->left * scale);
    c->part[1] = (int)round(draw->top * scale);
    c->part[2] = (int)fmin(round(draw->width * scale), c->whole[1] - c->part[0]);
    c->part[3] = (int)fmin(round(draw->height * scale), c->whole[0] - c->part[1]);
    return (double)draw->width * draw->height < WHOLE * w * h;
}

int shown_clip_read(ShownClip *c, const Show *show, const Footage *footage, int columns,
                    Error *error) {
    const Scene *scene = &show->scene;
    MaskGrid grid = config_grid(&scene->config);
    memset(c, 0, sizeof *c);
    c->time = grid.time;
    if (show_draw(&c->draw, show, footage, error))
        return -1;
    c->small[0] = latent_tile(&c->small[1], grid, (int)show->tile);
    c->large[0] = film_tile(&c->large[1], columns, grid, (int)show->tile);
    WindowSpec spec = {.clip = &scene->clip,
                       .crop = c->draw,
                       .picture = {{c->small[0], c->small[1], false}},
                       .timeout = scene->recipe.data.timeout};
    if (show->formats & FILM_MOVES)
        spec.picture[1] = (struct WindowPicture){c->large[0], c->large[1], false};
    if (place_whole(c, footage))
        spec.picture[2] = (struct WindowPicture){c->whole[0], c->whole[1], true};
    Taking taking = {show, c};
    return windows_read(&footage->file, &spec, c->draw.frames, 1, take, &taking, error);
}

static void frames_free(uint8_t **frames, int count) {
    for (int i = 0; frames && i < count; i++)
        free(frames[i]);
    free(frames);
}

void shown_clip_free(ShownClip *c) {
    frames_free(c->small_frames, c->time);
    frames_free(c->whole_frames, c->time);
    frames_free(c->large_frames, c->draw.count);
    free(c->pixels);
    free(c->values);
    memset(c, 0, sizeof *c);
}
