/* A zip file whose entries are stored as they are, mapped into memory: the container of PyTorch's
 * checkpoints.
 *
 *   local header, name, extra | bytes | descriptor      once for each entry
 *   central header, name, extra                         once for each entry: what is believed
 *   zip64 end and its locator                           where a number outgrows its field
 *   end of central directory                            the last 22 bytes (no comment after it)
 *
 * Opening checks everything the directory claims: one volume, nothing compressed or encrypted,
 * names unique, every local header and descriptor the same as its central header, everything inside
 * the file and nothing over anything else. Check sums are compared between the headers, not with
 * the bytes: PyTorch may be told not to compute them. Source: PKWARE APPNOTE.TXT 6.3, sections 4.3
 * to 4.5.
 */
#ifndef JEPA_BASE_ZIP_STORE_H
#define JEPA_BASE_ZIP_STORE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct ZipEntry {
    char *name;          /* owned by the store, without zero bytes inside */
    const uint8_t *data; /* [bytes] inside the mapping, maybe unaligned */
    size_t bytes;
} ZipEntry;

typedef struct ZipStore {
    size_t count;
    ZipEntry *entries; /* [count], in the order of their names (strcmp) */
    void *map;         /* the mapped file */
    size_t map_bytes;
    char *path;
} ZipStore;

/* Maps `path` and checks it; on failure the store is empty and needs no closing (it may be). */
int zip_store_open(ZipStore *store, const char *path, Error *error);
void zip_store_close(ZipStore *store);
const ZipEntry *zip_store_find(const ZipStore *store, const char *name); /* NULL if absent */

#endif
