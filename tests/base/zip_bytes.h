/* Zip files of stored entries, byte by byte, for tests that then damage them. */
#ifndef JEPA_TESTS_ZIP_BYTES_H
#define JEPA_TESTS_ZIP_BYTES_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ZIP_PARTS 10

typedef struct ZipPart {
    const char *name;
    const void *data;
    size_t bytes;
} ZipPart;

typedef struct ZipBytes {
    uint8_t *data; /* [count], owned: free() */
    size_t count;
    size_t local[ZIP_PARTS], central[ZIP_PARTS]; /* where the headers are */
    size_t wide, end;                            /* the zip64 end, 0 if none, and the end */
} ZipBytes;

static inline void zip_put(ZipBytes *zip, const void *bytes, size_t count) {
    zip->data = memory_grow(zip->data, zip->count + count + 1, 1);
    if (count)
        memcpy(zip->data + zip->count, bytes, count);
    zip->count += count;
}

static inline void zip_number(ZipBytes *zip, uint64_t value, int width) {
    for (int i = 0; i < width; i++)
        zip_put(zip, &(uint8_t){(uint8_t)(i < 8 ? value >> (8 * i) : 0)}, 1);
}

/* `streamed`: sizes in descriptors after the bytes, and a zip64 end, as PyTorch writes. */
static inline ZipBytes zip_build(const ZipPart *parts, size_t count, bool streamed) {
    ZipBytes zip = {0};
    uint32_t sum = 0x12345678; /* not checked */
    for (size_t i = 0; i < count; i++) {
        zip.local[i] = zip.count;
        zip_number(&zip, 0x04034b50, 4);
        zip_number(&zip, 0, 2);
        zip_number(&zip, streamed ? 0x0808 : 0, 2);
        zip_number(&zip, 0, 6); /* method, time, date */
        zip_number(&zip, streamed ? 0 : sum, 4);
        zip_number(&zip, streamed ? 0 : parts[i].bytes, 4);
        zip_number(&zip, streamed ? 0 : parts[i].bytes, 4);
        zip_number(&zip, strlen(parts[i].name), 2);
        zip_number(&zip, streamed ? 5 : 0, 2);
        zip_put(&zip, parts[i].name, strlen(parts[i].name));
        if (streamed)
            zip_put(&zip, "FB\1\0Z", 5); /* padding */
        zip_put(&zip, parts[i].data, parts[i].bytes);
        if (streamed) {
            zip_number(&zip, 0x08074b50, 4);
            zip_number(&zip, sum, 4);
            zip_number(&zip, parts[i].bytes, 4);
            zip_number(&zip, parts[i].bytes, 4);
        }
    }
    size_t directory = zip.count;
    for (size_t i = 0; i < count; i++) {
        zip.central[i] = zip.count;
        zip_number(&zip, 0x02014b50, 4);
        zip_number(&zip, 0, 4); /* versions */
        zip_number(&zip, streamed ? 0x0808 : 0, 2);
        zip_number(&zip, 0, 6);
        zip_number(&zip, sum, 4);
        zip_number(&zip, parts[i].bytes, 4);
        zip_number(&zip, parts[i].bytes, 4);
        zip_number(&zip, strlen(parts[i].name), 2);
        zip_number(&zip, 0, 2 + 2 + 2 + 2 + 4); /* extra, comment, disk, attributes */
        zip_number(&zip, zip.local[i], 4);
        zip_put(&zip, parts[i].name, strlen(parts[i].name));
    }
    size_t bytes = zip.count - directory;
    if (streamed) {
        zip.wide = zip.count;
        zip_number(&zip, 0x06064b50, 4);
        zip_number(&zip, 44, 8);
        zip_number(&zip, 0, 4 + 4 + 4); /* versions, disks */
        zip_number(&zip, count, 8);
        zip_number(&zip, count, 8);
        zip_number(&zip, bytes, 8);
        zip_number(&zip, directory, 8);
        zip_number(&zip, 0x07064b50, 4);
        zip_number(&zip, 0, 4);
        zip_number(&zip, zip.wide, 8);
        zip_number(&zip, 1, 4);
    }
    zip.end = zip.count;
    zip_number(&zip, 0x06054b50, 4);
    zip_number(&zip, 0, 4);
    zip_number(&zip, count, 2);
    zip_number(&zip, count, 2);
    zip_number(&zip, bytes, 4);
    zip_number(&zip, directory, 4);
    zip_number(&zip, 0, 2);
    return zip;
}

#endif
