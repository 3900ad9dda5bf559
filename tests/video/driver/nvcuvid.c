/* libnvcuvid.so.1 of the stand-in driver. See driver.h. */
#include "driver.h"
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_nvcuvid.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LEARNT_MAX 1024

/* A picture as NVDEC has it: luma, then chroma interleaved; 16-bit samples at the upper end. */
typedef struct Learnt {
    uint8_t key[DRIVER_KEY];
    int width, height, bytes; /* of a sample */
    uint8_t *data;            /* [height + height / 2][width] */
} Learnt;

typedef struct Decoder {
    int width, height, bytes, surfaces, outputs, mapped;
    const Learnt **surface; /* [surfaces] */
} Decoder;

extern DriverStateOf driver_state;
extern DriverFails driver_fails;
static Learnt learnt[LEARNT_MAX];
static int learnt_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put_sample(uint8_t *at, const uint8_t *plane, int stride, int x, int y, int depth) {
    const uint8_t *line = plane + (ptrdiff_t)y * stride;
    if (depth == 8) {
        *at = line[x];
        return;
    }
    uint16_t word;
    memcpy(&word, line + 2 * (ptrdiff_t)x, sizeof word);
    word = (uint16_t)(word << (16 - depth));
    memcpy(at, &word, sizeof word);
}

DriverLearn driver_learn;
void driver_learn(const uint8_t key[DRIVER_KEY], int width, int height, int depth,
                  const uint8_t *const planes[3], const int strides[3]) {
    if (learnt_count == LEARNT_MAX)
        abort();
    Learnt *l = &learnt[learnt_count++];
    *l = (Learnt){.width = width, .height = height, .bytes = depth > 8 ? 2 : 1};
    memcpy(l->key, key, DRIVER_KEY);
    size_t line = (size_t)width * (size_t)l->bytes;
    l->data = malloc(line * (size_t)(height + height / 2));
    for (int y = 0; y < height + height / 2; y++)
        for (int x = 0; x < width; x++) {
            int plane = y < height ? 0 : 1 + x % 2;
            put_sample(l->data + (size_t)y * line + (size_t)x * (size_t)l->bytes, planes[plane],
                       strides[plane], plane ? x / 2 : x, plane ? y - height : y, depth);
        }
}

DriverForget driver_forget;
void driver_forget(void) {
    for (int i = 0; i < learnt_count; i++)
        free(learnt[i].data);
    learnt_count = 0;
}

tcuvidGetDecoderCaps cuvidGetDecoderCaps;
CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS *caps) {
    caps->bIsSupported = !driver_state()->refuses &&
                         caps->eChromaFormat == cudaVideoChromaFormat_420;
    caps->nMinWidth = caps->nMinHeight = 48;
    caps->nMaxWidth = caps->nMaxHeight = 4096;
    caps->nMaxMBCount = 65536;
    return CUDA_SUCCESS;
}

tcuvidCreateDecoder cuvidCreateDecoder;
CUresult cuvidCreateDecoder(CUvideodecoder *decoder, CUVIDDECODECREATEINFO *about) {
    DriverState *state = driver_state();
    Decoder *d = calloc(1, sizeof *d);
    *d = (Decoder){.width = (int)about->ulTargetWidth,
                   .height = (int)about->ulTargetHeight,
                   .bytes = about->OutputFormat == cudaVideoSurfaceFormat_P016 ? 2 : 1,
                   .surfaces = (int)about->ulNumDecodeSurfaces,
                   .outputs = (int)about->ulNumOutputSurfaces,
                   .surface = calloc(about->ulNumDecodeSurfaces, sizeof(Learnt *))};
    *decoder = d;
    pthread_mutex_lock(&lock);
    state->live++;
    state->most = state->live > state->most ? state->live : state->most;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

tcuvidDestroyDecoder cuvidDestroyDecoder;
CUresult cuvidDestroyDecoder(CUvideodecoder decoder) {
    Decoder *d = decoder;
    pthread_mutex_lock(&lock);
    driver_state()->live--;
    pthread_mutex_unlock(&lock);
    free(d->surface);
    free(d);
    return CUDA_SUCCESS;
}

tcuvidDecodePicture cuvidDecodePicture;
CUresult cuvidDecodePicture(CUvideodecoder decoder, CUVIDPICPARAMS *picture) {
    Decoder *d = decoder;
    DriverState *state = driver_state();
    if (driver_fails(&state->fail_decode) || picture->CurrPicIdx < 0 ||
        picture->CurrPicIdx >= d->surfaces || picture->nBitstreamDataLen < DRIVER_KEY)
        return CUDA_ERROR_UNKNOWN;
    const uint8_t *key = picture->pBitstreamData + picture->nBitstreamDataLen - DRIVER_KEY;
    for (int i = 0; i < learnt_count; i++)
        if (!memcmp(learnt[i].key, key, DRIVER_KEY) && learnt[i].width == d->width &&
            learnt[i].height == d->height && learnt[i].bytes == d->bytes) {
            d->surface[picture->CurrPicIdx] = &learnt[i];
            pthread_mutex_lock(&lock);
            state->decoded++;
            pthread_mutex_unlock(&lock);
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_UNKNOWN;
}

/* A copy with lines further apart, and rubbish between them. */
tcuvidMapVideoFrame cuvidMapVideoFrame64;
CUresult cuvidMapVideoFrame64(CUvideodecoder decoder, int number, CUdeviceptr *memory,
                              unsigned int *pitch, CUVIDPROCPARAMS *how) {
    Decoder *d = decoder;
    DriverState *state = driver_state();
    (void)how;
    pthread_mutex_lock(&lock);
    bool room = d->mapped < d->outputs;
    d->mapped += room;
    state->mapped += room;
    state->mapped_now += room;
    pthread_mutex_unlock(&lock);
    if (!room)
        return CUDA_ERROR_UNKNOWN;
    const Learnt *l = d->surface[number];
    size_t line = (size_t)d->width * (size_t)d->bytes, lines = (size_t)(d->height + d->height / 2);
    size_t stride = (line + 511) / 512 * 512;
    uint8_t *data = malloc(stride * lines);
    memset(data, 0xee, stride * lines);
    for (size_t y = 0; l && y < lines; y++)
        memcpy(data + y * stride, l->data + y * line, line);
    *memory = (CUdeviceptr)(uintptr_t)data;
    *pitch = (unsigned int)stride;
    if (!driver_fails(&state->fail_map))
        return CUDA_SUCCESS;
    free(data);
    pthread_mutex_lock(&lock);
    d->mapped--;
    state->mapped_now--;
    pthread_mutex_unlock(&lock);
    return CUDA_ERROR_UNKNOWN;
}

tcuvidUnmapVideoFrame cuvidUnmapVideoFrame64;
CUresult cuvidUnmapVideoFrame64(CUvideodecoder decoder, CUdeviceptr memory) {
    Decoder *d = decoder;
    free((void *)(uintptr_t)memory);
    pthread_mutex_lock(&lock);
    d->mapped--;
    driver_state()->mapped_now--;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

/* ---- what must be there to be loaded, and is not called ---- */

#define UNUSED(name)                                                                               \
    CUresult name(void);                                                                           \
    CUresult name(void) {                                                                          \
        return CUDA_ERROR_UNKNOWN;                                                                 \
    }
UNUSED(cuvidGetDecodeStatus)
UNUSED(cuvidReconfigureDecoder)
UNUSED(cuvidCtxLockCreate)
UNUSED(cuvidCtxLockDestroy)
UNUSED(cuvidCtxLock)
UNUSED(cuvidCtxUnlock)
UNUSED(cuvidCreateVideoSource)
UNUSED(cuvidCreateVideoSourceW)
UNUSED(cuvidDestroyVideoSource)
UNUSED(cuvidSetVideoSourceState)
UNUSED(cuvidGetVideoSourceState)
UNUSED(cuvidGetSourceVideoFormat)
UNUSED(cuvidGetSourceAudioFormat)
UNUSED(cuvidCreateVideoParser)
UNUSED(cuvidParseVideoData)
UNUSED(cuvidDestroyVideoParser)
