/* Hostile headers of feature stores, without their hashes: 2 bytes with the length of a header, the
 * header, and the index of its first shard. What unpacks must be safe to look at in full, and must
 * unpack again from what it packs to. */
#include "eval/store_header.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

static int unpack(Store *s, const uint8_t *data, size_t size) {
    Error error = {0};
    Record record;
    memset(s, 0, sizeof *s);
    if (record_read(&record, data, size, "fuzz", &error))
        return -1;
    int result = store_header_unpack(s, record.root, "fuzz", &error);
    record_free(&record);
    return result;
}

/* Every video, class and shard. */
static void look(const Store *s) {
    int64_t clips = 0;
    size_t letters = 0;
    for (int64_t v = 0; v < s->videos; v++) {
        letters += strlen(s->names[v]) + s->failed[v];
        if (s->labels[v] >= 0)
            letters += strlen(s->class_names[s->labels[v]]);
    }
    for (int64_t k = 0; k < s->shard_count; k++)
        clips += store_shard_size(s, k);
    if (clips != s->videos * s->clips || store_clip_bytes(&s->about) < 2 || letters == SIZE_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Store store, again;
    Record record;
    RecordWriter writer;
    Error error = {0};
    if (size < 2)
        return 0;
    size_t length = (size_t)data[0] << 8 | data[1];
    length = length < size - 2 ? length : size - 2;
    if (!unpack(&store, data + 2, length)) {
        look(&store);
        record_writer_start(&writer);
        store_header_pack(&writer, &store);
        if (unpack(&again, (const uint8_t *)writer.buffer.data, writer.buffer.size) ||
            store_about_same(&again.about, &store.about, "fuzz", &error))
            abort();
        store_header_free(&again);
        record_writer_free(&writer);
        store.folder = (char *)(uintptr_t) "fuzz";
        if (!record_read(&record, data + 2 + length, size - 2 - length, "fuzz", &error)) {
            StoreShard shard = {0};
            if (!store_index_unpack(&shard, &store, 0, record.root, "fuzz", &error) &&
                shard.count != store_shard_size(&store, 0))
                abort();
            store_shard_free(&shard);
            record_free(&record);
        }
    }
    store_header_free(&store);
    return 0;
}
