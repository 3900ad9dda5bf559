/* A stand-in for NVIDIA's driver, so that libavcodec's CUDA path runs on machines without a GPU:
 * libcuda.so.1 (cuda.c) and libnvcuvid.so.1 (nvcuvid.c), as far as FFmpeg calls them.
 *
 * "Memory of the GPU" is memory. The "decoder" decodes nothing: it was told before what comes out
 * of which bytes (driver_learn), and hands that out as NVDEC does: in surfaces by number, NV12 or
 * P016 with lines further apart than the picture is wide, whole macroblocks, nothing cropped. What
 * a real driver refuses is refused: numbers of surfaces beyond those asked for, more pictures
 * mapped at once than were asked for, bytes that were never learnt.
 * A whole program finds it by LD_LIBRARY_PATH and DRIVER_DEVICES=1; it then has a GPU that fails at
 * every picture. */
#ifndef JEPA_TESTS_VIDEO_DRIVER_H
#define JEPA_TESTS_VIDEO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct DriverState {
    /* what the test chooses */
    int devices;                           /* GPUs there are */
    bool refuses;                          /* says of every stream that it is not supported */
    long fail_decode, fail_map, fail_copy; /* the n-th such call from now on fails; 0: none */
    /* what happened; `live` and what follows are 0 when all is closed */
    long decoded, mapped, copied;
    int most; /* decoders at once */
    int live; /* decoders */
    int mapped_now;
    long memory, contexts; /* allocations, contexts */
} DriverState;

/* Libraries are loaded by path, so functions are found by name. */
typedef DriverState *DriverStateOf(void); /* driver_state: libcuda */
typedef bool DriverFails(long *after);    /* driver_fails: libcuda */
#define DRIVER_KEY 32                     /* the last bytes of a picture's bitstream */
typedef void DriverLearn(const uint8_t key[DRIVER_KEY], int width, int height, int depth,
                         const uint8_t *const planes[3], const int strides[3]); /* libnvcuvid */
typedef void DriverForget(void);                                                /* libnvcuvid */

#endif
