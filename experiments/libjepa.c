/* The C interface of the shared library. See experiments/libjepa.h.
 *
 * What a caller hands over is checked here, all of it: below, an impossible size is a bug of this
 * program, and ends it. */
#include "experiments/libjepa.h"
#include "eval/latents.h"
#include "experiments/scene.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cuda_device.h"
#include "kernels/device.h"
#include "kernels/patches.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MOST     4096 /* bytes of a path or a setting */
#define SETTINGS_MOST 1024
#define THREADS_MOST  4096

struct JepaModel {
    Error error;
    Scene scene;
    Model model; /* one clip; with a predictor, one mask setting for all tokens */
    bool has_scene, open;
    bool predicts;
    char network; /* 't' or 'c' */
    char *recipe;
    char hash[HASH_TEXT];
    uint8_t *pixels; /* [clip] of a video file */
    float *values;   /* [clip] what the model is given */
};

int jepa_abi(void) {
    return JEPA_ABI;
}

const char *jepa_version(void) {
    return JEPA_VERSION;
}

/* ---- opening ---- */

static int check_text(const char *text, const char *what, Error *error) {
    if (!text || !*text)
        return error_set(error, ERROR_USAGE, "%s is missing", what);
    if (strnlen(text, PATH_MOST) == PATH_MOST)
        return error_set(error, ERROR_USAGE, "%s: longer than %d bytes", what, PATH_MOST - 1);
    return 0;
}

static int open_device(JepaModel *m, const char *device, int threads) {
    Error why = {0};
    if (!device)
        device = cuda_device_count(&why) ? "cuda:0" : "cpu";
    return device_open(&m->scene.device, device, threads, &m->error);
}

static int open_scene(JepaModel *m, const char *checkpoint, const char *const *settings) {
    TextList sets = {0};
    for (; settings && settings[sets.count]; sets.count++)
        if (sets.count == SETTINGS_MOST)
            return error_set(&m->error, ERROR_USAGE,
                             "settings: more than %d, or no NULL at the end", SETTINGS_MOST);
    sets.items = memory_new(sets.count + 1, sizeof *sets.items);
    int result = 0;
    for (size_t i = 0; i < sets.count && !result; i++) {
        sets.items[i] = settings[i];
        result = check_text(settings[i], "a setting", &m->error);
    }
    if (!result) {
        m->has_scene = true;
        result = scene_open(&m->scene, checkpoint, &sets, &m->error);
    }
    free(sets.items);
    return result;
}

/* One clip through the encoders, and, where there is one, the predictor. */
static int open_model(JepaModel *m) {
    const Scene *s = &m->scene;
    bool alone = m->network == 'c' &&
                 recipe_teacher(&s->recipe); /* the predictor's targets differ */
    int tokens = mask_grid_tokens(config_grid(&s->config));
    ModelPlan plan = {.config = {.token_by_length = true}, .samples = 1, .float_input = true};
    m->predicts = s->config.objective == OBJECTIVE_JEPA && !alone;
    if (m->predicts) {
        plan.settings = 1;
        plan.context = plan.target = tokens;
    }
    return scene_model(&m->model, s, &plan, alone ? 'c' : 't', &m->error);
}

static int open_all(JepaModel *m, const char *checkpoint, const char *network, const char *device,
                    int threads, const char *const *settings) {
    if (check_text(checkpoint, "checkpoint", &m->error) ||
        (device && check_text(device, "device", &m->error)) ||
        (network && check_text(network, "network", &m->error)))
        return -1;
    if (network && strcmp(network, "target") && strcmp(network, "context"))
        return error_set(&m->error, ERROR_USAGE, "network %s: expected target or context", network);
    if (threads < 0 || threads > THREADS_MOST)
        return error_set(&m->error, ERROR_USAGE, "threads %d: expected 0 (all) to %d", threads,
                         THREADS_MOST);
    m->network = network ? network[0] : 't';
    if (open_scene(m, checkpoint, settings) || open_device(m, device, threads) || open_model(m))
        return -1;
    m->open = true;
    m->recipe = recipe_text(&m->scene.recipe);
    hash_text(m->hash, &m->scene.hash);
    size_t clip = (size_t)m->scene.config.frames * m->scene.config.height * m->scene.config.width;
    m->pixels = memory_new(3 * clip, 1);
    m->values = memory_new(3 * clip, sizeof *m->values);
    return 0;
}

int jepa_open(JepaModel **model, const char *checkpoint, const char *network, const char *device,
              int threads, const char *const *settings) {
    JepaModel *m = calloc(1, sizeof *m);
    if (!model) {
        free(m);
        return -1;
    }
    *model = m;
    if (!m)
        return -1;
    int before = gemm_enter();
    int result = open_all(m, checkpoint, network, device, threads, settings);
    gemm_leave(before);
    return result;
}

void jepa_close(JepaModel *m) {
    if (!m)
        return;
    if (m->open)
        model_free(&m->model);
    if (m->has_scene)
        scene_close(&m->scene);
    free(m->recipe);
    free(m->pixels);
    free(m->values);
    free(m);
}

/* ---- what it is ---- */

const char *jepa_error(const JepaModel *m) {
    return m ? m->error.text : "no model: jepa_open was not called, or there was no memory for it";
}

int64_t jepa_size(const JepaModel *m, int size) {
    if (!m || !m->open)
        return -1;
    const ModelConfig *c = &m->scene.config;
    const Model *model = &m->model;
    int teacher = m->network == 't';
    switch (size) {
    case JEPA_FRAMES:
        return c->frames;
    case JEPA_HEIGHT:
        return c->height;
    case JEPA_WIDTH:
        return c->width;
    case JEPA_TUBELET:
        return c->tubelet;
    case JEPA_PATCH:
        return c->patch;
    case JEPA_GRID_TIME:
        return model->grid.time;
    case JEPA_GRID_HEIGHT:
        return model->grid.height;
    case JEPA_GRID_WIDTH:
        return model->grid.width;
    case JEPA_TOKENS:
        return model->tokens;
    case JEPA_ROWS:
        return model->rows;
    case JEPA_DIM:
        return (int64_t)model->teacher.dim * model->features.count;
    case JEPA_TARGET_DIM:
        return m->predicts ? model->target_width : 0;
    case JEPA_MASK_TOKENS:
        return m->predicts ? c->plane ? 1 : c->used_mask_tokens : 0;
    case JEPA_DEPTH:
        return teacher ? model->teacher.depth : c->depth;
    case JEPA_HEADS:
        return teacher ? model->teacher.heads : c->heads;
    case JEPA_STEP:
        return m->scene.checkpoint.step;
    default:
        return -1;
    }
}

const char *jepa_text(const JepaModel *m, int text) {
    if (!m || !m->open)
        return NULL;
    switch (text) {
    case JEPA_SOURCE:
        return m->scene.source;
    case JEPA_RECIPE:
        return m->recipe;
    case JEPA_HASH:
        return m->hash;
    case JEPA_DEVICE:
        return m->scene.device->name;
    default:
        return NULL;
    }
}

/* ---- clips ---- */

static int64_t clip_values(const JepaModel *m) {
    const ModelConfig *c = &m->scene.config;
    return (int64_t)3 * c->frames * c->height * c->width;
}

/* Every call begins here: is there a model? Forgets the last error. */
static int begin(JepaModel *m) {
    if (!m)
        return -1;
    if (!m->open)
        return error_set(&m->error, ERROR_USAGE, "the model is not open");
    m->error = (Error){0};
    return 0;
}

static int check_count(JepaModel *m, const char *what, const void *buffer, int64_t count,
                       int64_t expected) {
    if (!buffer)
        return error_set(&m->error, ERROR_USAGE, "%s is NULL", what);
    if (count != expected)
        return error_set(&m->error, ERROR_USAGE,
                         "%s has %" PRId64 " values: expected %" PRId64 " for this model", what,
                         count, expected);
    return 0;
}

static int check_type(JepaModel *m, int type) {
    if (type != JEPA_UINT8 && type != JEPA_FLOAT32)
        return error_set(&m->error, ERROR_USAGE,
                         "type %d: expected JEPA_UINT8 (0) or JEPA_FLOAT32 (1)", type);
    return 0;
}

/* As kernels/cpu/patches.c does it, to the bit. */
static void normalise(const JepaModel *m, const uint8_t *pixels) {
    int64_t channel = clip_values(m) / PATCH_CHANNELS;
    for (int c = 0; c < PATCH_CHANNELS; c++) {
        float scale = 1.0f / (255.0f * patch_std[c]), shift = -patch_mean[c] / patch_std[c];
        for (int64_t i = c * channel; i < (c + 1) * channel; i++)
            m->values[i] = (float)pixels[i] * scale + shift;
    }
}

/* The caller's clip into m->values. */
static int take_clip(JepaModel *m, const void *clip, int type, int64_t count) {
    if (check_type(m, type) || check_count(m, "the clip", clip, count, clip_values(m)))
        return -1;
    if (type == JEPA_UINT8) {
        normalise(m, clip);
        return 0;
    }
    memcpy(m->values, clip, (size_t)count * sizeof *m->values);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(m->values[i]))
            return error_set(&m->error, ERROR_USAGE,
                             "the clip: value %" PRId64 " is not a finite number", i);
    return 0;
}

/* Into m->pixels and m->values, or with published interpolation m->values alone. */
static int read_video(JepaModel *m, int64_t *frames, const char *path, int64_t first) {
    const ClipSpec *spec = &m->scene.clip;
    Footage footage = {0};
    ClipDraw draw;
    if (check_text(path, "the video's path", &m->error))
        return -1;
    if (first < -1)
        return error_set(&m->error, ERROR_USAGE,
                         "first frame %" PRId64 ": expected 0 or more, or -1 for the middle",
                         first);
    int result = footage_open(&footage, path, spec, &m->error);
    if (!result) {
        clip_draw_evaluation(&draw, &footage.index, 0, spec, 0, 1, 0, 1);
        if (first >= 0)
            result = clip_draw_from(&draw, &footage.file, spec, first, &m->error);
    }
    if (!result) {
        ClipDecoder *decoder = clip_decoder_new(m->scene.recipe.data.timeout, NULL);
        if (spec->interpolation == CLIP_PUBLISHED)
            result = clip_decode_values(m->values, decoder, &footage.file, &draw, spec, &m->error);
        else
            result = clip_decode(m->pixels, decoder, &footage.file, &draw, spec, &m->error);
        clip_decoder_free(decoder);
    }
    if (!result && spec->interpolation != CLIP_PUBLISHED)
        normalise(m, m->pixels);
    if (!result && frames)
        memcpy(frames, draw.frames, (size_t)spec->frames * sizeof *frames);
    footage_close(&footage);
    return result;
}

int jepa_read_video(JepaModel *m, void *clip, int type, int64_t count, int64_t *frames,
                    const char *path, int64_t first) {
    if (begin(m) || check_type(m, type) || check_count(m, "the clip", clip, count, clip_values(m)))
        return -1;
    if (type == JEPA_UINT8 && m->scene.clip.interpolation == CLIP_PUBLISHED)
        return error_set(&m->error, ERROR_USAGE,
                         "clips of this recipe are not rounded (data.interpolation: published): "
                         "ask for JEPA_FLOAT32");
    if (read_video(m, frames, path, first))
        return -1;
    if (type == JEPA_UINT8)
        memcpy(clip, m->pixels, (size_t)count);
    else
        memcpy(clip, m->values, (size_t)count * sizeof *m->values);
    return 0;
}

/* ---- encoder ---- */

static int64_t encoded_values(const JepaModel *m) {
    return jepa_size(m, JEPA_ROWS) * jepa_size(m, JEPA_DIM);
}

/* m->values through the encoder. */
static int encode(JepaModel *m, float *out, int64_t count) {
    Device *device = m->scene.device;
    ModelInput input = {.samples = 1, .values = m->values};
    int before = gemm_enter();
    model_set_input(&m->model, &input);
    model_features(&m->model, 1, m->model.plan.config.teacher.dim ? 't' : m->network);
    device->download(out, m->model.target_out, (size_t)count * sizeof *out, device);
    gemm_leave(before);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(out[i]))
            return error_set(&m->error, ERROR_RUN,
                             "the encoder's answer is not finite: the checkpoint is damaged, its "
                             "training has diverged, or the clip holds huge values");
    return 0;
}

int jepa_encode(JepaModel *m, float *out, int64_t out_count, const void *clip, int type,
                int64_t count) {
    if (begin(m) || check_count(m, "out", out, out_count, encoded_values(m)) ||
        take_clip(m, clip, type, count))
        return -1;
    return encode(m, out, out_count);
}

int jepa_encode_video(JepaModel *m, float *out, int64_t out_count, int64_t *frames,
                      const char *path, int64_t first) {
    if (begin(m) || check_count(m, "out", out, out_count, encoded_values(m)) ||
        read_video(m, frames, path, first))
        return -1;
    return encode(m, out, out_count);
}

/* ---- predictor ---- */

static int check_tokens(JepaModel *m, const char *what, const int32_t *tokens, int64_t count) {
    int most = m->model.tokens;
    if (!tokens || count < 1 || count > most)
        return error_set(&m->error, ERROR_USAGE, "%s: expected 1 to %d token numbers, not %" PRId64,
                         what, most, tokens ? count : 0);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= most || (i && tokens[i] <= tokens[i - 1]))
            return error_set(&m->error, ERROR_USAGE,
                             "%s: token %" PRId32 " at place %" PRId64
                             ": expected numbers from 0 to %d, ascending",
                             what, tokens[i], i, most - 1);
    return 0;
}

/* Both ascending. */
static int check_apart(JepaModel *m, const int32_t *seen, int64_t seen_count, const int32_t *hidden,
                       int64_t hidden_count) {
    for (int64_t i = 0, k = 0; i < seen_count && k < hidden_count;) {
        if (seen[i] == hidden[k])
            return error_set(&m->error, ERROR_USAGE, "token %" PRId32 " is both seen and hidden",
                             seen[i]);
        if (seen[i] < hidden[k])
            i++;
        else
            k++;
    }
    return 0;
}

static int check_predictor(JepaModel *m) {
    const char *instead = "jepa_encode and jepa_encode_video";
    if (scene_needs_predictor(&m->scene, "predictions", instead, &m->error))
        return -1;
    if (!m->predicts)
        return error_set(&m->error, ERROR_USAGE,
                         "the predictor of this run speaks of its frozen teacher: open it with "
                         "network target");
    return scene_predictor_trained(&m->scene, &m->model, "predictions", instead, &m->error);
}

static int choose_token(JepaModel *m, int *token, int wanted) {
    int count = (int)jepa_size(m, JEPA_MASK_TOKENS), own = scene_mask_token(&m->scene);
    if (wanted < -1 || wanted >= count)
        return error_set(&m->error, ERROR_USAGE, "mask token %d: expected -1 to %d", wanted,
                         count - 1);
    *token = wanted >= 0 ? wanted : own >= 0 ? own : count - 1;
    return 0;
}

int jepa_predict(JepaModel *m, float *predicted, int64_t predicted_count, float *target,
                 int64_t target_count, const void *clip, int type, int64_t count,
                 const int32_t *seen, int64_t seen_count, const int32_t *hidden,
                 int64_t hidden_count, int mask_token) {
    int token;
    if (begin(m) || check_predictor(m) || choose_token(m, &token, mask_token) ||
        check_tokens(m, "seen", seen, seen_count) ||
        check_tokens(m, "hidden", hidden, hidden_count) ||
        check_apart(m, seen, seen_count, hidden, hidden_count))
        return -1;
    int64_t width = m->model.target_width, all = m->model.tokens * width;
    if (check_count(m, "predicted", predicted, predicted_count, hidden_count * width) ||
        (target && check_count(m, "target", target, target_count, all)) ||
        take_clip(m, clip, type, count))
        return -1;
    MaskRecipe recipe = {.settings = 1, .samples = 1, .grid = m->model.grid};
    ModelInput input = {.samples = 1, .values = m->values};
    MaskGroup masks;
    Latents latents;
    mask_group_new(&masks, &recipe, seen_count, hidden_count);
    memcpy(masks.context, seen, (size_t)seen_count * sizeof *seen);
    memcpy(masks.target, hidden, (size_t)hidden_count * sizeof *hidden);
    masks.cu_context[1] = (int32_t)seen_count;
    masks.cu_target[1] = (int32_t)hidden_count;
    int before = gemm_enter();
    int result = latents_compute(&latents, &m->model, &input, &masks, token, &m->error);
    gemm_leave(before);
    if (!result) {
        memcpy(predicted, latents.predicted, (size_t)predicted_count * sizeof *predicted);
        if (target)
            memcpy(target, latents.target, (size_t)all * sizeof *target);
        latents_free(&latents);
    }
    mask_group_free(&masks);
    return result;
}
