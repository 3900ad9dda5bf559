/* A bank on disk: writing it, and reading what a stranger may have written. See eval/bank.h. */
#include "base/file.h"
#include "base/sealed.h"
#include "eval/bank.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION      1
#define HEADER_LIMIT ((size_t)1 << 30) /* bytes; a million videos: some 100 MB */
#define WIDTH_MAX    (1 << 20)
#define SIDE_MAX     4096 /* tokens along an axis */
#define FILES        3

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are stored little-endian");

static const char *const file_names[FILES] = {"latents.bin", "pixels.bin", "places.bin"};

static size_t file_bytes(const Bank *b, int file) {
    const size_t row[FILES] = {(size_t)b->width * sizeof *b->latents, (size_t)b->outputs,
                               3 * sizeof *b->places};
    return (size_t)b->rows * row[file];
}

static void put_hash(RecordWriter *r, const char *key, const Hash *hash) {
    record_put_text(r, key);
    record_put_bytes(r, hash->bytes, HASH_BYTES);
}

static void put_integer(RecordWriter *r, const char *key, int64_t value) {
    record_put_text(r, key);
    record_put_integer(r, value);
}

static void pack_header(RecordWriter *r, const Bank *b, const Hash *files) {
    record_writer_start(r);
    record_put_map(r, 17);
    put_integer(r, "version", VERSION);
    put_hash(r, "checkpoint", &b->about.checkpoint);
    put_hash(r, "recipe", &b->about.recipe);
    put_hash(r, "files", &b->about.files);
    record_put_text(r, "source");
    record_put_text(r, b->about.source);
    put_integer(r, "tokens", b->about.tokens);
    put_integer(r, "seed", b->about.seed);
    put_integer(r, "segments", b->about.segments);
    put_integer(r, "time", b->grid.time);
    put_integer(r, "height", b->grid.height);
    put_integer(r, "grid_width", b->grid.width);
    put_integer(r, "width", b->width);
    put_integer(r, "tubelet", b->tubelet);
    put_integer(r, "patch", b->patch);
    put_integer(r, "rows", b->rows);
    record_put_text(r, "hashes");
    record_put_list(r, FILES);
    for (int i = 0; i < FILES; i++)
        record_put_bytes(r, files[i].bytes, HASH_BYTES);
    record_put_text(r, "videos");
    record_put_list(r, (size_t)b->videos);
    for (int64_t v = 0; v < b->videos; v++) {
        record_put_list(r, 2);
        record_put_text(r, b->names[v]);
        record_put_bytes(r, b->hashes[v].bytes, HASH_BYTES);
    }
}

int bank_write(const Bank *bank, const char *folder, Error *error) {
    const void *const parts[FILES] = {bank->latents, bank->pixels, bank->places};
    char *out = path_trim(folder), *partial = folder_begin(out, error);
    Hash hashes[FILES];
    RecordWriter record;
    if (!partial) {
        free(out);
        return -1;
    }
    int result = 0;
    for (int i = 0; i < FILES && !result; i++) {
        char *path = path_join(partial, file_names[i]);
        hashes[i] = hash_bytes(parts[i], file_bytes(bank, i));
        result = file_write(path, parts[i], file_bytes(bank, i), error);
        free(path);
    }
    if (!result) {
        char *path = path_join(partial, BANK_FILE);
        pack_header(&record, bank, hashes);
        result = sealed_write(NULL, path, &record, error);
        record_writer_free(&record);
        free(path);
    }
    result = folder_end(partial, out, result, error);
    free(out);
    return result;
}

/* ---- reading ---- */

static bool get_hash(Hash *hash, const msgpack_object *object) {
    const uint8_t *bytes;
    size_t count;
    if (!object || record_bytes(object, &bytes, &count) || count != HASH_BYTES)
        return false;
    memcpy(hash->bytes, bytes, HASH_BYTES);
    return true;
}

/* An integer from low to high. */
static bool get_integer(int64_t *value, const msgpack_object *root, const char *key, int64_t low,
                        int64_t high) {
    const msgpack_object *object = record_find(root, key);
    return object && !record_integer(object, value) && *value >= low && *value <= high;
}

static bool get_small(int *value, const msgpack_object *root, const char *key, int high) {
    int64_t wide = 0;
    bool good = get_integer(&wide, root, key, 1, high);
    *value = (int)wide;
    return good;
}

static bool get_videos(Bank *b, const msgpack_object *list) {
    size_t count = list ? record_count(list) : 0;
    if (!count || count > (size_t)BANK_VIDEOS_MAX)
        return false;
    b->names = memory_new(count, sizeof *b->names);
    b->hashes = memory_new(count, sizeof *b->hashes);
    b->videos = (int64_t)count;
    for (size_t v = 0; v < count; v++) {
        const msgpack_object *video = record_item(list, v);
        const msgpack_object *name = video ? record_item(video, 0) : NULL;
        b->names[v] = name ? record_text(name) : NULL;
        if (!b->names[v] || !get_hash(&b->hashes[v], record_item(video, 1)))
            return false;
    }
    return true;
}

static bool get_header(Bank *b, Hash *files, const msgpack_object *root) {
    const msgpack_object *hashes = record_find(root, "hashes");
    const msgpack_object *source = record_find(root, "source");
    int64_t version;
    b->about.source = source ? record_text(source) : NULL;
    for (size_t i = 0; i < FILES; i++)
        if (!hashes || !get_hash(&files[i], record_item(hashes, i)))
            return false;
    if (!get_integer(&version, root, "version", VERSION, VERSION) || !b->about.source ||
        !get_hash(&b->about.checkpoint, record_find(root, "checkpoint")) ||
        !get_hash(&b->about.recipe, record_find(root, "recipe")) ||
        !get_hash(&b->about.files, record_find(root, "files")) ||
        !get_integer(&b->about.tokens, root, "tokens", 1, BANK_ROWS_MAX) ||
        !get_integer(&b->about.seed, root, "seed", 0, INT64_MAX) ||
        !get_small(&b->about.segments, root, "segments", 1 << 16) ||
        !get_small(&b->grid.time, root, "time", SIDE_MAX) ||
        !get_small(&b->grid.height, root, "height", SIDE_MAX) ||
        !get_small(&b->grid.width, root, "grid_width", SIDE_MAX) ||
        !get_small(&b->width, root, "width", WIDTH_MAX) ||
        !get_small(&b->tubelet, root, "tubelet", CLIP_FRAMES_MAX) ||
        !get_small(&b->patch, root, "patch", CLIP_CROP_MAX) ||
        !get_integer(&b->rows, root, "rows", 1, b->about.tokens))
        return false;
    if ((int64_t)b->grid.time * b->grid.height * b->grid.width > INT32_MAX)
        return false; /* places count a clip's tokens in int32 */
    b->outputs = 3 * b->tubelet * b->patch * b->patch;
    return get_videos(b, record_find(root, "videos"));
}

static int map_file(const void **out, const char *path, size_t bytes, const Hash *wanted,
                    Error *error) {
    struct stat about;
    int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result = 0;
    void *map = MAP_FAILED;
    if (handle < 0)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    if (fstat(handle, &about) || !S_ISREG(about.st_mode))
        result = error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    else if (about.st_size < 0 || (size_t)about.st_size != bytes)
        result = error_set(error, ERROR_RUN, "%s is damaged: it has %lld bytes, expected %zu", path,
                           (long long)about.st_size, bytes);
    else if ((map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, handle, 0)) == MAP_FAILED)
        result = error_set(error, ERROR_RUN, "cannot map %s: %s", path, strerror(errno));
    close(handle);
    if (result)
        return -1;
    *out = map;
    Hash found = hash_bytes(map, bytes);
    if (!hash_same(&found, wanted))
        return error_set(error, ERROR_RUN, "%s is damaged: its bytes are not what was written",
                         path);
    return 0;
}

/* A float16 whose exponent is all ones is an infinity or no number. */
static int check_latents(const Bank *b, const char *folder, Error *error) {
    size_t values = (size_t)b->rows * (size_t)b->width, lost = 0;
    for (size_t i = 0; i < values; i++)
        lost += (b->latents[i] & 0x7c00) == 0x7c00;
    return lost ? error_set(error, ERROR_RUN, "%s/%s is damaged: %zu of its numbers are not finite",
                            folder, file_names[0], lost)
                : 0;
}

static int check_places(const Bank *b, const char *folder, Error *error) {
    int tokens = mask_grid_tokens(b->grid);
    for (int64_t i = 0; i < b->rows; i++) {
        const int32_t *place = b->places + 3 * i;
        if (place[0] < 0 || place[0] >= b->videos || place[1] < 0 || place[2] < 0 ||
            place[2] >= tokens)
            return error_set(error, ERROR_RUN, "%s/%s is damaged: row %" PRId64 " is of no token",
                             folder, file_names[2], i);
    }
    return 0;
}

int bank_open(Bank *b, const char *given, Error *error) {
    memset(b, 0, sizeof *b);
    char *folder = path_trim(given), *path = path_join(folder, BANK_FILE);
    const void *parts[FILES] = {NULL};
    Hash files[FILES];
    Sealed sealed;
    int result = 0;
    if (!file_exists(path))
        result = error_set(error, ERROR_USAGE,
                           "%s is no bank of patches: there is no %s in it; jepa bank builds one",
                           folder, BANK_FILE);
    else
        result = sealed_open(&sealed, path, HEADER_LIMIT, "bank", error);
    if (!result) {
        if (!get_header(b, files, sealed.record.root))
            result = error_set(error, ERROR_RUN, "%s is damaged, or of another version", path);
        sealed_close(&sealed);
    }
    b->mapped = true;
    for (int i = 0; i < FILES && !result; i++) {
        char *file = path_join(folder, file_names[i]);
        result = map_file(&parts[i], file, file_bytes(b, i), &files[i], error);
        free(file);
    }
    b->latents = parts[0];
    b->pixels = parts[1];
    b->places = parts[2];
    if (!result)
        result = check_latents(b, folder, error) || check_places(b, folder, error) ? -1 : 0;
    free(folder);
    free(path);
    return result;
}
