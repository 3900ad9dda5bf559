#!/usr/bin/env bash
# Makes .gpu/ in the root of the repository: all that the program and its tests need to be built on a
# machine that has gcc, cmake and nvcc and nothing else, and that can fetch nothing. Run it on a Debian
# or Ubuntu of the same kind of processor, whose libc is no newer than that machine's.
#   tests/gpu/carry.sh [REFERENCE]     folder of the reference values (default: ../shared/reference)
# Nothing is installed here: packages are downloaded and unpacked into a temporary folder. On the other
# machine, with .gpu/ beside the sources:
#   cmake -C .gpu/carry.cmake -S . -B build && cmake --build build -j
#   build/jepa check-reference .gpu/reference/vjepa2_tiny
# What is in it: bin/pkg-config (that machine may have none), include/, lib/ with the .pc files,
# reference/ and carry.cmake, which tells cmake where to look and what to leave out.
set -euo pipefail
cd "$(dirname "$0")/../.."
reference=$(realpath -m "${1:-../shared/reference}")
limit_mib=60
for tool in apt-get dpkg-deb gcc nm; do
    command -v $tool >/dev/null || { echo "carry: needs $tool" >&2; exit 1; }
done
out=$PWD/.gpu
triplet=$(gcc -print-multiarch)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# MessagePack-C has another name from Debian 13 and Ubuntu 24.04 on.
msgpack=libmsgpack-dev
apt-cache show libmsgpack-c-dev >/dev/null 2>&1 && msgpack=libmsgpack-c-dev
packages=(libyaml-dev libsodium-dev libjansson-dev $msgpack libpng-dev zlib1g-dev libcmocka-dev
    libopenblas-pthread-dev pkgconf)
# The libraries among a package's dependencies; OpenBLAS comes from its archive, below.
libraries_of() {
    apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr ',' '\n' | awk '{print $1}' |
        sed 's/:.*//' | grep -E '^(lib.*|zlib1g|pkgconf-bin)$' | grep -vE -- '-dev$|^libc6|openblas' || true
}

echo "== packages"
all=("${packages[@]}")
for package in "${packages[@]}" pkgconf-bin; do
    all+=($(libraries_of "$package"))
done
(cd "$work" && apt-get download -q "${all[@]}" >log 2>&1) || { cat "$work/log" >&2; exit 1; }
for file in "$work"/*.deb; do
    dpkg-deb -x "$file" "$work/root"
done

rm -rf "$out"
mkdir -p "$out/bin" "$out/lib/pkgconfig" "$out/include"
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")"
grep -qx '/.gpu/' "$exclude" 2>/dev/null || echo '/.gpu/' >>"$exclude"

echo "== headers, libraries, .pc files"
cp -r "$work/root/usr/include/." "$out/include/"
rm -rf "$out/include/$triplet" "$out/include/cmockery"
if [ -d "$work/root/usr/include/$triplet" ]; then
    cp -r "$work/root/usr/include/$triplet/." "$out/include/"
    [ ! -d "$out/include/openblas-pthread" ] || mv "$out/include/openblas-pthread"/* "$out/include/"
    rmdir "$out/include/openblas-pthread" 2>/dev/null || true
fi
for name in yaml-0 yaml sodium jansson msgpackc msgpack-c png16 z cmocka pkgconf; do
    for folder in "$work/root/usr/lib/$triplet" "$work/root/lib/$triplet"; do
        for file in "$folder/lib$name.so"*; do
            [ ! -e "$file" ] && [ ! -L "$file" ] && continue
            if [ -L "$file" ]; then
                ln -sf "$(basename "$(readlink "$file")")" "$out/lib/$(basename "$file")"
            else
                cp "$file" "$out/lib/"
            fi
        done
    done
done
# The .pc files say where they are by themselves, so that the folder can be moved.
prefix='${pcfiledir}/../..'
for name in yaml-0.1 libsodium jansson msgpack msgpack-c libpng libpng16 zlib cmocka; do
    file=$work/root/usr/lib/$triplet/pkgconfig/$name.pc
    [ -e "$file" ] || file=$work/root/usr/share/pkgconfig/$name.pc
    [ -e "$file" ] || continue
    sed -E "s,/lib/$triplet/?,/lib,g; s,/include/$triplet/?,/include,g; s,(=|-[LI])/usr,\1$prefix,g" "$file" \
        >"$out/lib/pkgconfig/$name.pc"
done
# libz is libpng's own need: an RPATH holds for it too, a RUNPATH would not.
sed -i 's/^Libs: .*/& -Wl,--disable-new-dtags/' "$out"/lib/pkgconfig/libpng*.pc

# OpenBLAS with those parts of LAPACK that the sources call: 28 MB instead of 37, and no Fortran library.
echo "== OpenBLAS"
folder=$work/root/usr/lib/$triplet/openblas-pthread
archive=$(realpath "$folder/libopenblas.a")
nm -g --defined-only "$archive" 2>/dev/null | awk '$2 == "T" {print $3}' | sort -u >"$work/symbols"
grep -rhoE '\b[a-z]+[a-z0-9]*_ ?\(' --include=*.c --include=*.h base kernels jepa eval experiments | tr -d ' (' |
    sort -u | comm -12 - "$work/symbols" >"$work/called"
grep -E '^(cblas|openblas)_' "$work/symbols" | cat - "$work/called" | sed 's/^/-Wl,-u,/' >"$work/wanted"
cat >"$work/fortran.c" <<'END'
/* All that these parts of LAPACK need of libgfortran: s = a // b, cut or filled up with blanks. */
#include <string.h>
void _gfortran_concat_string(size_t n, char *s, size_t a_n, const char *a, size_t b_n, const char *b);
void _gfortran_concat_string(size_t n, char *s, size_t a_n, const char *a, size_t b_n, const char *b) {
    size_t from_a = a_n < n ? a_n : n, from_b = b_n < n - from_a ? b_n : n - from_a;
    memcpy(s, a, from_a);
    memcpy(s + from_a, b, from_b);
    memset(s + from_a + from_b, ' ', n - from_a - from_b);
}
END
gcc -shared -fPIC -O2 -o "$out/lib/libopenblas.so.0" -Wl,-soname,libopenblas.so.0 "@$work/wanted" \
    "$work/fortran.c" "$archive" -lpthread -lm -Wl,-s -Wl,--no-undefined
ln -sf libopenblas.so.0 "$out/lib/libopenblas.so"
cat >"$out/lib/pkgconfig/openblas.pc" <<END
libdir=$prefix/lib
includedir=$prefix/include
Name: openblas
Description: OpenBLAS with a part of LAPACK
Version: $(sed -n 's/^version=//p' "$folder/pkgconfig/openblas.pc")
Libs: -L\${libdir} -lopenblas
Cflags: -I\${includedir}
END

cp "$work/root/usr/bin/pkgconf" "$out/bin/"
cat >"$out/bin/pkg-config" <<'END'
#!/bin/sh
# pkg-config that knows the packages of this folder and no others.
here=$(dirname "$(realpath "$0")")
PKG_CONFIG_LIBDIR="$here/../lib/pkgconfig" LD_LIBRARY_PATH="$here/../lib" exec "$here/pkgconf" "$@"
END
chmod +x "$out/bin/pkg-config"
cat >"$out/carry.cmake" <<'END'
# cmake -C .gpu/carry.cmake: libraries from this folder, and none that are not in it.
set(PKG_CONFIG_EXECUTABLE "${CMAKE_CURRENT_LIST_DIR}/bin/pkg-config" CACHE FILEPATH "")
set(JEPA_FFMPEG OFF CACHE STRING "")
set(JEPA_ONEDNN OFF CACHE STRING "")
set(JEPA_MPI OFF CACHE STRING "")
END

echo "== reference values"
for name in vjepa1_tiny vjepa2_tiny; do # what check-reference reads, not the checkpoints
    [ -d "$reference/$name" ] || { echo "carry: no $reference/$name, left out" >&2; continue; }
    mkdir -p "$out/reference/$name"
    cp "$reference/$name/config.json" "$reference/$name"/*.safetensors "$out/reference/$name/"
done
[ ! -e "$reference/mask_statistics.json" ] || cp "$reference/mask_statistics.json" "$out/reference/"

chmod -R u+w "$out"
bytes=$(find "$out" -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
awk -v b="$bytes" -v m="$(dpkg --print-architecture)" 'BEGIN {printf "made .gpu for %s: %.1f MiB\n", m, b / 1048576}'
find "$out" -type f -printf '%s %P\n' | sort -rn | head -8 | awk '{printf "  %6.1f MiB  %s\n", $1 / 1048576, $2}'
if [ "$bytes" -gt $((limit_mib << 20)) ]; then
    echo "carry: more than $limit_mib MiB" >&2
    exit 1
fi
