/* Event files of TensorBoard. See base/events.h. */
#include "base/events.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX      "events.out.tfevents."
#define VERSION     "brain.Event:2"
#define RECORD_HEAD 12 /* bytes: length and its checksum */
#define RECORD_TAIL 4
#define RECORD_MOST ((size_t)EVENT_VALUES_MAX * (EVENT_TAG_MAX + 16) + 64)
#define FILES_MOST  100000

/* ---- checksums ---- */

uint32_t crc32c(const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    uint32_t table[16], crc = ~0u;
    for (uint32_t i = 0; i < 16; i++) { /* four bits at a time */
        table[i] = i;
        for (int bit = 0; bit < 4; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82f63b78u : table[i] >> 1;
    }
    for (size_t i = 0; i < count; i++) {
        crc = crc >> 4 ^ table[(crc ^ at[i]) & 15];
        crc = crc >> 4 ^ table[(crc ^ at[i] >> 4) & 15];
    }
    return ~crc;
}

static uint32_t masked(const void *bytes, size_t count) {
    uint32_t crc = crc32c(bytes, count);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_little(uint8_t *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_little(const uint8_t *in, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << 8 * i;
    return value;
}

/* ---- protobuf ---- */

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct Bytes {
    uint8_t *data;
    size_t count, room;
} Bytes;

static uint8_t *bytes_take(Bytes *b, size_t count) {
    if (b->count + count > b->room) {
        b->room = 2 * b->room + count + 64;
        b->data = memory_grow(b->data, b->room, 1);
    }
    b->count += count;
    return b->data + b->count - count;
}

static void put_varint(Bytes *b, uint64_t value) {
    for (; value >= 128; value >>= 7)
        *bytes_take(b, 1) = (uint8_t)(value | 128);
    *bytes_take(b, 1) = (uint8_t)value;
}

static void put_field(Bytes *b, int number, int wire) {
    put_varint(b, (uint64_t)number << 3 | (uint64_t)wire);
}

static void put_bytes(Bytes *b, int number, const void *data, size_t count) {
    put_field(b, number, WIRE_BYTES);
    put_varint(b, count);
    memcpy(bytes_take(b, count), data, count);
}

static void put_double(Bytes *b, int number, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_field(b, number, WIRE_64);
    put_little(bytes_take(b, 8), bits, 8);
}

static void put_float(Bytes *b, int number, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_field(b, number, WIRE_32);
    put_little(bytes_take(b, 4), bits, 4);
}

/* One field of a message; at its end, or where the bytes make no sense, false. */
typedef struct Field {
    int number, wire;
    uint64_t value;      /* varint, or the bits of a fixed one */
    const uint8_t *data; /* of WIRE_BYTES: value bytes */
} Field;

static bool next_varint(uint64_t *value, const uint8_t **at, const uint8_t *end) {
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool next_field(Field *field, const uint8_t **at, const uint8_t *end) {
    uint64_t key;
    if (*at >= end || !next_varint(&key, at, end))
        return false;
    field->number = (int)(key >> 3 & 0xffff);
    field->wire = (int)(key & 7);
    if (field->wire == WIRE_VARINT)
        return next_varint(&field->value, at, end);
    int fixed = field->wire == WIRE_64 ? 8 : field->wire == WIRE_32 ? 4 : 0;
    if (fixed) {
        if (end - *at < fixed)
            return false;
        field->value = get_little(*at, fixed);
        *at += fixed;
        return true;
    }
    if (field->wire != WIRE_BYTES || !next_varint(&field->value, at, end) ||
        field->value > (uint64_t)(end - *at))
        return false;
    field->data = *at;
    *at += field->value;
    return true;
}

/* ---- writing ---- */

/* A record in one write, so that a reader never meets half of one that was written in parts. */
static int put_record(EventFile *file, const Bytes *event, Error *error) {
    Bytes record = {0};
    uint8_t *head = bytes_take(&record, RECORD_HEAD);
    put_little(head, event->count, 8);
    put_little(head + 8, masked(head, 8), 4);
    memcpy(bytes_take(&record, event->count), event->data, event->count);
    put_little(bytes_take(&record, RECORD_TAIL), masked(event->data, event->count), RECORD_TAIL);
    size_t put = fwrite(record.data, 1, record.count, file->stream);
    int result = 0;
    if (put != record.count || fflush(file->stream))
        result = error_set(error, ERROR_RUN, "cannot write %s: %s", file->path, strerror(errno));
    free(record.data);
    return result;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* Names of the event files in a folder, sorted; none where there is no folder. */
static int list_files(char ***names, size_t *count, const char *folder, Error *error) {
    *names = NULL;
    *count = 0;
    DIR *open = opendir(folder);
    if (!open && errno == ENOENT)
        return 0;
    if (!open)
        return error_set(error, ERROR_RUN, "cannot read the folder %s: %s", folder,
                         strerror(errno));
    for (struct dirent *entry; (entry = readdir(open)) && *count < FILES_MOST;)
        if (!strncmp(entry->d_name, PREFIX, strlen(PREFIX))) {
            *names = memory_grow(*names, *count + 1, sizeof **names);
            (*names)[(*count)++] = memory_text("%s", entry->d_name);
        }
    closedir(open);
    if (*count)
        qsort(*names, *count, sizeof **names, by_name);
    return 0;
}

int events_create(EventFile *file, const char *folder, double seconds, int64_t start,
                  Error *error) {
    char host[65] = "", **names = NULL;
    size_t count = 0;
    memset(file, 0, sizeof *file);
    if (folder_make(folder, error) || list_files(&names, &count, folder, error))
        return -1;
    gethostname(host, sizeof host - 1);
    /* files are read in the order of their names; a clock that was set back must not change it */
    long long second = (long long)seconds;
    if (count) {
        long long last = strtoll(names[count - 1] + strlen(PREFIX), NULL, 10);
        second = last >= second ? last + 1 : second;
    }
    free_names(names, count);
    char *name = memory_text(PREFIX "%010lld.%s.%ld.0", second, host, (long)getpid());
    file->path = path_join(folder, name);
    free(name);
    if (!(file->stream = fopen(file->path, "wbxe")))
        return error_set(error, ERROR_RUN, "cannot write %s: %s", file->path, strerror(errno));
    Bytes event = {0};
    put_double(&event, 1, seconds);
    put_bytes(&event, 3, VERSION, strlen(VERSION));
    int result = put_record(file, &event, error);
    if (!result && start >= 0) {
        static const uint8_t session[2] = {1 << 3 | WIRE_VARINT, 1};
        event.count = 0;
        put_double(&event, 1, seconds);
        put_field(&event, 2, WIRE_VARINT);
        put_varint(&event, (uint64_t)start);
        put_bytes(&event, 7, session, sizeof session);
        result = put_record(file, &event, error);
    }
    free(event.data);
    return result;
}

int events_write(EventFile *file, double seconds, int64_t step, const EventValue *values,
                 size_t count, Error *error) {
    Bytes event = {0}, summary = {0}, value = {0};
    for (size_t i = 0; i < count && i < EVENT_VALUES_MAX; i++) {
        value.count = 0;
        put_bytes(&value, 1, values[i].tag, strnlen(values[i].tag, EVENT_TAG_MAX - 1));
        put_float(&value, 2, (float)values[i].value);
        put_bytes(&summary, 1, value.data, value.count);
    }
    put_double(&event, 1, seconds);
    put_field(&event, 2, WIRE_VARINT);
    put_varint(&event, (uint64_t)step);
    if (summary.count)
        put_bytes(&event, 5, summary.data, summary.count);
    int result = put_record(file, &event, error);
    free(event.data);
    free(summary.data);
    free(value.data);
    return result;
}

void events_close(EventFile *file) {
    if (file->stream)
        fclose(file->stream);
    free(file->path);
    memset(file, 0, sizeof *file);
}

/* ---- reading ---- */

typedef struct Visitor {
    EventVisit *visit; /* may be NULL */
    void *context;
} Visitor;

/* -1 of one that is of no step: the first of a file. */
static int64_t event_step(const uint8_t *data, size_t count) {
    Field field;
    for (const uint8_t *at = data; next_field(&field, &at, data + count);)
        if (field.number == 2 && field.wire == WIRE_VARINT)
            return (int64_t)field.value;
    return -1;
}

static void visit_value(const Visitor *v, int64_t step, double seconds, const uint8_t *data,
                        size_t count) {
    char tag[EVENT_TAG_MAX] = "";
    float value = NAN;
    Field field;
    for (const uint8_t *at = data; next_field(&field, &at, data + count);) {
        if (field.number == 1 && field.wire == WIRE_BYTES)
            snprintf(tag, sizeof tag, "%.*s", (int)(field.value < sizeof tag ? field.value : 255),
                     (const char *)field.data);
        if (field.number == 2 && field.wire == WIRE_32) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&value, &bits, sizeof value);
        }
    }
    v->visit(v->context, step, seconds, tag, value);
}

static void visit_event(const Visitor *v, const uint8_t *data, size_t count) {
    int64_t step = event_step(data, count);
    double seconds = 0;
    Field field, inner;
    if (!v->visit)
        return;
    for (const uint8_t *at = data; next_field(&field, &at, data + count);) {
        if (field.number == 1 && field.wire == WIRE_64)
            memcpy(&seconds, &field.value, sizeof seconds);
        if (field.number != 5 || field.wire != WIRE_BYTES)
            continue;
        const uint8_t *end = field.data + field.value;
        for (const uint8_t *part = field.data; next_field(&inner, &part, end);)
            if (inner.number == 1 && inner.wire == WIRE_BYTES)
                visit_value(v, step, seconds, inner.data, inner.value);
    }
}

/* Visits whole records before the first of step `first` or later, or all; *kept: where they end. A
 * last record that is still being written, or was cut short by a crash, is none. */
static int walk(int64_t *kept, const char *path, int64_t first, const Visitor *visitor,
                Error *error) {
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    uint8_t head[RECORD_HEAD], *data = memory_new(RECORD_MOST + RECORD_TAIL, 1);
    int result = 0;
    *kept = 0;
    while (!result && fread(head, 1, sizeof head, file) == sizeof head) {
        uint64_t length = get_little(head, 8);
        bool sound = get_little(head + 8, 4) == masked(head, 8) && length <= RECORD_MOST;
        if (sound && fread(data, 1, length + RECORD_TAIL, file) != length + RECORD_TAIL)
            break;
        if (!sound || get_little(data + length, RECORD_TAIL) != masked(data, length)) {
            result = error_set(error, ERROR_RUN, "%s: damaged at byte %" PRId64, path, *kept);
        } else {
            if (event_step(data, length) >= first)
                break;
            visit_event(visitor, data, length);
            *kept += (int64_t)(sizeof head + length + RECORD_TAIL);
        }
    }
    if (!result && ferror(file))
        result = error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(errno));
    free(data);
    fclose(file);
    return result;
}

int events_read(size_t *count, const char *folder, EventVisit *visit, void *context, Error *error) {
    char **names;
    const Visitor visitor = {visit, context};
    int64_t end;
    if (list_files(&names, count, folder, error))
        return -1;
    int result = 0;
    for (size_t i = 0; i < *count && !result; i++) {
        char *path = path_join(folder, names[i]);
        result = walk(&end, path, INT64_MAX, &visitor, error);
        free(path);
    }
    free_names(names, *count);
    return result;
}

int events_cut(const char *folder, int64_t first, Error *error) {
    char **names;
    const Visitor visitor = {NULL, NULL};
    size_t count;
    int64_t end;
    if (list_files(&names, &count, folder, error))
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        char *path = path_join(folder, names[i]);
        result = walk(&end, path, first, &visitor, error);
        if (!result && truncate(path, (off_t)end))
            result = error_set(error, ERROR_RUN, "cannot cut %s: %s", path, strerror(errno));
        free(path);
    }
    free_names(names, count);
    return result;
}
