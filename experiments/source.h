/* What --checkpoint names: a checkpoint of this program (a RUN, its step-N, or a file in that), or
 * a file or folder of published weights. */
#ifndef JEPA_EXPERIMENTS_SOURCE_H
#define JEPA_EXPERIMENTS_SOURCE_H

#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "jepa/recognise.h"

/* Where it goes; all belong to the caller, also after a failure. Of a checkpoint `checkpoint` is
 * filled, else *file and *recognised are made. */
typedef struct SourceParts {
    Checkpoint *checkpoint;
    WeightsFile **file;
    Recognised **recognised;
    Recipe *recipe; /* holds the defaults; not checked yet */
    Hash *hash;     /* of the weights */
    char **text;    /* for a person */
} SourceParts;

/* Opens it. Errors: neither; a file that does not tell what is in it, or has no encoder. */
int source_open(const SourceParts *parts, const char *path, Error *error);

#endif
