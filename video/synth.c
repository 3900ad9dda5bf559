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
 * Lengths are pixels, x to the right and y down from the top left corner, velocities pixels per
 * frame, angles radians clockwise; visible is the share of an object's width that is inside the
 * frame and not behind the pillar. Motion is set per frame, so that fps changes the speed of
 * playing alone.
 *
 * Each video is a pure function of (seed, size, label, number), so threads change nothing. The list
 * and the states come last: a folder without videos.csv is not finished. On failure everything that
 * was written is removed.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/record.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/synth_scene.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATES_VERSION 1
#define COLUMNS        6

typedef struct Work { /* shared by the workers; everything below `lock` is guarded by it */
    const char *out;
    const SynthSpec *spec;
    pthread_mutex_t lock;
    int next; /* video to make next */
    int done;
    int failed_video; /* lowest video that failed, -1 while none has */
    Error error;      /* its error */
    Progress progress;
} Work;

static char *video_name(int label, int number) {
    const char *class = synth_class_name(label);
    return memory_text("%s/%s_%06d.mp4", class, class, number);
}

static int video_write(const Work *work, int label, int number, Error *error) {
    const SynthSpec *spec = work->spec;
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

static void *work_run(void *context) {
    Work *work = context;
    pthread_mutex_lock(&work->lock);
    while (work->next < work->spec->videos && work->failed_video < 0) {
        int video = work->next++;
        pthread_mutex_unlock(&work->lock);
        Error error = {0};
        int result = video_write(work, video % SYNTH_CLASSES, video / SYNTH_CLASSES, &error);
        pthread_mutex_lock(&work->lock);
        if (result && (work->failed_video < 0 || video < work->failed_video)) {
            work->failed_video = video;
            work->error = error;
        }
        progress_show(&work->progress, ++work->done, "");
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

/* The calling thread works too, so a machine that refuses more threads only makes it slower. */
static int videos_write(const char *out, const SynthSpec *spec, Error *error) {
    Work work = {.out = out, .spec = spec, .failed_video = -1};
    int helpers = (spec->threads < spec->videos ? spec->threads : spec->videos) - 1, started = 0;
    pthread_t *threads = memory_new((unsigned long)helpers + 1, sizeof *threads);
    pthread_mutex_init(&work.lock, NULL);
    progress_start(&work.progress, "synth", spec->videos, 0);
    while (started < helpers && pthread_create(&threads[started], NULL, work_run, &work) == 0)
        started++;
    work_run(&work);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    progress_end(&work.progress);
    pthread_mutex_destroy(&work.lock);
    free(threads);
    if (work.failed_video >= 0 && error)
        *error = work.error;
    return work.failed_video >= 0 ? -1 : 0;
}

/* Videos of class `label`: the first videos % 8 classes have one more. */
static int class_videos(const SynthSpec *spec, int label) {
    return spec->videos / SYNTH_CLASSES + (label < spec->videos % SYNTH_CLASSES);
}

static int list_write(const char *out, const SynthSpec *spec, Error *error) {
    char *path = path_join(out, "videos.csv");
    FileWriter file;
    int result = file_writer_open(&file, path, error);
    if (result == 0) {
        for (int label = 0; label < SYNTH_CLASSES && result == 0; label++) {
            for (int number = 0; number < class_videos(spec, label) && result == 0; number++) {
                char *name = video_name(label, number);
                char *line = memory_text("%s %d\n", name, label);
                result = file_writer_put(&file, line, strlen(line), error);
                free(line);
                free(name);
            }
        }
        if (result == 0)
            result = file_writer_commit(&file, error);
        else
            file_writer_abandon(&file);
    }
    free(path);
    return result;
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

/* `out` must be free to use: absent, or a folder with nothing in it. */
static int out_check(const char *out, int *exists, Error *error) {
    *exists = 0;
    if (!*out)
        return error_set(error, ERROR_USAGE, "the name of the folder for the videos is empty");
    DIR *folder = opendir(out);
    if (!folder && errno == ENOENT)
        return 0;
    if (!folder)
        return error_set(error, ERROR_RUN, "%s: cannot be used as a folder for the videos: %s", out,
                         strerror(errno));
    int entries = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            entries++;
    closedir(folder);
    *exists = 1;
    if (entries)
        return error_set(error, ERROR_USAGE,
                         "%s: is not empty (%d entries); name a new or an empty folder", out,
                         entries);
    return 0;
}

/* Removes what this run may have written, and nothing else. */
static void out_clear(const char *out, const SynthSpec *spec, int existed) {
    static const char *const lists[] = {"states.msgpack", "videos.csv"};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(out, lists[i]);
        unlink(path);
        free(path);
    }
    for (int label = 0; label < SYNTH_CLASSES; label++) {
        for (int number = 0; number < class_videos(spec, label); number++) {
            char *name = video_name(label, number), *path = path_join(out, name);
            unlink(path);
            free(path);
            free(name);
        }
        char *folder = path_join(out, synth_class_name(label));
        rmdir(folder);
        free(folder);
    }
    if (!existed)
        rmdir(out);
}

int synth_write(const char *out, const SynthSpec *spec, Error *error) {
    JEPA_ASSERT(spec->videos >= 1 && spec->frames >= 1 && spec->threads >= 1);
    int existed;
    if (ffmpeg_needed(error) || out_check(out, &existed, error))
        return -1;
    int result = folder_make(out, error);
    for (int label = 0; label < SYNTH_CLASSES && result == 0; label++) {
        char *folder = path_join(out, synth_class_name(label));
        if (class_videos(spec, label) > 0)
            result = folder_make(folder, error);
        free(folder);
    }
    if (result == 0)
        result = videos_write(out, spec, error);
    if (result == 0)
        result = states_write(out, spec, error);
    if (result == 0)
        result = list_write(out, spec, error);
    if (result)
        out_clear(out, spec, existed);
    return result;
}
