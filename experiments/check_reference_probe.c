/* jepa check-reference on an attentive probe: outputs, loss and every gradient of one batch against
 * those of the published code.
 *
 *   DIR/config.json         dim, heads, depth, classes, batch, tokens
 *   DIR/probe.safetensors   weights.*, input.tokens [B,N,D], input.labels [B] int64,
 *                           expected.logits [B,classes], expected.loss [1] (cross-entropy),
 *                           expected.grad.* */
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/yaml.h"
#include "eval/attentive.h"
#include "experiments/check_reference.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As for networks. Rounding alone, by weights changed by 1e-7 (--perturb 1e-7), moves outputs and
 * gradients of the two published references to 8e-7 of their values, and the loss not at all; a
 * change by 1e-4 goes past all three. */
#define LIMIT_STAGE    5e-6
#define LIMIT_LOSS     2e-6
#define LIMIT_GRADIENT 1e-5

typedef struct ProbeReference {
    Safetensors file;
    AttentiveConfig config;
    int64_t batch, tokens;
    float *input; /* [B][N][D] */
    int *labels;  /* [B] */
} ProbeReference;

static int read_config(ProbeReference *r, const char *folder, Error *error) {
    static const char *const keys[] = {"dim", "heads", "depth", "classes", "batch", "tokens"};
    int64_t values[6];
    YamlNode *root = NULL;
    char *path = path_join(folder, "config.json");
    int result = yaml_load(&root, path, error);
    for (int i = 0; i < 6 && !result; i++) {
        const YamlNode *node = yaml_find(root, keys[i]);
        if (!node || yaml_integer(node, &values[i]) || values[i] < 1 || values[i] > 1 << 15)
            result = error_set(error, ERROR_RUN,
                               "%s: expected a whole number from 1 to 32,768 as \"%s\"", path,
                               keys[i]);
    }
    yaml_release(root);
    free(path);
    if (result)
        return -1;
    r->config = (AttentiveConfig){.width = (int)values[0],
                                  .heads = (int)values[1],
                                  .depth = (int)values[2],
                                  .outputs = (int)values[3],
                                  .layernorm_eps = PROBE_LAYERNORM_EPS};
    r->batch = values[4];
    r->tokens = values[5];
    return 0;
}

static const TensorInfo *find(const Safetensors *file, const char *name, int dims,
                              const int64_t *shape, Error *error) {
    const TensorInfo *t = safetensors_find(file, name);
    if (t && t->dims == dims && !memcmp(t->shape, shape, (size_t)dims * sizeof *shape))
        return t;
    error_set(error, ERROR_RUN, "%s: %s %s", file->path, name,
              t ? "has another shape than config.json asks for" : "is missing");
    return NULL;
}

static int read_input(ProbeReference *r, Error *error) {
    const AttentiveConfig *c = &r->config;
    const int64_t tokens[3] = {r->batch, r->tokens, c->width};
    const TensorInfo *labels = find(&r->file, "input.labels", 1, &r->batch, error);
    if (!labels || !find(&r->file, "input.tokens", 3, tokens, error))
        return -1;
    if (labels->type != TENSOR_I64)
        return error_set(error, ERROR_RUN, "%s: expected input.labels as int64", r->file.path);
    size_t count = (size_t)(r->batch * r->tokens) * (size_t)c->width; /* bounded: it is in a file */
    r->input = memory_new(count, sizeof *r->input);
    r->labels = memory_new((size_t)r->batch, sizeof *r->labels);
    for (int64_t i = 0; i < r->batch; i++) {
        int64_t label;
        memcpy(&label, (const char *)labels->data + (size_t)i * sizeof label, sizeof label);
        if (label < 0 || label >= c->outputs)
            return error_set(error, ERROR_RUN, "%s: a label beyond the %d classes", r->file.path,
                             c->outputs);
        r->labels[i] = (int)label;
    }
    return safetensors_floats(r->input, count, &r->file, "input.tokens", error);
}

static int open_reference(ProbeReference *r, const char *folder, Error *error) {
    const char *name = "weights.pooler.cross_attention_block.mlp.fc1.weight";
    char *path = path_join(folder, "probe.safetensors");
    int result = safetensors_open(&r->file, path, error);
    free(path);
    if (result || read_config(r, folder, error))
        return -1;
    const TensorInfo *mlp = safetensors_find(&r->file, name);
    if (!mlp || mlp->dims != 2 || mlp->shape[0] < 1 || mlp->shape[0] > 1 << 15)
        return error_set(error, ERROR_RUN, "%s: %s is missing or of another shape", r->file.path,
                         name);
    r->config.hidden = (int)mlp->shape[0];
    return read_input(r, error);
}

/* The reference's own weights. */
static int own_weights(ProbeWeights *w, const ProbeReference *r, Error *error) {
    const AttentiveConfig *c = &r->config;
    *w = (ProbeWeights){.depth = c->depth,
                        .width = c->width,
                        .heads = c->heads,
                        .hidden = c->hidden,
                        .queries = 1,
                        .classes = c->outputs,
                        .layernorm_eps = c->layernorm_eps};
    if (probe_weights_list(w, error))
        return -1;
    for (size_t i = 0; i < w->count; i++) {
        ProbeTensor *t = &w->tensors[i];
        char name[120];
        snprintf(name, sizeof name, "weights.%s", t->name);
        if (!find(&r->file, name, t->dims, t->shape, error))
            return -1;
        t->values = memory_new((size_t)t->count, sizeof *t->values);
        if (safetensors_floats(t->values, (size_t)t->count, &r->file, name, error))
            return -1;
    }
    return 0;
}

/* A probe's folder, or classifier 0 of a file. */
static int other_weights(ProbeWeights *w, const ProbeReference *r, const char *from,
                         Certificate *certificate, Error *error) {
    WeightsFile file;
    Hash hash;
    printf("weights from %s\n", from);
    if (folder_exists(from)) {
        char *path = path_join(from, "probe.safetensors");
        int result = probe_weights_load(w, from, error);
        if (!result && certificate)
            result = certificate_file(certificate, path, error);
        free(path);
        return result;
    }
    if (weights_file_open(&file, from, error))
        return -1;
    int result = probe_weights_take(w, &file, 0, r->config.heads, false, error);
    if (!result && certificate && !(result = weights_file_hash(&hash, &file, error)))
        certificate_hash(certificate, path_name(from), &hash);
    weights_file_close(&file);
    return result;
}

/* Every weight times 1 + p or 1 - p. */
static void perturb(ProbeWeights *w, double p) {
    Random random = random_at(0, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < w->count; i++)
        for (int64_t k = 0; k < w->tensors[i].count; k++)
            w->tensors[i].values[k] *= (float)(1 + (random_below(&random, 2) ? p : -p));
}

/* ours[count] against a tensor; elements from .. to - 1 are left out. */
static int compare(CheckTable *table, const ProbeReference *r, const char *name, const float *ours,
                   int64_t count, int64_t from, int64_t to, double limit, Error *error) {
    float *theirs = memory_new((size_t)count, sizeof *theirs);
    int result = safetensors_floats(theirs, (size_t)count, &r->file, name, error);
    if (!result)
        check_row(table, name, check_error(ours, theirs, count, from, to), limit);
    free(theirs);
    return result;
}

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), own = strlen(end);
    return length >= own && !strcmp(name + length - own, end);
}

/* The gradient of the keys' bias is zero in exact arithmetic; there, rounding noise. */
static int compare_gradients(CheckTable *table, const ProbeReference *r, const Attentive *probe,
                             Error *error) {
    ProbeWeights g;
    int result = 0;
    attentive_get_gradients(&g, probe, 0);
    for (size_t i = 0; i < g.count && !result; i++) {
        const ProbeTensor *t = &g.tensors[i];
        int64_t from = 0, to = 0;
        char name[120];
        snprintf(name, sizeof name, "expected.grad.%s", t->name);
        if (ends_with(t->name, "xattn.kv.bias")) {
            to = t->count / 2;
        } else if (ends_with(t->name, "attn.qkv.bias")) {
            from = t->count / 3;
            to = 2 * from;
        }
        result = compare(table, r, name, t->values, t->count, from, to, LIMIT_GRADIENT, error);
    }
    probe_weights_free(&g);
    return result;
}

static int run(CheckTable *table, const ProbeReference *r, Attentive *probe, Error *error) {
    int64_t count = r->batch * r->config.outputs;
    float *logits = memory_new((size_t)count, sizeof *logits), loss = 0;
    AttentiveLabels labels = {.classes = r->labels};
    double value = 0;
    int result = attentive_forward(logits, probe, r->input, r->batch, r->tokens, error);
    if (!result)
        result = attentive_backward(&value, probe, ATTENTIVE_CLASSES, 1, r->input, &labels,
                                    r->batch, r->tokens, error);
    loss = (float)value;
    check_title();
    if (!result)
        result = compare(table, r, "expected.logits", logits, count, 0, 0, LIMIT_STAGE, error) ||
                         compare(table, r, "expected.loss", &loss, 1, 0, 0, LIMIT_LOSS, error) ||
                         compare_gradients(table, r, probe, error)
                     ? -1
                     : 0;
    free(logits);
    return result;
}

int check_probe(CheckTable *table, const char *folder, const char *weights, double by,
                Device *device, Error *error) {
    ProbeReference r = {0};
    ProbeWeights w = {0};
    Attentive *probe = NULL;
    int result = open_reference(&r, folder, error);
    if (!result)
        result = weights ? other_weights(&w, &r, weights, table->certificate, error)
                         : own_weights(&w, &r, error);
    if (!result && by > 0)
        perturb(&w, by);
    if (!result && device->precision != PRECISION_FLOAT32)
        log_info("probes are computed in float32");
    if (!result)
        result = attentive_new(&probe, &r.config, 1, 0, device, error) ||
                         attentive_set(probe, 0, &w, error) || run(table, &r, probe, error)
                     ? -1
                     : 0;
    attentive_free(probe);
    probe_weights_free(&w);
    safetensors_close(&r.file);
    free(r.input);
    free(r.labels);
    return result;
}
