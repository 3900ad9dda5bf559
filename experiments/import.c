/* jepa import: weights of the published programs as a checkpoint of this one. */
#include "base/file.h"
#include "eval/probe_weights.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "jepa/checkpoint.h"
#include "jepa/recognise.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LABEL 17 /* columns before a line's value */

typedef struct ImportArguments {
    const char *out, *network, *name, *positions;
    int64_t heads, pred_heads, frames, crop;
    bool allow_nonfinite;
} ImportArguments;

/* ---- what a person reads ---- */

static void print_network(const char *label, int dim, int depth, int heads, int hidden, bool swiglu,
                          const char *from) {
    printf("%-*s%d channels, %d blocks, %d heads%s%s%s, MLP %d%s", LABEL, label, dim, depth, heads,
           from ? " (" : "", from ? from : "", from ? ")" : "", hidden, swiglu ? " (SwiGLU)" : "");
}

static void print_positions(const Recognised *r) {
    const ModelConfig *c = &r->config;
    printf("%-*s", LABEL, "positions");
    if (c->positions == POSITIONS_SINCOS)
        printf("sine-cosine%s", c->plane ? " of rows and columns" : "");
    else
        printf("rotary, %s%s", c->positions == POSITIONS_ROPE_TILED ? "tiled" : "standard",
               c->rope_side ? ", rescaled to the trained grid" : "");
    if (!r->table)
        printf("%s\n",
               c->positions == POSITIONS_SINCOS ? "; no table in the file, ours is used" : "");
    else if (r->table_difference > RECOGNISED_TABLE_LIMIT ||
             r->predictor_table_difference > RECOGNISED_TABLE_LIMIT)
        printf("; THE TABLE IN THE FILE DIFFERS from ours by up to %.3g and is not used\n",
               r->table_difference > r->predictor_table_difference ? r->table_difference
                                                                   : r->predictor_table_difference);
    else
        printf("; the table in the file is ours (up to %.1e)\n", r->table_difference);
}

static void print_recognised(const Recognised *r, const ImportArguments *a) {
    const ModelConfig *c = &r->config;
    const char *name = r->recipe.model.model_name;
    printf("%-*s%s%s%s\n", LABEL, "family", r->family, name ? ", " : "", name ? name : "");
    print_network("encoder", c->dim, c->depth, c->heads, c->hidden, c->swiglu, r->heads_from);
    printf(", patches %d x %d x %d%s%s%s\n", c->tubelet, c->patch, c->patch,
           c->norms > 1 ? ", four norms" : "", c->modality ? ", modality embeddings" : "",
           c->image_patches ? ", patches of pictures" : "");
    print_positions(r);
    printf("%-*s%d frame%s of %d x %d (%s)\n", LABEL, "input", c->frames, c->frames > 1 ? "s" : "",
           c->width, c->height, r->input_from);
    if (c->objective == OBJECTIVE_JEPA && r->predictor) {
        print_network("predictor", c->pred_dim, c->pred_depth, c->pred_heads, c->pred_hidden,
                      c->pred_swiglu, NULL);
        printf(", %d mask token%s%s\n", c->mask_tokens, c->mask_tokens > 1 ? "s" : "",
               c->context_loss ? ", context projection" : "");
    }
    printf("%-*s%s%s%s%s\n", LABEL, "networks", r->encoder ? "encoder " : "",
           r->target ? "target_encoder " : "", r->predictor ? "predictor " : "",
           r->projector ? "projector" : "");
    if (!r->encoder)
        printf("%-*sencoder: it starts as the target encoder%s\n", LABEL, "missing",
               a->network ? " (--network target)" : "");
    if (!r->target)
        printf("%-*starget_encoder: it starts as the encoder%s\n", LABEL, "missing",
               a->network ? " (--network encoder)" : "");
    if (c->objective == OBJECTIVE_JEPA && !r->predictor)
        printf("%-*spredictor%s%s: it stays at its initial values (seed %" PRId64 ")\n", LABEL,
               "missing", r->without[0] ? ", for " : "", r->without, r->recipe.meta.seed);
    if (c->objective == OBJECTIVE_SIGREG && !r->projector)
        printf("%-*sprojector: it stays at its initial values (seed %" PRId64 ")\n", LABEL,
               "missing", r->recipe.meta.seed);
}

/* Names from a file, without what a terminal would obey. */
static void print_plain(const char *name) {
    for (; *name; name++)
        putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void print_unused(const WeightsFile *file) {
    size_t values = 0;
    for (size_t i = 0; i < file->unused_count; i++) {
        const WeightsUnused *u = &file->unused[i];
        values += u->tensors ? 0 : u->numbers;
        if (!u->tensors)
            continue;
        printf("%-*s", LABEL, "not used");
        print_plain(u->kind);
        printf(": %zu tensor%s", u->tensors, u->tensors > 1 ? "s" : "");
        if (u->numbers)
            printf(", %zu value%s", u->numbers, u->numbers > 1 ? "s" : "");
        printf(" (");
        print_plain(u->first);
        printf("%s)\n", u->tensors + u->numbers > 1 ? ", ..." : "");
    }
    if (!values)
        return;
    printf("%-*s%zu value%s (", LABEL, "not used", values, values > 1 ? "s" : "");
    bool first = true;
    for (size_t i = 0; i < file->unused_count; i++) {
        if (file->unused[i].tensors)
            continue;
        printf("%s", first ? "" : ", ");
        print_plain(file->unused[i].kind);
        first = false;
    }
    printf(")\n");
}

/* ---- the weights ---- */

/* A model for its weights alone: its input is one patch, so that hardly any activations are
 * planned. No parameter's shape depends on the input's size. */
static ModelPlan smallest_plan(const ModelConfig *config) {
    ModelPlan plan = {.config = *config, .samples = 1};
    ModelConfig *c = &plan.config;
    c->frames = c->trained_frames = c->tubelet;
    c->height = c->width = c->trained_height = c->trained_width = c->patch;
    return plan;
}

static int write_checkpoint(const Recognised *r, const WeightsFile *file, const char *source,
                            const ImportArguments *a, Error *error) {
    Device *device;
    Model model;
    ModelPlan plan = smallest_plan(&r->config);
    if (device_open(&device, "cpu", 1, error))
        return -1;
    if (model_new(&model, &plan, device, error)) {
        device_close(device);
        return -1;
    }
    if (!r->predictor && !r->projector) /* all else is overwritten */
        model_init(&model, (uint64_t)r->recipe.meta.seed);
    int result = recognised_load(&model, r, file, a->allow_nonfinite, error);
    if (!result) {
        char *text = recipe_text(&r->recipe);
        CheckpointState state = {.model = &model, .recipe = text, .source = source, .bare = true};
        result = checkpoint_save(a->out, &state, 2, error);
        free(text);
        if (result)
            rmdir(a->out); /* only if it is empty */
        else
            printf("%-*s%s/step-0\n", LABEL, "checkpoint", a->out);
    }
    model_free(&model);
    device_close(device);
    return result;
}

/* ---- probes ---- */

/* All of them are read before the first is written. */
static int write_probes(const Recognised *r, const WeightsFile *file, const char *source,
                        const ImportArguments *a, Error *error) {
    ProbeWeights *probes = memory_new((size_t)r->probes, sizeof *probes);
    bool alone = !r->family && r->probes == 1;
    int result = 0, heads = r->family ? 0 : (int)a->heads, written = 0;
    for (int i = 0; i < r->probes && !result; i++) {
        result = probe_weights_take(&probes[i], file, i, heads, a->allow_nonfinite, error);
        if (!result)
            probes[i].source = memory_text("%s", source);
    }
    for (; written < r->probes && !result; written += !result) {
        const ProbeWeights *p = &probes[written];
        char *folder = alone ? memory_text("%s", a->out)
                             : memory_text("%s/probe-%d", a->out, written);
        result = probe_weights_save(folder, p, error);
        if (!result)
            printf("%-*s%s: attentive, %d block%s of %d channels, %d heads, %d classes\n", LABEL,
                   "probe", folder, p->depth, p->depth > 1 ? "s" : "", p->width, p->heads,
                   p->classes);
        free(folder);
    }
    for (int i = 0; result && !alone && i < written; i++) {
        char *folder = memory_text("%s/probe-%d", a->out, i);
        folder_remove(folder, NULL);
        free(folder);
    }
    if (result)
        rmdir(a->out);
    for (int i = 0; i < r->probes; i++)
        probe_weights_free(&probes[i]);
    free(probes);
    return result;
}

static int import(const char *path, const ImportArguments *a, Error *error) {
    WeightsFile file;
    Recognised r;
    Hash hash;
    RecogniseOptions options = {.heads = (int)a->heads,
                                .pred_heads = (int)a->pred_heads,
                                .frames = (int)a->frames,
                                .crop = (int)a->crop,
                                .name = a->name,
                                .positions = a->positions,
                                .network = a->network ? a->network[0] : 0};
    if (weights_file_open(&file, path, error))
        return -1;
    if (recognise(&r, &file, &options, error)) {
        weights_file_close(&file);
        return -1;
    }
    printf("%-*s", LABEL, "file");
    print_plain(file.path);
    printf(", %s\n", file.format);
    if (r.family)
        print_recognised(&r, a);
    print_unused(&file);
    int result = weights_file_hash(&hash, &file, error);
    if (!result) {
        char text[HASH_TEXT];
        hash_text(text, &hash);
        char *source = memory_text("%s, BLAKE2b-256 %s", path_name(file.path), text);
        printf("%-*s%s\n", LABEL, "BLAKE2b-256", text);
        if (r.family)
            result = write_checkpoint(&r, &file, source, a, error);
        if (!result && r.probes)
            result = write_probes(&r, &file, source, a, error);
        free(source);
    }
    recognised_free(&r);
    weights_file_close(&file);
    return result;
}

static bool is_any(const char *text, const char *x, const char *y, const char *z) {
    return !text || !strcmp(text, x) || !strcmp(text, y) || !strcmp(text, z);
}

static int check_arguments(const ImportArguments *a, const TextList *rest, Error *error) {
    if (rest->count != 1)
        return error_set(error, ERROR_USAGE,
                         "expected one file (.pt, .pth.tar, .safetensors) or folder of weights");
    if (!a->out)
        return error_set(error, ERROR_USAGE, "--out is missing: the folder of the checkpoint");
    if (a->network && strcmp(a->network, "target") && strcmp(a->network, "encoder"))
        return error_set(error, ERROR_USAGE, "--network %s: expected target or encoder",
                         a->network);
    if (!is_any(a->positions, "sincos", "tiled", "standard"))
        return error_set(error, ERROR_USAGE, "--positions %s: expected sincos, tiled or standard",
                         a->positions);
    if (a->heads < 0 || a->heads > 128 || a->pred_heads < 0 || a->pred_heads > 128 ||
        a->frames < 0 || a->frames > 256 || a->crop < 0 || a->crop > 1024)
        return error_set(error, ERROR_USAGE,
                         "--heads and --pred-heads: expected 1 to 128; --frames: 1 to 256; --crop: "
                         "8 to 1024");
    if (file_exists(a->out) || folder_exists(a->out))
        return error_set(error, ERROR_USAGE, "%s is there already: name another folder", a->out);
    return 0;
}

int command_import(int argc, char **argv) {
    const CommandHelp help = {
        "jepa import FILE --out CHECKPOINT",
        "Turns published weights into a checkpoint: those of V-JEPA 1, 2 and 2.1 and I-JEPA as "
        "PyTorch files (.pt, .pth.tar), as safetensors, or as a folder from Hugging Face. What "
        "model it is, is recognised from names and shapes and written into the checkpoint. A file "
        "that holds attentive probes gives folders of probes. Nothing in the file is run."};
    ImportArguments a = {0};
    const Option options[] = {
        {"out", "DIR", "the folder of the checkpoint, which must not exist", OPTION_TEXT, &a.out},
        {"network", "WHICH",
         "encoder or target: take this one for both the encoder and the target encoder",
         OPTION_TEXT, &a.network},
        {"name", "NAME", "published size it is to be: vit_large, vit_giant_xformers, ...",
         OPTION_TEXT, &a.name},
        {"heads", "N", "attention heads of the encoder (or of the probe)", OPTION_INTEGER,
         &a.heads},
        {"pred-heads", "N", "attention heads of the predictor", OPTION_INTEGER, &a.pred_heads},
        {"positions", "HOW", "sincos, tiled (V-JEPA 2) or standard (2.1)", OPTION_TEXT,
         &a.positions},
        {"frames", "N", "frames of a clip", OPTION_INTEGER, &a.frames},
        {"crop", "PIXELS", "side of a clip", OPTION_INTEGER, &a.crop},
        {"allow-nonfinite", NULL, "take weights that are infinite or no numbers", OPTION_FLAG,
         &a.allow_nonfinite},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && !check_arguments(&a, &rest, &error))
        import(rest.items[0], &a, &error);
    if (error.code)
        fprintf(stderr, "jepa import: %s\n", error.text);
    free(rest.items);
    return error.code;
}
