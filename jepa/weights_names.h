/* Names of other programs' tensors, turned into ours. */
#ifndef JEPA_JEPA_WEIGHTS_NAMES_H
#define JEPA_JEPA_WEIGHTS_NAMES_H

#include <stdbool.h>

#define WEIGHTS_NAME 160 /* bytes of a name, the final zero included */

typedef struct WeightsName {
    char name[WEIGHTS_NAME]; /* ours */
    int part, parts;         /* piece `part` of `parts` along the first dimension */
    bool tokens;             /* [n,1,1,D]: n tensors, whose number is to be appended */
    bool teacher;            /* "target_encoder", which steps back where there is "ema_encoder" */
    bool average;            /* "ema_encoder" */
} WeightsName;

/* True: it belongs to a network or a probe. False: to neither, or it is too long to. */
bool weights_name(WeightsName *out, const char *raw);

#endif
