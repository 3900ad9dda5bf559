/* See eval/pixels.h. */
#include "eval/pixels.h"
#include "base/log.h"
#include "video/loader.h"
#include <stdlib.h>
#include <string.h>

#define BATCH 32 /* clips */
#define RING  3  /* batches */

/* The clip that the encoder sees, thinned out. */
static int pixels_draw(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const EvaluationClips *clips = context;
    if (!evaluation_draw(context, job, attempt, draw))
        return 0;
    int all = clips->spec->frames, kept = all < PIXELS_FRAMES ? all : PIXELS_FRAMES;
    for (int i = 0; i < kept; i++)
        draw->frames[i] = draw->frames[(2 * i + 1) * all / (2 * kept)];
    draw->count = kept;
    return 1;
}

int pixels_extract(Features *features, const VideoIndex *index, const ClipSpec *spec,
                   const FeatureViews *views, int threads, Error *error) {
    ClipSpec small = *spec;
    small.frames = spec->frames < PIXELS_FRAMES ? spec->frames : PIXELS_FRAMES;
    small.crop = small.crop_width = PIXELS_SIDE;
    small.interpolation = CLIP_FAST;
    EvaluationClips clips = {index, spec, views};
    size_t of_video = (size_t)views->segments * (size_t)views->views, videos = index->usable;
    LoaderConfig config = {.index = index,
                           .spec = small,
                           .source = {&clips, pixels_draw},
                           .jobs = (uint64_t)(videos * of_video),
                           .together = views->views,
                           .batch = BATCH,
                           .ring = RING,
                           .threads = threads,
                           .timeout = views->timeout,
                           .cache = views->cache,
                           .hardware = views->hardware};
    Loader *loader;
    memset(features, 0, sizeof *features);
    if (loader_open(&loader, &config, error))
        return -1;
    size_t width = (size_t)3 * (size_t)small.frames * PIXELS_SIDE * PIXELS_SIDE;
    float *rows = memory_new(videos * width, sizeof *rows);
    bool *failed = memory_new(videos, sizeof *failed);
    Progress progress;
    progress_start(&progress, "raw pixels", (double)config.jobs, 0);
    const LoaderBatch *batch;
    Error stopped = {0};
    while ((batch = loader_next(loader, &stopped))) {
        for (size_t b = 0; b < (size_t)batch->count; b++) {
            size_t video = ((size_t)batch->first_job + b) / of_video;
            failed[video] |= batch->slots[b].failed;
            for (size_t d = 0; d < width; d++)
                rows[video * width + d] += (float)batch->clips[b * width + d] /
                                           (255.F * (float)of_video);
        }
        progress_show(&progress, (double)(batch->first_job + (uint64_t)batch->count), "clips");
    }
    progress_end(&progress);
    loader_close(loader);
    *features = (Features){.width = (int)width, .rows = rows};
    features->files = memory_new(videos, sizeof *features->files);
    for (size_t v = 0; v < videos; v++)
        if (!failed[v]) {
            memmove(rows + (size_t)features->count * width, rows + v * width, width * sizeof *rows);
            features->files[features->count++] = index->usable_files[v];
        }
    free(failed);
    if (stopped.code) {
        features_free(features);
        *error = stopped;
        return -1;
    }
    return 0;
}
