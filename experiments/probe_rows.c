/* Pooled features of a source, row by row. See experiments/probe.h. */
#include "eval/pixels.h"
#include "experiments/probe.h"
#include <stdlib.h>
#include <string.h>

/* The rows of a side's files; both lists ascend. */
static int take_rows(float **out, const ProbeSide *side, const Features *features, Error *error) {
    size_t width = (size_t)features->width;
    int64_t at = 0;
    float *rows = memory_new((size_t)side->count * width + 1, sizeof *rows);
    for (int64_t i = 0; i < side->count; i++) {
        while (at < features->count && features->files[at] < side->files[i])
            at++;
        if (at == features->count || features->files[at] != side->files[i]) {
            free(rows);
            return error_set(error, ERROR_RUN,
                             "%s could be decoded for one encoder and not for the next: has it "
                             "changed?",
                             video_index_name(side->index, side->files[i]));
        }
        memcpy(rows + (size_t)i * width, features->rows + (size_t)at * width, width * sizeof *rows);
    }
    *out = rows;
    return 0;
}

static int extract(Features *features, ProbeStudy *s, ProbeSource source, int set, Error *error) {
    if (source == SOURCE_PIXELS)
        return pixels_extract(features, &s->index[set], &s->encoder.clip, &s->views, s->threads,
                              error);
    if (probe_uses_stores(s)) {
        Store store;
        if (probe_store(&store, s, source, set, error))
            return -1;
        int result = probe_store_rows(features, &store, &s->index[set], error);
        store_close(&store);
        return result;
    }
    return features_extract(features, &s->encoder.model, &s->index[set], &s->encoder.clip,
                            &s->views, s->encoder.network, s->threads, error);
}

int probe_rows(ProbeRows *rows, ProbeStudy *s, ProbeSource source, Error *error) {
    Features features[2] = {{0}};
    int result = 0;
    memset(rows, 0, sizeof *rows);
    for (int set = 0; set < s->sets && !result; set++)
        result = extract(&features[set], s, source, set, error);
    if (!result && !s->train.count)
        result = probe_study_sides(s, features, error);
    rows->width = features[0].width;
    if (!result)
        result = take_rows(&rows->train, &s->train, &features[0], error);
    if (!result)
        result = take_rows(&rows->test, &s->test, &features[s->sets - 1], error);
    features_free(&features[0]);
    features_free(&features[1]);
    if (result)
        probe_rows_free(rows);
    return result;
}

void probe_rows_free(ProbeRows *rows) {
    free(rows->train);
    free(rows->test);
    memset(rows, 0, sizeof *rows);
}
