/* Column files. See base/columns.h. */
#include "base/columns.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "column files are little-endian and mapped as they lie"
#endif

#define MAGIC        "jepacol\n"
#define PREFIX       16 /* bytes before the header */
#define ALIGNMENT    64 /* bytes */
#define HEADER_LIMIT ((uint64_t)1 << 30)
#define FIELDS       5 /* of a column in the header */

static size_t width_of(ColumnType type) {
    return type == COLUMN_U8 ? 1 : type == COLUMN_I32 ? 4 : 8;
}

static const char *const type_names[] = {"u8", "i32", "i64", "f64"};

static size_t aligned(size_t at) {
    return (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The header with the columns beginning at `start`. Its length does not depend on `start`: offsets
 * are written as bytes. */
static void pack_header(RecordWriter *w, size_t start, const char *format, int version,
                        const uint8_t *about, size_t about_bytes, const Column *columns,
                        const Hash *hashes, size_t count) {
    record_writer_start(w);
    record_put_map(w, 4);
    record_put_text(w, "format");
    record_put_text(w, format);
    record_put_text(w, "version");
    record_put_integer(w, version);
    record_put_text(w, "about");
    msgpack_sbuffer_write(&w->buffer, (const char *)about, about_bytes);
    record_put_text(w, "columns");
    record_put_list(w, count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = columns[i].count * width_of(columns[i].type);
        uint64_t offset = start;
        record_put_list(w, FIELDS);
        record_put_text(w, columns[i].name);
        record_put_text(w, type_names[columns[i].type]);
        record_put_integer(w, (int64_t)columns[i].count);
        record_put_bytes(w, &offset, sizeof offset);
        record_put_bytes(w, hashes[i].bytes, HASH_BYTES);
        start = aligned(start + bytes);
    }
}

void columns_pack(uint8_t **image, size_t *bytes, const char *format, int version,
                  const uint8_t *about, size_t about_bytes, const Column *columns, size_t count) {
    RecordWriter w;
    Hash *hashes = memory_new(count, sizeof *hashes);
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_bytes(columns[i].data, columns[i].count * width_of(columns[i].type));
    pack_header(&w, 0, format, version, about, about_bytes, columns, hashes, count);
    size_t header = w.buffer.size, start = aligned(PREFIX + header);
    record_writer_free(&w);
    pack_header(&w, start, format, version, about, about_bytes, columns, hashes, count);
    free(hashes);
    JEPA_ASSERT(w.buffer.size == header);
    size_t total = start;
    for (size_t i = 0; i < count; i++)
        total = aligned(total + columns[i].count * width_of(columns[i].type));
    uint8_t *made = memory_new(total, 1);
    uint64_t length = header;
    memcpy(made, MAGIC, 8);
    memcpy(made + 8, &length, sizeof length);
    memcpy(made + PREFIX, w.buffer.data, header);
    record_writer_free(&w);
    size_t at = start;
    for (size_t i = 0; i < count; i++) {
        size_t size = columns[i].count * width_of(columns[i].type);
        if (size)
            memcpy(made + at, columns[i].data, size);
        at = aligned(at + size);
    }
    *image = made;
    *bytes = total;
}

bool columns_is(const char *path) {
    char magic[8];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return false;
    bool is = read(file, magic, sizeof magic) == sizeof magic && !memcmp(magic, MAGIC, 8);
    close(file);
    return is;
}

static bool text_is(const msgpack_object *object, const char *text) {
    size_t length = strlen(text);
    return object && object->type == MSGPACK_OBJECT_STR && object->via.str.size == length &&
           !memcmp(object->via.str.ptr, text, length);
}

/* Is the file as long as its columns say, to the byte? */
static int check_end(const ColumnFile *file, Error *error) {
    const msgpack_object *columns = record_find(file->header.root, "columns");
    uint64_t end = 0;
    for (size_t i = 0; i < record_count(columns); i++) {
        const msgpack_object *column = record_item(columns, i), *type = record_item(column, 1);
        const uint8_t *bytes;
        size_t count;
        uint64_t offset;
        int64_t rows;
        if (record_integer(record_item(column, 2), &rows) || rows < 0 ||
            record_bytes(record_item(column, 3), &bytes, &count) || count != sizeof offset)
            return error_set(error, ERROR_RUN, "%s is damaged: column %zu makes no sense",
                             file->name, i);
        memcpy(&offset, bytes, sizeof offset);
        uint64_t width = text_is(type, "u8") ? 1 : text_is(type, "i32") ? 4 : 8;
        if (offset > file->bytes || (uint64_t)rows > (file->bytes - offset) / width)
            return error_set(error, ERROR_RUN, "%s is damaged: it ends before its columns do",
                             file->name);
        if (offset + (uint64_t)rows * width > end)
            end = offset + (uint64_t)rows * width;
    }
    if (end && aligned(end) != file->bytes)
        return error_set(error, ERROR_RUN, "%s is damaged: it is not as long as it says",
                         file->name);
    return 0;
}

static int read_header(ColumnFile *file, const char *format, int version, Error *error) {
    uint64_t length = 0;
    const char *name = file->name;
    if (file->bytes < PREFIX || memcmp(file->image, MAGIC, 8))
        return error_set(error, ERROR_RUN, "%s is no %s", name, format);
    memcpy(&length, file->image + 8, sizeof length);
    if (length > HEADER_LIMIT || length > file->bytes - PREFIX)
        return error_set(error, ERROR_RUN, "%s is damaged: its header does not fit into it", name);
    if (record_read(&file->header, file->image + PREFIX, (size_t)length, name, error)) {
        file->header.root = NULL;
        return -1;
    }
    const msgpack_object *root = file->header.root;
    int64_t found = 0;
    char *kind = record_text(record_find(root, "format"));
    bool same = kind && !strcmp(kind, format);
    free(kind);
    file->about = record_find(root, "about");
    if (!same || record_integer(record_find(root, "version"), &found) || !file->about)
        return error_set(error, ERROR_RUN, "%s is no %s", name, format);
    if (found != version)
        return error_set(error, ERROR_RUN,
                         "%s has format version %lld; this program reads %d: make it anew", name,
                         (long long)found, version);
    return check_end(file, error);
}

static int open_file(ColumnFile *file, const char *format, int version, Error *error) {
    if (!read_header(file, format, version, error))
        return 0;
    columns_close(file);
    return -1;
}

int columns_open_image(ColumnFile *file, uint8_t *image, size_t bytes, const char *name,
                       const char *format, int version, Error *error) {
    *file = (ColumnFile){.image = image, .bytes = bytes, .name = memory_text("%s", name)};
    return open_file(file, format, version, error);
}

int columns_open(ColumnFile *file, const char *path, const char *format, int version,
                 Error *error) {
    struct stat about;
    memset(file, 0, sizeof *file);
    int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (handle < 0)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    void *map = MAP_FAILED;
    bool plain = !fstat(handle, &about) && S_ISREG(about.st_mode);
    if (plain && about.st_size > 0)
        map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, handle, 0);
    close(handle);
    if (!plain || about.st_size == 0)
        return error_set(error, ERROR_RUN, "%s is no %s", path, format);
    if (map == MAP_FAILED)
        return error_set(error, ERROR_RUN, "cannot map %s: %s", path, strerror(errno));
    *file = (ColumnFile){.image = map,
                         .bytes = (size_t)about.st_size,
                         .mapped = true,
                         .name = memory_text("%s", path)};
    return open_file(file, format, version, error);
}

void columns_close(ColumnFile *file) {
    if (file->header.root)
        record_free(&file->header);
    if (file->mapped)
        munmap((void *)(uintptr_t)file->image, file->bytes);
    else
        free((void *)(uintptr_t)file->image);
    free(file->name);
    memset(file, 0, sizeof *file);
}

int columns_get(const void **data, size_t *count, const ColumnFile *file, const char *name,
                ColumnType type, size_t expected, bool verify, Error *error) {
    const msgpack_object *columns = record_find(file->header.root, "columns");
    const char *where = file->name;
    for (size_t i = 0; i < record_count(columns); i++) {
        const msgpack_object *column = record_item(columns, i);
        const uint8_t *offset_bytes, *hash_read;
        size_t offset_count, hash_count, width = width_of(type);
        uint64_t offset;
        int64_t rows;
        if (!text_is(record_item(column, 0), name))
            continue;
        if (!text_is(record_item(column, 1), type_names[type]) ||
            record_integer(record_item(column, 2), &rows) || rows < 0 ||
            record_bytes(record_item(column, 3), &offset_bytes, &offset_count) ||
            offset_count != sizeof offset ||
            record_bytes(record_item(column, 4), &hash_read, &hash_count) ||
            hash_count != HASH_BYTES)
            return error_set(error, ERROR_RUN, "%s is damaged: column %s makes no sense", where,
                             name);
        memcpy(&offset, offset_bytes, sizeof offset);
        if (offset % ALIGNMENT || offset > file->bytes ||
            (uint64_t)rows > (file->bytes - offset) / width)
            return error_set(error, ERROR_RUN, "%s is damaged: column %s does not fit into it",
                             where, name);
        if (expected != SIZE_MAX && (size_t)rows != expected)
            return error_set(error, ERROR_RUN,
                             "%s is damaged: column %s has %lld rows, not the %zu expected", where,
                             name, (long long)rows, expected);
        if (verify) {
            Hash hash = hash_bytes(file->image + offset, (size_t)rows * width);
            if (memcmp(hash.bytes, hash_read, HASH_BYTES))
                return error_set(error, ERROR_RUN,
                                 "%s is damaged: column %s is not what was "
                                 "written",
                                 where, name);
        }
        *data = file->image + offset;
        *count = (size_t)rows;
        return 0;
    }
    return error_set(error, ERROR_RUN, "%s is damaged: column %s is missing", where, name);
}
