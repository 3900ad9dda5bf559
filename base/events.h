/* Event files of TensorBoard: numbers by tag and step, in the form that its readers expect.
 *
 * A file is a sequence of records (TFRecord; tensorflow/core/lib/io/record_writer.h):
 *
 *     8 bytes  length of the data, little-endian
 *     4 bytes  mask(crc32c(those 8 bytes))
 *     length   data
 *     4 bytes  mask(crc32c(data))                      mask(c) = (c >>> 15 | c << 17) + 0xa282ead8
 *
 * The data is an Event in protobuf (tensorflow/core/util/event.proto,
 * core/framework/summary.proto):
 *
 *     Event       1 double wall_time, 2 int64 step, 3 string file_version, 5 Summary summary,
 *                 7 SessionLog session_log {1 enum status: 1 is START}
 *     Summary     1 repeated Value {1 string tag, 2 float simple_value}
 *
 * The first record of a file says "brain.Event:2". A START with a step tells readers to forget what
 * they have from that step on: so begins what was done again after a resumption. */
#ifndef JEPA_BASE_EVENTS_H
#define JEPA_BASE_EVENTS_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EVENT_TAG_MAX    256 /* bytes of a tag, the final zero included; longer ones are cut */
#define EVENT_VALUES_MAX 512 /* of one event */

typedef struct EventValue {
    const char *tag; /* "loss/loss" */
    double value;    /* written as float32 */
} EventValue;

typedef struct EventFile {
    FILE *stream;
    char *path; /* FOLDER/events.out.tfevents.SECONDS.HOST.PID.N */
} EventFile;

/* A new file in `folder`, which is made where it is missing; its name sorts behind those that are
 * there. `start` >= 0: readers forget steps from there on. `seconds` since 1970. Close with
 * events_close, also after an error. */
int events_create(EventFile *file, const char *folder, double seconds, int64_t start, Error *error);
/* One event, whole in the file when this returns: values [count] of a step. Those that are not
 * finite are written as they are. */
int events_write(EventFile *file, double seconds, int64_t step, const EventValue *values,
                 size_t count, Error *error);
void events_close(EventFile *file);

/* Goes through the values of all event files of a folder, oldest file first; a last record that was
 * cut short is left out. *count files were found, 0 also where there is no such folder. Errors: a
 * record whose checksum is wrong, unreadable files. */
typedef void EventVisit(void *context, int64_t step, double seconds, const char *tag, float value);
int events_read(size_t *count, const char *folder, EventVisit *visit, void *context, Error *error);

/* Cuts every file of the folder before its first record of step `first` or later, and what a crash
 * left of a record. */
int events_cut(const char *folder, int64_t first, Error *error);

/* CRC-32C (Castagnoli: reflected 0x82f63b78), as in RFC 3720. */
uint32_t crc32c(const void *bytes, size_t count);

#endif
