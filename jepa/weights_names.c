/* See jepa/weights_names.h. Published state dictionaries begin with the network's name, then any of
 * "module." (DistributedDataParallel) and "backbone." (the wrapper around several masks). */
#include "jepa/weights_names.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct Rename {
    const char *from, *to;
    int part, parts;
} Rename;

/* The ends of names inside a transformer block: transformers' V-JEPA 2. */
static const Rename block_ends[] = {
    {"attention.query.", "attn.qkv.", 0, 3},
    {"attention.key.", "attn.qkv.", 1, 3},
    {"attention.value.", "attn.qkv.", 2, 3},
    {"attention.proj.", "attn.proj.", 0, 1},
    {NULL, NULL, 0, 0},
};
static const Rename self_ends[] = {
    {"layer_norm1.", "norm1.", 0, 1},
    {"layer_norm2.", "norm2.", 0, 1},
    {"self_attn.q_proj.", "attn.qkv.", 0, 3},
    {"self_attn.k_proj.", "attn.qkv.", 1, 3},
    {"self_attn.v_proj.", "attn.qkv.", 2, 3},
    {"self_attn.out_proj.", "attn.proj.", 0, 1},
    {NULL, NULL, 0, 0},
};
static const Rename cross_ends[] = {
    {"layer_norm1.", "norm1.", 0, 1},          {"layer_norm2.", "norm2.", 0, 1},
    {"cross_attn.q_proj.", "xattn.q.", 0, 1},  {"cross_attn.k_proj.", "xattn.kv.", 0, 2},
    {"cross_attn.v_proj.", "xattn.kv.", 1, 2}, {NULL, NULL, 0, 0},
};
static const Rename encoder_starts[] = {
    {"embeddings.patch_embeddings.proj.", "patch_embed.proj.", 0, 1},
    {"layernorm.", "norm.", 0, 1},
    {NULL, NULL, 0, 0},
};
static const Rename predictor_starts[] = {
    {"embeddings.predictor_embeddings.", "predictor_embed.", 0, 1},
    {"layernorm.", "predictor_norm.", 0, 1},
    {"proj.", "predictor_proj.", 0, 1},
    {NULL, NULL, 0, 0},
};

static bool starts(const char *text, const char *with) {
    return !strncmp(text, with, strlen(with));
}

static const char *without_wrappers(const char *text) {
    for (;;) {
        if (starts(text, "module."))
            text += strlen("module.");
        else if (starts(text, "backbone."))
            text += strlen("backbone.");
        else
            return text;
    }
}

static void put(WeightsName *out, const char *network, const char *rest) {
    int length = snprintf(out->name, sizeof out->name, "%s%s", network, rest);
    if (length < 0 || (size_t)length >= sizeof out->name)
        out->name[0] = 0;
}

/* network + the rest, whose start is renamed if the list knows it */
static bool put_renamed(WeightsName *out, const char *network, const char *rest,
                        const Rename *list) {
    for (; list->from; list++)
        if (starts(rest, list->from)) {
            char tail[WEIGHTS_NAME];
            snprintf(tail, sizeof tail, "%s%.120s", list->to, rest + strlen(list->from));
            out->part = list->part;
            out->parts = list->parts;
            put(out, network, tail);
            return true;
        }
    return false;
}

/* "layer.3.REST" as network + "blocks.3." + renamed REST */
static bool put_block(WeightsName *out, const char *network, const char *rest, const char *layer,
                      const char *blocks, const Rename *ends) {
    if (!starts(rest, layer))
        return false;
    const char *number = rest + strlen(layer);
    size_t digits = strspn(number, "0123456789");
    if (!digits || digits > 6 || number[digits] != '.')
        return false;
    char prefix[WEIGHTS_NAME];
    snprintf(prefix, sizeof prefix, "%.40s%s%.*s.", network, blocks, (int)digits, number);
    if (!put_renamed(out, prefix, number + digits + 1, ends))
        put(out, prefix, number + digits + 1);
    return true;
}

static void put_encoder(WeightsName *out, const char *network, const char *rest) {
    if (!put_renamed(out, network, rest, encoder_starts) &&
        !put_block(out, network, rest, "layer.", "blocks.", block_ends))
        put(out, network, rest);
}

static void put_predictor(WeightsName *out, const char *rest) {
    out->tokens = !strcmp(rest, "embeddings.mask_tokens");
    if (out->tokens)
        put(out, "predictor.", "mask_tokens.");
    else if (!put_renamed(out, "predictor.", rest, predictor_starts) &&
             !put_block(out, "predictor.", rest, "layer.", "predictor_blocks.", block_ends))
        put(out, "predictor.", rest);
}

static void put_probe(WeightsName *out, const char *number, const char *rest) {
    char network[64];
    const char *cross = "pooler.cross_attention_layer.";
    if (!strcmp(rest, "weight") || !strcmp(rest, "bias")) { /* Hugging Face's classifier.weight */
        snprintf(network, sizeof network, "classifier.%.8s.linear.", number);
        put(out, network, rest);
        return;
    }
    snprintf(network, sizeof network, "classifier.%.8s.", number);
    if (put_block(out, network, rest, "pooler.self_attention_layers.", "pooler.blocks.", self_ends))
        return;
    if (!starts(rest, cross)) {
        put(out, network, rest);
        return;
    }
    snprintf(network, sizeof network, "classifier.%.8s.pooler.cross_attention_block.", number);
    if (!put_renamed(out, network, rest + strlen(cross), cross_ends))
        put(out, network, rest + strlen(cross));
}

bool weights_name(WeightsName *out, const char *raw) {
    static const char *const bare[] = {"patch_embed",   "blocks.",        "norm.",
                                       "norms_block.",  "pos_embed",      "cls_token",
                                       "img_mod_embed", "video_mod_embed"};
    *out = (WeightsName){.parts = 1};
    const char *text = without_wrappers(raw);
    if (starts(text, "vjepa2."))
        text += strlen("vjepa2.");
    if (strlen(text) >= WEIGHTS_NAME - 32)
        return false;
    if (starts(text, "encoder.")) {
        put_encoder(out, "encoder.", without_wrappers(text + strlen("encoder.")));
    } else if (starts(text, "target_encoder.")) {
        out->teacher = true;
        put_encoder(out, "target_encoder.", without_wrappers(text + strlen("target_encoder.")));
    } else if (starts(text, "ema_encoder.")) {
        out->average = true;
        put_encoder(out, "target_encoder.", without_wrappers(text + strlen("ema_encoder.")));
    } else if (starts(text, "predictor.")) {
        put_predictor(out, without_wrappers(text + strlen("predictor.")));
    } else if (starts(text, "projector.")) {
        put(out, "projector.", without_wrappers(text + strlen("projector.")));
    } else if (starts(text, "classifiers.")) {
        const char *number = text + strlen("classifiers.");
        size_t digits = strspn(number, "0123456789");
        char digit[9];
        if (!digits || digits > 6 || number[digits] != '.')
            return false;
        snprintf(digit, sizeof digit, "%.*s", (int)digits, number);
        put_probe(out, digit, without_wrappers(number + digits + 1));
    } else if (starts(text, "classifier.")) {
        put_probe(out, "0", without_wrappers(text + strlen("classifier.")));
    } else if (starts(text, "pooler.") || starts(text, "linear.")) {
        put_probe(out, "0", text);
    } else {
        for (size_t i = 0; i < sizeof bare / sizeof *bare && !out->name[0]; i++)
            if (starts(text, bare[i])) /* an encoder's own state dictionary */
                put(out, "encoder.", text);
    }
    return out->name[0] != 0;
}
