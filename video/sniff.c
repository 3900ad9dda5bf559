/* What a file's first bytes say. See video/sniff.h. Sources: ISO/IEC 14496-12 (box header: 4 bytes
 * of size, 4 of type), Microsoft's AVI RIFF file reference (4 bytes of type, 4 of size,
 * little-endian), RFC 8794 (EBML: element ids and sizes are integers of variable length whose
 * leading zero bits tell the length; a size of only ones is unknown). */
#include "video/sniff.h"
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES   1024
#define CHUNKS_MAX   1000000 /* top-level parts of a file that are looked at */
#define RIFF_SLACK   1024    /* bytes by which some writers of AVI miscount */
#define EBML_ID      0x1A45DFA3u
#define SEGMENT_ID   0x18538067u
#define SIZE_UNKNOWN UINT64_MAX

typedef struct Head {
    uint8_t bytes[HEAD_BYTES];
    size_t count;
} Head;

static Head read_head(const char *path) {
    Head head = {.count = 0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return head;
    ssize_t got = read(file, head.bytes, sizeof head.bytes);
    close(file);
    head.count = got > 0 ? (size_t)got : 0;
    return head;
}

static bool starts_with(const Head *head, size_t at, const char *text) {
    size_t length = strlen(text);
    return at + length <= head->count && !memcmp(head->bytes + at, text, length);
}

static bool all_text(const Head *head) {
    for (size_t i = 0; i < head->count; i++) {
        uint8_t b = head->bytes[i];
        if ((b < 0x20 && !(b >= '\t' && b <= '\r')) || b == 0x7f)
            return false;
    }
    return head->count > 0;
}

const char *sniff_reason(const char *path) {
    Head head = read_head(path);
    if (starts_with(&head, 0, "#EXTM3U") || starts_with(&head, 0, "ffconcat"))
        return "a playlist, not a video: list the files that it names instead";
    if (all_text(&head))
        return "text, not a video, in spite of its name";
    if (starts_with(&head, 4, "ftyp"))
        return "an mp4 without a readable table of contents (moov atom): cut short? copy it again";
    return NULL;
}

bool sniff_is_jpeg(const char *path) {
    Head head = read_head(path);
    return starts_with(&head, 0, "\xff\xd8\xff");
}

/* An EBML id (marker kept) or size (marker removed) at `*at`, which moves on. False: no such thing.
 */
static bool ebml_integer(const Head *head, size_t *at, bool is_size, uint64_t *value) {
    if (*at >= head->count || !head->bytes[*at])
        return false;
    int length = __builtin_clz(head->bytes[*at]) - 23; /* of 8 bits in 32: 1 to 8 bytes */
    if ((size_t)length > head->count - *at)
        return false;
    uint64_t result = head->bytes[*at];
    if (is_size)
        result &= (1u << (8 - length)) - 1;
    bool ones = is_size && result == (1u << (8 - length)) - 1;
    for (int i = 1; i < length; i++) {
        uint8_t b = head->bytes[*at + (size_t)i];
        result = result << 8 | b;
        ones = ones && b == 0xff;
    }
    *at += (size_t)length;
    *value = ones ? SIZE_UNKNOWN : result;
    return true;
}

static int64_t matroska_bytes(const Head *head) {
    size_t at = 0;
    uint64_t id, size;
    if (!ebml_integer(head, &at, false, &id) || id != EBML_ID ||
        !ebml_integer(head, &at, true, &size) || size > head->count - at)
        return 0;
    at += (size_t)size;
    if (!ebml_integer(head, &at, false, &id) || id != SEGMENT_ID ||
        !ebml_integer(head, &at, true, &size) || size >= INT64_MAX - HEAD_BYTES)
        return 0;
    return (int64_t)(at + size);
}

static uint64_t big_endian(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static bool one_of(const uint8_t *type, const char *const *known, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!memcmp(type, known[i], 4))
            return true;
    return false;
}

/* The end of the last top-level box that is known; what follows may be anything. */
static int64_t mp4_bytes(int file) {
    static const char *const boxes[] = {"ftyp", "styp", "moov", "mdat", "moof", "mfra", "free",
                                        "skip", "wide", "uuid", "sidx", "meta", "pnot", "udta"};
    int64_t at = 0;
    for (int i = 0; i < CHUNKS_MAX; i++) {
        uint8_t box[16] = {0};
        if (pread(file, box, sizeof box, at) < 8 ||
            !one_of(box + 4, boxes, sizeof boxes / sizeof *boxes))
            break;
        uint64_t size = big_endian(box, 4);
        if (size == 1)
            size = big_endian(box + 8, 8);
        if (size < 8 || size > (uint64_t)(INT64_MAX - at))
            break; /* 0: to the end of the file, wherever that is */
        at += (int64_t)size;
    }
    return at;
}

/* The end of the last RIFF chunk. Sizes that a recorder never filled in are 0 or all ones. */
static int64_t riff_bytes(int file) {
    int64_t at = 0;
    for (int i = 0; i < CHUNKS_MAX; i++) {
        uint8_t riff[12];
        if (pread(file, riff, sizeof riff, at) != sizeof riff || memcmp(riff, "RIFF", 4))
            break;
        uint32_t size = (uint32_t)riff[7] << 24 | (uint32_t)riff[6] << 16 | (uint32_t)riff[5] << 8 |
                        riff[4];
        if (size == 0 || size == UINT32_MAX)
            return 0;
        at += 8 + (int64_t)size + (size & 1);
    }
    return at > RIFF_SLACK ? at - RIFF_SLACK : 0;
}

int64_t sniff_announced_bytes(const char *path) {
    Head head = read_head(path);
    bool riff = starts_with(&head, 0, "RIFF") && starts_with(&head, 8, "AVI ");
    bool mp4 = starts_with(&head, 4, "ftyp") || starts_with(&head, 4, "moov") ||
               starts_with(&head, 4, "mdat") || starts_with(&head, 4, "wide");
    if (!riff && !mp4)
        return matroska_bytes(&head);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    int64_t bytes = riff ? riff_bytes(file) : mp4_bytes(file);
    close(file);
    return bytes;
}
