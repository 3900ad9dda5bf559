/* The clips that a model is diagnosed on: which, and their pixels. Part of eval/diagnostics.c. */
#ifndef JEPA_EVAL_DIAGNOSTICS_CLIPS_H
#define JEPA_EVAL_DIAGNOSTICS_CLIPS_H

#include "jepa/trainer.h"

typedef struct DiagnosticClip {
    uint32_t file;         /* of the index */
    int segment, segments; /* stretch of the video, as clip_draw_evaluation has it */
} DiagnosticClip;

typedef struct DiagnosticClips {
    const VideoIndex *index;
    ClipSpec spec;
    DiagnosticClip *clip; /* [count], the same on all ranks */
    int count;            /* C */
    size_t videos;        /* that they were drawn from */
    int *label;           /* [count]; NULL: not all have one */
    int first, own;       /* this rank's */
    uint8_t *pixels;      /* [own][3][frames][height][width] */
    bool *failed;         /* [own] could not be decoded */
    size_t bytes;         /* of a clip's pixels */
} DiagnosticClips;

/* How clips of the recipe are read. */
ClipSpec diagnostic_spec(const Recipe *recipe);
/* Draws the clips and reads this rank's. Errors: no video can be used; a clip that takes longer
 * than data.timeout; checkpoint.keep_best: probe without labels. */
int diagnostic_clips_open(DiagnosticClips *clips, const DiagnosticsStart *start, Error *error);
void diagnostic_clips_close(DiagnosticClips *clips);

#endif
