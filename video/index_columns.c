/* The index as columns. See video/index_columns.h.
 *
 * Rows are checked once when an index is opened (texts inside the blob, lists inside their columns,
 * sizes within the limits): a pass over a few numbers a row. Time stamps and keyframes of a video,
 * the bulk of a large index, are checked by whoever reads that video (video/decode.c); their column
 * bounds are checked here. */
#include "video/index_columns.h"
#include "video/input.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- packing ---- */

typedef struct Texts {
    char *data;
    size_t used, room;
    int64_t words[64]; /* where texts that come again and again lie: codecs, containers, formats */
    size_t word_count;
} Texts;

static int64_t put_text(Texts *texts, const char *text) {
    size_t length = strlen(text) + 1;
    while (texts->used + length > texts->room) {
        texts->room = texts->room ? 2 * texts->room : 4096;
        texts->data = memory_grow(texts->data, texts->room, 1);
    }
    int64_t at = (int64_t)texts->used;
    memcpy(texts->data + at, text, length);
    texts->used += length;
    return at;
}

static int64_t put_word(Texts *texts, const char *word) {
    for (size_t i = 0; i < texts->word_count; i++)
        if (!strcmp(texts->data + texts->words[i], word))
            return texts->words[i];
    int64_t at = put_text(texts, word);
    if (texts->word_count < sizeof texts->words / sizeof *texts->words)
        texts->words[texts->word_count++] = at;
    return at;
}

/* Every column by name, with the member of IndexColumns that it becomes and its rows for `count`
 * files: `per` a file, plus `more`. */
typedef struct Layout {
    const char *name;
    ColumnType type;
    size_t member, per, more;
} Layout;

#define AT(member) offsetof(IndexColumns, member)

static const Layout layouts[] = {
    {"path", COLUMN_I64, AT(path), 1, 0},         {"name", COLUMN_I64, AT(name), 1, 0},
    {"reason", COLUMN_I64, AT(reason), 1, 0},     {"dataset", COLUMN_I32, AT(dataset), 1, 0},
    {"label", COLUMN_I32, AT(label), 1, 0},       {"bytes", COLUMN_I64, AT(bytes), 1, 0},
    {"modified", COLUMN_I64, AT(modified), 1, 0}, {"hash", COLUMN_U8, AT(hash), HASH_BYTES, 0},
    {"codec", COLUMN_I64, AT(codec), 1, 0},       {"container", COLUMN_I64, AT(container), 1, 0},
    {"format", COLUMN_I64, AT(format), 1, 0},     {"shape", COLUMN_I32, AT(shape), 3, 0},
    {"colour", COLUMN_I32, AT(colour), 4, 0},     {"streams", COLUMN_I32, AT(streams), 3, 0},
    {"fps", COLUMN_F64, AT(fps), 1, 0},           {"duration", COLUMN_F64, AT(duration), 1, 0},
    {"stream", COLUMN_I32, AT(stream), 1, 0},     {"time_base", COLUMN_I32, AT(time_base), 2, 0},
    {"packets", COLUMN_I64, AT(packets), 1, 0},   {"frames", COLUMN_I64, AT(frames), 1, 0},
    {"timed", COLUMN_I32, AT(timed), 1, 0},       {"pts_first", COLUMN_I64, AT(pts_first), 1, 0},
    {"pts_step", COLUMN_I64, AT(pts_step), 1, 0}, {"pts_at", COLUMN_I64, AT(pts_at), 1, 1},
    {"key_at", COLUMN_I64, AT(key_at), 1, 1},
};
#define LAYOUTS (sizeof layouts / sizeof *layouts)
#define LISTS   5 /* texts, pts, key_pts, key_dts, key_frame: as long as they are */

static size_t item_bytes(ColumnType type) {
    return type == COLUMN_U8 ? 1 : type == COLUMN_I32 ? 4 : 8;
}

/* The places of one file in every per-file column. */
static void put_file(void *const columns[LAYOUTS], size_t i, const VideoFile *f, Texts *texts,
                     int64_t pts_at, int64_t key_at) {
    const int64_t reason = f->reason ? put_text(texts, f->reason) : -1;
    const int64_t path = put_text(texts, f->path), name = put_text(texts, f->name);
    const int64_t codec = put_word(texts, f->codec), container = put_word(texts, f->container);
    const int64_t format = put_word(texts, f->format);
    const int32_t dataset = f->dataset, label = f->label, stream = f->stream, timed = f->timed;
    const int32_t shape[3] = {f->width, f->height, f->rotation};
    const void *values[LAYOUTS] = {
        &path,        &name,         &reason,       &dataset,    &label,
        &f->bytes,    &f->modified,  f->hash.bytes, &codec,      &container,
        &format,      shape,         f->colour,     f->streams,  &f->fps,
        &f->duration, &stream,       f->time_base,  &f->packets, &f->frames,
        &timed,       &f->pts_first, &f->pts_step,  &pts_at,     &key_at};
    for (size_t c = 0; c < LAYOUTS; c++) {
        size_t bytes = item_bytes(layouts[c].type) * layouts[c].per;
        memcpy((char *)columns[c] + i * bytes, values[c], bytes);
    }
}

static uint8_t *pack_about(size_t *bytes, const IndexAbout *about) {
    RecordWriter w;
    record_writer_start(&w);
    record_put_map(&w, 4);
    record_put_text(&w, "scanner");
    record_put_text(&w, index_scanner());
    record_put_text(&w, "check");
    record_put_integer(&w, about->check);
    record_put_text(&w, "sources");
    record_put_list(&w, (size_t)about->sources_count);
    for (int i = 0; i < about->sources_count; i++)
        record_put_text(&w, about->sources[i]);
    record_put_text(&w, "classes");
    record_put_list(&w, (size_t)about->classes);
    for (int i = 0; i < about->classes; i++)
        record_put_text(&w, about->class_names[i]);
    uint8_t *made = memory_new(w.buffer.size, 1);
    memcpy(made, w.buffer.data, w.buffer.size);
    *bytes = w.buffer.size;
    record_writer_free(&w);
    return made;
}

void index_pack(uint8_t **image, size_t *bytes, const VideoFile *files, size_t count,
                const IndexAbout *about) {
    size_t pts_count = 0, key_count = 0;
    for (size_t i = 0; i < count; i++) {
        pts_count += files[i].pts ? (size_t)files[i].frames : 0;
        key_count += files[i].key_count;
    }
    void *per_file[LAYOUTS];
    int64_t *lists[4]; /* pts, key_pts, key_dts, key_frame */
    for (size_t c = 0; c < LAYOUTS; c++)
        per_file[c] = memory_new(count * layouts[c].per + layouts[c].more,
                                 item_bytes(layouts[c].type));
    for (int l = 0; l < 4; l++)
        lists[l] = memory_new(l ? key_count : pts_count, sizeof *lists[l]);
    Texts texts = {0};
    int64_t pts_at = 0, key_at = 0;
    for (size_t i = 0; i < count; i++) {
        const VideoFile *f = &files[i];
        put_file(per_file, i, f, &texts, pts_at, key_at);
        if (f->pts)
            memcpy(lists[0] + pts_at, f->pts, (size_t)f->frames * sizeof *f->pts);
        pts_at += f->pts ? f->frames : 0;
        const int64_t *keys[3] = {f->key_pts, f->key_dts, f->key_frame};
        for (int l = 0; l < 3 && f->key_count; l++)
            memcpy(lists[l + 1] + key_at, keys[l], f->key_count * sizeof *keys[l]);
        key_at += (int64_t)f->key_count;
    }
    ((int64_t *)per_file[LAYOUTS - 2])[count] = pts_at;
    ((int64_t *)per_file[LAYOUTS - 1])[count] = key_at;
    static const char *const names[] = {"pts", "key_pts", "key_dts", "key_frame"};
    Column columns[LAYOUTS + LISTS];
    for (size_t c = 0; c < LAYOUTS; c++)
        columns[c] = (Column){layouts[c].name, layouts[c].type, per_file[c],
                              count * layouts[c].per + layouts[c].more};
    columns[LAYOUTS] = (Column){"texts", COLUMN_U8, texts.data, texts.used};
    for (int l = 0; l < 4; l++)
        columns[LAYOUTS + 1 + (size_t)l] = (Column){names[l], COLUMN_I64, lists[l],
                                                    l ? key_count : pts_count};
    size_t about_bytes;
    uint8_t *packed = pack_about(&about_bytes, about);
    columns_pack(image, bytes, INDEX_FORMAT, INDEX_VERSION, packed, about_bytes, columns,
                 LAYOUTS + LISTS);
    free(packed);
    free(texts.data);
    for (size_t c = 0; c < LAYOUTS; c++)
        free(per_file[c]);
    for (int l = 0; l < 4; l++)
        free(lists[l]);
}

/* ---- opening: nothing is believed ---- */

static int damaged(const IndexColumns *c, size_t i, const char *what, Error *error) {
    return error_set(error, ERROR_RUN, "%s is damaged: entry %zu: %s makes no sense", c->file.name,
                     i, what);
}

static bool text_fits(int64_t at, int64_t texts) {
    return at >= 0 && at < texts;
}

static int check_row(const IndexColumns *c, size_t i, int64_t texts, const VideoIndex *index,
                     Error *error) {
    const int32_t *shape = c->shape + 3 * i, *base = c->time_base + 2 * i;
    bool usable = c->reason[i] < 0;
    if (c->pts_at[i] < 0 || c->pts_at[i + 1] < c->pts_at[i] || c->key_at[i] < 0 ||
        c->key_at[i + 1] < c->key_at[i] || (size_t)c->pts_at[i + 1] > c->pts_count ||
        (size_t)c->key_at[i + 1] > c->key_count)
        return damaged(c, i, "its list of frames", error);
    int64_t frames = c->frames[i], listed = c->pts_at[i + 1] - c->pts_at[i];
    if (!text_fits(c->path[i], texts) || !text_fits(c->name[i], texts) ||
        !text_fits(c->codec[i], texts) || !text_fits(c->container[i], texts) ||
        !text_fits(c->format[i], texts) || (!usable && !text_fits(c->reason[i], texts)))
        return damaged(c, i, "a text", error);
    if (c->label[i] < -1 || c->label[i] >= index->classes || c->dataset[i] < 0 ||
        c->dataset[i] >= index->sources_count)
        return damaged(c, i, "its class", error);
    if (shape[0] < usable || shape[0] > INPUT_SIDE_MAX || shape[1] < usable ||
        shape[1] > INPUT_SIDE_MAX || shape[2] < 0 || shape[2] > 270 || shape[2] % 90)
        return damaged(c, i, "its size", error);
    if (frames < usable || frames > INPUT_FRAMES_MAX || c->packets[i] < 0 ||
        c->packets[i] > INPUT_PACKETS_MAX || c->stream[i] < 0 || base[0] < 0 || base[1] < 0 ||
        !isfinite(c->fps[i]) || !isfinite(c->duration[i]) || c->duration[i] < 0)
        return damaged(c, i, "its length", error);
    if ((listed && listed != frames) || c->key_at[i + 1] - c->key_at[i] > frames)
        return damaged(c, i, "its list of frames", error);
    /* timed: either a step, or a list */
    if (c->timed[i] && usable && (c->pts_step[i] > 0) == (listed > 0))
        return damaged(c, i, "its time stamps", error);
    if (c->pts_step[i] < 0 || c->pts_step[i] > INDEX_STEP_MAX || c->pts_first[i] < -INDEX_PTS_MAX ||
        c->pts_first[i] > INDEX_PTS_MAX)
        return damaged(c, i, "its time stamps", error);
    return 0;
}

static int read_texts(char ***texts, int *count, const msgpack_object *list, size_t most,
                      const char *name, Error *error) {
    size_t items = record_count(list);
    if (!list || list->type != MSGPACK_OBJECT_ARRAY || items > most)
        return error_set(error, ERROR_RUN, "%s is damaged: a list of names makes no sense", name);
    *texts = memory_new(items, sizeof **texts);
    for (size_t i = 0; i < items; i++, (*count)++)
        if (!((*texts)[i] = record_text(record_item(list, i))))
            return error_set(error, ERROR_RUN, "%s is damaged: a name is missing", name);
    return 0;
}

static int read_about(VideoIndex *index, const IndexColumns *c, Error *error) {
    const msgpack_object *about = c->file.about;
    int64_t check;
    if (read_texts(&index->sources, &index->sources_count, record_find(about, "sources"),
                   INDEX_SOURCES_MAX, c->file.name, error) ||
        read_texts(&index->class_names, &index->classes, record_find(about, "classes"), c->count,
                   c->file.name, error))
        return -1;
    if (record_integer(record_find(about, "check"), &check) || check < 0 ||
        check > VIDEO_CHECK_PACKETS)
        return error_set(error, ERROR_RUN, "%s is damaged: fields are missing", c->file.name);
    index->check = (VideoCheck)check;
    return 0;
}

static int get(const IndexColumns *c, size_t member, const char *name, ColumnType type, size_t rows,
               bool verify, size_t *count, Error *error) {
    const void *data;
    size_t found;
    if (columns_get(&data, &found, &c->file, name, type, rows, verify, error))
        return -1;
    memcpy((char *)(uintptr_t)c + member, &data, sizeof data);
    if (count)
        *count = found;
    return 0;
}

static int open_columns(VideoIndex *index, IndexColumns *c, Error *error) {
    size_t rows, text_bytes;
    if (get(c, AT(path), "path", COLUMN_I64, SIZE_MAX, false, &rows, error))
        return -1;
    if (rows > UINT32_MAX)
        return error_set(error, ERROR_RUN, "%s: more than 4 billion videos", c->file.name);
    c->count = index->count = rows;
    for (size_t l = 0; l < LAYOUTS; l++)
        if (get(c, layouts[l].member, layouts[l].name, layouts[l].type,
                rows * layouts[l].per + layouts[l].more, true, NULL, error))
            return -1;
    if (get(c, AT(texts), "texts", COLUMN_U8, SIZE_MAX, true, &text_bytes, error) ||
        get(c, AT(pts), "pts", COLUMN_I64, SIZE_MAX, false, &c->pts_count, error) ||
        get(c, AT(key_pts), "key_pts", COLUMN_I64, SIZE_MAX, false, &c->key_count, error) ||
        get(c, AT(key_dts), "key_dts", COLUMN_I64, c->key_count, false, NULL, error) ||
        get(c, AT(key_frame), "key_frame", COLUMN_I64, c->key_count, false, NULL, error) ||
        read_about(index, c, error))
        return -1;
    if (text_bytes && c->texts[text_bytes - 1])
        return error_set(error, ERROR_RUN, "%s is damaged: a text without its end", c->file.name);
    for (size_t i = 0; i < rows; i++)
        if (check_row(c, i, (int64_t)text_bytes, index, error))
            return -1;
    return 0;
}

/* Everything that is derived from the rows: which are usable, and the hash over all. */
static void derive(VideoIndex *index) {
    const IndexColumns *c = index->columns;
    size_t n = index->count;
    HashState state;
    hash_start(&state);
    index->usable_files = memory_new(n, sizeof *index->usable_files);
    for (size_t i = 0; i < n; i++) {
        const char *name = c->texts + c->name[i];
        const char *reason = c->reason[i] < 0 ? "" : c->texts + c->reason[i];
        hash_add(&state, name, strlen(name) + 1);
        hash_add(&state, reason, strlen(reason) + 1);
        if (c->reason[i] < 0)
            index->usable_files[index->usable++] = (uint32_t)i;
    }
    hash_add(&state, c->bytes, n * sizeof *c->bytes);
    hash_add(&state, c->label, n * sizeof *c->label);
    hash_add(&state, c->dataset, n * sizeof *c->dataset);
    hash_add(&state, c->frames, n * sizeof *c->frames);
    hash_add(&state, c->hash, n * HASH_BYTES);
    index->hash = hash_end(&state);
}

int index_take(VideoIndex *index, ColumnFile *file, Error *error) {
    memset(index, 0, sizeof *index);
    index->columns = memory_new(1, sizeof *index->columns);
    index->columns->file = *file;
    /* the root lies inside the struct that has just been copied */
    index->columns->file.header.root = &index->columns->file.header.unpacked.data;
    if (open_columns(index, index->columns, error)) {
        video_index_free(index);
        return -1;
    }
    derive(index);
    return 0;
}

int index_verify_lists(const VideoIndex *index, Error *error) {
    static const char *const names[] = {"pts", "key_pts", "key_dts", "key_frame"};
    const void *data;
    size_t count;
    for (int i = 0; i < 4; i++)
        if (columns_get(&data, &count, &index->columns->file, names[i], COLUMN_I64, SIZE_MAX, true,
                        error))
            return -1;
    return 0;
}

bool index_same_scanner(const VideoIndex *index, VideoCheck check) {
    char *scanner = record_text(record_find(index->columns->file.about, "scanner"));
    bool same = scanner && !strcmp(scanner, index_scanner()) && index->check == check;
    free(scanner);
    return same;
}

void video_index_free(VideoIndex *index) {
    for (int i = 0; i < index->classes; i++)
        free(index->class_names[i]);
    for (int i = 0; i < index->sources_count; i++)
        free(index->sources[i]);
    free(index->class_names);
    free(index->sources);
    free(index->usable_files);
    if (index->columns)
        columns_close(&index->columns->file);
    free(index->columns);
    memset(index, 0, sizeof *index);
}

/* ---- looking ---- */

VideoFile video_index_file(const VideoIndex *index, uint32_t i) {
    const IndexColumns *c = index->columns;
    JEPA_ASSERT(i < c->count);
    VideoFile f = {.path = c->texts + c->path[i],
                   .name = c->texts + c->name[i],
                   .reason = c->reason[i] < 0 ? NULL : c->texts + c->reason[i],
                   .dataset = c->dataset[i],
                   .label = c->label[i],
                   .bytes = c->bytes[i],
                   .modified = c->modified[i],
                   .width = c->shape[3 * i],
                   .height = c->shape[3 * i + 1],
                   .rotation = c->shape[3 * i + 2],
                   .fps = c->fps[i],
                   .duration = c->duration[i],
                   .stream = c->stream[i],
                   .time_base = {c->time_base[2 * i], c->time_base[2 * i + 1]},
                   .packets = c->packets[i],
                   .frames = c->frames[i],
                   .timed = c->timed[i] != 0,
                   .pts_first = c->pts_first[i],
                   .pts_step = c->pts_step[i],
                   .pts = c->pts_at[i + 1] > c->pts_at[i] ? c->pts + c->pts_at[i] : NULL,
                   .key_count = (size_t)(c->key_at[i + 1] - c->key_at[i]),
                   .key_pts = c->key_pts + c->key_at[i],
                   .key_dts = c->key_dts + c->key_at[i],
                   .key_frame = c->key_frame + c->key_at[i]};
    memcpy(f.hash.bytes, c->hash + (size_t)i * HASH_BYTES, HASH_BYTES);
    memcpy(f.colour, c->colour + 4 * (size_t)i, sizeof f.colour);
    memcpy(f.streams, c->streams + 3 * (size_t)i, sizeof f.streams);
    snprintf(f.codec, sizeof f.codec, "%s", c->texts + c->codec[i]);
    snprintf(f.container, sizeof f.container, "%s", c->texts + c->container[i]);
    snprintf(f.format, sizeof f.format, "%s", c->texts + c->format[i]);
    return f;
}

const char *video_index_name(const VideoIndex *index, uint32_t i) {
    JEPA_ASSERT(i < index->count);
    return index->columns->texts + index->columns->name[i];
}

const char *video_index_reason(const VideoIndex *index, uint32_t i) {
    JEPA_ASSERT(i < index->count);
    int64_t at = index->columns->reason[i];
    return at < 0 ? NULL : index->columns->texts + at;
}

int video_index_label(const VideoIndex *index, uint32_t i) {
    JEPA_ASSERT(i < index->count);
    return index->columns->label[i];
}

int video_index_dataset(const VideoIndex *index, uint32_t i) {
    JEPA_ASSERT(i < index->count);
    return index->columns->dataset[i];
}
