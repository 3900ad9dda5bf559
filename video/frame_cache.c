/* The cache of decoded frames. See video/frame_cache.h. */
#include "video/frame_cache.h"
#include "base/file.h"
#include "video/index_columns.h"
#include "video/input.h"
#include <dirent.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS     4096
#define FILE_MAGIC  "jepafrm1"
#define FIELDS      9 /* of a frame in a file: size, format, colours, flags */
#define FRAMES_MOST 4096

typedef struct Entry {
    Hash key;
    size_t count, bytes;
    AVFrame **frames; /* [count] references */
    struct Entry *next_in_bucket, *older, *newer;
} Entry;

struct FrameCache {
    size_t limit, held;
    char *folder;
    pthread_mutex_t lock;
    Entry *buckets[BUCKETS], *oldest, *newest;
    uint64_t hits, misses;
};

/* ---- frames of one clip ---- */

typedef struct Frames {
    AVFrame **frames; /* [count] by place */
    size_t count;
} Frames;

static void frames_free(Frames *f) {
    for (size_t i = 0; i < f->count && f->frames; i++)
        av_frame_free(&f->frames[i]);
    free(f->frames);
    *f = (Frames){0};
}

static size_t frame_bytes(const AVFrame *frame) {
    size_t bytes = 0;
    for (int b = 0; b < AV_NUM_DATA_POINTERS && frame->buf[b]; b++)
        bytes += (size_t)frame->buf[b]->size;
    return bytes;
}

static size_t frames_bytes(const Frames *f) {
    size_t bytes = 0;
    for (size_t i = 0; i < f->count; i++)
        bytes += frame_bytes(f->frames[i]);
    return bytes;
}

/* Hands on in the order of the frame numbers, as decoding does. */
static int hand_on(const Frames *f, const int64_t *numbers, VideoTake take, void *context,
                   Error *error) {
    int64_t last = -1;
    for (;;) {
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < f->count; i++)
            if (numbers[i] > last && numbers[i] < next)
                next = numbers[i];
        if (next == INT64_MAX)
            return 0;
        for (size_t i = 0; i < f->count; i++)
            if (numbers[i] == next && take(context, i, f->frames[i], error))
                return -1;
        last = next;
    }
}

/* ---- in memory ---- */

static size_t bucket_of(const Hash *key) {
    return (key->bytes[0] | (size_t)key->bytes[1] << 8) % BUCKETS;
}

static void unlink_age(FrameCache *c, Entry *e) {
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    e->older = e->newer = NULL;
}

static void link_newest(FrameCache *c, Entry *e) {
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop_oldest(FrameCache *c) {
    Entry *e = c->oldest, **at = &c->buckets[bucket_of(&e->key)];
    while (*at != e)
        at = &(*at)->next_in_bucket;
    *at = e->next_in_bucket;
    unlink_age(c, e);
    c->held -= e->bytes;
    Frames frames = {e->frames, e->count};
    frames_free(&frames);
    free(e);
}

static Entry *find(FrameCache *c, const Hash *key) {
    Entry *e = c->buckets[bucket_of(key)];
    while (e && !hash_same(&e->key, key))
        e = e->next_in_bucket;
    return e;
}

/* New references to what is held, or nothing. */
static bool get_memory(FrameCache *c, const Hash *key, Frames *out) {
    pthread_mutex_lock(&c->lock);
    Entry *e = find(c, key);
    if (e) {
        unlink_age(c, e);
        link_newest(c, e);
        out->count = e->count;
        out->frames = memory_new(e->count, sizeof(AVFrame *));
        for (size_t i = 0; i < e->count; i++)
            out->frames[i] = av_frame_clone(e->frames[i]);
    }
    *(e ? &c->hits : &c->misses) += 1;
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < out->count; i++)
        if (!out->frames[i]) { /* no memory for a reference */
            frames_free(out);
            return false;
        }
    return e != NULL;
}

/* Takes the references over. */
static void put_memory(FrameCache *c, const Hash *key, Frames *frames) {
    size_t bytes = frames_bytes(frames);
    pthread_mutex_lock(&c->lock);
    if (bytes <= c->limit && !find(c, key)) {
        while (c->held + bytes > c->limit)
            drop_oldest(c);
        Entry *e = memory_new(1, sizeof *e), **bucket = &c->buckets[bucket_of(key)];
        *e = (Entry){.key = *key,
                     .count = frames->count,
                     .bytes = bytes,
                     .frames = frames->frames,
                     .next_in_bucket = *bucket};
        *bucket = e;
        link_newest(c, e);
        c->held += bytes;
        *frames = (Frames){0};
    }
    pthread_mutex_unlock(&c->lock);
    frames_free(frames);
}

/* ---- in a folder: magic, hash of the rest, then each frame's fields and planes ---- */

static char *entry_path(const FrameCache *c, const Hash *key) {
    char text[HASH_TEXT];
    hash_text(text, key);
    return memory_text("%s/%s.frames", c->folder, text);
}

static size_t plane_bytes(const AVFrame *f) {
    int bytes = av_image_get_buffer_size((enum AVPixelFormat)f->format, f->width, f->height, 1);
    return bytes > 0 ? (size_t)bytes : 0;
}

static void put_folder(FrameCache *c, const Hash *key, const Frames *frames) {
    size_t bytes = 8 + HASH_BYTES + sizeof(uint64_t);
    for (size_t i = 0; i < frames->count; i++) {
        size_t planes = plane_bytes(frames->frames[i]);
        if (!planes || frames->frames[i]->format == AV_PIX_FMT_PAL8)
            return;
        bytes += FIELDS * sizeof(int32_t) + planes;
    }
    pthread_mutex_lock(&c->lock);
    bool room = c->held + bytes <= c->limit;
    c->held += room ? bytes : 0;
    pthread_mutex_unlock(&c->lock);
    if (!room)
        return;
    uint8_t *data = memory_new(bytes, 1), *at = data + 8 + HASH_BYTES;
    uint64_t count = frames->count;
    memcpy(at, &count, sizeof count);
    at += sizeof count;
    for (size_t i = 0; i < frames->count; i++) {
        const AVFrame *f = frames->frames[i];
        const int32_t fields[FIELDS] = {f->width,           f->height,          f->format,
                                        f->colorspace,      f->color_range,     f->color_trc,
                                        f->color_primaries, f->chroma_location, 0};
        size_t planes = plane_bytes(f);
        memcpy(at, fields, sizeof fields);
        at += sizeof fields;
        av_image_copy_to_buffer(at, (int)planes, (const uint8_t *const *)f->data, f->linesize,
                                (enum AVPixelFormat)f->format, f->width, f->height, 1);
        at += planes;
    }
    memcpy(data, FILE_MAGIC, 8);
    Hash hash = hash_bytes(data + 8 + HASH_BYTES, bytes - 8 - HASH_BYTES);
    memcpy(data + 8, hash.bytes, HASH_BYTES);
    char *path = entry_path(c, key);
    Error ignored;
    if (file_write(path, data, bytes, &ignored)) {
        pthread_mutex_lock(&c->lock);
        c->held -= bytes;
        pthread_mutex_unlock(&c->lock);
    }
    free(path);
    free(data);
}

/* Fields are only believed where their hash is right: they are what this program wrote. */
static bool read_frames(Frames *out, const uint8_t *data, size_t bytes, size_t expected) {
    const uint8_t *at = data + 8 + HASH_BYTES, *end = data + bytes;
    uint64_t count;
    if (bytes < 8 + HASH_BYTES + sizeof count || memcmp(data, FILE_MAGIC, 8))
        return false;
    Hash hash = hash_bytes(at, (size_t)(end - at));
    memcpy(&count, at, sizeof count);
    at += sizeof count;
    if (memcmp(hash.bytes, data + 8, HASH_BYTES) || count != expected)
        return false;
    out->frames = memory_new(count, sizeof(AVFrame *));
    for (; out->count < count; out->count++) {
        int32_t fields[FIELDS];
        AVFrame *f = out->frames[out->count] = av_frame_alloc();
        if (!f || (size_t)(end - at) < sizeof fields)
            return false;
        memcpy(fields, at, sizeof fields);
        at += sizeof fields;
        f->width = fields[0];
        f->height = fields[1];
        f->format = fields[2];
        f->colorspace = (enum AVColorSpace)fields[3];
        f->color_range = (enum AVColorRange)fields[4];
        f->color_trc = (enum AVColorTransferCharacteristic)fields[5];
        f->color_primaries = (enum AVColorPrimaries)fields[6];
        f->chroma_location = (enum AVChromaLocation)fields[7];
        size_t planes = f->width > 0 && f->height > 0 && f->width <= INPUT_SIDE_MAX &&
                                f->height <= INPUT_SIDE_MAX &&
                                av_pix_fmt_desc_get((enum AVPixelFormat)f->format)
                            ? plane_bytes(f)
                            : 0;
        uint8_t *from[4];
        int lines[4];
        if (!planes || planes > (size_t)(end - at) || av_frame_get_buffer(f, 0) < 0 ||
            av_image_fill_arrays(from, lines, at, (enum AVPixelFormat)f->format, f->width,
                                 f->height, 1) < 0)
            return false;
        av_image_copy(f->data, f->linesize, (const uint8_t **)from, lines,
                      (enum AVPixelFormat)f->format, f->width, f->height);
        at += planes;
    }
    return at == end;
}

static bool get_folder(FrameCache *c, const Hash *key, size_t count, Frames *out) {
    char *path = entry_path(c, key);
    uint8_t *data = NULL;
    size_t bytes = 0;
    Error ignored;
    bool got = file_exists(path) && !file_read(&data, &bytes, path, c->limit, &ignored) &&
               read_frames(out, data, bytes, count);
    if (!got && out->frames) {
        out->count += out->count < count; /* the one at work */
        frames_free(out);
    }
    free(data);
    free(path);
    pthread_mutex_lock(&c->lock);
    *(got ? &c->hits : &c->misses) += 1;
    pthread_mutex_unlock(&c->lock);
    return got;
}

/* ---- the cache ---- */

/* Bytes of what earlier runs left in the folder. */
static size_t folder_bytes(const char *folder) {
    size_t bytes = 0;
    DIR *open = opendir(folder);
    struct stat about;
    for (struct dirent *entry; open && (entry = readdir(open));)
        if (strstr(entry->d_name, ".frames.partial")) /* of a run that was killed */
            unlinkat(dirfd(open), entry->d_name, 0);
        else if (strstr(entry->d_name, ".frames") &&
                 !fstatat(dirfd(open), entry->d_name, &about, 0))
            bytes += (size_t)about.st_size;
    if (open)
        closedir(open);
    return bytes;
}

int frame_cache_open(FrameCache **cache, size_t limit, const char *folder, Error *error) {
    *cache = NULL;
    if (folder && folder_make(folder, error))
        return -1;
    FrameCache *made = memory_new(1, sizeof *made);
    made->limit = limit;
    made->folder = folder ? memory_text("%s", folder) : NULL;
    made->held = folder ? folder_bytes(folder) : 0;
    pthread_mutex_init(&made->lock, NULL);
    *cache = made;
    return 0;
}

void frame_cache_close(FrameCache *c) {
    if (!c)
        return;
    while (c->oldest)
        drop_oldest(c);
    pthread_mutex_destroy(&c->lock);
    free(c->folder);
    free(c);
}

FrameCacheStats frame_cache_stats(FrameCache *c) {
    pthread_mutex_lock(&c->lock);
    FrameCacheStats stats = {c->hits, c->misses, c->held};
    pthread_mutex_unlock(&c->lock);
    return stats;
}

/* Keeps a reference of each frame on its way, as long as they may be kept at all. */
typedef struct Keep {
    Frames frames;
    VideoTake take;
    void *context;
    size_t bytes, limit;
} Keep;

static int keep_frame(void *context, size_t i, const AVFrame *frame, Error *error) {
    Keep *keep = context;
    keep->bytes += frame_bytes(frame);
    if (keep->bytes <= keep->limit)
        keep->frames.frames[i] = av_frame_clone(frame);
    for (size_t k = 0; keep->bytes > keep->limit && k < keep->frames.count; k++)
        av_frame_free(&keep->frames.frames[k]);
    return keep->take(keep->context, i, frame, error);
}

static int decode(const VideoFile *file, const int64_t *frames, size_t count, double seconds,
                  VideoHardware *hardware, bool *timed_out, VideoTake take, void *context,
                  Error *error) {
    VideoReader *reader;
    int result = video_reader_open_on(&reader, file, seconds, hardware, error);
    if (!result)
        result = video_reader_frames(reader, frames, count, take, context, error);
    *timed_out = result && video_reader_timed_out(reader);
    video_reader_close(reader);
    return result;
}

/* Bytes that one clip may have: of a folder what is left of it. */
static size_t room_for(FrameCache *c) {
    pthread_mutex_lock(&c->lock);
    size_t room = !c->folder ? c->limit : c->held < c->limit ? c->limit - c->held : 0;
    pthread_mutex_unlock(&c->lock);
    return room;
}

int frame_cache_read(FrameCache *c, const VideoFile *file, const int64_t *frames, size_t count,
                     double seconds, VideoHardware *hardware, bool *timed_out, VideoTake take,
                     void *context, Error *error) {
    *timed_out = false;
    if (!c || !count || count > FRAMES_MOST)
        return decode(file, frames, count, seconds, hardware, timed_out, take, context, error);
    HashState state;
    hash_start(&state);
    hash_add(&state, index_scanner(), strlen(index_scanner())); /* another FFmpeg, other pictures */
    hash_add(&state, &file->stream, sizeof file->stream);
    hash_add(&state, file->hash.bytes, HASH_BYTES);
    hash_add(&state, frames, count * sizeof *frames);
    Hash key = hash_end(&state);
    Frames got = {0};
    if (c->folder ? get_folder(c, &key, count, &got) : get_memory(c, &key, &got)) {
        int result = hand_on(&got, frames, take, context, error);
        frames_free(&got);
        return result;
    }
    Keep keep = {.frames = {memory_new(count, sizeof(AVFrame *)), count},
                 .take = take,
                 .context = context,
                 .limit = room_for(c)};
    int result = decode(file, frames, count, seconds, hardware, timed_out, keep_frame, &keep,
                        error);
    bool whole = !result;
    for (size_t i = 0; i < count; i++)
        whole = whole && keep.frames.frames[i];
    if (whole && !c->folder) {
        put_memory(c, &key, &keep.frames);
        return 0;
    }
    if (whole)
        put_folder(c, &key, &keep.frames);
    frames_free(&keep.frames);
    return result;
}
