/* See experiments/source.h. */
#include "experiments/source.h"
#include "base/file.h"
#include <inttypes.h>
#include <stdlib.h>

/* A file within a checkpoint stands for it. */
static char *checkpoint_of(const char *path) {
    if (folder_exists(path))
        return memory_text("%s", path);
    char *folder = path_folder(path), *header = path_join(folder, "checkpoint.msgpack");
    bool within = file_exists(path) && file_exists(header);
    free(header);
    if (within)
        return folder;
    free(folder);
    return memory_text("%s", path);
}

/* Is it a file of weights, or the folder of one, and no checkpoint of this program? */
static bool is_weights(const char *path) {
    char *config = path_join(path, "config.json"), *run = path_join(path, "recipe.yaml");
    bool is = !folder_exists(path) ? file_exists(path) : file_exists(config) && !file_exists(run);
    free(config);
    free(run);
    return is;
}

static int open_checkpoint(const SourceParts *p, const char *path, Error *error) {
    Checkpoint *c = p->checkpoint;
    if (checkpoint_open(c, path, error) ||
        recipe_parse(p->recipe, c->recipe, "the checkpoint's recipe", error))
        return -1;
    *p->hash = c->hash;
    *p->text = memory_text("%s, step %" PRId64, c->folder, c->step);
    return 0;
}

static int open_weights(const SourceParts *p, const char *path, Error *error) {
    RecogniseOptions options = {0};
    WeightsFile *file = memory_new(1, sizeof *file);
    if (weights_file_open(file, path, error)) {
        free(file);
        return -1;
    }
    *p->file = file;
    *p->text = memory_text("%s", file->path);
    Recognised *known = memory_new(1, sizeof *known);
    if (recognise(known, file, &options, error)) {
        free(known);
        return error_prefix(error, "jepa import can be told what a file does not tell");
    }
    *p->recognised = known;
    if (!known->family)
        return error_set(error, ERROR_RUN, "%s: no encoder in it", path);
    if (weights_file_hash(p->hash, file, error))
        return -1;
    char *text = recipe_text(&known->recipe);
    int result = recipe_parse(p->recipe, text, "the recipe that was recognised", error);
    free(text);
    return result;
}

int source_open(const SourceParts *parts, const char *path, Error *error) {
    char *of = checkpoint_of(path);
    int result = is_weights(of) ? open_weights(parts, of, error)
                                : open_checkpoint(parts, of, error);
    free(of);
    return result;
}
