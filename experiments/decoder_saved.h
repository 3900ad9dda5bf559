/* A trained decoder of patches on disk:
 *
 *   DECODER/decoder.safetensors   w1.weight [M][D], w1.bias [M], w2.weight [P][M or D], w2.bias
 *                                 [P], float32; without hidden layer w2 alone; videos [V][32] uint8
 *   DECODER/decoder.json          sizes, mean and deviation of colours, what it was trained on, its
 *                                 errors, hashes of checkpoint, recipe and videos
 *   DECODER/decoder.b2sum         BLAKE2b-256 of both files, as b2sum -l 256 writes it
 *
 * The folder appears whole or not at all. */
#ifndef JEPA_EXPERIMENTS_DECODER_SAVED_H
#define JEPA_EXPERIMENTS_DECODER_SAVED_H

#include "eval/patch_decoder.h"

typedef struct DecoderAbout {
    BankAbout bank; /* what its rows came from; its text owned */
    MaskGrid grid;
    int tubelet, patch;
    int64_t steps, rows, held_out; /* training rows, held-out rows */
    int64_t held_out_videos;
    PatchErrors errors; /* on the held-out rows */
    Hash *videos;       /* [video_count] of the bytes of those trained on, ascending; owned */
    int64_t video_count;
} DecoderAbout;
void decoder_about_free(DecoderAbout *about);

/* Errors: something is at `folder` already, unwritable. */
int decoder_save(const PatchDecoder *decoder, const DecoderAbout *about, const char *folder,
                 Error *error);
/* For latents of `width` numbers of this checkpoint and recipe. Errors: no decoder, damaged, of
 * something else (ERROR_USAGE). Free decoder and about also after an error. */
int decoder_load(PatchDecoder *decoder, DecoderAbout *about, const char *folder,
                 const Hash *checkpoint, const Hash *recipe, int width, Error *error);
/* Was it trained on the video with these bytes? */
bool decoder_has_seen(const DecoderAbout *about, const Hash *video);

#endif
