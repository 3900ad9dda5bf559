/* jepa export: a checkpoint's networks for other programs.
 *
 * Everything is verified before anything is written; a file or folder gets its name only once it is
 * whole. */
#include "jepa/export.h"
#include "base/file.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL     17 /* columns before a line's value */
#define NOTES_MAX 40

typedef struct ExportArguments {
    const char *format, *network, *out;
} ExportArguments;

typedef struct Source {
    Checkpoint checkpoint;
    Recipe recipe;
    ModelConfig config;
    Safetensors networks;
} Source;

static void source_close(Source *s) {
    safetensors_close(&s->networks);
    recipe_free(&s->recipe);
    checkpoint_close(&s->checkpoint);
}

/* On failure too there is something to close. */
static int source_open(Source *s, const char *path, Error *error) {
    memset(s, 0, sizeof *s);
    recipe_default(&s->recipe);
    if (checkpoint_open(&s->checkpoint, path, error) ||
        recipe_parse(&s->recipe, s->checkpoint.recipe, "the checkpoint's recipe", error) ||
        recipe_check(&s->recipe, error))
        return -1;
    s->config = recipe_model(&s->recipe);
    return 0;
}

/* ---- what goes with the published names ---- */

typedef struct Notes {
    TensorNote notes[NOTES_MAX];
    size_t count;
} Notes;

static void note(Notes *n, const char *key, char *value) {
    JEPA_ASSERT(n->count < NOTES_MAX);
    n->notes[n->count++] = (TensorNote){(char *)key, value};
}

static void note_number(Notes *n, const char *key, int64_t value) {
    note(n, key, memory_text("%" PRId64, value));
}

static void note_hash(Notes *n, const char *key, const Hash *hash) {
    char text[HASH_TEXT];
    hash_text(text, hash);
    note(n, key, memory_text("%s", text));
}

static void notes_free(Notes *n) {
    for (size_t i = 0; i < n->count; i++)
        free(n->notes[i].value);
}

/* Nothing of the machine: no paths, no clock, so that equal checkpoints give equal files. */
static void describe(Notes *n, const Source *s, const ExportArguments *a) {
    const ModelConfig *c = &s->config;
    bool target = a->network && !strcmp(a->network, "target");
    EncoderConfig e = target ? config_teacher(c) : config_encoder(c);
    Hash recipe = hash_bytes(s->checkpoint.recipe, strlen(s->checkpoint.recipe));
    note(n, "format", memory_text("pt"));
    note(n, "program", memory_text("jepa.c %s", JEPA_VERSION));
    note(n, "network", memory_text("%s", a->network ? a->network : "all"));
    note(n, "family", memory_text("%s", config_family(c)));
    note(n, "positions", memory_text("%s", config_positions(&e)));
    note(n, "mlp", memory_text("%s", e.swiglu ? "swiglu" : "gelu"));
    note_number(n, "embed_dim", e.dim);
    note_number(n, "depth", e.depth);
    note_number(n, "num_heads", e.heads);
    note_number(n, "mlp_dim", e.hidden);
    if (c->objective == OBJECTIVE_JEPA && !a->network) {
        note_number(n, "pred_embed_dim", c->pred_dim);
        note_number(n, "pred_depth", c->pred_depth);
        note_number(n, "pred_num_heads", c->pred_heads);
        note_number(n, "pred_mlp_dim", c->pred_hidden);
        note_number(n, "num_mask_tokens", c->mask_tokens);
    }
    note_number(n, "num_frames", c->frames);
    note_number(n, "crop_height", c->height);
    note_number(n, "crop_width", c->width);
    note_number(n, "tubelet_size", c->tubelet);
    note_number(n, "patch_size", c->patch);
    note_number(n, "step", s->checkpoint.step);
    note_number(n, "updates", s->checkpoint.updates);
    note_hash(n, "recipe_blake2b", &recipe);
    note_hash(n, "checkpoint_blake2b", &s->checkpoint.hash);
    if (s->checkpoint.source && *s->checkpoint.source)
        note(n, "imported_from", memory_text("%s", s->checkpoint.source));
}

/* ---- writing ---- */

static void print_written(const Source *s, const ExportList *list, const char *out) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->count; i++)
        bytes += list->tensors[i].bytes;
    printf("%-*s%s, every hash verified\n", LABEL, "checkpoint", s->checkpoint.folder);
    printf("%-*s%s, %zu tensors, %" PRIu64 " bytes\n", LABEL, "written", out, list->count, bytes);
}

static ExportNetwork network_of(const ExportArguments *a) {
    return !a->network                     ? EXPORT_ALL
           : !strcmp(a->network, "target") ? EXPORT_TARGET
                                           : EXPORT_ENCODER;
}

static int write_published(const Source *s, const ExportArguments *a, Error *error) {
    ExportList list;
    Notes notes = {0};
    if (export_published(&list, &s->networks, network_of(a), error))
        return -1;
    describe(&notes, s, a);
    int result = safetensors_write_noted(a->out, list.tensors, list.count, notes.notes, notes.count,
                                         NULL, error);
    if (!result)
        print_written(s, &list, a->out);
    notes_free(&notes);
    export_free(&list);
    return result;
}

static int write_hf(const Source *s, const ExportArguments *a, Error *error) {
    const ModelConfig *c = &s->config;
    ExportList list;
    char *out = path_trim(a->out);
    int result = export_hf(&list, &s->networks, c, network_of(a), error);
    if (!result) {
        char *partial = folder_begin(out, error);
        if (!partial)
            result = -1;
        else
            result = folder_end(
                partial, out, export_hf_write(partial, &list, c, EXPORT_SHARD_BYTES, error), error);
        if (!result) {
            print_written(s, &list, out);
            printf("%-*s%s encoder and predictor, as transformers' VJEPA2Model reads them\n", LABEL,
                   "network", network_of(a) == EXPORT_ENCODER ? "context" : "target");
            /* its predictor takes token 1 modulo their number unless told otherwise */
            if (1 % c->mask_tokens >= c->used_mask_tokens)
                printf("%-*stransformers predicts with mask token 1 of %d, which this recipe does "
                       "not train (it trains %d)\n",
                       LABEL, "note", c->mask_tokens, c->used_mask_tokens);
        }
        export_free(&list);
    }
    free(out);
    return result;
}

static int check_arguments(const ExportArguments *a, const TextList *rest, Error *error) {
    if (rest->count != 1)
        return error_set(error, ERROR_USAGE, "expected one checkpoint: a run or its step-N folder");
    if (!a->format || (strcmp(a->format, "safetensors") && strcmp(a->format, "hf")))
        return error_set(error, ERROR_USAGE, "--format%s%s: expected safetensors or hf",
                         a->format ? " " : " is missing", a->format ? a->format : "");
    if (a->network && strcmp(a->network, "encoder") && strcmp(a->network, "target"))
        return error_set(error, ERROR_USAGE, "--network %s: expected encoder or target",
                         a->network);
    if (!a->out || !*a->out)
        return error_set(error, ERROR_USAGE,
                         "--out is missing: a file (safetensors) or folder "
                         "(hf)");
    if (file_exists(a->out) || folder_exists(a->out))
        return error_set(error, ERROR_USAGE, "%s is there already: give another name", a->out);
    return 0;
}

static int export(const char *path, const ExportArguments *a, Error *error) {
    Source source;
    bool hf = !strcmp(a->format, "hf");
    int result = source_open(&source, path, error);
    if (!result && hf)
        result = export_hf_check(&source.config, error);
    if (!result)
        result = checkpoint_networks(&source.networks, &source.checkpoint, error);
    if (!result)
        result = hf ? write_hf(&source, a, error) : write_published(&source, a, error);
    source_close(&source);
    return result;
}

int command_export(int argc, char **argv) {
    const CommandHelp help = {
        "jepa export CHECKPOINT --format safetensors|hf --out PATH",
        "Writes the networks of a checkpoint (a run, whose newest is taken, or a step-N folder) "
        "for "
        "other programs, bit for bit. safetensors: one file under the published names. hf: a "
        "folder "
        "that transformers' VJEPA2Model.from_pretrained loads; V-JEPA 2 only."};
    ExportArguments a = {0};
    const Option options[] = {
        {"format", "WHICH", "safetensors or hf", OPTION_TEXT, &a.format},
        {"network", "WHICH",
         "encoder or target. safetensors: this one alone, without a prefix (default: all); hf: "
         "which encoder (default: target, as published evaluations use)",
         OPTION_TEXT, &a.network},
        {"out", "PATH", "the file or folder, which must not exist", OPTION_TEXT, &a.out},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && !check_arguments(&a, &rest, &error))
        export(rest.items[0], &a, &error);
    if (error.code)
        fprintf(stderr, "jepa export: %s\n", error.text);
    free(rest.items);
    return error.code;
}
