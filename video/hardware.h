/* Decoding on a GPU: NVIDIA's decoder, through libavcodec's CUDA hardware acceleration.
 *
 * What comes out is what software decoding gives, byte for byte: only codecs whose decoding is
 * exact by their standard are taken (H.264, HEVC, VP9, AV1), only 4:2:0 and grey pictures of 8, 10
 * or 12 bits, and no stream that asks for film grain. Frames that are wanted are downloaded and
 * brought to the software decoder's layout (video/planes.h). Whatever the GPU does not do, or fails
 * in, software does instead (video/decode.c): no file is judged by it. A GPU does not tell damaged
 * pictures, so that only files of which every frame was decoded in software before, when they were
 * scanned, may be read through it: VIDEO_CHECK_DECODE.
 *
 * One device is shared by all threads. Decoders at work at once, and the memory of their surfaces,
 * are bounded; who finds no place decodes in software. The device has a CUDA context of its own,
 * apart from that of the training. */
#ifndef JEPA_VIDEO_HARDWARE_H
#define JEPA_VIDEO_HARDWARE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define HARDWARE_DECODERS 16                /* at once: a GPU has 1 to 8 units that decode */
#define HARDWARE_BYTES    ((size_t)1 << 30) /* of their surfaces, estimated */

/* What a recipe's data.decoder says. */
typedef enum VideoDecoder { VIDEO_DECODER_CPU, VIDEO_DECODER_CUDA } VideoDecoder;

typedef struct VideoHardware VideoHardware;

/* Readings of frames, one or more a clip. */
typedef struct VideoHardwareStats {
    uint64_t gpu, cpu; /* frames came from the GPU; from software */
    uint64_t full;     /* of `cpu`: because no place was left */
    uint64_t failed;   /* of `cpu`: the GPU had begun */
} VideoHardwareStats;

/* `device`: "cuda:1" takes the second GPU; any other name, or NULL, the first. Errors: an FFmpeg
 * built without CUDA, no driver, no GPU. *hardware is then NULL. */
int video_hardware_open(VideoHardware **hardware, const char *device, Error *error);
void video_hardware_close(VideoHardware *hardware); /* after all that uses it; NULL: nothing */
VideoHardwareStats video_hardware_stats(VideoHardware *hardware);
/* The codecs that libavcodec hands to the GPU, with spaces between. Caller frees. */
char *video_hardware_codecs(void);

/* ---- for video/input.c and video/decode.c ---- */

struct AVCodec;
struct AVCodecContext;
struct AVCodecParameters;
struct AVFrame;

/* The right to one decoder on the GPU. */
typedef struct HardwarePlace HardwarePlace;
/* NULL: software decodes. What codecs are not for the GPU is said once for each. */
HardwarePlace *hardware_place_take(VideoHardware *hardware, const struct AVCodecParameters *about);
void hardware_place_give(HardwarePlace *place); /* after its decoder is closed; NULL: nothing */
/* The decoder to open, and what it needs to know before. It may still decode in software. */
const struct AVCodec *hardware_place_codec(const HardwarePlace *place);
int hardware_place_use(HardwarePlace *place, struct AVCodecContext *codec, Error *error);
/* Replaces a frame on the GPU by the same in memory, as the software decoder would have given it;
 * other frames stay as they are. */
int hardware_place_download(HardwarePlace *place, struct AVFrame *frame,
                            const struct AVCodecContext *codec, Error *error);

/* The end of a reading: `place` is that on which frames came, or NULL. */
void hardware_count(VideoHardware *hardware, const HardwarePlace *place);
/* The GPU failed in the middle of `name`: said once for each codec. */
void hardware_failed(HardwarePlace *place, const char *name, const char *why);

#endif
