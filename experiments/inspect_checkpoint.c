/* jepa inspect: a checkpoint or a file of tensors, summed up for a person. */
#include "experiments/inspect_checkpoint.h"
#include "base/file.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "jepa/recognise.h"
#include "jepa/run.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LABEL      17 /* columns before a line's value */
#define NAME       44 /* columns of a tensor's name */
#define TARGET     "target_"
#define GROUPS_MAX 64 /* networks told apart in a file of tensors */

static const char *const files[] = {"checkpoint.msgpack", "model.safetensors",
                                    "optimizer.safetensors"}; /* jepa/checkpoint.h */
#define FILES (sizeof files / sizeof *files)

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static bool has(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

bool inspect_is_checkpoint(const char *path) {
    if (file_exists(path))
        return ends_with(path, ".safetensors");
    if (!folder_exists(path))
        return false;
    bool found = has(path, files[0]) || (run_exists(path) && has(path, "videos.index"));
    int64_t *steps = NULL;
    size_t count = 0;
    if (!found && !checkpoint_list(&steps, &count, path, NULL)) /* an import has steps alone */
        for (size_t i = 0; i < count && !found; i++) {
            char *step = memory_text("%s/step-%" PRId64, path, steps[i]);
            found = has(step, files[0]);
            free(step);
        }
    free(steps);
    return found;
}

/* Text from a file, without what a terminal would obey. */
static void print_plain(const char *text) {
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void print_hash(const char *label, const Hash *hash) {
    char text[HASH_TEXT];
    hash_text(text, hash);
    printf("%-*sBLAKE2b-256 %s\n", LABEL, label, text);
}

/* ---- tensors ---- */

typedef struct Statistics {
    double min, mean, max, std;
    size_t bad; /* values that are not finite; the others count above */
} Statistics;

/* Two passes, so that a small spread around a large mean keeps its digits. */
static Statistics statistics(const TensorInfo *t) {
    enum { CHUNK = 4096 };
    float chunk[CHUNK];
    Statistics s = {.min = INFINITY, .max = -INFINITY};
    size_t size = tensor_type_bytes(t->type), count = t->bytes / size;
    double sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < count; at += CHUNK) {
            size_t now = count - at < CHUNK ? count - at : CHUNK;
            tensor_type_floats(chunk, (const char *)t->data + at * size, now, t->type);
            for (size_t i = 0; i < now; i++) {
                if (!isfinite(chunk[i])) {
                    s.bad += !pass;
                } else if (!pass) {
                    sum += chunk[i];
                    s.min = fmin(s.min, (double)chunk[i]);
                    s.max = fmax(s.max, (double)chunk[i]);
                } else {
                    squares += (chunk[i] - s.mean) * (chunk[i] - s.mean);
                }
            }
        }
        s.mean = sum / (double)(count - s.bad);
    }
    s.std = sqrt(squares / (double)(count - s.bad));
    return s;
}

static void print_tensor(const TensorInfo *t) {
    char shape[32 * TENSOR_DIMS] = "[", text[HASH_TEXT];
    for (int d = 0; d < t->dims; d++)
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%" PRId64, d ? "," : "",
                 t->shape[d]);
    Hash hash = hash_bytes(t->data, t->bytes);
    hash_text(text, &hash);
    print_plain(t->name);
    printf("%*s %-5s %-18s", (int)(strlen(t->name) < NAME ? NAME - strlen(t->name) : 0), "",
           tensor_type_name(t->type), strcat(shape, "]"));
    if (tensor_type_is_float(t->type) && t->bytes) {
        Statistics s = statistics(t);
        printf(" %11.4g %11.4g %11.4g %11.4g", s.min, s.mean, s.max, s.std);
        if (s.bad)
            printf(" (%zu NOT FINITE)", s.bad);
    } else {
        printf(" %11s %11s %11s %11s", "-", "-", "-", "-");
    }
    printf(" %s\n", text);
}

static void print_tensors(const Safetensors *file) {
    printf("\n%-*s %-5s %-18s %11s %11s %11s %11s %s\n", NAME, path_name(file->path), "dtype",
           "shape", "min", "mean", "max", "std", "BLAKE2b-256");
    for (size_t i = 0; i < file->count; i++)
        print_tensor(&file->tensors[i]);
}

/* ---- networks ---- */

static int64_t parameters_of(const ParameterTable *table, ParameterOwner owner) {
    int64_t count = 0;
    for (size_t i = 0; i < table->count; i++)
        count += table->parameters[i].owner == owner ? table->parameters[i].count : 0;
    return count;
}

static void print_encoder(const char *label, const EncoderConfig *e, int64_t parameters) {
    printf("%-*s%d blocks of %d channels, %d heads, MLP %d%s%s: %" PRId64 " parameters", LABEL,
           label, e->depth, e->dim, e->heads, e->hidden, e->swiglu ? " (SwiGLU)" : "",
           e->norms > 1 ? ", four norms" : "", parameters);
}

static const Hash *hash_of(const Checkpoint *c, const char *prefix, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (size_t i = 0; i < c->tensors; i++)
        if (!strcmp(c->tensor[i].name, full))
            return &c->tensor[i].hash;
    return NULL;
}

/* |target - encoder| / |encoder| over all values, Euclidean; negative: not to be had. */
static double distance(const Safetensors *networks, const ParameterTable *table) {
    double apart = 0, size = 0;
    for (size_t i = 0; i < table->count; i++) {
        char name[96];
        if (table->parameters[i].owner != OWNER_ENCODER)
            continue;
        snprintf(name, sizeof name, "%s%s", TARGET, table->parameters[i].name);
        const TensorInfo *e = safetensors_find(networks, table->parameters[i].name),
                         *t = safetensors_find(networks, name);
        if (!e || !t || e->type != TENSOR_F32 || t->type != TENSOR_F32 || e->bytes != t->bytes)
            return -1;
        for (size_t at = 0; at < e->bytes; at += sizeof(float)) {
            float x, y;
            memcpy(&x, (const char *)e->data + at, sizeof x);
            memcpy(&y, (const char *)t->data + at, sizeof y);
            apart += ((double)y - x) * ((double)y - x);
            size += (double)x * x;
        }
    }
    return size > 0 ? sqrt(apart / size) : -1;
}

static void print_target(const Checkpoint *c, const ModelConfig *config,
                         const ParameterTable *table, const Safetensors *networks) {
    ParameterTable teacher;
    EncoderConfig e = config_teacher(config);
    parameter_table_teacher(&teacher, config);
    bool alike = parameters_of(&teacher, OWNER_ENCODER) == parameters_of(table, OWNER_ENCODER);
    bool same = alike;
    for (size_t i = 0; i < table->count && same; i++)
        if (table->parameters[i].owner == OWNER_ENCODER) {
            const char *name = table->parameters[i].name;
            const Hash *own = hash_of(c, "", name), *other = hash_of(c, TARGET, name);
            same = own && other && hash_same(own, other);
        }
    print_encoder("target encoder", &e, parameters_of(&teacher, OWNER_ENCODER));
    double apart = same || !alike ? -1 : distance(networks, table);
    if (config->frozen)
        printf(", frozen");
    if (same)
        printf("; equal to the encoder, bit for bit");
    else if (apart >= 0)
        printf("; differs from the encoder by %.3g of its norm", apart);
    else
        printf(alike ? "; differs from the encoder" : "; other sizes than the encoder's");
    printf("\n");
    parameter_table_free(&teacher);
}

static void print_model(const Checkpoint *c, const Recipe *recipe, const Safetensors *networks) {
    ModelConfig config = recipe_model(recipe);
    const ModelConfig *m = &config;
    EncoderConfig e = config_encoder(m);
    MaskGrid grid = config_grid(m);
    ParameterTable table;
    parameter_table_new(&table, m);
    printf("%-*s%s", LABEL, "family", config_family(m));
    if (recipe->model.model_name) {
        printf(", ");
        print_plain(recipe->model.model_name);
    }
    printf("\n%-*s%d frame%s of %d x %d, patches %d x %d x %d: %d x %d x %d = %d tokens\n", LABEL,
           "input", m->frames, m->frames > 1 ? "s" : "", m->height, m->width, m->tubelet, m->patch,
           m->patch, grid.time, grid.height, grid.width, mask_grid_tokens(grid));
    printf("%-*s%s\n", LABEL, "positions", config_positions(&e));
    print_encoder("encoder", &e, parameters_of(&table, OWNER_ENCODER));
    printf("%s%s%s\n", m->class_token ? ", class token" : "", m->causal ? ", causal" : "",
           m->modality ? ", modality embeddings" : "");
    print_target(c, m, &table, networks);
    int64_t second = parameters_of(&table, OWNER_PREDICTOR);
    if (m->objective == OBJECTIVE_SIGREG)
        printf("%-*s%d -> %d -> %d: %" PRId64 " parameters\n", LABEL, "projector", m->dim,
               m->projector_hidden, m->projector_out, second);
    else
        printf("%-*s%d blocks of %d channels, %d heads, MLP %d%s, %d mask token%s (%d used): "
               "%" PRId64 " parameters\n",
               LABEL, "predictor", m->pred_depth, m->pred_dim, m->pred_heads, m->pred_hidden,
               m->pred_swiglu ? " (SwiGLU)" : "", m->mask_tokens, m->mask_tokens > 1 ? "s" : "",
               m->used_mask_tokens, second);
    parameter_table_free(&table);
}

/* ---- the recipe ---- */

static void print_data(const Recipe *r) {
    printf("%-*s", LABEL, "data");
    for (int i = 0; i < r->data.datasets_count; i++) {
        printf("%s", i ? ", " : "");
        print_plain(r->data.datasets[i]);
    }
    printf("; %d group%s of %d videos, %d clip%s of each; ", recipe_groups(r),
           recipe_groups(r) > 1 ? "s" : "", r->data.batch_size, r->data.num_clips,
           r->data.num_clips > 1 ? "s" : "");
    if (r->data.fps > 0)
        printf("%g frames a second", r->data.fps);
    else if (r->data.clip_duration > 0)
        printf("over %g s", r->data.clip_duration);
    else
        printf("frame step %d", r->data.sampling_rate);
    if (recipe_image_groups(r))
        printf("; %d group%s of %d pictures", recipe_image_groups(r),
               recipe_image_groups(r) > 1 ? "s" : "", r->img_data.batch_size);
    printf("\n");
}

static void print_optimisation(const Recipe *r) {
    double clip = recipe_clip_grad(r);
    printf("%-*slr %g -> %g -> %g, warm-up %g of %g epochs", LABEL, "optimisation",
           r->optimization.start_lr, r->optimization.lr, r->optimization.final_lr,
           r->optimization.warmup, r->optimization.epochs);
    if (r->optimization.ipe)
        printf(" of %" PRId64 " steps", r->optimization.ipe);
    printf("; decay %g -> %g; ", r->optimization.weight_decay, r->optimization.final_weight_decay);
    if (r->objective == OBJECTIVE_JEPA && !recipe_teacher(r))
        printf("EMA %g -> %g; ", r->optimization.ema[0], r->optimization.ema[1]);
    if (clip > 0)
        printf("clipped at %g; ", clip);
    printf("seed %" PRId64 "%s\n", r->meta.seed, r->optimization.is_anneal ? "; cooldown" : "");
}

static void print_recipe(const Checkpoint *c, const Recipe *r) {
    bool imported = c->source && *c->source;
    Hash recipe = hash_bytes(c->recipe, strlen(c->recipe)), none = {{0}};
    printf("%-*s%" PRId64 "; %" PRId64 " updates of the optimiser, %" PRId64 " slots drawn again\n",
           LABEL, "step", c->step, c->updates, c->replaced);
    if (c->health.branch)
        printf("%-*s%" PRId64 ", after as many rewinds; learning rate times %g\n", LABEL, "branch",
               c->health.branch, c->health.lr_scale);
    if (c->health.best_by && c->health.best_step == c->step)
        printf("%-*sby %s, %.4g\n", LABEL, "best so far", keep_best_name(c->health.best_by),
               c->health.best);
    printf("%-*s%s", LABEL, "source", imported ? "imported from " : "trained here");
    print_plain(imported ? c->source : "");
    if (r->init_from) {
        printf(", beginning with the weights of ");
        print_plain(r->init_from);
    }
    printf("\n");
    if (r->target) {
        printf("%-*s", LABEL, "targets");
        print_plain(r->target);
        printf("\n");
    }
    if (r->data.datasets_count) { /* an import's recipe says what the networks are, no more */
        print_data(r);
        print_optimisation(r);
    }
    print_hash("recipe", &recipe);
    if (hash_same(&c->index, &none))
        printf("%-*snone: it was not trained here\n", LABEL, "index");
    else
        print_hash("index", &c->index);
}

/* ---- files ---- */

static int64_t file_size(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    struct stat about;
    int64_t size = stat(path, &about) ? -1 : (int64_t)about.st_size;
    free(path);
    return size;
}

static void print_files(const Checkpoint *c) {
    int64_t total = 0;
    printf("%-*s%s\n", LABEL, "optimiser",
           c->moments ? "both moments of every parameter"
                      : "none: a run can begin with these weights (init_from), not go on");
    for (size_t k = 0; k < FILES; k++)
        total += file_size(c->folder, files[k]) > 0 ? file_size(c->folder, files[k]) : 0;
    printf("%-*s%" PRId64 " bytes (", LABEL, "size", total);
    for (size_t k = 0, shown = 0; k < FILES; k++)
        if (file_size(c->folder, files[k]) >= 0)
            printf("%s%s %" PRId64, shown++ ? ", " : "", files[k], file_size(c->folder, files[k]));
    printf(")\n");
}

/* The rows of both files; of one that cannot be opened, none: its reason comes from verifying. */
static void print_all_tensors(const Checkpoint *c) {
    for (size_t k = 1; k < (c->moments ? FILES : FILES - 1); k++) {
        Safetensors file;
        char *path = path_join(c->folder, files[k]);
        if (!safetensors_open(&file, path, NULL))
            print_tensors(&file);
        safetensors_close(&file);
        free(path);
    }
}

static int inspect_folder(const char *path, bool tensors, bool whole, Error *error) {
    Checkpoint c;
    Recipe recipe;
    Safetensors networks;
    if (checkpoint_open(&c, path, error))
        return -1;
    recipe_default(&recipe);
    printf("%-*s%s\n", LABEL, "checkpoint", c.folder);
    int result = recipe_parse(&recipe, c.recipe, "the checkpoint's recipe", error);
    if (!result)
        result = recipe_check(&recipe, error);
    if (!result) {
        char *file = path_join(c.folder, files[1]);
        if (safetensors_open(&networks, file, NULL))
            memset(&networks, 0, sizeof networks);
        free(file);
        print_model(&c, &recipe, &networks);
        safetensors_close(&networks);
        print_recipe(&c, &recipe);
        print_files(&c);
        print_hash("header", &c.hash);
        fflush(stdout);
        result = checkpoint_verify(&c, error);
        printf("%-*s%s", LABEL, "hashes", result ? "DAMAGED\n" : "");
        if (!result)
            printf("the header and all %zu tensors are as they were written\n", c.tensors);
        if (tensors)
            print_all_tensors(&c);
        if (whole)
            printf("\n%s", c.recipe);
    }
    recipe_free(&recipe);
    checkpoint_close(&c);
    return result;
}

/* ---- a file of tensors ---- */

typedef struct Group {
    const char *name; /* beginning of a tensor's name, `length` bytes */
    size_t length, tensors;
    uint64_t values;
} Group;

/* How many tensors and values there are by the first part of their names. */
static void print_groups(const Safetensors *file) {
    Group groups[GROUPS_MAX];
    size_t count = 0, others = 0;
    for (size_t i = 0; i < file->count; i++) {
        const TensorInfo *t = &file->tensors[i];
        size_t length = strcspn(t->name, "."), k = 0;
        while (k < count &&
               (groups[k].length != length || strncmp(groups[k].name, t->name, length)))
            k++;
        if (k == GROUPS_MAX) {
            others++;
            continue;
        }
        if (k == count)
            groups[count++] = (Group){.name = t->name, .length = length};
        groups[k].tensors++;
        groups[k].values += t->bytes / tensor_type_bytes(t->type);
    }
    for (size_t k = 0; k < count; k++) {
        char *name = memory_text("%.*s", (int)groups[k].length, groups[k].name);
        print_plain(name);
        printf("%*s %zu tensors, %" PRIu64 " values\n",
               (int)(strlen(name) < LABEL - 1 ? LABEL - 1 - strlen(name) : 0), "",
               groups[k].tensors, groups[k].values);
        free(name);
    }
    if (others)
        printf("%-*s%zu tensors\n", LABEL, "others", others);
}

/* A size from the notes of jepa export, 0 if there is none. */
static int noted(const Safetensors *file, const char *key, int most) {
    const char *text = safetensors_note(file, key);
    long value = text && strspn(text, "0123456789") < 7 ? strtol(text, NULL, 10) : 0;
    return value > 0 && value <= most ? (int)value : 0;
}

static void print_recognised(const char *path, const Safetensors *tensors) {
    WeightsFile file;
    Recognised r;
    Error error = {0};
    RecogniseOptions options = {.heads = noted(tensors, "num_heads", 128),
                                .pred_heads = noted(tensors, "pred_num_heads", 128),
                                .frames = noted(tensors, "num_frames", 256),
                                .crop = noted(tensors, "crop_height", 1024)};
    if (weights_file_open(&file, path, &error)) {
        printf("%-*snone known (%s)\n", LABEL, "family", error.text);
        return;
    }
    if (recognise(&r, &file, &options, &error)) {
        printf("%-*snot sure (%s)\n", LABEL, "family", error.text);
    } else {
        if (r.family) {
            EncoderConfig e = config_encoder(&r.config);
            printf("%-*s%s: %d blocks of %d channels, %d heads; positions %s\n", LABEL, "family",
                   r.family, e.depth, e.dim, e.heads, config_positions(&e));
        } else {
            printf("%-*snone known; %d probes\n", LABEL, "family", r.probes);
        }
        recognised_free(&r);
    }
    weights_file_close(&file);
}

static int inspect_file(const char *path, bool tensors, Error *error) {
    Safetensors file;
    Hash hash;
    if (safetensors_open(&file, path, error))
        return -1;
    printf("%-*s", LABEL, "file");
    print_plain(path);
    printf("\n");
    print_recognised(path, &file);
    print_groups(&file);
    for (size_t i = 0; i < file.notes_count; i++) {
        printf("%-*s", LABEL, i ? "" : "notes");
        print_plain(file.notes[i].key);
        printf(": ");
        print_plain(file.notes[i].value);
        printf("\n");
    }
    int result = hash_file(&hash, path, error);
    if (!result) {
        printf("%-*s%zu bytes\n", LABEL, "size", file.map_bytes);
        print_hash("file hash", &hash);
        printf("%-*snone in the file to verify; lengths and offsets are sound\n", LABEL, "hashes");
        if (tensors)
            print_tensors(&file);
    }
    safetensors_close(&file);
    return result;
}

int inspect_checkpoint(const char *path, bool tensors, bool recipe, Error *error) {
    if (folder_exists(path))
        return inspect_folder(path, tensors, recipe, error);
    if (recipe)
        return error_set(error, ERROR_USAGE,
                         "--whole-recipe: %s is a file of tensors and holds no recipe", path);
    return inspect_file(path, tensors, error);
}
