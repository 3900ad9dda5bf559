/* Extraction of features into a store. See eval/store_write.h. */
#include "eval/store_write.h"
#include <stdlib.h>
#include <string.h>

/* Which frames and which crop, of every clip in order. */
static Hash hash_frames(const VideoIndex *index, const ClipSpec *spec, const FeatureViews *views) {
    EvaluationClips clips = {index, spec, views};
    uint64_t jobs = (uint64_t)index->usable * (uint64_t)views->segments * (uint64_t)views->views;
    HashState state;
    hash_start(&state);
    for (uint64_t job = 0; job < jobs; job++) {
        ClipDraw draw;
        evaluation_draw(&clips, job, 0, &draw);
        const int32_t crop[] = {draw.top, draw.left, draw.height, draw.width, draw.count};
        hash_add(&state, crop, sizeof crop);
        hash_add(&state, draw.frames, (size_t)draw.count * sizeof *draw.frames);
    }
    return hash_end(&state);
}

void store_about(StoreAbout *about, const Model *model, const VideoIndex *index,
                 const ClipSpec *spec, const FeatureViews *views, char network, bool pooled,
                 StoreType type) {
    *about = (StoreAbout){.files = index->hash,
                          .frames = hash_frames(index, spec, views),
                          .precision = memory_text("%s", precision_name(model->device->precision)),
                          .network = network,
                          .pooled = pooled,
                          .type = type,
                          .layers = model->plan.layers,
                          .segments = views->segments,
                          .views = views->views,
                          .clip_frames = spec->frames,
                          .height = spec->crop,
                          .width_pixels = clip_width(spec),
                          .grid = {model->grid.time, model->grid.height, model->grid.width},
                          .rows = pooled ? 1 : model->rows,
                          .width = model->teacher.dim * model->features.count,
                          .heads = model->teacher.heads};
    memcpy(about->layer, model->plan.layer, sizeof about->layer);
}
