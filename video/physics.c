/* Writing pairs of possible and impossible videos. See video/physics.h. The four videos of a scene
 * are written side by side, each frame of each world painted once. */
#include "video/physics.h"
#include "base/file.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/output.h"
#include "video/physics_scene.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VIDEOS 4 /* of a scene: possible and impossible, first pair and second */

typedef struct Work {
    const char *out;
    const PhysicsSpec *spec;
    int *events; /* [PHYSICS_KINDS][pairs / 2] first frame in which the worlds differ from the
                    switch on */
} Work;

/* Video 2w + i of the scene: the world it begins with, possible (0) or impossible (1). */
static char *video_name(PhysicsKind kind, int scene, int video) {
    const char *name = physics_kind_name(kind);
    return memory_text("%s/%s_%05d_%s.mp4", name, name, 2 * scene + video / 2,
                       video % 2 ? "impossible" : "possible");
}

static int paint_all(VideoWriter *writers[VIDEOS], int *event, const PhysicsScene *scene,
                     const PhysicsSpec *spec, Error *error) {
    size_t bytes = (size_t)spec->size * (size_t)spec->size * 3;
    uint8_t *rgb = memory_new(2, bytes);
    SynthPainter *painter = synth_painter_new(&scene->scene);
    int result = 0;
    *event = -1;
    for (int t = 0; t < spec->frames && !result; t++) {
        for (int world = 0; world < 2; world++) {
            SynthState state[SYNTH_OBJECTS];
            physics_states(state, scene, world, t);
            synth_paint_states(rgb + (size_t)world * bytes, painter, state, t);
        }
        bool switched = t >= scene->switch_frame;
        if (switched && *event < 0 && memcmp(rgb, rgb + bytes, bytes) != 0)
            *event = t;
        for (int v = 0; v < VIDEOS && !result; v++) {
            int world = v / 2 ^ (v % 2 && switched);
            result = video_writer_frame(writers[v], rgb + (size_t)world * bytes, error);
        }
    }
    JEPA_ASSERT(result || *event >= 0);
    synth_painter_free(painter);
    free(rgb);
    return result;
}

static int make_scene(void *context, int item, Error *error) {
    const Work *work = context;
    const PhysicsSpec *spec = work->spec;
    PhysicsKind kind = (PhysicsKind)(item % PHYSICS_KINDS);
    int number = item / PHYSICS_KINDS, result = 0;
    PhysicsScene scene;
    VideoWriter *writers[VIDEOS] = {NULL};
    char *names[VIDEOS];
    physics_scene_make(&scene, kind, number, spec);
    for (int v = 0; v < VIDEOS; v++)
        names[v] = video_name(kind, number, v);
    for (int v = 0; v < VIDEOS && !result; v++) {
        char *path = path_join(work->out, names[v]);
        result = video_writer_open_intra(&writers[v], path, spec->size, spec->size, spec->fps,
                                         error);
        free(path);
    }
    if (!result)
        result = paint_all(writers, &work->events[(int)kind * (spec->pairs / 2) + number], &scene,
                           spec, error);
    for (int v = 0; v < VIDEOS; v++) {
        if (!result)
            result = video_writer_close(writers[v], error);
        else
            video_writer_abandon(writers[v]);
    }
    int64_t bytes;
    if (!result)
        result = output_level(&bytes, work->out, (const char *const *)names, VIDEOS, error);
    for (int v = 0; v < VIDEOS; v++)
        free(names[v]);
    return result;
}

static int write_pairs(const Work *work, Error *error) {
    char *text = NULL, *path = path_join(work->out, "pairs.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    fprintf(file, "kind,pair,possible,impossible,event_frame,switch_frame,occluder,what,scene\n");
    for (int k = 0; k < PHYSICS_KINDS; k++) {
        for (int pair = 0; pair < work->spec->pairs; pair++) {
            PhysicsScene scene;
            physics_scene_make(&scene, (PhysicsKind)k, pair / 2, work->spec);
            char *possible = video_name(scene.kind, scene.number, pair % 2 * 2);
            char *impossible = video_name(scene.kind, scene.number, pair % 2 * 2 + 1);
            fprintf(file, "%s,%d,%s,%s,%d,%d,%s,%s,%d\n", physics_kind_name(scene.kind), pair,
                    possible, impossible, work->events[k * (work->spec->pairs / 2) + scene.number],
                    scene.switch_frame, physics_occluder(&scene), physics_what(&scene, pair % 2),
                    scene.number);
            free(possible);
            free(impossible);
        }
    }
    fclose(file);
    int result = file_write(path, text, size, error);
    free(text);
    free(path);
    return result;
}

static void clear(const Work *work, int existed) {
    output_remove(work->out, "pairs.csv");
    for (int k = 0; k < PHYSICS_KINDS; k++) {
        for (int i = 0; i < work->spec->pairs / 2 * VIDEOS; i++) {
            char *name = video_name((PhysicsKind)k, i / VIDEOS, i % VIDEOS);
            output_remove(work->out, name);
            free(name);
        }
        output_remove(work->out, physics_kind_name((PhysicsKind)k));
    }
    if (!existed)
        rmdir(work->out);
}

int physics_write(const char *out, const PhysicsSpec *spec, Error *error) {
    JEPA_ASSERT(spec->pairs >= 2 && spec->pairs % 2 == 0 && spec->pairs <= PHYSICS_PAIRS_MAX &&
                spec->threads >= 1);
    int existed;
    if (ffmpeg_needed(error) || output_check(out, &existed, error))
        return -1;
    int scenes = spec->pairs / 2 * PHYSICS_KINDS;
    Work work = {.out = out, .spec = spec, .events = memory_new((size_t)scenes, sizeof(int))};
    int result = folder_make(out, error);
    for (int k = 0; k < PHYSICS_KINDS && !result; k++)
        result = output_folder(out, physics_kind_name((PhysicsKind)k), error);
    if (!result)
        result = output_fill("physics", scenes, spec->threads, make_scene, &work, error);
    if (!result)
        result = write_pairs(&work, error);
    if (result)
        clear(&work, existed);
    free(work.events);
    return result;
}
