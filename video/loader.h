/* The loader: clips in order, decoded ahead by worker threads into a bounded ring of batches.
 *
 * Job j (j = first, first + 1, ...) is drawn by a pure function and decoded by whichever worker is
 * free; batches come out in job order. Order and content do not depend on the number of workers or
 * on where a run was resumed. An undecodable clip is re-drawn by the source's rule, counted and
 * reported, or handed on as failed where the source has no other (evaluation). A clip that takes
 * longer than it may is no reason to draw another, which would not happen again in the same way: it
 * ends the loader with an error that names the file.
 *
 * Each worker has one decoder with one thread. Workers wait while the ring is full.
 */
#ifndef JEPA_VIDEO_LOADER_H
#define JEPA_VIDEO_LOADER_H

#include "video/clip.h"
#include "video/frame_cache.h"

typedef struct LoaderSource {
    void *context;
    /* Draws job `job`, attempt `attempt`; called from any worker, must be pure. Returns 1, or 0
     * when there is no further attempt for this job (the slot then counts as failed). */
    int (*draw)(void *context, uint64_t job, int attempt, ClipDraw *draw);
} LoaderSource;

typedef struct LoaderSlot {
    ClipDraw draw;
    bool failed;  /* no attempt could be decoded; the clip is zero */
    char *reason; /* first failure of this slot: "name: why", NULL if none; owned by the loader */
    uint32_t bad_file; /* the file of that first failure */
} LoaderSlot;

/* The parts of the slots lie spec.frames apart whatever their clips' lengths: slot b begins at b ·
 * 3 · spec.frames · A, A = spec.crop · clip_width(spec). A clip of fewer frames, F = draw.count <
 * spec.frames, is packed at the beginning of its part as [3][F][crop][width], channel c at c · F ·
 * A (not at c · spec.frames · A); its views likewise as [V][3][F][local][local] at the beginning of
 * theirs. What lies behind is left over from other batches and means nothing. A failed slot is zero
 * throughout. */
typedef struct LoaderBatch {
    uint64_t first_job;
    int count;       /* slots in this batch; the last batch of a finite source may be short */
    uint8_t *clips;  /* [count][3][frames][crop][width]; NULL with published interpolation */
    uint8_t *locals; /* [count][V][3][frames][local][local] of V = spec.views.local_views, local =
                        spec.views.local_crop; mirrored already, unlike `clips`; NULL if V = 0 */
    float *values;   /* the same, normalised and mirrored, with published interpolation; or NULL */
    LoaderSlot *slots; /* [count] */
    double wait;       /* seconds that loader_next waited for it */
    double decode;     /* seconds of worker time spent on it */
    int ready_ahead;   /* full batches waiting in the ring behind this one */
} LoaderBatch;

typedef struct LoaderConfig {
    const VideoIndex *index; /* must outlive the loader */
    ClipSpec spec;
    LoaderSource source;
    uint64_t first_job;
    uint64_t jobs;     /* end of the source (exclusive); UINT64_MAX: endless */
    int together;      /* > 1: jobs k · together and those that follow it look at the same frames:
                          one worker does them, so that a cache spares it all but the first */
    int batch;         /* slots per batch */
    int ring;          /* batches in memory, >= 2 */
    int threads;       /* workers, >= 1 */
    int nice;          /* added to the workers' niceness (Linux; 0: as the process) */
    double timeout;    /* seconds for one clip; 0: no limit */
    FrameCache *cache; /* of decoded frames, shared by the workers; or NULL */

    /* A GPU that decodes for the workers, or NULL; needs an index of VIDEO_CHECK_DECODE. */
    VideoHardware *hardware;
} LoaderConfig;

typedef struct Loader Loader;
/* Memory of the ring in bytes, local views included, for the plan. */
size_t loader_bytes(const LoaderConfig *config);
/* Errors: no thread can be started, hardware with an index of packets, local views that cannot be
 * had (clip_check_views). With local views the source must draw them (sampler_draw does;
 * clip_draw_evaluation does not). */
int loader_open(Loader **loader, const LoaderConfig *config, Error *error);
/* The next batch, valid until the next call; NULL at the end of a finite source, or with `error`
 * set where a clip took longer than the timeout. */
const LoaderBatch *loader_next(Loader *loader, Error *error);
void loader_close(Loader *loader); /* stops the workers, also in mid-batch */

#endif
