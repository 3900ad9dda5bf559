/* Extraction: every evaluation clip of an index through a frozen encoder, into a feature store.
 *
 * The encoder runs while the loader decodes what comes next and the shard writer writes what came
 * before. Memory is bounded whatever the data: a ring of batches of clips, two batches of rows, and
 * names and labels of the videos. */
#ifndef JEPA_EVAL_STORE_WRITE_H
#define JEPA_EVAL_STORE_WRITE_H

#include "eval/encode.h"
#include "eval/store.h"

/* What the store of this extraction would be about: all but checkpoint, recipe and source, which
 * the caller knows (zero and NULL here). store_about_free frees its texts. */
void store_about(StoreAbout *about, const Model *model, const VideoIndex *index,
                 const ClipSpec *spec, const FeatureViews *views, char network, bool pooled,
                 StoreType type);

typedef struct StoreReport {
    int64_t clips;   /* of the store */
    int64_t resumed; /* of these there already; all of them: nothing was to be done */
    int64_t shards;
    int64_t videos, failed; /* videos, and those of them without features */
    double seconds;         /* of the extraction now */
    double wait;            /* of these, waited for decoded clips */
} StoreReport;

/* Is the folder a complete store of just this already? 1 (and the report), else 0; -1 with an error
 * where it is a complete store of something else (ERROR_USAGE), or a damaged one. */
int store_is_done(StoreReport *report, const char *folder, const StoreAbout *about, Error *error);

/* Extracts into `folder`, which is new, empty, or what an extraction of the same left when it was
 * stopped; a complete one is left alone. `about` is store_about's, with the caller's part. The
 * model holds the weights. shard_clips: 0, or clips of a shard, rounded up to whole batches
 * (model->plan.samples). `threads` decode. A video that cannot be decoded is named in a warning and
 * marked as failed. Errors: other features in the folder (ERROR_USAGE, naming what differs),
 * another process writes there, a full disk, values that 16 bits cannot hold, no video left. */
int store_write(StoreReport *report, const char *folder, Model *model, const VideoIndex *index,
                const ClipSpec *spec, const FeatureViews *views, const StoreAbout *about,
                int64_t shard_clips, int threads, Error *error);

#endif
