#!/usr/bin/env bash
# Compiles everything that touches libav against the headers of other FFmpeg versions, without
# linking: a check for releases that are not installed.
#   tests/av_versions.sh INCLUDE...      folders that hold libavcodec/, libavformat/, libavutil/, libswscale/
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(yaml-0.1 libsodium jansson libpng)
pkg-config --exists msgpack-c && packages+=(msgpack-c) || packages+=(msgpack)
failed=0
for include in "$@"; do
    version=$(printf '#include <libavcodec/avcodec.h>\nLIBAVCODEC_VERSION_MAJOR\n' |
        gcc -E -isystem "$include" - | tail -1)
    count=0
    for file in video/*.c eval/*.c experiments/*.c experiments/bench/*.c tests/video/*.c tests/fuzz/*.c; do
        gcc -fsyntax-only -std=gnu17 -D_GNU_SOURCE -DJEPA_VERSION='"0"' -DJEPA_SOURCE_DIR='"."' -Wall -Wextra \
            -Wno-sign-conversion -Werror -I. -isystem "$include" $(pkg-config --cflags "${packages[@]}") \
            "$file" || failed=1
        count=$((count + 1))
    done
    echo "$include: libavcodec $version, $count files compiled"
done
exit $failed
