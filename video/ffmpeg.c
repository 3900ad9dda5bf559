/* What FFmpeg there is. See video/ffmpeg.h. */
#include "video/ffmpeg.h"
#include <libavcodec/avcodec.h>
#include <libavutil/avutil.h>
#include <libavutil/log.h>
#include <stdlib.h>

int ffmpeg_needed(Error *error) {
    (void)error;
    return 0;
}

void ffmpeg_quiet(void) {
    av_log_set_level(AV_LOG_QUIET);
}

const char *ffmpeg_version(void) {
    return av_version_info();
}

char *ffmpeg_decoders(void) {
    const enum AVCodecID wanted[] = {AV_CODEC_ID_H264,  AV_CODEC_ID_HEVC,       AV_CODEC_ID_AV1,
                                     AV_CODEC_ID_VP9,   AV_CODEC_ID_VP8,        AV_CODEC_ID_MPEG4,
                                     AV_CODEC_ID_MJPEG, AV_CODEC_ID_MPEG2VIDEO, AV_CODEC_ID_GIF,
                                     AV_CODEC_ID_PNG};
    char *list = memory_text("%s", "");
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const AVCodec *codec = avcodec_find_decoder(wanted[i]);
        const char *space = i ? " " : "";
        char *longer = codec ? memory_text("%s%s%s", list, space, codec->name)
                             : memory_text("%s%s(no %s)", list, space, avcodec_get_name(wanted[i]));
        free(list);
        list = longer;
    }
    return list;
}
