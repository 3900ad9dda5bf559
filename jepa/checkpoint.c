/* Checkpoints. See jepa/checkpoint.h. */
#include "jepa/checkpoint.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "base/sealed.h"
#include "jepa/checkpoint_folder.h"
#include "jepa/ranks.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_FILE    "checkpoint.msgpack"
#define MODEL_FILE     "model.safetensors"
#define OPTIMIZER_FILE "optimizer.safetensors"
#define FORMAT         "jepa.c checkpoint"
#define VERSION        2
#define HEADER_LIMIT   ((size_t)64 << 20) /* bytes; a ViT-G has 3,000 tensors, some 300 KB */

/* The tensors of one file, as views of host copies of the flat buffers. */
typedef struct TensorList {
    TensorInfo *tensors;
    size_t count;
} TensorList;

static void list_add(TensorList *list, const char *prefix, const Parameter *p, const char *name,
                     const float *flat) {
    list->tensors = memory_grow(list->tensors, list->count + 1, sizeof *list->tensors);
    TensorInfo *t = &list->tensors[list->count++];
    memset(t, 0, sizeof *t);
    t->name = memory_text("%s%s", prefix, name);
    t->type = TENSOR_F32;
    t->dims = p->dims;
    memcpy(t->shape, p->shape, sizeof p->shape);
    t->data = flat + p->offset;
    t->bytes = (size_t)p->count * sizeof(float);
}

static void list_free(TensorList *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->tensors[i].name);
    free(list->tensors);
}

/* What was brought to the host already (`there`); or the buffer itself where the device works in
 * host memory: a checkpoint takes no memory then. */
static float *host_copy(const Model *model, float *there, float *flat, int64_t count) {
    if (there)
        return there;
    if (model->device->on_host)
        return flat;
    float *copy = memory_new((size_t)count, sizeof *copy);
    model->device->download(copy, flat, (size_t)count * sizeof *copy, model->device);
    return copy;
}

static void drop_copy(const Model *model, const float *there, float *copy) {
    if (!there && !model->device->on_host)
        free(copy);
}

/* Writes one file of a folder; its tensors' hashes are added to the header. */
static int save_tensors(const char *folder, const char *file, const TensorList *list,
                        RecordWriter *header, Error *error) {
    Hash *hashes = memory_new(list->count, sizeof *hashes);
    char *path = path_join(folder, file);
    int result = safetensors_write(path, list->tensors, list->count, hashes, error);
    for (size_t i = 0; i < list->count && !result; i++) {
        record_put_list(header, 2);
        record_put_text(header, list->tensors[i].name);
        record_put_bytes(header, hashes[i].bytes, HASH_BYTES);
    }
    free(path);
    free(hashes);
    return result;
}

static int save_into(const char *folder, const CheckpointState *state, Error *error) {
    const Model *model = state->model;
    const ParameterTable *table = &model->table;
    const ParameterTable *teacher = &model->target_table;
    int64_t total = table->total, encoder = teacher->owner[OWNER_ENCODER].end;
    float *weights = host_copy(model, state->weights, model->weights, total);
    float *target = host_copy(model, state->target, model->target, encoder);
    float *first = state->bare ? NULL
                               : host_copy(model, state->first_moment, model->first_moment, total);
    float *second = state->bare
                        ? NULL
                        : host_copy(model, state->second_moment, model->second_moment, total);
    float *extra[EXTRA_TENSORS_MAX] = {NULL};
    TensorList networks = {0}, moments = {0};
    for (size_t i = 0; i < table->count; i++)
        list_add(&networks, "", &table->parameters[i], table->parameters[i].name, weights);
    for (size_t i = 0; i < teacher->count; i++)
        if (teacher->parameters[i].owner == OWNER_ENCODER)
            list_add(&networks, "target_", &teacher->parameters[i], teacher->parameters[i].name,
                     target);
    for (int k = 0; k < state->extra_count; k++) {
        const ExtraTensor *e = &state->extra[k];
        Parameter p = {.dims = 1, .shape = {e->count}, .count = e->count};
        extra[k] = host_copy(model, NULL, e->values, e->count);
        list_add(&networks, "", &p, e->name, extra[k]);
    }
    for (size_t i = 0; i < table->count && !state->bare; i++)
        list_add(&moments, "exp_avg.", &table->parameters[i], table->parameters[i].name, first);
    for (size_t i = 0; i < table->count && !state->bare; i++)
        list_add(&moments, "exp_avg_sq.", &table->parameters[i], table->parameters[i].name, second);

    RecordWriter header;
    record_writer_start(&header);
    record_put_map(&header, 10 + (state->health != NULL));
    record_put_text(&header, "format");
    record_put_text(&header, FORMAT);
    record_put_text(&header, "version");
    record_put_integer(&header, VERSION);
    record_put_text(&header, "step");
    record_put_integer(&header, state->step);
    record_put_text(&header, "updates");
    record_put_integer(&header, state->updates);
    record_put_text(&header, "source");
    record_put_text(&header, state->source ? state->source : "");
    record_put_text(&header, "replaced");
    record_put_integer(&header, state->replaced);
    record_put_text(&header, "precision");
    record_put_text(&header, precision_name(model->device->precision));
    record_put_text(&header, "recipe");
    record_put_text(&header, state->recipe);
    record_put_text(&header, "index");
    record_put_bytes(&header, state->index.bytes, HASH_BYTES);
    if (state->health) {
        record_put_text(&header, "health");
        health_put(&header, state->health);
    }
    record_put_text(&header, "tensors");
    record_put_list(&header, networks.count + moments.count);
    int result = save_tensors(folder, MODEL_FILE, &networks, &header, error);
    if (!result && !state->bare)
        result = save_tensors(folder, OPTIMIZER_FILE, &moments, &header, error);
    if (!result) {
        char *path = path_join(folder, HEADER_FILE);
        result = sealed_write(NULL, path, &header, error);
        free(path);
    }
    record_writer_free(&header);
    list_free(&networks);
    list_free(&moments);
    drop_copy(model, state->weights, weights);
    drop_copy(model, state->target, target);
    drop_copy(model, state->first_moment, first);
    drop_copy(model, state->second_moment, second);
    for (int k = 0; k < state->extra_count; k++)
        drop_copy(model, NULL, extra[k]);
    return result;
}

int checkpoint_save(const char *run, const CheckpointState *state, int keep, Error *error) {
    char *folder = memory_text("%s/step-%" PRId64, run, state->step);
    char *partial = memory_text("%s.partial", folder);
    int result = 0;
    if (folder_exists(partial))
        result = folder_remove(partial, error);
    if (!result && folder_exists(folder)) /* a damaged one that the run has come to again */
        result = checkpoint_folder_remove(folder, error);
    if (!result)
        result = folder_make(partial, error);
    if (!result) {
        result = save_into(partial, state, error);
        if (!result)
            result = folder_sync(partial, error);
        if (!result)
            result = folder_move(partial, folder, error);
        if (!result)
            result = folder_sync(run, error);
        if (result) {
            Error ignored;
            folder_remove(partial, &ignored);
        }
    }
    if (!result)
        result = checkpoint_remove_older(run, keep, state->spares ? state->spared : -1, error);
    else
        error_prefix(error, "checkpoint of step %" PRId64 " not written (the one before is intact)",
                     state->step);
    free(folder);
    free(partial);
    return result ? -1 : 0;
}

/* ---- reading ---- */

static int damaged(Error *error, const char *path, const char *what) {
    return error_set(error, ERROR_RUN, "%s is damaged or no checkpoint of this program: %s", path,
                     what);
}

static int read_hash(Hash *hash, const msgpack_object *object) {
    const uint8_t *bytes;
    size_t count;
    if (!object || record_bytes(object, &bytes, &count) || count != HASH_BYTES)
        return -1;
    memcpy(hash->bytes, bytes, HASH_BYTES);
    return 0;
}

static int read_header(Checkpoint *c, const msgpack_object *root, const char *path, Error *error) {
    int64_t version = 0;
    const msgpack_object *format = record_find(root, "format"), *step = record_find(root, "step"),
                         *list = record_find(root, "tensors"),
                         *replaced = record_find(root, "replaced"),
                         *updates = record_find(root, "updates"),
                         *source = record_find(root, "source"),
                         *number = record_find(root, "version"),
                         *recipe = record_find(root, "recipe");
    char *text = format ? record_text(format) : NULL;
    bool known = text && !strcmp(text, FORMAT);
    free(text);
    if (!known || !number || record_integer(number, &version))
        return damaged(error, path, "another format");
    if (version != VERSION)
        return error_set(error, ERROR_RUN,
                         "%s has format version %" PRId64 "; this program reads version %d", path,
                         version, VERSION);
    if (!step || record_integer(step, &c->step) || c->step < 0 || !replaced ||
        record_integer(replaced, &c->replaced) || !updates ||
        record_integer(updates, &c->updates) || c->updates < 0 || !source ||
        !(c->source = record_text(source)) || !recipe || !(c->recipe = record_text(recipe)) ||
        read_hash(&c->index, record_find(root, "index")) || !list ||
        list->type != MSGPACK_OBJECT_ARRAY)
        return damaged(error, path, "fields are missing");
    const msgpack_object *precision = record_find(root, "precision"); /* not in older ones */
    text = precision ? record_text(precision) : NULL;
    if (precision && (!text || precision_parse(&c->precision, text))) {
        free(text);
        return damaged(error, path, "its precision is none of ours");
    }
    free(text);
    const msgpack_object *health = record_find(root, "health"); /* likewise */
    health_start(&c->health);
    if (health && health_read(&c->health, health))
        return damaged(error, path, "its memory of diagnostics is none of ours");
    size_t count = record_count(list);
    c->tensor = memory_new(count, sizeof *c->tensor);
    for (c->tensors = 0; c->tensors < count; c->tensors++) {
        const msgpack_object *pair = record_item(list, c->tensors);
        const msgpack_object *name = record_item(pair, 0);
        struct CheckpointTensor *tensor = &c->tensor[c->tensors];
        if (!name || !(tensor->name = record_text(name)))
            return damaged(error, path, "a tensor without a name");
        c->moments = c->moments || !strncmp(tensor->name, "exp_avg.", 8);
        if (read_hash(&tensor->hash, record_item(pair, 1))) {
            c->tensors++;
            return damaged(error, path, "a tensor without a hash");
        }
    }
    return 0;
}

static int open_trimmed(Checkpoint *checkpoint, const char *path, Error *error) {
    memset(checkpoint, 0, sizeof *checkpoint);
    char *own = path_join(path, HEADER_FILE);
    if (file_exists(own)) {
        checkpoint->folder = memory_text("%s", path);
    } else {
        int64_t *steps = NULL;
        size_t count = 0;
        int result = checkpoint_list(&steps, &count, path, error);
        if (!result && !count)
            result = error_set(error, ERROR_RUN,
                               "%s: no checkpoint in it (expected folders step-N)", path);
        if (!result)
            checkpoint->folder = memory_text("%s/step-%" PRId64, path, steps[count - 1]);
        free(steps);
        free(own);
        if (result)
            return -1;
        own = path_join(checkpoint->folder, HEADER_FILE);
    }
    Sealed header;
    int result = sealed_open(&header, own, HEADER_LIMIT, "checkpoint", error);
    if (!result) {
        result = read_header(checkpoint, header.record.root, own, error);
        checkpoint->hash = header.hash;
        sealed_close(&header);
    }
    free(own);
    if (result)
        checkpoint_close(checkpoint);
    return result;
}

int checkpoint_open(Checkpoint *checkpoint, const char *path, Error *error) {
    char *trimmed = path_trim(path);
    int result = open_trimmed(checkpoint, trimmed, error);
    free(trimmed);
    return result;
}

void checkpoint_close(Checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->tensors; i++)
        free(checkpoint->tensor[i].name);
    free(checkpoint->tensor);
    free(checkpoint->recipe);
    free(checkpoint->source);
    free(checkpoint->folder);
    memset(checkpoint, 0, sizeof *checkpoint);
}

static const Hash *hash_of(const Checkpoint *checkpoint, const char *name) {
    for (size_t i = 0; i < checkpoint->tensors; i++)
        if (!strcmp(checkpoint->tensor[i].name, name))
            return &checkpoint->tensor[i].hash;
    return NULL;
}

/* Every tensor of a file against the header. */
static int verify_file(const Safetensors *file, const Checkpoint *checkpoint, Error *error) {
    for (size_t i = 0; i < file->count; i++) {
        Hash own = hash_bytes(file->tensors[i].data, file->tensors[i].bytes);
        const Hash *wanted = hash_of(checkpoint, file->tensors[i].name);
        if (!wanted || !hash_same(wanted, &own))
            return error_set(error, ERROR_RUN, "%s is damaged: the hash of %s does not match",
                             file->path, file->tensors[i].name);
    }
    return 0;
}

int checkpoint_verify(const Checkpoint *checkpoint, Error *error) {
    const char *const names[] = {MODEL_FILE, OPTIMIZER_FILE};
    size_t found = 0;
    int result = 0;
    for (int k = 0; k < (checkpoint->moments ? 2 : 1) && !result; k++) {
        Safetensors file;
        char *path = path_join(checkpoint->folder, names[k]);
        result = safetensors_open(&file, path, error);
        if (!result)
            result = verify_file(&file, checkpoint, error);
        found += file.count;
        safetensors_close(&file);
        free(path);
    }
    if (!result && found != checkpoint->tensors)
        result = error_set(error, ERROR_RUN, "%s is damaged: tensors are missing",
                           checkpoint->folder);
    return result;
}

int checkpoint_networks(Safetensors *file, const Checkpoint *checkpoint, Error *error) {
    char *path = path_join(checkpoint->folder, MODEL_FILE);
    int result = safetensors_open(file, path, error);
    free(path);
    if (result)
        return -1;
    size_t wanted = 0;
    for (size_t i = 0; i < checkpoint->tensors; i++)
        wanted += strncmp(checkpoint->tensor[i].name, "exp_avg", 7) != 0;
    if (file->count != wanted)
        result = error_set(error, ERROR_RUN, "%s is damaged: %zu tensors, expected %zu", file->path,
                           file->count, wanted);
    else
        result = verify_file(file, checkpoint, error);
    if (result)
        safetensors_close(file);
    return result;
}

/* One tensor from a file into its place in a flat host buffer, its hash verified. */
static int load_tensor(float *flat, const Safetensors *file, const Checkpoint *checkpoint,
                       const char *prefix, const Parameter *p, Error *error) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const TensorInfo *t = safetensors_find(file, name);
    if (!t)
        return error_set(error, ERROR_RUN, "%s: no tensor %s", file->path, name);
    bool fits = t->type == TENSOR_F32 && t->dims == p->dims;
    for (int i = 0; i < p->dims && fits; i++)
        fits = t->shape[i] == p->shape[i];
    if (!fits)
        return error_set(error, ERROR_RUN, "%s: %s has another shape than the recipe asks for",
                         file->path, name);
    Hash found = hash_bytes(t->data, t->bytes);
    const Hash *wanted = hash_of(checkpoint, name);
    if (!wanted || !hash_same(wanted, &found))
        return error_set(error, ERROR_RUN, "%s is damaged: the hash of %s does not match",
                         file->path, name);
    memcpy(flat + p->offset, t->data, t->bytes);
    return 0;
}

/* Every tensor of a table (of its encoder alone) into a flat buffer. */
static int load_buffer(float *to, const ParameterTable *table, bool encoder_only,
                       const Model *model, const Safetensors *file, const Checkpoint *checkpoint,
                       const char *prefix, Error *error) {
    bool on_host = model->device->on_host;
    int64_t count = encoder_only ? table->owner[OWNER_ENCODER].end : table->total;
    float *flat = on_host ? to : memory_new((size_t)count, sizeof *flat);
    int result = 0;
    for (size_t i = 0; i < table->count && !result; i++) {
        const Parameter *p = &table->parameters[i];
        if (!encoder_only || p->owner == OWNER_ENCODER)
            result = load_tensor(flat, file, checkpoint, prefix, p, error);
    }
    if (!result && !on_host)
        model->device->upload(to, flat, (size_t)count * sizeof *flat, model->device);
    drop_copy(model, NULL, flat);
    return result;
}

/* A moment, of which this rank keeps its own blocks. */
static int load_moment(float *own, const Model *model, const Safetensors *file,
                       const Checkpoint *checkpoint, const char *prefix, Error *error) {
    const ParameterTable *table = &model->table;
    if (shard_ranks(model->plan.shard) == 1)
        return load_buffer(own, table, false, model, file, checkpoint, prefix, error);
    float *flat = memory_new((size_t)table->total, sizeof *flat);
    int result = 0;
    for (size_t i = 0; i < table->count && !result; i++)
        result = load_tensor(flat, file, checkpoint, prefix, &table->parameters[i], error);
    if (!result)
        ranks_take_blocks(own, flat, table->total, model);
    free(flat);
    return result;
}

static int open_networks(Safetensors *file, const Checkpoint *checkpoint, Error *error) {
    char *path = path_join(checkpoint->folder, MODEL_FILE);
    int result = safetensors_open(file, path, error);
    free(path);
    return result;
}

int checkpoint_load(Model *model, const Checkpoint *checkpoint, Error *error) {
    Safetensors file = {0};
    int result = open_networks(&file, checkpoint, error);
    if (!result) {
        result = load_buffer(model->weights, &model->table, false, model, &file, checkpoint, "",
                             error) ||
                 load_buffer(model->target, &model->target_table, true, model, &file, checkpoint,
                             "target_", error);
        safetensors_close(&file);
        model_weights_changed(model);
    }
    if (result || !model->plan.training)
        return result ? -1 : 0;
    if (!checkpoint->moments)
        return error_set(error, ERROR_RUN,
                         "%s has weights but no optimiser state (it was imported): start from it "
                         "with init_from",
                         checkpoint->folder);
    char *path = path_join(checkpoint->folder, OPTIMIZER_FILE);
    result = safetensors_open(&file, path, error);
    free(path);
    if (!result) {
        result = load_moment(model->first_moment, model, &file, checkpoint, "exp_avg.", error) ||
                 load_moment(model->second_moment, model, &file, checkpoint, "exp_avg_sq.", error);
        safetensors_close(&file);
    }
    return result ? -1 : 0;
}

int checkpoint_load_extra(ExtraTensor *extra, int count, const Model *model,
                          const Checkpoint *checkpoint, Error *error) {
    Safetensors file = {0};
    if (!count)
        return 0;
    int result = open_networks(&file, checkpoint, error);
    for (int k = 0; k < count && !result; k++) {
        Parameter p = {.dims = 1, .shape = {extra[k].count}, .count = extra[k].count};
        snprintf(p.name, sizeof p.name, "%s", extra[k].name);
        float *host = memory_new((size_t)p.count, sizeof *host);
        result = load_tensor(host, &file, checkpoint, "", &p, error);
        if (!result)
            model->device->upload(extra[k].values, host, (size_t)p.count * sizeof *host,
                                  model->device);
        free(host);
    }
    safetensors_close(&file);
    return result;
}

/* A tensor of another checkpoint, if it is there in our shape; its hash must match. */
static int take_if_there(float *flat, const Safetensors *file, const Checkpoint *checkpoint,
                         const char *prefix, const Parameter *p, bool *there, Error *error) {
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const TensorInfo *t = safetensors_find(file, name);
    *there = t && t->type == TENSOR_F32 && t->dims == p->dims;
    for (int i = 0; i < p->dims && *there; i++)
        *there = t->shape[i] == p->shape[i];
    return *there ? load_tensor(flat, file, checkpoint, prefix, p, error) : 0;
}

int checkpoint_load_some(CheckpointLoaded *loaded, Model *model, const Checkpoint *checkpoint,
                         Error *error) {
    Safetensors file = {0};
    Device *device = model->device;
    const ParameterTable *tables[2] = {&model->table, &model->target_table};
    float *places[2] = {model->weights, model->target};
    *loaded = (CheckpointLoaded){0};
    int result = open_networks(&file, checkpoint, error);
    for (int k = 0; k < 2 && !result; k++) {
        int64_t count = k ? tables[k]->owner[OWNER_ENCODER].end : tables[k]->total;
        float *flat = memory_new((size_t)count, sizeof *flat);
        device->download(flat, places[k], (size_t)count * sizeof *flat, device);
        for (size_t i = 0; i < tables[k]->count && !result; i++) {
            const Parameter *p = &tables[k]->parameters[i];
            bool there = false;
            if (k && p->owner != OWNER_ENCODER)
                continue;
            result = take_if_there(flat, &file, checkpoint, k ? "target_" : "", p, &there, error);
            if (k && !there && !result) /* no target of its own: the encoder is it */
                result = take_if_there(flat, &file, checkpoint, "", p, &there, error);
            loaded->wanted += !k;
            loaded->found += !k && there;
            if (!k && !there && !loaded->first_missing[0])
                snprintf(loaded->first_missing, sizeof loaded->first_missing, "%s", p->name);
        }
        if (!result)
            device->upload(places[k], flat, (size_t)count * sizeof *flat, device);
        free(flat);
    }
    safetensors_close(&file);
    model_weights_changed(model);
    if (!result && !loaded->found)
        return error_set(error, ERROR_RUN,
                         "%s: not one of its tensors has the name and shape that the recipe asks "
                         "for (the first: %s): set model.model_name and the other sizes to its own "
                         "(jepa inspect shows them)",
                         checkpoint->folder, loaded->first_missing);
    return result;
}

int checkpoint_load_teacher(Model *model, const Checkpoint *checkpoint, Error *error) {
    Safetensors file = {0};
    int result = open_networks(&file, checkpoint, error);
    if (!result) {
        bool own = safetensors_find(&file, "target_encoder.patch_embed.proj.weight") != NULL;
        result = load_buffer(model->target, &model->target_table, true, model, &file, checkpoint,
                             own ? "target_" : "", error);
        safetensors_close(&file);
        model_weights_changed(model);
    }
    return result;
}
