/* Sealed records: a MessagePack record with the BLAKE2b-256 of its own bytes, one to a file.
 *
 *   {hash: 32 bytes, header: the record's bytes}
 */
#ifndef JEPA_BASE_SEALED_H
#define JEPA_BASE_SEALED_H

#include "base/hash.h"
#include "base/record.h"

typedef struct Sealed {
    Record record; /* what was sealed; its root and all it points to live until sealed_close */
    Hash hash;     /* of its bytes */
    Record outer;
    uint8_t *bytes; /* the file */
} Sealed;

/* Writes `record` sealed, whole or not at all. `hash` (or NULL) receives that of its bytes. */
int sealed_write(Hash *hash, const char *path, const RecordWriter *record, Error *error);

/* Reads a file of at most `limit` bytes. `what` ("checkpoint") stands in messages. Errors: no such
 * record, its hash does not match. On failure nothing needs closing (it may be). */
int sealed_open(Sealed *sealed, const char *path, size_t limit, const char *what, Error *error);
void sealed_close(Sealed *sealed);

#endif
