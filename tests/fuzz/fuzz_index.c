/* Hostile index files: whatever opens must be safe to look at in full. A column's hash is mended
 * first where the input asks for it, as random bytes would never get past it. */
#include "base/columns.h"
#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "video/clip.h"
#include "video/index_columns.h"
#include <stdlib.h>
#include <string.h>

/* Writes the right hash into every column whose bounds make sense. */
static void mend(uint8_t *image, size_t size) {
    ColumnFile file;
    Error error;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    memcpy(copy, image, size);
    if (columns_open_image(&file, copy, size, "fuzz", INDEX_FORMAT, INDEX_VERSION, &error))
        return;
    const msgpack_object *columns = record_find(file.header.root, "columns");
    for (size_t i = 0; i < record_count(columns); i++) {
        const msgpack_object *column = record_item(columns, i), *type = record_item(column, 1);
        const uint8_t *offset_bytes, *hash;
        size_t offset_count, hash_count;
        int64_t rows;
        uint64_t offset;
        if (!type || type->type != MSGPACK_OBJECT_STR || type->via.str.size < 2 ||
            record_integer(record_item(column, 2), &rows) ||
            record_bytes(record_item(column, 3), &offset_bytes, &offset_count) ||
            offset_count != 8 || record_bytes(record_item(column, 4), &hash, &hash_count) ||
            hash_count != HASH_BYTES)
            continue;
        memcpy(&offset, offset_bytes, 8);
        uint64_t width = type->via.str.ptr[1] == '8' ? 1 : type->via.str.ptr[1] == '3' ? 4 : 8;
        if (rows < 0 || offset > size || (uint64_t)rows > (size - offset) / width)
            continue;
        Hash right = hash_bytes(file.image + offset, (size_t)rows * width);
        for (size_t at = 0; at + HASH_BYTES <= size; at++) /* where the header has it */
            if (image[at] == hash[0] && !memcmp(image + at, hash, HASH_BYTES)) {
                memcpy(image + at, right.bytes, HASH_BYTES);
                break;
            }
    }
    columns_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    uint8_t *image = malloc(size);
    if (!image)
        return 0;
    memcpy(image, data + 1, size - 1);
    if (data[0] & 1)
        mend(image, size - 1);
    ColumnFile file;
    VideoIndex index;
    Error error = {0};
    if (columns_open_image(&file, image, size - 1, "fuzz", INDEX_FORMAT, INDEX_VERSION, &error) ||
        index_take(&index, &file, &error))
        return 0;
    ClipSpec spec = {.frames = 16,
                     .step = 4,
                     .fps = data[0] & 2 ? 4 : 0,
                     .crop = 64,
                     .scale = {0.3, 1},
                     .ratio = {0.75, 1.35},
                     .short_videos = data[0] & 4 ? CLIP_SHORT_LOOP : CLIP_SHORT_REPEAT};
    for (uint32_t i = 0; i < index.count && i < 64; i++) {
        VideoFile view = video_index_file(&index, i), copy = video_file_copy(&view);
        if (!view.reason) {
            ClipDraw draw;
            clip_draw_evaluation(&draw, &index, i, &spec, 1, 2, 0, 3);
            for (int f = 0; f < draw.count; f++)
                if (draw.frames[f] < 0 || draw.frames[f] >= view.frames)
                    abort();
            (void)clip_windows(&view, &spec);
            (void)clip_stretches(&view, &spec);
        }
        video_file_free(&copy);
    }
    video_index_free(&index);
    return 0;
}
