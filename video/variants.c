/* Writing temporal variants of real videos. See video/variants.h.
 *
 * Each source is decoded once: the 2F - 1 frames of a stretch are held as planes of red, green and
 * blue, cropped, scaled and upright, and the five variants are written from them. The split comes
 * last, because damage may only show when frames are decoded. */
#include "video/variants.h"
#include "base/file.h"
#include "base/words.h"
#include "video/clip.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/output.h"
#include "video/variants_plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of 255. Among 125 surveillance stretches one lies below it (0.108), of which only the coding
 * moves; at 0.2 to 0.3 it is a little flicker and a clock. manifest.csv has it for whoever wants
 * more. */
#define MOTION_MIN   0.15
#define DECODE_LIMIT 600.              /* seconds for one stretch; then the command stops */
#define MEMORY_LIMIT ((size_t)1 << 30) /* bytes of pictures, of all threads together */

static const char *const lists[] = {"train.csv",    "test.csv",   "manifest.csv",
                                    "left_out.csv", "synth.yaml", "videos.csv"};
enum { LISTS = sizeof lists / sizeof *lists };

typedef struct Work {
    const char *out;
    const VideoIndex *index;
    const VariantSpec *spec;
    VariantSource *sources; /* [index->count], each touched by one worker at a time */
} Work;

/* ---- pictures ---- */

static size_t pictures_bytes(const VariantSpec *spec) {
    return (size_t)(2 * spec->frames - 1) * (size_t)spec->size * (size_t)spec->size * 3;
}

/* planes[3][2F-1][size][size] of the stretch. */
static int decode(uint8_t *planes, ClipDecoder *decoder, const Work *work,
                  const VariantSource *source, const VariantStretch *stretch, Error *error) {
    ClipSpec spec = {.frames = 2 * work->spec->frames - 1,
                     .step = source->step,
                     .crop = work->spec->size,
                     .hdr = CLIP_HDR_TONEMAP};
    VideoFile file = video_index_file(work->index, source->file);
    ClipDraw draw;
    clip_draw_evaluation(&draw, work->index, source->file, &spec, 0, 1, 0, 1); /* the crop */
    draw.count = spec.frames;
    for (int k = 0; k < spec.frames; k++)
        draw.frames[k] = stretch->first + (int64_t)k * source->step;
    return clip_decode(planes, decoder, &file, &draw, &spec, error);
}

/* How much a value of forward's pictures changes from one to the next, on average. */
static double motion_of(const uint8_t *planes, const VariantSpec *spec) {
    size_t picture = (size_t)spec->size * (size_t)spec->size;
    size_t channel = picture * (size_t)(2 * spec->frames - 1);
    uint64_t sum = 0;
    for (int c = 0; c < 3; c++) {
        const uint8_t *at = planes + (size_t)c * channel + (size_t)(spec->frames / 2) * picture;
        for (size_t i = 0; i < picture * (size_t)(spec->frames - 1); i++)
            sum += (uint64_t)abs(at[i + picture] - at[i]);
    }
    return (double)sum / (3.0 * (double)picture * (spec->frames - 1));
}

static int write_one(const char *path, const uint8_t *planes, uint8_t *rgb, VariantClass class,
                     int frozen, const VariantSpec *spec, Error *error) {
    size_t picture = (size_t)spec->size * (size_t)spec->size;
    size_t channel = picture * (size_t)(2 * spec->frames - 1);
    VideoWriter *writer;
    int result = video_writer_open_intra(&writer, path, spec->size, spec->size, spec->fps, error);
    for (int t = 0; t < spec->frames && !result; t++) {
        const uint8_t *from = planes +
                              (size_t)variant_frame(class, t, spec->frames, frozen) * picture;
        for (size_t i = 0; i < picture; i++)
            for (size_t c = 0; c < 3; c++)
                rgb[3 * i + c] = from[c * channel + i];
        result = video_writer_frame(writer, rgb, error);
    }
    if (!result)
        return video_writer_close(writer, error);
    video_writer_abandon(writer);
    return -1;
}

/* The five videos of a stretch, of the same size. */
static int write_stretch(const Work *work, VariantSource *source, int number, const uint8_t *planes,
                         uint8_t *rgb, Error *error) {
    VariantStretch *stretch = &source->stretches[number];
    char *names[VARIANT_CLASSES];
    int result = 0;
    for (int k = 0; k < VARIANT_CLASSES; k++)
        names[k] = variant_name(source, number, (VariantClass)k, work->spec);
    for (int k = 0; k < VARIANT_CLASSES && !result; k++) {
        char *path = path_join(work->out, names[k]);
        result = write_one(path, planes, rgb, (VariantClass)k, stretch->frozen, work->spec, error);
        free(path);
    }
    if (!result)
        result = output_level(&stretch->bytes, work->out, (const char *const *)names,
                              VARIANT_CLASSES, error);
    for (int k = 0; k < VARIANT_CLASSES; k++)
        free(names[k]);
    return result;
}

static void remove_videos(const Work *work, const VariantSource *source) {
    for (int i = 0; i < source->count && source->name; i++) {
        for (int k = 0; k < VARIANT_CLASSES; k++) {
            char *name = variant_name(source, i, (VariantClass)k, work->spec);
            output_remove(work->out, name);
            free(name);
        }
    }
}

static void leave_out(const Work *work, VariantSource *source, const char *reason) {
    remove_videos(work, source);
    source->reason = memory_text("%s", reason);
}

/* Fails when the disk does, not when the source does. */
static int make_source(void *context, int item, Error *error) {
    const Work *work = context;
    VariantSource *source = &work->sources[item];
    if (source->reason)
        return 0;
    ClipDecoder *decoder = clip_decoder_new(DECODE_LIMIT, NULL);
    uint8_t *planes = memory_new(pictures_bytes(work->spec), 1);
    uint8_t *rgb = memory_new((size_t)work->spec->size * (size_t)work->spec->size, 3);
    int result = 0, made = 0;
    for (int i = 0; i < source->count && !result && !source->reason; i++) {
        VariantStretch *stretch = &source->stretches[i];
        Error damage = {0};
        if (decode(planes, decoder, work, source, stretch, &damage)) {
            if (clip_decoder_timed_out(decoder)) {
                *error = damage;
                result = -1;
            } else {
                leave_out(work, source, damage.text);
            }
            break;
        }
        stretch->motion = motion_of(planes, work->spec);
        stretch->still = stretch->motion < MOTION_MIN;
        if (!stretch->still)
            result = write_stretch(work, source, i, planes, rgb, error);
        made += !stretch->still;
    }
    if (!result && !source->reason && !made)
        leave_out(work, source, "nothing moves in it: its five variants would be the same");
    free(rgb);
    free(planes);
    clip_decoder_free(decoder);
    return result;
}

/* ---- lists ---- */

typedef struct Texts {
    char *text[LISTS];
    size_t size[LISTS];
    FILE *stream[LISTS];
} Texts;
enum { TRAIN, TEST, MANIFEST, LEFT_OUT, SETTINGS, ALL };

static void put_video(Texts *texts, const Work *work, const VariantSource *source, int number,
                      VariantClass class) {
    const VariantStretch *stretch = &source->stretches[number];
    const VariantSpec *spec = work->spec;
    VideoFile file = video_index_file(work->index, source->file);
    char *name = variant_name(source, number, class, spec), *from = csv_quote(file.name);
    char hash[HASH_TEXT];
    hash_text(hash, &file.hash);
    int64_t shown[2];
    for (int end = 0; end < 2; end++)
        shown[end] = stretch->first +
                     (int64_t)source->step * variant_frame(class, end * (spec->frames - 1),
                                                           spec->frames, stretch->frozen);
    fprintf(texts->stream[MANIFEST],
            "%s,%s,%s,%s,%s,%d,%" PRId64 ",%" PRId64 ",%d,%.4f,%.3f,%" PRId64 "\n", name,
            variant_class_name(class), source->test ? "test" : "train", from, hash, number,
            shown[0], shown[1], source->step, source->pace, stretch->motion, stretch->bytes);
    fprintf(texts->stream[source->test ? TEST : TRAIN], "%s %s\n", name, variant_class_name(class));
    fprintf(texts->stream[ALL], "%s %s\n", name, variant_class_name(class));
    free(from);
    free(name);
}

static void put_settings(FILE *out, const Work *work) {
    const VariantSpec *spec = work->spec;
    char hash[HASH_TEXT];
    hash_text(hash, &work->index->hash);
    fprintf(out,
            "# how jepa synth --from made this folder\nvideos: %s # content hash of the index\n"
            "size: %d\nfps: %d\nframes: %d\nper_source: %d\nseed: %" PRIu64
            "\nencoder: %s\nmotion_min: %g\n",
            hash, spec->size, spec->fps, spec->frames, spec->per_source, spec->seed,
            video_writer_codec(), MOTION_MIN);
}

static void put_all(Texts *texts, VariantSummary *sum, const Work *work) {
    fprintf(texts->stream[MANIFEST], "file,class,set,source,source_blake2b,stretch,first_frame,"
                                     "last_frame,step,pace,motion,bytes\n");
    fprintf(texts->stream[LEFT_OUT], "source,reason\n");
    put_settings(texts->stream[SETTINGS], work);
    for (size_t i = 0; i < work->index->count; i++) {
        const VariantSource *source = &work->sources[i];
        if (source->reason) {
            char *name = csv_quote(video_index_name(work->index, source->file));
            char *reason = csv_quote(source->reason);
            fprintf(texts->stream[LEFT_OUT], "%s,%s\n", name, reason);
            free(name);
            free(reason);
            sum->left_out++;
            continue;
        }
        sum->used++;
        for (int k = 0; k < source->count; k++) {
            sum->stretches += !source->stretches[k].still;
            sum->still += source->stretches[k].still;
        }
    }
    /* class by class, as the folders are */
    for (int class = 0; class < VARIANT_CLASSES; class ++) {
        for (size_t i = 0; i < work->index->count; i++) {
            const VariantSource *source = &work->sources[i];
            for (int k = 0; k < source->count && !source->reason; k++) {
                if (source->stretches[k].still)
                    continue;
                put_video(texts, work, source, k, (VariantClass) class);
                *(source->test ? &sum->test : &sum->train) += 1;
                sum->bytes += source->stretches[k].bytes;
            }
        }
    }
}

static int write_lists(VariantSummary *sum, const Work *work, Error *error) {
    Texts texts;
    int result = 0;
    *sum = (VariantSummary){.sources = work->index->count};
    for (int i = 0; i < LISTS; i++) {
        texts.stream[i] = open_memstream(&texts.text[i], &texts.size[i]);
        JEPA_ASSERT(texts.stream[i]);
    }
    put_all(&texts, sum, work);
    for (int i = 0; i < LISTS; i++) {
        fclose(texts.stream[i]);
        char *path = path_join(work->out, lists[i]);
        if (!result)
            result = file_write(path, texts.text[i], texts.size[i], error);
        free(path);
        free(texts.text[i]);
    }
    return result;
}

/* ---- the whole ---- */

static void clear(const Work *work, int existed) {
    for (int i = 0; i < LISTS; i++)
        output_remove(work->out, lists[i]);
    for (size_t i = 0; i < work->index->count; i++)
        remove_videos(work, &work->sources[i]);
    for (int k = 0; k < VARIANT_CLASSES; k++)
        output_remove(work->out, variant_class_name((VariantClass)k));
    if (!existed)
        rmdir(work->out);
}

int variants_write(VariantSummary *summary, const char *out, const VideoIndex *index,
                   const VariantSpec *spec, Error *error) {
    JEPA_ASSERT(spec->frames >= VARIANT_FRAMES_MIN && spec->frames <= VARIANT_FRAMES_MAX &&
                spec->frames % 2 == 0 && spec->size >= VARIANT_SIZE_MIN &&
                spec->size <= VARIANT_SIZE_MAX && spec->size % 2 == 0 && spec->fps >= 1 &&
                spec->per_source >= 1 && spec->per_source <= VARIANT_PER_SOURCE_MAX &&
                spec->threads >= 1 && index->count <= INT32_MAX);
    Work work = {.out = out, .index = index, .spec = spec};
    int existed;
    if (ffmpeg_needed(error) || output_check(out, &existed, error) ||
        variants_plan(&work.sources, index, spec, error))
        return -1;
    size_t room = MEMORY_LIMIT / pictures_bytes(spec);
    int threads = (size_t)spec->threads < room ? spec->threads : room < 1 ? 1 : (int)room;
    /* before anything is decoded: there may be nothing to do */
    int result = variants_split(work.sources, index, error);
    if (!result)
        result = folder_make(out, error);
    for (int k = 0; k < VARIANT_CLASSES && !result; k++)
        result = output_folder(out, variant_class_name((VariantClass)k), error);
    if (!result)
        result = output_fill("variants", (int)index->count, threads, make_source, &work, error);
    if (!result)
        result = variants_split(work.sources, index, error);
    if (!result)
        result = write_lists(summary, &work, error);
    if (result)
        clear(&work, existed);
    variants_plan_free(work.sources, index->count);
    return result;
}
