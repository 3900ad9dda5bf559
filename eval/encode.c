/* Clips through a frozen encoder. See eval/encode.h. */
#include "eval/encode.h"
#include "base/machine.h"
#include <stdlib.h>
#include <string.h>

#define RING_BATCHES 3
#define VIEW_FRAMES  ((size_t)1 << 30) /* bytes of decoded frames that the views of a clip share */

int evaluation_draw(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const EvaluationClips *clips = context;
    if (attempt > 0)
        return 0;
    const FeatureViews *v = clips->views;
    uint64_t of_video = (uint64_t)v->segments * (uint64_t)v->views;
    uint32_t file = clips->index->usable_files[job / of_video];
    int clip = (int)(job % of_video);
    clip_draw_evaluation(draw, clips->index, file, clips->spec, clip / v->views, v->segments,
                         clip % v->views, v->views);
    return 1;
}

LoaderConfig evaluation_loader(EvaluationClips *clips, const Model *model, int threads) {
    const FeatureViews *v = clips->views;
    return (LoaderConfig){.index = clips->index,
                          .spec = *clips->spec,
                          .source = {clips, evaluation_draw},
                          .jobs = (uint64_t)clips->index->usable * (uint64_t)v->segments *
                                  (uint64_t)v->views,
                          .together = v->views,
                          .batch = model->plan.samples,
                          .ring = RING_BATCHES,
                          .threads = threads,
                          .timeout = v->timeout,
                          .cache = v->cache,
                          .hardware = v->hardware};
}

int encode_open(Encode *encode, Model *model, const LoaderConfig *config, char network, bool pooled,
                Error *error) {
    int64_t width = (int64_t)model->teacher.dim * model->features.count;
    Device *device = model->device;
    JEPA_ASSERT(config->batch == model->plan.samples);
    *encode = (Encode){.model = model,
                       .network = network,
                       .pooled = pooled,
                       .clip = pooled ? width : width * model->rows};
    void *means = NULL;
    size_t bytes = (size_t)(config->batch * width) * sizeof(float);
    if (pooled && device->allocate(&means, bytes, device, error))
        return -1;
    encode->means = means;
    LoaderConfig own = *config;
    if (config->together > 1 && !config->cache) {
        size_t share = machine_memory() / 8;
        if (frame_cache_open(&encode->views, share && share < VIEW_FRAMES ? share : VIEW_FRAMES,
                             NULL, error)) {
            encode_close(encode);
            return -1;
        }
        own.cache = encode->views;
    }
    if (loader_open(&encode->loader, &own, error)) {
        encode_close(encode);
        return -1;
    }
    encode->mirror = memory_new((size_t)config->batch, sizeof *encode->mirror);
    return 0;
}

const LoaderBatch *encode_next(Encode *encode, Error *error) {
    Model *model = encode->model;
    const LoaderBatch *batch = loader_next(encode->loader, error);
    if (!batch)
        return NULL;
    for (int b = 0; b < batch->count; b++)
        encode->mirror[b] = batch->slots[b].draw.flip;
    ModelInput input = {.samples = batch->count,
                        .pixels = batch->clips,
                        .values = batch->values,
                        .mirror = batch->values ? NULL : encode->mirror}; /* done already */
    model_set_input(model, &input);
    model_features(model, batch->count, encode->network);
    encode->wait += batch->wait;
    return batch;
}

void encode_rows(float *rows, const Encode *encode, int count) {
    const Model *model = encode->model;
    Device *device = model->device;
    if (encode->pooled)
        device->rows_mean(encode->means, model->target_out, model->cu_target_clips, count,
                          encode->clip, device);
    device->download(rows, encode->pooled ? encode->means : model->target_out,
                     (size_t)(count * encode->clip) * sizeof *rows, device);
}

void encode_close(Encode *encode) {
    loader_close(encode->loader);
    frame_cache_close(encode->views);
    if (encode->means)
        encode->model->device->release(encode->means, encode->model->device);
    free(encode->mirror);
    memset(encode, 0, sizeof *encode);
}
