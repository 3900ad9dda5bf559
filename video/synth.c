/* Writes a data set of synthetic videos (the scenes: synth_scene.c, the pictures: synth_render.c).
 *
 *     OUT/<class>/<class>_NNNNNN.mp4   video i has class i mod 8 and number i / 8 in it
 *     OUT/videos.csv                   one "path label" a line, path relative to OUT
 *     OUT/states.msgpack               one MessagePack map, the truth behind every frame:
 *         version 1, seed, size, frames, fps, classes [8 names]
 *         columns   ["x", "y", "angle", "vx", "vy", "visible"]
 *         videos    one map per line of videos.csv, in its order:
 *             file, label, radius, pillar [x of its centre, width],
 *             objects: 2 (3 for vanish: the third waits behind the pillar) maps of
 *                 shape, texture, colours [2][r, g, b], spin, states [frames][6 columns, float32]
 *     OUT/targets.csv                  numbers for a probe to find, one line per video:
 *         file,x1,y1,vx1,vy1,x2,y2,vx2,vy2: where the two objects that are out are in frame number
 *         frames / 2 (counted from 0), and how fast they move. 1 is the upper one, 2 the lower. x
 *         and y in sides of the frame (0..1, from the top left corner), vx and vy in sides per
 *         second when played at fps. Nothing moves up or down: vy is 0 in every video. x lives on a
 *         circle (synth_scene.c): 0 and 1 are one place. An object may be behind the pillar then.
 * In states.msgpack lengths are pixels, x to the right and y down from the top left corner,
 * velocities pixels per frame, angles radians clockwise; visible is the share of an object's width
 * that is inside the frame and not behind the pillar. Motion is set per frame, so that fps changes
 * the speed of playing alone.
 *
 * Each video is a pure function of (seed, size, label, number), so threads change nothing. The list
 * and the states come last: a folder without videos.csv is not finished. On failure everything that
 * was written is removed.
 */
#include "base/file.h"
#include "base/record.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/output.h"
#include "video/synth_scene.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATES_VERSION 1
#define COLUMNS        6
#define TARGETS_HEADER "file,x1,y1,vx1,vy1,x2,y2,vx2,vy2\n"

static char *video_name(int label, int number) {
    const char *class = synth_class_name(label);
    return memory_text("%s/%s_%06d.mp4", class, class, number);
}

typedef struct Work {
    const char *out;
    const SynthSpec *spec;
} Work;

/* Video `item` of the data set: see the head of this file. */
static int video_write(void *context, int item, Error *error) {
    const Work *work = context;
    const SynthSpec *spec = work->spec;
    int label = item % SYNTH_CLASSES, number = item / SYNTH_CLASSES;
    char *name = video_name(label, number), *path = path_join(work->out, name);
    uint8_t *rgb = memory_new((size_t)spec->size * (size_t)spec->size, 3);
    SynthScene scene;
    synth_scene_make(&scene, spec->seed, spec->size, label, number);
    SynthPainter *painter = synth_painter_new(&scene);
    VideoWriter *writer = NULL;
    int result = video_writer_open(&writer, path, spec->size, spec->size, spec->fps, error);
    for (int t = 0; t < spec->frames && result == 0; t++) {
        synth_paint(rgb, painter, t);
        result = video_writer_frame(writer, rgb, error);
    }
    if (result == 0)
        result = video_writer_close(writer, error);
    else
        video_writer_abandon(writer);
    synth_painter_free(painter);
    free(rgb);
    free(path);
    free(name);
    return result;
}

/* Videos of class `label`: the first videos % 8 classes have one more. */
static int class_videos(const SynthSpec *spec, int label) {
    return spec->videos / SYNTH_CLASSES + (label < spec->videos % SYNTH_CLASSES);
}

/* A file of text with a line for every video, class by class. */
typedef char *(*Line)(const SynthSpec *spec, int label, int number, const char *name);

static int lines_write(const char *out, const char *file_name, const char *header, Line line_of,
                       const SynthSpec *spec, Error *error) {
    char *path = path_join(out, file_name);
    FileWriter file;
    int result = file_writer_open(&file, path, error);
    free(path);
    if (result)
        return result;
    result = file_writer_put(&file, header, strlen(header), error);
    for (int label = 0; label < SYNTH_CLASSES && result == 0; label++) {
        for (int number = 0; number < class_videos(spec, label) && result == 0; number++) {
            char *name = video_name(label, number), *line = line_of(spec, label, number, name);
            result = file_writer_put(&file, line, strlen(line), error);
            free(line);
            free(name);
        }
    }
    if (result == 0)
        return file_writer_commit(&file, error);
    file_writer_abandon(&file);
    return -1;
}

static char *list_line(const SynthSpec *spec, int label, int number, const char *name) {
    (void)spec, (void)number;
    return memory_text("%s %d\n", name, label);
}

/* The two objects that are out, the upper one first: who is who shows in the picture. */
static char *target_line(const SynthSpec *spec, int label, int number, const char *name) {
    SynthScene scene;
    SynthState state[SYNTH_OBJECTS];
    const SynthState *out[2] = {NULL, NULL};
    synth_scene_make(&scene, spec->seed, spec->size, label, number);
    synth_scene_states(state, &scene, spec->frames / 2);
    for (int i = 0; i < scene.objects; i++)
        if (!state[i].absent)
            out[out[0] != NULL] = &state[i];
    JEPA_ASSERT(out[0] && out[1]);
    int first = out[0]->y < out[1]->y ? 0 : 1;
    const SynthState *a = out[first], *b = out[1 - first];
    double side = spec->size, speed = spec->fps / side; /* pixels per frame to sides per second */
    return memory_text("%s,%.6f,%.6f,%.6f,%.6f,%.6f,%.6f,%.6f,%.6f\n", name, a->x / side,
                       a->y / side, a->vx * speed, a->vy * speed, b->x / side, b->y / side,
                       b->vx * speed, b->vy * speed);
}

static void put_floats(RecordWriter *record, const double *values, int count) {
    record_put_list(record, (size_t)count);
    for (int i = 0; i < count; i++)
        msgpack_pack_float(&record->packer, (float)values[i]);
}

static void put_object(RecordWriter *record, const SynthScene *scene, int i, int frames) {
    const SynthObject *object = &scene->object[i];
    record_put_map(record, 5);
    record_put_text(record, "shape");
    record_put_text(record, synth_shape_name(object->shape));
    record_put_text(record, "texture");
    record_put_text(record, synth_texture_name(object->texture));
    record_put_text(record, "colours");
    record_put_list(record, 2);
    put_floats(record, object->colour[0], 3);
    put_floats(record, object->colour[1], 3);
    record_put_text(record, "spin");
    msgpack_pack_float(&record->packer, (float)object->spin);
    record_put_text(record, "states");
    record_put_list(record, (size_t)frames);
    for (int t = 0; t < frames; t++) {
        SynthState states[SYNTH_OBJECTS];
        synth_scene_states(states, scene, t);
        const SynthState *s = &states[i];
        put_floats(record, (double[COLUMNS]){s->x, s->y, s->angle, s->vx, s->vy, s->visible},
                   COLUMNS);
    }
}

static void put_video(RecordWriter *record, const SynthSpec *spec, int label, int number) {
    SynthScene scene;
    synth_scene_make(&scene, spec->seed, spec->size, label, number);
    char *name = video_name(label, number);
    record_put_map(record, 5);
    record_put_text(record, "file");
    record_put_text(record, name);
    record_put_text(record, "label");
    record_put_integer(record, label);
    record_put_text(record, "radius");
    msgpack_pack_float(&record->packer, (float)scene.radius);
    record_put_text(record, "pillar");
    put_floats(record, (double[2]){scene.pillar_x, scene.pillar_width}, 2);
    record_put_text(record, "objects");
    record_put_list(record, (size_t)scene.objects);
    for (int i = 0; i < scene.objects; i++)
        put_object(record, &scene, i, spec->frames);
    free(name);
}

static void put_head(RecordWriter *record, const SynthSpec *spec) {
    static const char *const columns[COLUMNS] = {"x", "y", "angle", "vx", "vy", "visible"};
    record_put_map(record, 8);
    record_put_text(record, "version");
    record_put_integer(record, STATES_VERSION);
    record_put_text(record, "seed");
    msgpack_pack_uint64(&record->packer, spec->seed);
    record_put_text(record, "size");
    record_put_integer(record, spec->size);
    record_put_text(record, "frames");
    record_put_integer(record, spec->frames);
    record_put_text(record, "fps");
    record_put_integer(record, spec->fps);
    record_put_text(record, "classes");
    record_put_list(record, SYNTH_CLASSES);
    for (int label = 0; label < SYNTH_CLASSES; label++)
        record_put_text(record, synth_class_name(label));
    record_put_text(record, "columns");
    record_put_list(record, COLUMNS);
    for (int i = 0; i < COLUMNS; i++)
        record_put_text(record, columns[i]);
    record_put_text(record, "videos");
    record_put_list(record, (size_t)spec->videos);
}

/* One record, but handed to the file video by video: memory does not grow with the data set. */
static int states_write(const char *out, const SynthSpec *spec, Error *error) {
    char *path = path_join(out, "states.msgpack");
    FileWriter file;
    int result = file_writer_open(&file, path, error);
    free(path);
    if (result)
        return result;
    RecordWriter record;
    record_writer_start(&record);
    put_head(&record, spec);
    result = file_writer_put(&file, record.buffer.data, record.buffer.size, error);
    for (int label = 0; label < SYNTH_CLASSES && result == 0; label++) {
        for (int number = 0; number < class_videos(spec, label) && result == 0; number++) {
            msgpack_sbuffer_clear(&record.buffer);
            put_video(&record, spec, label, number);
            result = file_writer_put(&file, record.buffer.data, record.buffer.size, error);
        }
    }
    record_writer_free(&record);
    if (result == 0)
        return file_writer_commit(&file, error);
    file_writer_abandon(&file);
    return -1;
}

/* Removes what this run may have written, and nothing else. */
static void out_clear(const char *out, const SynthSpec *spec, int existed) {
    static const char *const lists[] = {"states.msgpack", "targets.csv", "videos.csv"};
    for (int i = 0; i < 3; i++)
        output_remove(out, lists[i]);
    for (int label = 0; label < SYNTH_CLASSES; label++) {
        for (int number = 0; number < class_videos(spec, label); number++) {
            char *name = video_name(label, number);
            output_remove(out, name);
            free(name);
        }
        output_remove(out, synth_class_name(label));
    }
    if (!existed)
        rmdir(out);
}

int synth_write(const char *out, const SynthSpec *spec, Error *error) {
    JEPA_ASSERT(spec->videos >= 1 && spec->frames >= 1 && spec->threads >= 1);
    int existed;
    if (ffmpeg_needed(error) || output_check(out, &existed, error))
        return -1;
    int result = folder_make(out, error);
    for (int label = 0; label < SYNTH_CLASSES && result == 0; label++)
        if (class_videos(spec, label) > 0)
            result = output_folder(out, synth_class_name(label), error);
    Work work = {out, spec};
    if (result == 0)
        result = output_fill("synth", spec->videos, spec->threads, video_write, &work, error);
    if (result == 0)
        result = states_write(out, spec, error);
    if (result == 0)
        result = lines_write(out, "targets.csv", TARGETS_HEADER, target_line, spec, error);
    if (result == 0)
        result = lines_write(out, "videos.csv", "", list_line, spec, error);
    if (result)
        out_clear(out, spec, existed);
    return result;
}
