/* MessagePack records: writing into memory, and reading bytes that a stranger may have made.
 *
 * MessagePack-C allocates what a header claims; eight bytes can claim gigabytes. So every record is
 * first walked without allocating (record_check): every claimed length must fit in the bytes that
 * are there, and nesting is bounded. Only then is it unpacked.
 */
#ifndef JEPA_BASE_RECORD_H
#define JEPA_BASE_RECORD_H

#include "base/error.h"
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_DEPTH 32 /* deepest nesting accepted */

/* Walks one record: 0 if it is well-formed, spans exactly `count` bytes and nests at most
 * RECORD_DEPTH deep. `name` stands in the message. Allocates nothing. */
int record_check(const uint8_t *bytes, size_t count, const char *name, Error *error);

/* Writing: a thin layer over msgpack_packer that cannot fail short of memory. */
typedef struct RecordWriter {
    msgpack_sbuffer buffer;
    msgpack_packer packer;
} RecordWriter;
void record_writer_start(RecordWriter *writer);
void record_writer_free(RecordWriter *writer);
void record_put_map(RecordWriter *writer, size_t pairs);
void record_put_list(RecordWriter *writer, size_t items);
void record_put_text(RecordWriter *writer, const char *text);
void record_put_integer(RecordWriter *writer, int64_t value);
void record_put_number(RecordWriter *writer, double value);
void record_put_bool(RecordWriter *writer, int value);
void record_put_null(RecordWriter *writer);
void record_put_bytes(RecordWriter *writer, const void *bytes, size_t count);

/* Reading: checks, then unpacks. The root and all it points to live until record_free. */
typedef struct Record {
    msgpack_unpacked unpacked;
    const msgpack_object *root;
} Record;
int record_read(Record *record, const uint8_t *bytes, size_t count, const char *name, Error *error);
void record_free(Record *record);

/* Access. NULL / -1 when absent or of another kind; never out of bounds. */
const msgpack_object *record_find(const msgpack_object *map, const char *key);
const msgpack_object *record_item(const msgpack_object *list, size_t i);
size_t record_count(const msgpack_object *list_or_map); /* 0 when neither */
int record_integer(const msgpack_object *object, int64_t *value);
int record_number(const msgpack_object *object, double *value); /* integers count as numbers */
int record_bool(const msgpack_object *object, int *value);
char *
record_text(const msgpack_object *object); /* a new zero-terminated copy, or NULL; caller frees */
int record_bytes(const msgpack_object *object, const uint8_t **bytes, size_t *count); /* bin */

#endif
