/* Feature stores of a study: read where they are there, made where they are not. See
 * experiments/probe.h.
 *
 *   --store DIR     a store that jepa features made of --data with this encoder is read as it is;
 *                   else DIR/encoder, DIR/random, and with --val also DIR/encoder-val, ...
 *   OUT/features    the same without --store, for attentive probes */
#include "base/file.h"
#include "eval/store_write.h"
#include "experiments/probe.h"
#include <stdlib.h>
#include <string.h>

static bool is_store(const char *folder) {
    char *path = path_join(folder, "store.msgpack");
    bool is = file_exists(path);
    free(path);
    return is;
}

bool probe_uses_stores(const ProbeStudy *s) {
    return s->a->store || s->a->attentive;
}

static char *store_folder(const ProbeStudy *s, ProbeSource source, int set) {
    const char *given = s->a->store;
    bool own = given &&
               is_store(given); /* made by jepa features: of one encoder and one data set */
    if (own && source == SOURCE_ENCODER && set == 0)
        return memory_text("%s", given);
    char *base = given && !own ? memory_text("%s", given) : path_join(s->out, "features");
    char *name = memory_text("%s%s", source == SOURCE_ENCODER ? "encoder" : "random",
                             set ? "-val" : "");
    char *folder = path_join(base, name);
    free(base);
    free(name);
    return folder;
}

static int make_store(const ProbeStudy *s, const char *folder, const StoreAbout *about, int set,
                      Error *error) {
    char *parent = path_folder(folder);
    StoreReport report;
    int result = folder_make(parent, error);
    free(parent);
    if (!result)
        result = store_write(&report, folder, (Model *)(uintptr_t)&s->encoder.model, &s->index[set],
                             &s->encoder.clip, &s->views, about, 0, s->threads, error);
    return result;
}

/* For the manifest; once for each. */
static void remember(ProbeStudy *s, const Store *store) {
    for (int i = 0; i < s->store_count; i++)
        if (!strcmp(s->stores[i].folder, store->folder))
            return;
    s->stores[s->store_count].folder = memory_text("%s", store->folder);
    s->stores[s->store_count].files = store->about.files;
    s->stores[s->store_count].frames = store->about.frames;
    s->stores[s->store_count++].checkpoint = store->about.checkpoint;
}

int probe_store(Store *store, ProbeStudy *s, ProbeSource source, int set, Error *error) {
    char *folder = store_folder(s, source, set);
    StoreAbout about = {0};
    bool pooled = !s->a->attentive;
    int result = 0;
    memset(store, 0, sizeof *store);
    if (!is_store(folder)) {
        encoder_about(&about, &s->encoder, &s->index[set], &s->views, pooled, STORE_FLOAT16);
        result = make_store(s, folder, &about, set, error);
        store_about_free(&about);
    }
    if (!result)
        result = store_open(store, folder, true, error);
    if (!result) {
        /* tokens hold what pooled features are; either type of number will do */
        encoder_about(&about, &s->encoder, &s->index[set], &s->views, pooled && store->about.pooled,
                      store->about.type);
        result = store_matches(store, &about, error);
        if (!result)
            remember(s, store);
        store_about_free(&about);
    }
    if (result)
        store_close(store);
    free(folder);
    return result;
}

/* The stored videos that have features, by their numbers in the index. */
static void list_files(Features *features, const Store *store, const VideoIndex *index) {
    features->files = memory_new((size_t)store->videos + 1, sizeof *features->files);
    for (int64_t v = 0; v < store->videos; v++)
        if (!store->failed[v])
            features->files[features->count++] = index->usable_files[v];
}

int probe_store_files(Features *features, const Store *store, const VideoIndex *index,
                      Error *error) {
    *features = (Features){.width = store->about.width};
    list_files(features, store, index);
    return features->count
               ? 0
               : error_set(error, ERROR_RUN, "%s: not one video has features", store->folder);
}

int probe_store_rows(Features *features, const Store *store, const VideoIndex *index,
                     Error *error) {
    if (probe_store_files(features, store, index, error))
        return -1;
    size_t width = (size_t)features->width, at = 0;
    features->rows = memory_new((size_t)features->count * width, sizeof *features->rows);
    for (int64_t v = 0; v < store->videos; v++)
        if (!store->failed[v])
            store_video_mean(features->rows + width * at++, store, v);
    return 0;
}
