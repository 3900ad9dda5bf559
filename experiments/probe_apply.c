/* jepa probe --apply: other videos labelled by a trained probe. See experiments/probe_saved.h. */
#include "base/file.h"
#include "base/half.h"
#include "base/log.h"
#include "base/words.h"
#include "eval/linear_weights.h"
#include "experiments/probe_saved.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 5 /* most classes named for a video */

/* What a probe says of every video that could be decoded. */
typedef struct Said {
    Features features; /* .files and .count; rows are of a linear probe */
    float *outputs;    /* [count][K] probabilities of classes and labels, or values */
} Said;

static int compare_encoder(const ProbeSaved *p, const FrozenEncoder *e, Error *error) {
    char trained[HASH_TEXT], here[HASH_TEXT];
    hash_text(trained, &p->weights);
    hash_text(here, &e->weights);
    if (!hash_same(&p->weights, &e->weights))
        return error_set(error, ERROR_USAGE,
                         "%s was trained on features of %s (BLAKE2b-256 %.16s...); %s is another "
                         "encoder (%.16s...), whose features mean something else",
                         p->folder, p->source, trained, e->source, here);
    if (!hash_same(&p->recipe, &e->recipe_hash))
        return error_set(error, ERROR_USAGE,
                         "%s was trained with another recipe of %s: clips would not be the same",
                         p->folder, p->source);
    return 0;
}

static int say_linear(Said *said, const ProbeSaved *p, FrozenEncoder *e, const VideoIndex *index,
                      Error *error) {
    char *head = path_join(p->folder, "head");
    FeatureViews views = encoder_views(e, (int)p->segments, (int)p->crops);
    LinearModel model;
    int result = linear_weights_load(&model, head, error);
    if (!result && (model.width != e->width || model.outputs != p->outputs))
        result = error_set(error, ERROR_RUN, "%s: its sizes are not those of this encoder", head);
    if (!result)
        result = features_extract(&said->features, &e->model, index, &e->clip, &views, e->network,
                                  e->device->threads, error);
    if (!result) {
        said->outputs = memory_new((size_t)said->features.count * (size_t)p->outputs + 1,
                                   sizeof(float));
        linear_outputs(said->outputs, &model, said->features.rows, said->features.count);
        linear_probabilities(said->outputs, said->features.count, p->outputs, model.loss);
    }
    linear_free(&model);
    free(head);
    return result;
}

/* ---- attentive ---- */

/* One video's tokens on their way: its clips come one after another, segment by segment. */
typedef struct Gather {
    const FrozenEncoder *encoder;
    float *batch;    /* [samples][rows][D] as the encoder gives them */
    float *clip;     /* [rows][D] of one clip, as a store would hold it */
    float *sequence; /* [views][segments][layers · rows][D / layers] */
    int layers;
    bool failed;
} Gather;

/* Clip b of the batch to its place. Tokens are rounded as those in a store, which the probe was
 * trained on; several layers lie one after another. */
static void put_clip(Gather *g, int b, int segment, int view, const FeatureViews *views) {
    size_t rows = (size_t)g->encoder->model.rows, width = (size_t)g->encoder->width;
    size_t layers = (size_t)g->layers, one = width / layers, clip = rows * width;
    const float *from = g->batch + (size_t)b * clip;
    float *to = g->sequence + ((size_t)view * (size_t)views->segments + (size_t)segment) * clip;
    for (size_t i = 0; i < clip; i++)
        g->clip[i] = float16_to_float(float16_from_float(from[i]));
    for (size_t l = 0; l < layers; l++)
        for (size_t n = 0; n < rows; n++)
            memcpy(to + (l * rows + n) * one, g->clip + (n * layers + l) * one, one * sizeof *to);
}

/* What the probe says of the video in `g`: mean over its views of probabilities or values. */
static int say_video(float *out, float *each, Attentive *probe, const Gather *g,
                     const ProbeSaved *p, const FeatureViews *views, Error *error) {
    static const LinearLoss losses[] = {LINEAR_SOFTMAX, LINEAR_SIGMOID, LINEAR_SQUARED};
    int64_t tokens = (int64_t)views->segments * g->layers * g->encoder->model.rows;
    if (attentive_forward(each, probe, g->sequence, views->views, tokens, error))
        return -1;
    for (int64_t i = 0; i < (int64_t)views->views * p->outputs; i++)
        if (!isfinite(each[i]))
            return error_set(error, ERROR_RUN,
                             "the probe's answer is not finite: tokens larger than float16 holds?");
    linear_probabilities(each, views->views, p->outputs, losses[p->task]);
    for (int k = 0; k < p->outputs; k++) {
        double sum = 0;
        for (int v = 0; v < views->views; v++)
            sum += each[v * p->outputs + k];
        sum /= views->views;
        out[k] = (float)(p->centre ? p->centre[k] + p->spread[k] * sum : sum);
    }
    return 0;
}

static int say_videos(Said *said, Attentive *probe, Gather *g, const ProbeSaved *p,
                      FrozenEncoder *e, const VideoIndex *index, Error *error) {
    FeatureViews views = encoder_views(e, (int)p->segments, (int)p->crops);
    EvaluationClips clips = {index, &e->clip, &views};
    LoaderConfig config = evaluation_loader(&clips, &e->model, e->device->threads);
    uint64_t of_video = (uint64_t)views.segments * (uint64_t)views.views;
    float *each = memory_new((size_t)views.views * (size_t)p->outputs, sizeof *each);
    Encode encode;
    int result = encode_open(&encode, &e->model, &config, e->network, false, error);
    const LoaderBatch *batch = NULL;
    Error stopped = {0};
    while (!result && (batch = encode_next(&encode, &stopped))) {
        encode_rows(g->batch, &encode, batch->count);
        for (int b = 0; b < batch->count && !result; b++) {
            uint64_t job = batch->first_job + (uint64_t)b, clip = job % of_video;
            if (!clip)
                g->failed = false;
            if (batch->slots[b].failed && !g->failed)
                log_warn("left out: %s", batch->slots[b].reason ? batch->slots[b].reason : "?");
            g->failed |= batch->slots[b].failed;
            put_clip(g, b, (int)(clip / (uint64_t)views.views), (int)(clip % (uint64_t)views.views),
                     &views);
            if (clip + 1 < of_video || g->failed)
                continue;
            float *out = said->outputs + said->features.count * p->outputs;
            result = say_video(out, each, probe, g, p, &views, error);
            said->features.files[said->features.count++] = index->usable_files[job / of_video];
        }
    }
    if (!result && stopped.code) {
        *error = stopped;
        result = -1;
    }
    encode_close(&encode);
    free(each);
    return result;
}

static int say_attentive(Said *said, const ProbeSaved *p, FrozenEncoder *e, const VideoIndex *index,
                         Error *error) {
    char *head = path_join(p->folder, "head");
    ProbeWeights weights;
    Attentive *probe = NULL;
    Gather g = {.encoder = e, .layers = e->model.features.count};
    size_t clip = (size_t)e->model.rows * (size_t)e->width;
    int result = probe_weights_load(&weights, head, error);
    if (!result && (weights.width * g.layers != e->width || weights.classes != p->outputs))
        result = error_set(error, ERROR_RUN, "%s: its sizes are not those of this encoder", head);
    if (!result) {
        AttentiveConfig config = attentive_config(&weights);
        result = attentive_new(&probe, &config, 1, 0, e->device, error);
    }
    if (!result)
        result = attentive_set(probe, 0, &weights, error);
    if (!result) {
        g.batch = memory_new((size_t)e->model.plan.samples * clip, sizeof *g.batch);
        g.clip = memory_new(clip, sizeof *g.clip);
        g.sequence = memory_new((size_t)(p->segments * p->crops) * clip, sizeof *g.sequence);
        said->features.files = memory_new(index->usable + 1, sizeof *said->features.files);
        said->outputs = memory_new(index->usable * (size_t)p->outputs + 1, sizeof(float));
        result = say_videos(said, probe, &g, p, e, index, error);
    }
    attentive_free(probe);
    probe_weights_free(&weights);
    free(g.batch);
    free(g.clip);
    free(g.sequence);
    free(head);
    return result;
}

/* ---- the CSV ---- */

/* The `shown` largest of outputs[K], largest first, the first of equals before. */
static void largest(int *best, int shown, const float *outputs, int count) {
    int found = 0;
    for (int k = 0; k < count; k++) {
        int at = found < shown ? found++ : shown;
        for (; at > 0 && outputs[k] > outputs[best[at - 1]]; at--)
            if (at < shown)
                best[at] = best[at - 1];
        if (at < shown)
            best[at] = k;
    }
}

static void put_header(FILE *file, const ProbeSaved *p, int shown) {
    fprintf(file, "file");
    if (p->task == TASK_CLASSES) {
        fprintf(file, ",class,probability");
        for (int i = 2; i <= shown; i++)
            fprintf(file, ",class_%d,probability_%d", i, i);
    }
    for (int k = 0; k < p->outputs && p->task != TASK_CLASSES; k++) {
        char *name = csv_quote(p->names[k]);
        fprintf(file, ",%s", name);
        free(name);
    }
    fprintf(file, "\n");
}

/* Fields of a video; empty ones where it could not be decoded (outputs NULL). */
static void put_video(FILE *file, const char *name, const ProbeSaved *p, const float *outputs,
                      int shown) {
    char *quoted = csv_quote(name);
    int best[SHOWN] = {0};
    fprintf(file, "%s", quoted);
    free(quoted);
    if (outputs && p->task == TASK_CLASSES)
        largest(best, shown, outputs, p->outputs);
    for (int i = 0; i < (p->task == TASK_CLASSES ? shown : p->outputs); i++) {
        if (!outputs) {
            fprintf(file, p->task == TASK_CLASSES ? ",," : ",");
        } else if (p->task == TASK_CLASSES) {
            char *class = csv_quote(p->names[best[i]]);
            fprintf(file, ",%s,%.6f", class, (double)outputs[best[i]]);
            free(class);
        } else {
            fprintf(file, ",%.6g", (double)outputs[i]);
        }
    }
    fprintf(file, "\n");
}

static int write_csv(const char *path, const Said *said, const ProbeSaved *p,
                     const VideoIndex *index, Error *error) {
    char *text = NULL;
    size_t size;
    int shown = p->outputs < SHOWN ? p->outputs : SHOWN;
    int64_t at = 0;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    put_header(file, p, shown);
    for (uint32_t i = 0; i < index->count; i++) {
        bool known = at < said->features.count && said->features.files[at] == i;
        put_video(file, video_index_name(index, i), p,
                  known ? said->outputs + at++ * p->outputs : NULL, shown);
    }
    fclose(file);
    int result = file_write(path, text, size, error);
    free(text);
    return result;
}

int probe_apply(const ProbeArguments *a, Error *error) {
    ProbeSaved p;
    if (probe_saved_open(&p, a->apply, error))
        return -1;
    EncoderArguments arguments = a->encoder;
    arguments.network = p.network;
    arguments.layers = p.layers[0] ? p.layers : NULL;
    arguments.sets = p.sets;
    arguments.frame_step = p.frame_step;
    arguments.fps = p.fps;
    arguments.random_init = p.random_init;
    FrozenEncoder e = {0};
    VideoIndex index = {0};
    Said said = {.outputs = NULL};
    int result = encoder_check_arguments(&arguments, error);
    if (!result)
        result = encoder_open(&e, &arguments, 0, error);
    if (!result && p.random_init >= 0)
        result = encoder_load(&e, error);
    if (!result)
        result = compare_encoder(&p, &e, error);
    if (!result && p.random_init < 0)
        result = encoder_load(&e, error);
    if (!result)
        result = encoder_index(&index, &e, a->data, error);
    if (!result)
        result = (strcmp(p.kind, "linear") ? say_attentive : say_linear)(&said, &p, &e, &index,
                                                                         error);
    if (!result)
        result = write_csv(a->out, &said, &p, &index, error);
    if (!result) {
        printf("probe                  %s: %s, %s%s\n", p.folder, p.kind, p.setting,
               strcmp(p.selected_on, SELECTED_TEST) ? "" : " (selected on test)");
        printf("labelled               %" PRId64 " of %zu videos: %s\n", said.features.count,
               index.count, a->out);
    }
    features_free(&said.features);
    free(said.outputs);
    video_index_free(&index);
    encoder_close(&e);
    probe_saved_close(&p);
    return result;
}
