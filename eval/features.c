/* Frozen features. See eval/features.h. */
#include "eval/features.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

/* Adds a batch of pooled clips to the sums of their videos. */
static void add_batch(double *sums, bool *failed, const float *pooled, const LoaderBatch *batch,
                      int clips, int width) {
    for (int b = 0; b < batch->count; b++) {
        size_t video = (size_t)((batch->first_job + (uint64_t)b) / (uint64_t)clips);
        if (batch->slots[b].failed) {
            if (!failed[video])
                log_warn("left out: %s", batch->slots[b].reason ? batch->slots[b].reason : "?");
            failed[video] = true;
            continue;
        }
        for (int d = 0; d < width; d++)
            sums[video * (size_t)width + (size_t)d] += pooled[b * width + d];
    }
}

int features_extract(Features *features, Model *model, const VideoIndex *index,
                     const ClipSpec *spec, const FeatureViews *views, char network, int threads,
                     Error *error) {
    int width = model->teacher.dim * model->features.count;
    int clips = views->segments * views->views;
    size_t videos = index->usable;
    EvaluationClips evaluation = {index, spec, views};
    LoaderConfig config = evaluation_loader(&evaluation, model, threads);
    Encode encode;
    memset(features, 0, sizeof *features);
    if (encode_open(&encode, model, &config, network, true, error))
        return -1;
    float *pooled = memory_new((size_t)model->plan.samples * (size_t)width, sizeof *pooled);
    double *sums = memory_new(videos * (size_t)width, sizeof *sums);
    bool *failed = memory_new(videos, sizeof *failed);
    Progress progress;
    progress_start(&progress, "features", (double)config.jobs, 0);
    const LoaderBatch *batch;
    Error stopped = {0};
    while ((batch = encode_next(&encode, &stopped))) {
        encode_rows(pooled, &encode, batch->count);
        add_batch(sums, failed, pooled, batch, clips, width);
        progress_show(&progress, (double)(batch->first_job + (uint64_t)batch->count), "clips");
    }
    progress_end(&progress);
    encode_close(&encode);

    features->width = width;
    features->rows = memory_new(videos * (size_t)width, sizeof *features->rows);
    features->files = memory_new(videos, sizeof *features->files);
    for (size_t v = 0; v < videos; v++) {
        if (failed[v])
            continue;
        for (int d = 0; d < width; d++)
            features->rows[features->count * width + d] =
                (float)(sums[v * (size_t)width + (size_t)d] / clips);
        features->files[features->count++] = index->usable_files[v];
    }
    free(pooled);
    free(sums);
    free(failed);
    if (stopped.code) {
        features_free(features);
        *error = stopped;
        return -1;
    }
    if (!features->count)
        return error_set(error, ERROR_RUN, "not one video could be decoded for its features");
    return 0;
}

void features_free(Features *features) {
    free(features->rows);
    free(features->files);
    memset(features, 0, sizeof *features);
}
