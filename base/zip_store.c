/* Zip files of stored entries. See base/zip_store.h. */
#include "base/zip_store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Signatures, and the bytes of each record's fixed part (APPNOTE 4.3.7 to 4.3.16). */
#define LOCAL_SIGN      0x04034b50u
#define CENTRAL_SIGN    0x02014b50u
#define DESCRIPTOR_SIGN 0x08074b50u
#define END_SIGN        0x06054b50u
#define END64_SIGN      0x06064b50u
#define LOCATOR_SIGN    0x07064b50u
#define LOCAL_BYTES     30u
#define CENTRAL_BYTES   46u
#define END_BYTES       22u
#define END64_BYTES     56u
#define LOCATOR_BYTES   20u

#define FLAG_ENCRYPTED  0x0001u
#define FLAG_DESCRIPTOR 0x0008u /* sizes and check sum follow the bytes */
#define FLAG_UTF8       0x0800u
#define EXTRA_ZIP64     0x0001u
#define ELSEWHERE32     0xffffffffu /* the number is in the zip64 field */
#define ELSEWHERE16     0xffffu

/* What one central header says. */
typedef struct Central {
    uint32_t flags, method, sum; /* sum: CRC-32 */
    uint64_t stored, bytes;      /* compressed and original size, equal here */
    uint64_t local;              /* place of the local header */
    const uint8_t *name;
    size_t name_bytes;
} Central;

/* A stretch of the file that belongs to one entry. */
typedef struct Range {
    uint64_t begin, end;
    const char *name;
} Range;

static uint32_t get16(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) | get16(at + 2) << 16;
}

static uint64_t get64(const uint8_t *at) {
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static int bad(const ZipStore *store, Error *error, const char *name, const char *what) {
    return error_set(error, ERROR_RUN, "%s is no sound zip of stored entries: %s%s%s", store->path,
                     name ? name : "", name ? ": " : "", what);
}

/* Replaces numbers that are "elsewhere" by those of the zip64 field, in its fixed order. */
static int read_zip64(uint64_t *const *numbers, int count, const uint8_t *extra, size_t bytes) {
    bool wanted = false;
    for (int i = 0; i < count; i++)
        wanted |= *numbers[i] == ELSEWHERE32;
    while (bytes >= 4) {
        uint32_t id = get16(extra), length = get16(extra + 2);
        extra += 4;
        bytes -= 4;
        if (length > bytes)
            return -1;
        if (id == EXTRA_ZIP64 && wanted) {
            const uint8_t *at = extra;
            for (int i = 0; i < count; i++)
                if (*numbers[i] == ELSEWHERE32) {
                    if (length < 8)
                        return -1;
                    *numbers[i] = get64(at);
                    at += 8;
                    length -= 8;
                }
            return 0;
        }
        extra += length;
        bytes -= length;
    }
    return bytes || wanted ? -1 : 0;
}

static int read_central(Central *entry, const ZipStore *store, const uint8_t **next,
                        const uint8_t *end, char **name, Error *error) {
    const uint8_t *at = *next;
    if ((size_t)(end - at) < CENTRAL_BYTES || get32(at) != CENTRAL_SIGN)
        return bad(store, error, NULL, "the directory ends early");
    size_t name_bytes = get16(at + 28), extra = get16(at + 30), comment = get16(at + 32);
    if ((size_t)(end - at) - CENTRAL_BYTES < name_bytes + extra + comment)
        return bad(store, error, NULL, "the directory ends early");
    *next = at + CENTRAL_BYTES + name_bytes + extra + comment;
    *entry = (Central){.flags = get16(at + 8),
                       .method = get16(at + 10),
                       .sum = get32(at + 16),
                       .stored = get32(at + 20),
                       .bytes = get32(at + 24),
                       .local = get32(at + 42),
                       .name = at + CENTRAL_BYTES,
                       .name_bytes = name_bytes};
    *name = memory_text("%.*s", (int)name_bytes, (const char *)entry->name);
    if (!name_bytes || strlen(*name) != name_bytes)
        return bad(store, error, *name, "a name that is empty or holds a zero byte");
    if (entry->flags & FLAG_ENCRYPTED)
        return bad(store, error, *name, "it is encrypted");
    if (entry->method)
        return error_set(error, ERROR_RUN,
                         "%s: %s is compressed (method %u%s): only stored entries are read",
                         store->path, *name, entry->method, entry->method == 8 ? ", deflate" : "");
    if (entry->flags & ~(FLAG_DESCRIPTOR | FLAG_UTF8))
        return error_set(error, ERROR_RUN, "%s: %s has the unknown flags 0x%04x", store->path,
                         *name, entry->flags);
    if (get16(at + 34))
        return bad(store, error, *name, "it starts on another volume");
    uint64_t *numbers[] = {&entry->bytes, &entry->stored, &entry->local};
    if (read_zip64(numbers, 3, at + CENTRAL_BYTES + name_bytes, extra))
        return bad(store, error, *name, "its extra fields are cut short");
    if (entry->stored != entry->bytes)
        return bad(store, error, *name, "stored, and yet of two sizes");
    return 0;
}

/* Sizes and check sum after the bytes: with or without signature, sizes in 4 or 8 bytes. Returns
 * the descriptor's length, 0 if none fits. */
static uint64_t descriptor_bytes(const Central *entry, const uint8_t *at, uint64_t room) {
    for (int width = 4; width <= 8; width += 4)
        for (int sign = 4; sign >= 0; sign -= 4) {
            uint64_t bytes = (uint64_t)(sign + 4 + 2 * width);
            if (bytes > room || (sign && get32(at) != DESCRIPTOR_SIGN))
                continue;
            const uint8_t *sizes = at + sign + 4;
            uint64_t stored = width == 8 ? get64(sizes) : get32(sizes),
                     original = width == 8 ? get64(sizes + 8) : get32(sizes + 4);
            if (get32(at + sign) == entry->sum && stored == entry->stored &&
                original == entry->bytes)
                return bytes;
        }
    return 0;
}

/* Checks the local header against its central one and finds the bytes. `limit`: where the
 * directory starts. */
static int read_local(ZipEntry *out, Range *range, const ZipStore *store, const Central *entry,
                      uint64_t limit, Error *error) {
    const uint8_t *at = store->map;
    if (entry->local > limit || limit - entry->local < LOCAL_BYTES ||
        get32(at += entry->local) != LOCAL_SIGN)
        return bad(store, error, out->name, "no local header where the directory says");
    size_t name_bytes = get16(at + 26), extra = get16(at + 28);
    uint64_t room = limit - entry->local - LOCAL_BYTES, head = name_bytes + extra;
    if (head > room || entry->bytes > room - head)
        return bad(store, error, out->name, "it reaches beyond the file");
    if (name_bytes != entry->name_bytes || memcmp(at + LOCAL_BYTES, entry->name, name_bytes) ||
        get16(at + 6) != entry->flags || get16(at + 8) != entry->method)
        return bad(store, error, out->name, "its two headers differ");
    out->data = at + LOCAL_BYTES + head;
    out->bytes = (size_t)entry->bytes;
    range->begin = entry->local;
    range->end = entry->local + LOCAL_BYTES + head + entry->bytes;
    uint32_t sum = get32(at + 14);
    uint64_t stored = get32(at + 18), bytes = get32(at + 22), *numbers[] = {&bytes, &stored};
    bool later = entry->flags & FLAG_DESCRIPTOR && !sum && !stored && !bytes;
    if (read_zip64(numbers, 2, at + LOCAL_BYTES + name_bytes, extra))
        return bad(store, error, out->name, "its extra fields are cut short");
    /* with a descriptor, a zip64 local header may leave its numbers at zero as well */
    later |= entry->flags & FLAG_DESCRIPTOR && !sum && !stored && !bytes;
    if (!later && (stored != entry->stored || bytes != entry->bytes ||
                   (sum != entry->sum && !(entry->flags & FLAG_DESCRIPTOR && !sum))))
        return bad(store, error, out->name, "its two headers differ");
    if (entry->flags & FLAG_DESCRIPTOR) {
        uint64_t length = descriptor_bytes(entry, out->data + out->bytes,
                                           room - head - entry->bytes);
        if (!length)
            return bad(store, error, out->name, "its descriptor and its header differ");
        range->end += length;
    }
    return 0;
}

/* The end records: where the directory is, and how many entries it has. */
static int read_end(const ZipStore *store, uint64_t *begin, uint64_t *end, uint64_t *count,
                    Error *error) {
    const uint8_t *map = store->map;
    uint64_t size = store->map_bytes, place = size - END_BYTES;
    const uint8_t *last = map + place;
    if (size < END_BYTES || get32(last) != END_SIGN || get16(last + 20))
        return bad(store, error, NULL,
                   "no end of directory in the last 22 bytes: is the file cut short?");
    uint32_t disk = get16(last + 4), first = get16(last + 6), here = get16(last + 8);
    uint64_t bytes = get32(last + 12), offset = get32(last + 16);
    *count = get16(last + 10);
    bool volumes = (disk && disk != ELSEWHERE16) || (first && first != ELSEWHERE16);
    volumes |= here != *count;
    *end = place;
    if (place >= LOCATOR_BYTES && get32(last - LOCATOR_BYTES) == LOCATOR_SIGN) {
        const uint8_t *locator = last - LOCATOR_BYTES;
        uint64_t at = get64(locator + 8), below = place - LOCATOR_BYTES;
        volumes |= get32(locator + 4) || get32(locator + 16) > 1;
        if (at > below || below - at < END64_BYTES || get32(map + at) != END64_SIGN ||
            get64(map + at + 4) != below - at - 12)
            return bad(store, error, NULL, "no zip64 end of directory where its locator says");
        const uint8_t *wide = map + at;
        volumes |= get32(wide + 16) || get32(wide + 20) || get64(wide + 24) != get64(wide + 32);
        if ((*count != ELSEWHERE16 && *count != get64(wide + 32)) ||
            (bytes != ELSEWHERE32 && bytes != get64(wide + 40)) ||
            (offset != ELSEWHERE32 && offset != get64(wide + 48)))
            return bad(store, error, NULL, "its two ends of directory differ");
        *count = get64(wide + 32);
        bytes = get64(wide + 40);
        offset = get64(wide + 48);
        *end = at;
    } else {
        volumes |= disk || first;
    }
    if (volumes)
        return bad(store, error, NULL, "it is one of several volumes");
    if (offset > *end || *end - offset != bytes)
        return bad(store, error, NULL, "the directory is not where its end says");
    if (*count > bytes / CENTRAL_BYTES)
        return bad(store, error, NULL, "more entries than the directory has room for");
    *begin = offset;
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ZipEntry *)a)->name, ((const ZipEntry *)b)->name);
}

static int by_begin(const void *a, const void *b) {
    const Range *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int read_directory(ZipStore *store, Error *error) {
    uint64_t begin = 0, end = 0, count = 0;
    if (read_end(store, &begin, &end, &count, error))
        return -1;
    const uint8_t *map = store->map, *next = map + begin;
    Range *ranges = memory_new((size_t)count, sizeof *ranges);
    store->entries = memory_new((size_t)count, sizeof *store->entries);
    int result = 0;
    for (uint64_t i = 0; i < count && !result; i++) {
        Central central;
        ZipEntry *entry = &store->entries[i];
        result = read_central(&central, store, &next, map + end, &entry->name, error);
        store->count += !!entry->name;
        if (!result)
            result = read_local(entry, &ranges[i], store, &central, begin, error);
        ranges[i].name = entry->name;
    }
    if (!result && next != map + end)
        result = bad(store, error, NULL, "more in the directory than its end says");
    if (!result && count) {
        qsort(ranges, (size_t)count, sizeof *ranges, by_begin);
        qsort(store->entries, (size_t)count, sizeof *store->entries, by_name);
    }
    for (uint64_t i = 1; i < count && !result; i++) {
        if (ranges[i].begin < ranges[i - 1].end)
            result = bad(store, error, ranges[i].name, "it lies over another entry");
        else if (!by_name(&store->entries[i], &store->entries[i - 1]))
            result = bad(store, error, store->entries[i].name, "two entries of this name");
    }
    free(ranges);
    return result;
}

int zip_store_open(ZipStore *store, const char *path, Error *error) {
    memset(store, 0, sizeof *store);
    store->path = memory_text("%s", path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result = 0;
    struct stat about;
    if (descriptor < 0 || fstat(descriptor, &about)) {
        result = error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode)) {
        result = error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    } else if (about.st_size < (off_t)END_BYTES) {
        result = bad(store, error, NULL, "shorter than the end of a directory");
    } else {
        store->map_bytes = (size_t)about.st_size;
        store->map = mmap(NULL, store->map_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (store->map == MAP_FAILED) {
            store->map = NULL;
            result = error_set(error, ERROR_RUN, "cannot map %s: %s", path, strerror(errno));
        }
    }
    if (descriptor >= 0)
        close(descriptor);
    if (!result)
        result = read_directory(store, error);
    if (result)
        zip_store_close(store);
    return result;
}

void zip_store_close(ZipStore *store) {
    for (size_t i = 0; i < store->count; i++)
        free(store->entries[i].name);
    free(store->entries);
    free(store->path);
    if (store->map)
        munmap(store->map, store->map_bytes);
    memset(store, 0, sizeof *store);
}

const ZipEntry *zip_store_find(const ZipStore *store, const char *name) {
    ZipEntry key = {.name = (char *)(uintptr_t)name};
    return store->count
               ? bsearch(&key, store->entries, store->count, sizeof *store->entries, by_name)
               : NULL;
}
