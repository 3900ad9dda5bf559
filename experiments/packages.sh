# Which packages of the distribution are needed, and how they are installed. Sourced by the scripts.

build_packages=(gcc cmake make pkg-config libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
    libpng-dev libyaml-dev libmsgpack-dev libjansson-dev libsodium-dev libopenblas-dev libdnnl-dev
    libopenmpi-dev openmpi-bin)
test_packages=(libcmocka-dev ffmpeg libffmpeg-nvenc-dev python3-sklearn python3-msgpack python3-nbclient python3-ipykernel)
fuzz_packages=(clang libclang-rt-dev)

# Installs those that are missing, and says which; without root it prints the command instead.
install_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian or Ubuntu: install by hand what these packages bring: $*" >&2
        return 0
    fi
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed"; then
            # MessagePack-C has another name from Debian 13 and Ubuntu 24.04 on
            if [ "$package" = libmsgpack-dev ] &&
                dpkg-query -W -f='${Status}' libmsgpack-c-dev 2>/dev/null | grep -q "ok installed"; then
                continue
            fi
            missing+=("$package")
        fi
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local i
    for i in "${!missing[@]}"; do
        if [ "${missing[$i]}" = libmsgpack-dev ] && apt-cache show libmsgpack-c-dev >/dev/null 2>&1; then
            missing[$i]=libmsgpack-c-dev
        fi
    done
    if [ "$(id -u)" -ne 0 ]; then
        echo "Missing packages. Please run: sudo apt-get install -y ${missing[*]}" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null
    echo "Installing: ${missing[*]}"
    apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}
