/* Which model a file of weights holds, from names and shapes alone, and the recipe that describes
 * it.
 *
 *   patch_embed.proj.weight [D,3,P,P]        I-JEPA: pictures, sine-cosine positions in two axes
 *   cls_token                                LeVJEPA's encoder
 *   norms_block.0                            V-JEPA 2.1: rotary, standard, rescaled to 16 x 16
 *   pos_embed                                V-JEPA 1: sine-cosine, the grid is where the table
 * fits none of these, or 10 mask tokens         V-JEPA 2: rotary, tiled
 *
 * Not visible in shapes: the numbers of heads, and with rotary positions the size of the input.
 * Heads come from the caller, else from config.json, else from the published model of this width
 * and depth; the input from the caller, config.json, or what the family was published with.
 * Sources: facebookresearch/jepa, vjepa2 src/hub/backbones.py, ijepa; configuration_vjepa2.py. */
#ifndef JEPA_JEPA_RECOGNISE_H
#define JEPA_JEPA_RECOGNISE_H

#include "jepa/model.h"
#include "jepa/recipe.h"
#include "jepa/weights_file.h"

/* What the caller knows better; 0 and NULL: nothing. */
typedef struct RecogniseOptions {
    int heads, pred_heads, frames, crop;
    const char *name;      /* a published size: vit_large, ... */
    const char *positions; /* sincos, tiled or standard */
    char network;          /* 'e' encoder, 't' target encoder: the only one that counts; 0: both */
} RecogniseOptions;

typedef struct Recognised {
    const char *family;                  /* "V-JEPA 2"; NULL: no network, probes at most */
    Recipe recipe;                       /* owned; recipe_check has passed */
    ModelConfig config;                  /* recipe_model of it */
    bool encoder, target;                /* are they there (and wanted)? */
    bool predictor, projector;           /* and used */
    int probes;                          /* classifier.0, ... */
    char without[160];                   /* why a predictor that is there is not used; "": it is */
    const char *heads_from, *input_from; /* "config.json", ... */
    bool table;                          /* a position table was in the file */
    double table_difference;             /* its largest distance from ours; read with `table` */
    double predictor_table_difference;   /* < 0: no such table */
} Recognised;

#define RECOGNISED_TABLE_LIMIT 1e-5 /* position tables that differ by more are not ours */

/* Every tensor of the networks that are used must have its place and shape in the recipe's
 * parameter table, and every parameter of them must be there: errors name the first that is not. */
int recognise(Recognised *recognised, const WeightsFile *file, const RecogniseOptions *options,
              Error *error);
void recognised_free(Recognised *recognised);

/* The networks that were recognised into a model of that recipe, on any device; encoder and target
 * encoder each from the other where only one is there. A predictor or projector that is not used
 * stays as it is. Errors: a value that is not finite, unless allowed; a tensor that does not fit
 * the model's own shapes. */
int recognised_load(Model *model, const Recognised *recognised, const WeightsFile *file,
                    bool allow_nonfinite, Error *error);

#endif
