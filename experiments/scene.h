/* A checkpoint that is to be looked at: what every command opens that shows what a model does with
 * a video, and the videos it is shown. */
#ifndef JEPA_EXPERIMENTS_SCENE_H
#define JEPA_EXPERIMENTS_SCENE_H

#include "experiments/options.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "video/clip.h"
#include "video/index.h"

typedef struct Scene {
    Checkpoint checkpoint;         /* .folder NULL: a file of weights was opened, or nothing */
    struct WeightsFile *file;      /* published weights; NULL: a checkpoint was opened */
    struct Recognised *recognised; /* what is in them */
    Hash hash;                     /* of the checkpoint's header, or of the file */
    char *source;                  /* for a person: "RUN/step-9, step 9", or the file; owned */
    Recipe recipe;                 /* the checkpoint's, with what was set */
    /* of the recipe; for other input sizes than those of training, positions are interpolated */
    ModelConfig config;
    ClipSpec clip; /* as evaluation draws it: no local views */
    Device *device;
} Scene;

/* Opens RUN (its newest checkpoint), RUN/step-N, a file in that, or a file or folder of published
 * weights as jepa import reads them; `sets` as of --set (may be NULL). Nothing of the networks is
 * loaded yet. Free with scene_close, also after an error. */
int scene_open(Scene *scene, const char *checkpoint, const TextList *sets, Error *error);
/* The device of --device and --threads. */
int scene_open_device(Scene *scene, const char *device, int threads, Error *error);
void scene_close(Scene *scene);

/* ERROR_USAGE where the recipe has no predictor; `what` cannot be shown without one, `instead` can.
 */
int scene_needs_predictor(const Scene *scene, const char *what, const char *instead, Error *error);
/* The same for a predictor that was never trained (weights imported without one): its final norm is
 * as it was initialised. After scene_model. */
int scene_predictor_trained(const Scene *scene, const Model *model, const char *what,
                            const char *instead, Error *error);

/* Makes and loads a model; of `plan` config and float_input are filled in (what is set of
 * token_by_length and float_input stays). With plan->beside nothing is loaded. `network` 'c': the
 * context encoder alone, also of a run with a frozen teacher; else 't'. */
int scene_model(Model *model, const Scene *scene, const ModelPlan *plan, char network,
                Error *error);
/* Number of the mask token for clips of the scene's length, where it goes by length; -1 where it
 * goes by mask setting (latents_compute). */
int scene_mask_token(const Scene *scene);
/* The one that stands for later frames, which no recipe trains on its own: that of mask setting
 * `mask` where they go by setting (-1: the last, which in the published recipes hides most), else
 * scene_mask_token. For a model of token_by_length. */
int scene_late_token(const Scene *scene, int mask);

/* One video, and an index of it alone. */
typedef struct Footage {
    VideoFile file;
    VideoIndex index;
} Footage;

/* Paths of the videos that `source` names: a file, a folder, a list or an index. *paths [*count],
 * each and all freed by the caller (footage_paths_free). */
int footage_paths(char ***paths, size_t *count, const char *source, Error *error);
void footage_paths_free(char **paths, size_t count);
/* Reads what is in a file (its packets; all is decoded only where they do not tell). Errors: not a
 * usable video, or, with `clip`, one that is shorter than a clip. Free also after an error. */
int footage_open(Footage *footage, const char *path, const ClipSpec *clip, Error *error);
void footage_close(Footage *footage);
/* Opens up to `most` of the source's videos, spread evenly; of several, those that cannot be used
 * are passed over with a warning, and the next one is taken. *footage [*count], at least one. */
int footage_choose(Footage **footage, size_t *count, const char *source, size_t most,
                   const ClipSpec *clip, Error *error);
void footage_free(Footage *footage, size_t count);

#endif
