/* MessagePack records. See base/record.h. The formats are those of the MessagePack specification.
 */
#include "base/record.h"
#include <stdlib.h>
#include <string.h>

static uint64_t big_endian(const uint8_t *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* What one head byte announces: bytes of a length field, fixed payload, and what the length counts.
 */
typedef struct Head {
    int known;
    size_t length_bytes; /* of the length field after the head byte */
    uint64_t payload;    /* bytes that follow, besides the length field */
    uint64_t items;      /* children (a map of n has 2 n) */
    int counts;          /* the length field counts: 0 nothing, 1 bytes, 2 items, 3 pairs */
    int nests;           /* a list or map, empty or not */
} Head;

static Head head_of(uint8_t b) {
    if (b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3)
        return (Head){.known = 1};
    if (b <= 0x8f)
        return (Head){.known = 1, .items = 2u * (b & 15), .nests = 1};
    if (b <= 0x9f)
        return (Head){.known = 1, .items = b & 15, .nests = 1};
    if (b <= 0xbf)
        return (Head){.known = 1, .payload = b & 31};
    switch (b) {
    case 0xc4:
    case 0xc5:
    case 0xc6: /* bin 8, 16, 32 */
        return (Head){.known = 1, .length_bytes = (size_t)1 << (b - 0xc4), .counts = 1};
    case 0xc7:
    case 0xc8:
    case 0xc9: /* ext 8, 16, 32: one byte of type besides */
        return (Head){
            .known = 1, .length_bytes = (size_t)1 << (b - 0xc7), .payload = 1, .counts = 1};
    case 0xca:
    case 0xce:
    case 0xd2: /* 4 bytes */
        return (Head){.known = 1, .payload = 4};
    case 0xcb:
    case 0xcf:
    case 0xd3: /* 8 bytes */
        return (Head){.known = 1, .payload = 8};
    case 0xcc:
    case 0xd0:
        return (Head){.known = 1, .payload = 1};
    case 0xcd:
    case 0xd1:
        return (Head){.known = 1, .payload = 2};
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: /* fixext 1 .. 16 and its type */
        return (Head){.known = 1, .payload = 1 + ((uint64_t)1 << (b - 0xd4))};
    case 0xd9:
    case 0xda:
    case 0xdb: /* str 8, 16, 32 */
        return (Head){.known = 1, .length_bytes = (size_t)1 << (b - 0xd9), .counts = 1};
    case 0xdc:
    case 0xdd: /* array 16, 32 */
        return (Head){.known = 1, .length_bytes = (size_t)2 << (b - 0xdc), .counts = 2};
    case 0xde:
    case 0xdf: /* map 16, 32 */
        return (Head){.known = 1, .length_bytes = (size_t)2 << (b - 0xde), .counts = 3};
    default: /* 0xc1 */
        return (Head){0};
    }
}

static int bad(const char *name, const char *what, Error *error) {
    return error_set(error, ERROR_RUN, "%s is damaged or no record of this program: %s", name,
                     what);
}

int record_check(const uint8_t *bytes, size_t count, const char *name, Error *error) {
    uint64_t open[RECORD_DEPTH + 1]; /* children still to come at each depth */
    int depth = 0;
    size_t at = 0;
    open[0] = 1;
    while (depth >= 0) {
        if (!open[depth]) {
            depth--;
            continue;
        }
        open[depth]--;
        if (at >= count)
            return bad(name, "it ends early", error);
        Head head = head_of(bytes[at++]);
        if (!head.known)
            return bad(name, "an unknown type", error);
        if (head.length_bytes > count - at)
            return bad(name, "it ends early", error);
        uint64_t length = big_endian(bytes + at, head.length_bytes);
        at += head.length_bytes;
        uint64_t payload = head.payload + (head.counts == 1 ? length : 0);
        uint64_t items = head.items + (head.counts == 2   ? length
                                       : head.counts == 3 ? 2 * length
                                                          : 0);
        /* every child takes a byte at least */
        if (payload > count - at || items > count - at)
            return bad(name, "it claims more than there is", error);
        at += payload;
        if ((head.nests || head.counts >= 2) && depth == RECORD_DEPTH)
            return bad(name, "it is nested too deep", error);
        if (items)
            open[++depth] = items;
    }
    if (at != count)
        return bad(name, "bytes after its end", error);
    return 0;
}

void record_writer_start(RecordWriter *writer) {
    msgpack_sbuffer_init(&writer->buffer);
    msgpack_packer_init(&writer->packer, &writer->buffer, msgpack_sbuffer_write);
}

void record_writer_free(RecordWriter *writer) {
    msgpack_sbuffer_destroy(&writer->buffer);
}

void record_put_map(RecordWriter *writer, size_t pairs) {
    JEPA_ASSERT(!msgpack_pack_map(&writer->packer, pairs));
}

void record_put_list(RecordWriter *writer, size_t items) {
    JEPA_ASSERT(!msgpack_pack_array(&writer->packer, items));
}

void record_put_text(RecordWriter *writer, const char *text) {
    size_t length = strlen(text);
    JEPA_ASSERT(!msgpack_pack_str(&writer->packer, length));
    if (length)
        JEPA_ASSERT(!msgpack_pack_str_body(&writer->packer, text, length));
}

void record_put_integer(RecordWriter *writer, int64_t value) {
    JEPA_ASSERT(!msgpack_pack_int64(&writer->packer, value));
}

void record_put_number(RecordWriter *writer, double value) {
    JEPA_ASSERT(!msgpack_pack_double(&writer->packer, value));
}

void record_put_bool(RecordWriter *writer, int value) {
    JEPA_ASSERT(
        !(value ? msgpack_pack_true(&writer->packer) : msgpack_pack_false(&writer->packer)));
}

void record_put_null(RecordWriter *writer) {
    JEPA_ASSERT(!msgpack_pack_nil(&writer->packer));
}

void record_put_bytes(RecordWriter *writer, const void *bytes, size_t count) {
    JEPA_ASSERT(!msgpack_pack_bin(&writer->packer, count));
    if (count)
        JEPA_ASSERT(!msgpack_pack_bin_body(&writer->packer, bytes, count));
}

int record_read(Record *record, const uint8_t *bytes, size_t count, const char *name,
                Error *error) {
    record->root = NULL;
    if (record_check(bytes, count, name, error))
        return -1;
    msgpack_unpacked_init(&record->unpacked);
    size_t offset = 0;
    if (msgpack_unpack_next(&record->unpacked, (const char *)bytes, count, &offset) !=
        MSGPACK_UNPACK_SUCCESS) {
        msgpack_unpacked_destroy(&record->unpacked);
        return bad(name, "it does not unpack", error);
    }
    record->root = &record->unpacked.data;
    return 0;
}

void record_free(Record *record) {
    if (record->root)
        msgpack_unpacked_destroy(&record->unpacked);
    record->root = NULL;
}

const msgpack_object *record_find(const msgpack_object *map, const char *key) {
    if (!map || map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    size_t length = strlen(key);
    for (size_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == length &&
            !memcmp(k->via.str.ptr, key, length))
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

const msgpack_object *record_item(const msgpack_object *list, size_t i) {
    if (!list || list->type != MSGPACK_OBJECT_ARRAY || i >= list->via.array.size)
        return NULL;
    return &list->via.array.ptr[i];
}

size_t record_count(const msgpack_object *object) {
    if (object && object->type == MSGPACK_OBJECT_ARRAY)
        return object->via.array.size;
    return object && object->type == MSGPACK_OBJECT_MAP ? object->via.map.size : 0;
}

int record_integer(const msgpack_object *object, int64_t *value) {
    if (object && object->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
        object->via.u64 <= (uint64_t)INT64_MAX)
        *value = (int64_t)object->via.u64;
    else if (object && object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *value = object->via.i64;
    else
        return -1;
    return 0;
}

int record_number(const msgpack_object *object, double *value) {
    int64_t integer;
    if (object &&
        (object->type == MSGPACK_OBJECT_FLOAT64 || object->type == MSGPACK_OBJECT_FLOAT32))
        *value = object->via.f64;
    else if (!record_integer(object, &integer))
        *value = (double)integer;
    else
        return -1;
    return 0;
}

int record_bool(const msgpack_object *object, int *value) {
    if (!object || object->type != MSGPACK_OBJECT_BOOLEAN)
        return -1;
    *value = object->via.boolean;
    return 0;
}

char *record_text(const msgpack_object *object) {
    if (!object || object->type != MSGPACK_OBJECT_STR)
        return NULL;
    size_t length = object->via.str.size;
    if (length && memchr(object->via.str.ptr, 0, length))
        return NULL; /* a zero inside would cut the copy short */
    char *text = memory_new(length + 1, 1);
    if (length)
        memcpy(text, object->via.str.ptr, length);
    return text;
}

int record_bytes(const msgpack_object *object, const uint8_t **bytes, size_t *count) {
    if (!object || object->type != MSGPACK_OBJECT_BIN)
        return -1;
    *bytes = (const uint8_t *)object->via.bin.ptr;
    *count = object->via.bin.size;
    return 0;
}
