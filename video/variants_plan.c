/* Planning temporal variants: steps, stretches, names, the split. See video/variants.h.
 *
 * Where a stretch lies is drawn from the seed and the source's bytes, so that other files in the
 * folder change nothing. */
#include "video/variants_plan.h"
#include "base/random.h"
#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEST_SHARE  0.25
#define NAME_MAX_ID 120 /* bytes of <source> */
#define STEP_MAX    1e6 /* frames: a file may claim any rate */
#define STREAM      64  /* `step` of the random streams; those of synth_*.c are smaller */

const char *variant_class_name(VariantClass class) {
    static const char *const names[VARIANT_CLASSES] = {"double_speed", "forward", "frozen",
                                                       "halves_swapped", "reversed"};
    JEPA_ASSERT(class < VARIANT_CLASSES);
    return names[class];
}

int variant_frame(VariantClass class, int t, int frames, int frozen) {
    int first = frames / 2;
    switch (class) {
    case VARIANT_DOUBLE_SPEED:
        return 2 * t;
    case VARIANT_FORWARD:
        return first + t;
    case VARIANT_FROZEN:
        return frozen;
    case VARIANT_HALVES_SWAPPED:
        return first + (t + frames / 2) % frames;
    case VARIANT_REVERSED:
        return first + frames - 1 - t;
    case VARIANT_CLASSES:
        break;
    }
    return 0;
}

char *variant_name(const VariantSource *source, int stretch, VariantClass class,
                   const VariantSpec *spec) {
    const char *name = variant_class_name(class);
    if (spec->per_source > 1)
        return memory_text("%s/%s_%d_%s.mp4", name, source->name, stretch, name);
    return memory_text("%s/%s_%s.mp4", name, source->name, name);
}

/* ---- names ---- */

static bool is_kept(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (unsigned char)c > 127;
}

/* The name without its ending, with '-' for what is neither letter nor digit, cut where a character
 * of UTF-8 begins. Caller frees. */
static char *plain_name(const char *name) {
    const char *dot = strrchr(name, '.'), *slash = strrchr(name, '/');
    size_t length = dot && (!slash || dot > slash + 1) && dot > name ? (size_t)(dot - name)
                                                                     : strlen(name);
    if (length > NAME_MAX_ID)
        for (length = NAME_MAX_ID; length && ((unsigned char)name[length] & 0xc0) == 0x80;)
            length--;
    char *plain = memory_text("%.*s", (int)length, name);
    for (char *c = plain; *c; c++)
        if (!is_kept(*c))
            *c = '-';
    return plain;
}

static int by_plain_name(const void *a, const void *b) {
    const VariantSource *const *x = a, *const *y = b;
    int order = strcasecmp((*x)->name, (*y)->name);
    return order ? order : ((*x)->file > (*y)->file) - ((*x)->file < (*y)->file);
}

/* The used sources in the order of their plain names. Caller frees. */
static VariantSource **by_names(VariantSource *sources, size_t count, size_t *used) {
    VariantSource **order = memory_new(count + 1, sizeof *order);
    *used = 0;
    for (size_t i = 0; i < count; i++)
        if (!sources[i].reason)
            order[(*used)++] = &sources[i];
    if (*used)
        qsort(order, *used, sizeof *order, by_plain_name);
    return order;
}

/* Names that are alike (a_1.mp4, a-1.mp4, A-1.mp4) get the beginning of their content's hash. */
static int name_sources(VariantSource *sources, const VideoIndex *index, Error *error) {
    size_t used;
    for (size_t i = 0; i < index->count; i++)
        if (!sources[i].reason)
            sources[i].name = plain_name(video_index_name(index, (uint32_t)i));
    VariantSource **order = by_names(sources, index->count, &used);
    for (size_t first = 0, end; first < used; first = end) {
        for (end = first + 1; end < used && !strcasecmp(order[end]->name, order[first]->name);)
            end++;
        for (size_t i = first; end - first > 1 && i < end; i++) {
            VideoFile file = video_index_file(index, order[i]->file);
            char hash[HASH_TEXT];
            hash_text(hash, &file.hash);
            char *longer = memory_text("%s-%.8s", order[i]->name, hash);
            free(order[i]->name);
            order[i]->name = longer;
        }
    }
    free(order);
    order = by_names(sources, index->count, &used);
    int result = 0;
    for (size_t i = 1; i < used && !result; i++)
        if (!strcasecmp(order[i - 1]->name, order[i]->name))
            result = error_set(error, ERROR_RUN, "%s and %s would get the same names: rename one",
                               video_index_name(index, order[i - 1]->file),
                               video_index_name(index, order[i]->file));
    free(order);
    return result;
}

/* ---- stretches ---- */

/* The step s with the smallest |log(r / s)|, r = rate / fps: s + 1 is nearer than s where
 * r r > s (s + 1). Then s / r lies in [1/sqrt 2, sqrt 2) for every r > 1/sqrt 2. */
static int whole_step(double r) {
    double below = fmax(floor(fmin(r, STEP_MAX)), 1);
    return (int)below + (r * r > below * (below + 1));
}

static void plan_stretches(VariantSource *source, const VideoFile *file, const VariantSpec *spec) {
    double rate = file->fps > 0 ? file->fps : VIDEO_FPS_GUESS, r = rate / spec->fps;
    int length = 2 * spec->frames - 1;
    if (!(r * r > 0.5)) {
        source->reason = memory_text("%.4g frames a second would play %.3g times as fast at %d: "
                                     "less than 1.414 is wanted (a lower --fps)",
                                     rate, 1 / r, spec->fps);
        return;
    }
    source->step = whole_step(r);
    source->pace = source->step / r;
    int64_t span = (int64_t)(length - 1) * source->step + 1;
    if (file->frames < span) {
        source->reason = memory_text("too short: %" PRId64
                                     " frames at %.4g a second; 2 x %d - 1 of them, %d apart, take "
                                     "%" PRId64 " (fewer --frames%s)",
                                     file->frames, rate, spec->frames, source->step, span,
                                     source->step > 1 ? ", or a higher --fps" : "");
        return;
    }
    int64_t fit = file->frames / span;
    source->count = (int)(fit < spec->per_source ? fit : spec->per_source);
    source->stretches = memory_new((size_t)source->count, sizeof *source->stretches);
    uint32_t slot;
    memcpy(&slot, file->hash.bytes, sizeof slot);
    slot = le32toh(slot);
    Random random = random_at(spec->seed, RANDOM_SYNTH, STREAM, slot);
    for (int i = 0; i < source->count; i++) {
        int64_t from = file->frames * i / source->count;
        int64_t to = file->frames * (i + 1) / source->count;
        VariantStretch *stretch = &source->stretches[i];
        stretch->first = from + (int64_t)random_below(&random, (uint64_t)(to - from - span) + 1);
        stretch->frozen = spec->frames / 2 + (int)random_below(&random, (uint64_t)spec->frames);
    }
}

/* Sources in the order of their bytes, then of the index. */
typedef struct Hashed {
    Hash hash;
    size_t source;
} Hashed;

static int by_hash(const void *a, const void *b) {
    const Hashed *x = a, *y = b;
    int order = memcmp(x->hash.bytes, y->hash.bytes, HASH_BYTES);
    return order ? order : (x->source > y->source) - (x->source < y->source);
}

/* Copies of a file would stand on both sides of the split: the first one stays. */
static void leave_out_copies(VariantSource *sources, const VideoIndex *index) {
    Hashed *order = memory_new(index->count + 1, sizeof *order);
    size_t count = 0;
    for (size_t i = 0; i < index->count; i++)
        if (!sources[i].reason)
            order[count++] = (Hashed){video_index_file(index, (uint32_t)i).hash, i};
    if (count)
        qsort(order, count, sizeof *order, by_hash);
    for (size_t first = 0, i = 1; i < count; i++) {
        if (hash_same(&order[first].hash, &order[i].hash))
            sources[order[i].source].reason = memory_text(
                "the same bytes as %s", video_index_name(index, (uint32_t)order[first].source));
        else
            first = i;
    }
    free(order);
}

int variants_plan(VariantSource **out, const VideoIndex *index, const VariantSpec *spec,
                  Error *error) {
    VariantSource *sources = *out = memory_new(index->count + 1, sizeof *sources);
    for (size_t i = 0; i < index->count; i++) {
        const char *reason = video_index_reason(index, (uint32_t)i);
        sources[i].file = (uint32_t)i;
        sources[i].reason = reason ? memory_text("%s", reason) : NULL;
    }
    leave_out_copies(sources, index);
    for (size_t i = 0; i < index->count; i++) {
        VideoFile file = video_index_file(index, (uint32_t)i);
        if (!sources[i].reason)
            plan_stretches(&sources[i], &file, spec);
    }
    if (!name_sources(sources, index, error))
        return 0;
    variants_plan_free(sources, index->count);
    *out = NULL;
    return -1;
}

void variants_plan_free(VariantSource *sources, size_t count) {
    for (size_t i = 0; sources && i < count; i++) {
        free(sources[i].name);
        free(sources[i].reason);
        free(sources[i].stretches);
    }
    free(sources);
}

/* ---- the split ---- */

typedef struct Labelled {
    int label;
    size_t source;
} Labelled;

static int by_label(const void *a, const void *b) {
    const Labelled *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

/* The last quarter of each class of sources tests: neighbours in name, which may come from one
 * film, are parted once. What rounding takes from one class, the next gets. */
int variants_split(VariantSource *sources, const VideoIndex *index, Error *error) {
    Labelled *order = memory_new(index->count + 1, sizeof *order);
    size_t count = 0, tests = 0;
    for (size_t i = 0; i < index->count; i++)
        if (!sources[i].reason)
            order[count++] = (Labelled){video_index_label(index, (uint32_t)i), i};
    if (count)
        qsort(order, count, sizeof *order, by_label);
    double owed = 0;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && order[end].label == order[first].label;)
            end++;
        owed += TEST_SHARE * (double)(end - first);
        size_t take = (size_t)floor(fmax(owed + 0.5, 0));
        take = take < end - first ? take : end - first;
        owed -= (double)take;
        for (size_t i = first; i < end; i++)
            sources[order[i].source].test = i >= end - take;
        tests += take;
    }
    if (count >= 2 && tests == 0)
        sources[order[count - 1].source].test = true;
    free(order);
    if (count >= 2)
        return 0;
    size_t first = 0; /* that is left out */
    while (first < index->count && !sources[first].reason)
        first++;
    return error_set(error, ERROR_RUN,
                     "%zu of %zu videos can be used: at least one to train on and one to test on "
                     "are needed%s%s%s%s",
                     count, index->count, first < index->count ? "; the first that cannot: " : "",
                     first < index->count ? video_index_name(index, (uint32_t)first) : "",
                     first < index->count ? ": " : "",
                     first < index->count ? sources[first].reason : "");
}
