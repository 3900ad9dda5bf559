/* Sealed records. See base/sealed.h. */
#include "base/sealed.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>

int sealed_write(Hash *hash, const char *path, const RecordWriter *record, Error *error) {
    Hash own = hash_bytes(record->buffer.data, record->buffer.size);
    RecordWriter outer;
    record_writer_start(&outer);
    record_put_map(&outer, 2);
    record_put_text(&outer, "hash");
    record_put_bytes(&outer, own.bytes, HASH_BYTES);
    record_put_text(&outer, "header");
    record_put_bytes(&outer, record->buffer.data, record->buffer.size);
    int result = file_write(path, outer.buffer.data, outer.buffer.size, error);
    record_writer_free(&outer);
    if (hash)
        *hash = own;
    return result;
}

static int read_both(Sealed *s, size_t count, const char *path, const char *what, Error *error) {
    const uint8_t *header, *hash;
    size_t header_bytes, hash_bytes_count;
    if (record_read(&s->outer, s->bytes, count, path, error))
        return -1;
    if (record_bytes(record_find(s->outer.root, "header"), &header, &header_bytes) ||
        record_bytes(record_find(s->outer.root, "hash"), &hash, &hash_bytes_count) ||
        hash_bytes_count != HASH_BYTES)
        return error_set(error, ERROR_RUN,
                         "%s is damaged or no %s of this program: fields are missing", path, what);
    memcpy(s->hash.bytes, hash, HASH_BYTES);
    Hash found = hash_bytes(header, header_bytes);
    if (!hash_same(&s->hash, &found))
        return error_set(error, ERROR_RUN,
                         "%s is damaged or no %s of this program: its hash does not match", path,
                         what);
    return record_read(&s->record, header, header_bytes, path, error);
}

int sealed_open(Sealed *sealed, const char *path, size_t limit, const char *what, Error *error) {
    size_t count = 0;
    memset(sealed, 0, sizeof *sealed);
    if (file_read(&sealed->bytes, &count, path, limit, error))
        return -1;
    int result = read_both(sealed, count, path, what, error);
    if (result)
        sealed_close(sealed);
    return result;
}

void sealed_close(Sealed *sealed) {
    record_free(&sealed->record);
    record_free(&sealed->outer);
    free(sealed->bytes);
    memset(sealed, 0, sizeof *sealed);
}
