/* Headers of feature stores. See eval/store_header.h. */
#include "eval/store_header.h"
#include "base/file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FORMAT       "jepa.c feature store"
#define SHARD_FORMAT "jepa.c feature shard"
#define VERSION      1
#define ABOUT_FIELDS 18
#define CLIP_FIELDS  8
#define LAYER_MAX    4096
#define ROWS_MAX     (1 << 24)          /* of a clip */
#define WIDTH_MAX    (1 << 20)          /* of a row */
#define BYTES_MAX    ((int64_t)1 << 40) /* of a clip */

static const char *const types[] = {[STORE_FLOAT16] = "float16", [STORE_BFLOAT16] = "bfloat16"};

void store_about_free(StoreAbout *about) {
    free(about->source);
    free(about->precision);
    memset(about, 0, sizeof *about);
}

void store_shard_free(StoreShard *shard) {
    free(shard->failed);
    free(shard->hashes);
    shard->failed = NULL;
    shard->hashes = NULL;
}

static void free_texts(char **texts, int64_t count) {
    for (int64_t i = 0; i < count && texts; i++)
        free(texts[i]);
    free(texts);
}

void store_header_free(Store *s) {
    free_texts(s->names, s->videos);
    free_texts(s->class_names, s->classes);
    free(s->labels);
    free(s->failed);
    free(s->shards);
    store_about_free(&s->about);
}

char *store_shard_path(const char *folder, int64_t number, const char *ending) {
    char *name = memory_text("shard-%05" PRId64 ".%s", number, ending);
    char *path = path_join(folder, name);
    free(name);
    return path;
}

int64_t store_clip_bytes(const StoreAbout *about) {
    return (int64_t)about->rows * about->width * (int64_t)sizeof(uint16_t);
}

int64_t store_shard_bytes(const Store *store, const StoreShard *shard) {
    return shard->count * store_clip_bytes(&store->about);
}

int64_t store_shard_size(const Store *store, int64_t number) {
    int64_t left = store->videos * store->clips - number * store->shard_clips;
    return left < store->shard_clips ? left : store->shard_clips;
}

/* ---- packing ---- */

static void put_hash(RecordWriter *w, const char *key, const Hash *hash) {
    record_put_text(w, key);
    record_put_bytes(w, hash->bytes, HASH_BYTES);
}

static void put_text(RecordWriter *w, const char *key, const char *text) {
    record_put_text(w, key);
    record_put_text(w, text);
}

static void put_integer(RecordWriter *w, const char *key, int64_t value) {
    record_put_text(w, key);
    record_put_integer(w, value);
}

static void put_integers(RecordWriter *w, const char *key, const int *values, int count) {
    record_put_text(w, key);
    record_put_list(w, (size_t)count);
    for (int i = 0; i < count; i++)
        record_put_integer(w, values[i]);
}

static void put_about(RecordWriter *w, const StoreAbout *a) {
    record_put_text(w, "about");
    record_put_map(w, ABOUT_FIELDS);
    put_hash(w, "checkpoint", &a->checkpoint);
    put_hash(w, "recipe", &a->recipe);
    put_hash(w, "files", &a->files);
    put_hash(w, "frames", &a->frames);
    put_text(w, "source", a->source ? a->source : "");
    put_text(w, "precision", a->precision ? a->precision : "");
    put_text(w, "network", a->network == 'c' ? "context" : "target");
    record_put_text(w, "pooled");
    record_put_bool(w, a->pooled);
    put_text(w, "type", types[a->type]);
    put_integers(w, "layers", a->layer, a->layers);
    put_integer(w, "segments", a->segments);
    put_integer(w, "views", a->views);
    put_integer(w, "clip_frames", a->clip_frames);
    put_integers(w, "clip_size", (const int[]){a->height, a->width_pixels}, 2);
    put_integers(w, "grid", a->grid, 3);
    put_integer(w, "rows", a->rows);
    put_integer(w, "width", a->width);
    put_integer(w, "heads", a->heads);
}

static void put_texts(RecordWriter *w, const char *key, char *const *texts, int64_t count) {
    record_put_text(w, key);
    record_put_list(w, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        record_put_text(w, texts[i]);
}

void store_header_pack(RecordWriter *w, const Store *s) {
    int64_t failed = 0;
    for (int64_t v = 0; v < s->videos; v++)
        failed += s->failed[v];
    record_put_map(w, 9);
    put_text(w, "format", FORMAT);
    put_integer(w, "version", VERSION);
    put_about(w, &s->about);
    put_texts(w, "names", s->names, s->videos);
    put_integers(w, "labels", s->labels, (int)s->videos);
    put_texts(w, "class_names", s->class_names, s->classes);
    record_put_text(w, "failed");
    record_put_list(w, (size_t)failed);
    for (int64_t v = 0; v < s->videos; v++)
        if (s->failed[v])
            record_put_integer(w, v);
    put_integer(w, "shard_clips", s->shard_clips);
    record_put_text(w, "shards");
    record_put_list(w, (size_t)s->shard_count);
    for (int64_t k = 0; k < s->shard_count; k++)
        record_put_bytes(w, s->shards[k].index.bytes, HASH_BYTES);
}

void store_index_start(RecordWriter *w, const Store *s, int64_t number) {
    record_put_map(w, 6);
    put_text(w, "format", SHARD_FORMAT);
    put_integer(w, "version", VERSION);
    put_about(w, &s->about);
    put_integer(w, "number", number);
    put_integer(w, "shard_clips", s->shard_clips);
    record_put_text(w, "clips");
    record_put_list(w, (size_t)store_shard_size(s, number));
}

void store_index_add(RecordWriter *w, const Store *s, int64_t number, int64_t place,
                     const StoreClip *clip) {
    int64_t at = number * s->shard_clips + place, of_video = at % s->clips;
    record_put_list(w, CLIP_FIELDS);
    record_put_integer(w, at / s->clips);
    record_put_integer(w, of_video / s->about.views);
    record_put_integer(w, of_video % s->about.views);
    record_put_bool(w, clip->failed);
    record_put_integer(w, place * store_clip_bytes(&s->about));
    record_put_list(w, (size_t)s->about.clip_frames);
    for (int f = 0; f < s->about.clip_frames; f++)
        record_put_integer(w, clip->frames[f]);
    record_put_list(w, 4);
    for (int i = 0; i < 4; i++)
        record_put_integer(w, clip->crop[i]);
    record_put_bytes(w, clip->hash.bytes, HASH_BYTES);
}

/* ---- reading ---- */

static int damaged(const char *name, const char *what, Error *error) {
    return error_set(error, ERROR_RUN, "%s is damaged or no part of a feature store: %s", name,
                     what);
}

static int read_hash(Hash *hash, const msgpack_object *object) {
    const uint8_t *bytes;
    size_t count;
    if (record_bytes(object, &bytes, &count) || count != HASH_BYTES)
        return -1;
    memcpy(hash->bytes, bytes, HASH_BYTES);
    return 0;
}

/* A whole number of low to high. */
static int read_integer(int64_t *value, const msgpack_object *object, int64_t low, int64_t high) {
    return record_integer(object, value) || *value < low || *value > high ? -1 : 0;
}

static int read_int(int *value, const msgpack_object *map, const char *key, int low, int high) {
    int64_t wide;
    if (read_integer(&wide, record_find(map, key), low, high))
        return -1;
    *value = (int)wide;
    return 0;
}

/* A list of exactly `count` numbers; any number up to `most` where count is NULL. */
static int read_ints(int *values, const msgpack_object *map, const char *key, int count, int low,
                     int high) {
    const msgpack_object *list = record_find(map, key);
    if (!list || list->type != MSGPACK_OBJECT_ARRAY || record_count(list) != (size_t)count)
        return -1;
    for (int i = 0; i < count; i++) {
        int64_t wide;
        if (read_integer(&wide, record_item(list, (size_t)i), low, high))
            return -1;
        values[i] = (int)wide;
    }
    return 0;
}

static bool text_is(const msgpack_object *map, const char *key, const char *text) {
    char *found = record_text(record_find(map, key));
    bool is = found && !strcmp(found, text);
    free(found);
    return is;
}

static int read_sizes(StoreAbout *a, const msgpack_object *map) {
    int size[2];
    size_t layers = record_count(record_find(map, "layers"));
    if (layers > MODEL_LAYERS_MAX ||
        read_ints(a->layer, map, "layers", (int)layers, 0, LAYER_MAX) ||
        read_int(&a->segments, map, "segments", 1, STORE_CLIPS_MAX) ||
        read_int(&a->views, map, "views", 1, STORE_CLIPS_MAX) ||
        read_int(&a->clip_frames, map, "clip_frames", 1, CLIP_FRAMES_MAX) ||
        read_ints(size, map, "clip_size", 2, 1, CLIP_CROP_MAX) ||
        read_ints(a->grid, map, "grid", 3, 1, CLIP_CROP_MAX) ||
        read_int(&a->rows, map, "rows", 1, ROWS_MAX) ||
        read_int(&a->width, map, "width", 1, WIDTH_MAX) ||
        read_int(&a->heads, map, "heads", 1, WIDTH_MAX))
        return -1;
    a->layers = (int)layers;
    a->height = size[0];
    a->width_pixels = size[1];
    int64_t tokens = (int64_t)a->grid[0] * a->grid[1] * a->grid[2];
    bool fits = a->pooled ? a->rows == 1 : a->rows == tokens || a->rows == tokens + 1;
    return !fits || a->segments * a->views > STORE_CLIPS_MAX || store_clip_bytes(a) > BYTES_MAX;
}

static int read_about(StoreAbout *a, const msgpack_object *map, const char *name, Error *error) {
    int pooled = 0;
    bool target = text_is(map, "network", "target"), half = text_is(map, "type", types[0]);
    if (read_hash(&a->checkpoint, record_find(map, "checkpoint")) ||
        read_hash(&a->recipe, record_find(map, "recipe")) ||
        read_hash(&a->files, record_find(map, "files")) ||
        read_hash(&a->frames, record_find(map, "frames")) ||
        record_bool(record_find(map, "pooled"), &pooled) ||
        !(target || text_is(map, "network", "context")) ||
        !(half || text_is(map, "type", types[1])))
        return damaged(name, "it does not say what it is about", error);
    a->pooled = pooled;
    a->network = target ? 't' : 'c';
    a->type = half ? STORE_FLOAT16 : STORE_BFLOAT16;
    if (!(a->source = record_text(record_find(map, "source"))) ||
        !(a->precision = record_text(record_find(map, "precision"))) || read_sizes(a, map))
        return damaged(name, "its sizes make no sense", error);
    return 0;
}

/* format and version */
static int read_kind(const msgpack_object *root, const char *format, const char *name,
                     Error *error) {
    int64_t version = 0;
    if (!text_is(root, "format", format) || record_integer(record_find(root, "version"), &version))
        return damaged(name, "another format", error);
    if (version != VERSION)
        return error_set(error, ERROR_RUN,
                         "%s has format version %" PRId64 "; this program reads version %d", name,
                         version, VERSION);
    return 0;
}

/* [*count] texts; each takes a byte at least, so there are no more than the file has bytes. */
static int read_texts(char ***texts, int64_t *count, const msgpack_object *list) {
    if (!list || list->type != MSGPACK_OBJECT_ARRAY)
        return -1;
    size_t wanted = record_count(list);
    *texts = memory_new(wanted, sizeof **texts);
    for (*count = 0; *count < (int64_t)wanted; (*count)++)
        if (!((*texts)[*count] = record_text(record_item(list, (size_t)*count))))
            return -1;
    return 0;
}

static int read_videos(Store *s, const msgpack_object *root) {
    const msgpack_object *failed = record_find(root, "failed");
    int64_t classes = 0, last = -1;
    if (read_texts(&s->names, &s->videos, record_find(root, "names")) || !s->videos ||
        s->videos > INT32_MAX)
        return -1;
    int status = read_texts(&s->class_names, &classes, record_find(root, "class_names"));
    s->classes = (int)classes;
    s->labels = memory_new((size_t)s->videos, sizeof *s->labels);
    s->failed = memory_new((size_t)s->videos, sizeof *s->failed);
    if (status || classes > INT32_MAX || !failed || failed->type != MSGPACK_OBJECT_ARRAY ||
        read_ints(s->labels, root, "labels", (int)s->videos, -1, s->classes - 1))
        return -1;
    for (size_t i = 0; i < record_count(failed); i++) { /* ascending */
        if (read_integer(&last, record_item(failed, i), last + 1, s->videos - 1))
            return -1;
        s->failed[last] = true;
    }
    return 0;
}

static int read_shards(Store *s, const msgpack_object *root) {
    const msgpack_object *shards = record_find(root, "shards");
    s->clips = s->about.segments * s->about.views;
    if (read_integer(&s->shard_clips, record_find(root, "shard_clips"), 1, STORE_SHARD_MOST))
        return -1;
    int64_t total = s->videos * s->clips, count = (total + s->shard_clips - 1) / s->shard_clips;
    if (record_count(shards) != (size_t)count || shards->type != MSGPACK_OBJECT_ARRAY)
        return -1;
    s->shards = memory_new((size_t)count, sizeof *s->shards);
    for (s->shard_count = 0; s->shard_count < count; s->shard_count++) {
        StoreShard *shard = &s->shards[s->shard_count];
        shard->count = store_shard_size(s, s->shard_count);
        if (read_hash(&shard->index, record_item(shards, (size_t)s->shard_count)))
            return -1;
    }
    return 0;
}

int store_header_unpack(Store *s, const msgpack_object *root, const char *name, Error *error) {
    if (read_kind(root, FORMAT, name, error) ||
        read_about(&s->about, record_find(root, "about"), name, error))
        return -1;
    if (read_videos(s, root))
        return damaged(name, "its videos make no sense", error);
    if (read_shards(s, root))
        return damaged(name, "its shards make no sense", error);
    return 0;
}

/* Entry `place` of an index: it must be the clip whose turn it is. */
static int read_clip(StoreShard *shard, const Store *s, int64_t number, int64_t place,
                     const msgpack_object *entry) {
    int64_t at = number * s->shard_clips + place, of_video = at % s->clips, value;
    const int64_t wanted[] = {at / s->clips, of_video / s->about.views, of_video % s->about.views};
    const msgpack_object *frames = record_item(entry, 5), *crop = record_item(entry, 6);
    int failed;
    for (size_t i = 0; i < 3; i++)
        if (read_integer(&value, record_item(entry, i), wanted[i], wanted[i]))
            return -1;
    int64_t offset = place * store_clip_bytes(&s->about);
    if (record_count(entry) != CLIP_FIELDS || record_bool(record_item(entry, 3), &failed) ||
        read_integer(&value, record_item(entry, 4), offset, offset) ||
        record_count(frames) != (size_t)s->about.clip_frames || record_count(crop) != 4 ||
        read_hash(&shard->hashes[place], record_item(entry, 7)))
        return -1;
    for (size_t i = 0; i < record_count(frames); i++)
        if (read_integer(&value, record_item(frames, i), 0, INT64_MAX))
            return -1;
    for (size_t i = 0; i < 4; i++)
        if (read_integer(&value, record_item(crop, i), 0, INT32_MAX))
            return -1;
    shard->failed[place] = failed;
    return 0;
}

int store_index_unpack(StoreShard *shard, const Store *store, int64_t number,
                       const msgpack_object *root, const char *name, Error *error) {
    StoreAbout about = {0};
    int64_t value;
    if (read_kind(root, SHARD_FORMAT, name, error))
        return -1;
    int result = read_about(&about, record_find(root, "about"), name, error);
    if (!result)
        result = store_about_same(&about, &store->about, store->folder, error);
    store_about_free(&about);
    if (result)
        return -1;
    const msgpack_object *clips = record_find(root, "clips");
    if (!read_integer(&value, record_find(root, "shard_clips"), 1, STORE_SHARD_MOST) &&
        value != store->shard_clips) /* the same clips would lie elsewhere */
        return error_set(error, ERROR_USAGE,
                         "%s was begun with shards of %" PRId64 " clips, not %" PRId64
                         ": say so again, or name another folder",
                         store->folder, value, store->shard_clips);
    if (read_integer(&value, record_find(root, "number"), number, number) || !clips ||
        clips->type != MSGPACK_OBJECT_ARRAY)
        return damaged(name, "it belongs elsewhere", error);
    shard->count = store_shard_size(store, number);
    if (record_count(clips) != (size_t)shard->count)
        return damaged(name, "it has another number of clips", error);
    shard->failed = memory_new((size_t)shard->count, sizeof *shard->failed);
    shard->hashes = memory_new((size_t)shard->count, sizeof *shard->hashes);
    for (int64_t i = 0; i < shard->count; i++)
        if (read_clip(shard, store, number, i, record_item(clips, (size_t)i)))
            return damaged(name, "a clip in it makes no sense", error);
    return 0;
}

/* ---- comparing ---- */

static char *layers_text(const StoreAbout *a) {
    char *text = memory_text("%s", a->layers ? "" : "the last");
    for (int i = 0; i < a->layers; i++) {
        char *longer = memory_text("%s%s%d", text, i ? "," : "", a->layer[i]);
        free(text);
        text = longer;
    }
    return text;
}

/* A thing with its first bytes, as two may have one name. */
static char *hashed_text(const char *what, const Hash *hash) {
    char text[HASH_TEXT];
    hash_text(text, hash);
    return memory_text("%s%s%.8s", what ? what : "", what && *what ? ", hash " : "hash ", text);
}

/* The first fact that differs, and each side's; NULL: none does. The caller frees the texts. */
static const char *difference(char *text[2], const StoreAbout *a, const StoreAbout *b) {
    const StoreAbout *both[] = {a, b};
#define DIFFERS(name, condition, make)                                                             \
    if (condition) {                                                                               \
        for (int i = 0; i < 2; i++) {                                                              \
            const StoreAbout *x = both[i];                                                         \
            text[i] = make;                                                                        \
        }                                                                                          \
        return name;                                                                               \
    }
    DIFFERS("the weights", !hash_same(&a->checkpoint, &b->checkpoint),
            hashed_text(x->source, &x->checkpoint))
    DIFFERS("--network", a->network != b->network,
            memory_text("%s", x->network == 'c' ? "context" : "target"))
    DIFFERS("--layers",
            a->layers != b->layers || memcmp(a->layer, b->layer, sizeof(int) * (size_t)a->layers),
            layers_text(x))
    DIFFERS("--pooled", a->pooled != b->pooled, memory_text("%s", x->pooled ? "pooled" : "tokens"))
    DIFFERS("--type", a->type != b->type, memory_text("%s", types[x->type]))
    DIFFERS("--segments", a->segments != b->segments, memory_text("%d", x->segments))
    DIFFERS("--crops", a->views != b->views, memory_text("%d", x->views))
    DIFFERS("clips",
            a->clip_frames != b->clip_frames || a->height != b->height ||
                a->width_pixels != b->width_pixels,
            memory_text("%d x %d x %d", x->clip_frames, x->height, x->width_pixels))
    DIFFERS("tokens of a clip", memcmp(a->grid, b->grid, sizeof a->grid) || a->rows != b->rows,
            memory_text("%d in %d x %d x %d", x->rows, x->grid[0], x->grid[1], x->grid[2]))
    DIFFERS("the width", a->width != b->width, memory_text("%d", x->width))
    DIFFERS("the encoder's heads", a->heads != b->heads, memory_text("%d", x->heads))
    DIFFERS("the precision", strcmp(a->precision, b->precision), memory_text("%s", x->precision))
    DIFFERS("the videos", !hash_same(&a->files, &b->files), hashed_text(NULL, &x->files))
    DIFFERS("frames and crops of the clips", !hash_same(&a->frames, &b->frames),
            hashed_text(NULL, &x->frames))
    DIFFERS("the recipe (--set)", !hash_same(&a->recipe, &b->recipe), hashed_text(NULL, &x->recipe))
#undef DIFFERS
    return NULL;
}

int store_about_same(const StoreAbout *there, const StoreAbout *now, const char *folder,
                     Error *error) {
    char *text[2];
    const char *what = difference(text, there, now);
    if (!what)
        return 0;
    error_set(error, ERROR_USAGE,
              "%s holds other features, %s: %s there, %s now: name another folder, or remove that "
              "one",
              folder, what, text[0], text[1]);
    free(text[0]);
    free(text[1]);
    return -1;
}
