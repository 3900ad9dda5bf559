/* Extraction: every evaluation clip of an index through a frozen encoder, into a feature store. */
#ifndef JEPA_EVAL_STORE_WRITE_H
#define JEPA_EVAL_STORE_WRITE_H

#include "eval/encode.h"
#include "eval/store.h"

/* What the store of this extraction would be about: all but checkpoint, recipe and source, which
 * the caller knows (zero and NULL here). store_about_free frees its texts. */
void store_about(StoreAbout *about, const Model *model, const VideoIndex *index,
                 const ClipSpec *spec, const FeatureViews *views, char network, bool pooled,
                 StoreType type);

#endif
