/* Target latents of patches, as jepa bank keeps them and jepa decoder train learns from them: the
 * arguments, the checkpoint, the videos. Private to experiments/bank.c and decoder.c.
 */
#ifndef JEPA_EXPERIMENTS_PATCHES_H
#define JEPA_EXPERIMENTS_PATCHES_H

#include "eval/bank.h"
#include "experiments/plan.h"
#include "experiments/scene.h"

typedef struct PatchArguments {
    const char *checkpoint, *data, *out, *device;
    TextList sets;
    int64_t tokens, segments, seed, threads;
} PatchArguments;

#define PATCH_ARGUMENTS ((PatchArguments){.tokens = 65536, .segments = 4})

/* Rows of an option table for all of them but --out. */
#define PATCH_OPTIONS(a)                                                                           \
    {"checkpoint", "RUN|FILE",                                                                     \
     "a run (its newest checkpoint), a step-N folder, or a file of published weights",             \
     OPTION_TEXT, &(a).checkpoint},                                                                \
        {"data", "PATH", "the videos: a folder, a list, or an index file", OPTION_TEXT,            \
         &(a).data},                                                                               \
        {"tokens", "N", "patches in all, at most (default 65536)", OPTION_INTEGER, &(a).tokens},   \
        {"segments", "N", "clips taken from each video (default 4)", OPTION_INTEGER,               \
         &(a).segments},                                                                           \
        {"seed", "S", "draws other patches (default 0)", OPTION_INTEGER, &(a).seed},               \
        {"set", "KEY=VALUE",                                                                       \
         "change a key of the recipe, e.g. data.sampling_rate=1; may be repeated", OPTION_LIST,    \
         &(a).sets},                                                                               \
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &(a).threads}, {             \
        "device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &(a).device                             \
    }

/* ERROR_USAGE of arguments that cannot be meant. */
int patch_check_arguments(const PatchArguments *arguments, const TextList *rest, Error *error);

/* The checkpoint and the videos; nothing of the networks is loaded yet. */
typedef struct PatchScene {
    Scene scene;
    VideoIndex index;
    Hash recipe;
} PatchScene;
/* Close it also after an error. Errors also: a checkpoint that has no target encoder to predict. */
int patch_scene_open(PatchScene *scene, const PatchArguments *arguments, Error *error);
void patch_scene_close(PatchScene *scene);

/* What a bank of these would be about; its text is the caller's to free (bank_close does). */
void patch_scene_about(BankAbout *about, const PatchScene *scene, const PatchArguments *arguments);
/* Loads the target encoder and gathers bank->about, which is set. */
int patch_scene_gather(Bank *bank, const PatchScene *scene, const PatchArguments *arguments,
                       Error *error);

#endif
