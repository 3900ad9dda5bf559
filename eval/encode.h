/* Clips through a frozen encoder: decoded ahead by the loader, encoded batch by batch, in the order
 * of the jobs. The bits of a clip may depend on how many come with it (libraries choose how to
 * multiply by the number of rows), so who wants the same again cuts the jobs into the same batches.
 *
 *   Encode e;
 *   encode_open(&e, model, &loader_config, 't', pooled, &error)
 *   while ((batch = encode_next(&e, &error)))      model->target_out: tokens of batch->count clips
 *       encode_rows(rows, &e, batch->count)        the same, or each clip's mean, on the host
 *   encode_close(&e)
 */
#ifndef JEPA_EVAL_ENCODE_H
#define JEPA_EVAL_ENCODE_H

#include "jepa/model.h"
#include "video/loader.h"

/* What is looked at of each video. The cache may be NULL. */
typedef struct FeatureViews {
    int segments, views;
    double timeout; /* seconds for one clip; 0: no limit */
    FrameCache *cache;
    VideoHardware *hardware; /* NULL: decoded on the CPU */
} FeatureViews;

/* The evaluation clips of all usable videos: job = (video · segments + segment) · views + view,
 * each as clip_draw_evaluation draws it. */
typedef struct EvaluationClips {
    const VideoIndex *index;
    const ClipSpec *spec;
    const FeatureViews *views;
} EvaluationClips;
/* Draws one: for a loader, whose context it is. 0 for every attempt but the first: evaluation has
 * no other clip to offer. */
int evaluation_draw(void *clips, uint64_t job, int attempt, ClipDraw *draw);
/* A loader's settings for all of them; `clips` must outlive the loader. */
LoaderConfig evaluation_loader(EvaluationClips *clips, const Model *model, int threads);

typedef struct Encode {
    Model *model;
    Loader *loader;
    char network;
    bool pooled;
    int64_t clip;      /* values of a clip's rows: N · D, or D when pooled */
    float *means;      /* [samples][D] on the device, when pooled; else NULL */
    FrameCache *views; /* of the frames that views of a clip share; NULL: the loader has its own */
    uint8_t *mirror;   /* [samples] which clips the device mirrors */
    double wait;       /* seconds that it waited for decoded clips so far */
} Encode;

/* config->batch must be model->plan.samples. `network`: 't' target encoder or 'c' context encoder.
 * `pooled`: encode_rows gives the mean of each clip's tokens. */
int encode_open(Encode *encode, Model *model, const LoaderConfig *config, char network, bool pooled,
                Error *error);
/* The next batch, its tokens in model->target_out [count · rows][width], mirrored where drawn so;
 * those of a failed slot mean nothing. NULL at the end, or with `error` set. */
const LoaderBatch *encode_next(Encode *encode, Error *error);
/* Rows of the `count` clips of that batch into rows[count][N][D], or [count][D] when pooled; host.
 * Waits for a GPU. */
void encode_rows(float *rows, const Encode *encode, int count);
void encode_close(Encode *encode);

#endif
