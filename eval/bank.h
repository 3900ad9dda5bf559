/* A bank of patches: target latents of many tokens of many videos, each with the pixels that it
 * stands for, so that a latent can be shown by the real patch whose own is nearest.
 *
 *   BANK/bank.msgpack   {hash, header}: what it is of, sizes, names and hashes of videos and files
 *   BANK/latents.bin    [R][D] float16: h = layer_norm(target_encoder(clip))[token], as the loss
 * has it (eval/latents.h) BANK/pixels.bin     [R][P] uint8: channel, frame of the tubelet, row,
 * column (kernels/patches.h) BANK/places.bin     [R][3] int32: video, first frame of the tubelet in
 * it, token of its clip All little-endian; the folder appears whole or not at all.
 *
 * Of each clip a keyed random sample of its tokens is kept; clip j of J has rows j R / J to
 * (j + 1) R / J of R asked for, if it has as many tokens. The nearest latent is that of the largest
 * cosine. Behind the loss's layer norm every target has the same length, so that among targets this
 * is the smallest Euclidean distance as well, for any length of the prediction.
 *
 * Letters: R rows, D width of a latent, P = 3 · tubelet · patch². */
#ifndef JEPA_EVAL_BANK_H
#define JEPA_EVAL_BANK_H

#include "eval/encode.h"

#define BANK_FILE       "bank.msgpack"
#define BANK_ROWS_MAX   ((int64_t)1 << 22)
#define BANK_VIDEOS_MAX ((int64_t)1 << 22)

/* What a bank depends on: all of it but `source` is compared. */
typedef struct BankAbout {
    Hash checkpoint; /* of the checkpoint's header, or of the file of weights */
    Hash recipe;     /* recipe_hash, as used (with --set) */
    Hash files;      /* VideoIndex.hash */
    char *source;    /* for a person: the checkpoint's path and step; owned */
    int64_t tokens, seed;
    int segments;
} BankAbout;

typedef struct Bank {
    BankAbout about;
    MaskGrid grid;                      /* of a clip */
    int width, tubelet, patch, outputs; /* D, frames and pixels of a patch, P */
    int64_t rows;                       /* R, at most about.tokens */
    int64_t videos;
    char **names;            /* [videos] as the index has them */
    Hash *hashes;            /* [videos] of their bytes */
    const uint16_t *latents; /* [R][D] */
    const uint8_t *pixels;   /* [R][P] */
    const int32_t *places;   /* [R][3] */
    bool mapped;
} Bank;

/* Runs the target encoder over `segments` clips of each usable video, or over as many of them as
 * there are rows asked for, evenly spread, and keeps what bank->about asks for (its texts and
 * hashes are the caller's to fill). The model has its weights and was planned without mask
 * settings. Videos that cannot be decoded are named in a warning. Free with bank_close, also after
 * an error. Errors: latents that are not finite, no video that can be decoded. */
int bank_gather(Bank *bank, Model *model, const VideoIndex *index, const ClipSpec *spec,
                const FeatureViews *views, int threads, Error *error);
void bank_close(Bank *bank);

/* Writes a gathered bank as a new folder, whole or not at all. */
int bank_write(const Bank *bank, const char *folder, Error *error);
/* Maps a bank; sizes, numbers and the hashes of all bytes are verified. Close it also after an
 * error. Errors: no bank, damaged. */
int bank_open(Bank *bank, const char *folder, Error *error);
/* Is it of this checkpoint and recipe? ERROR_USAGE says what differs, and that `maker` ("jepa
 * bank") makes what lies in `folder`: a bank, or a decoder that was trained on one. */
int bank_about_matches(const BankAbout *about, const char *folder, const Hash *checkpoint,
                       const Hash *recipe, const char *maker, Error *error);
/* The tubelet of a token of one clip, out[P]; the clip as pixels [3][frames][height][width], or as
 * values, normalised (the other NULL). */
void bank_cut(uint8_t *out, const uint8_t *pixels, const float *values, const PatchShape *shape,
              int token);

/* How many videos gave rows; those with the same bytes are one. first[videos] (or NULL) receives
 * for each the first video with its bytes that gave rows, -1 where it gave none itself. */
int64_t bank_distinct(int64_t *first, const Bank *bank);

/* The row nearest to each of queries[q][D], and its cosine; rows whose video has the bytes that
 * `own` (or NULL) is the hash of are passed over. -1: no row is left. Ties: the first row. The same
 * for any number of threads. Beside the bank's own float16 a few thousand rows lie in memory. */
void bank_nearest(int32_t *nearest, float *cosine, const Bank *bank, const float *queries,
                  int64_t q, const Hash *own, int threads);

#endif
