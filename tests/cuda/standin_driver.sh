#!/usr/bin/env bash
# Writes the C source of a CUDA driver for machines without a GPU: every function of the toolkit's stub is
# there and says "no device", except for those that cuDNN calls when it has compiled a kernel and loads it.
# With it cuDNN plans for a GPU that is described to it (kernels/cuda/cudnn_library.h); nothing runs.
#   tests/cuda/standin_driver.sh STUB/libcuda.so driver.c
# The C file becomes a shared library whose soname is libcuda.so.1.
set -euo pipefail
stub=$1
exec >"$2"
no_device=100  # CUDA_ERROR_NO_DEVICE
version=13000  # cuDriverGetVersion: 13.0

# A function takes pointers in its first two arguments, if any: what it is to answer, by name.
answer() {
    case $1 in
    cuDriverGetVersion) echo "*(int *)first = $version; return 0;" ;;
    cuGetErrorName | cuGetErrorString) echo '*(const char **)second = "no GPU: stand-in driver"; return 0;' ;;
    # kernels: loaded, and set to
    cuLibraryLoadData | cuLibraryLoadFromFile | cuLibraryGetKernel | cuLibraryGetModule | cuLibraryGetGlobal | \
        cuLibraryGetManaged | cuLibraryGetUnifiedFunction | cuLibraryGetKernelCount | cuKernelGetFunction)
        echo 'if (first) *(void **)first = &standin; return 0;' ;;
    cuFuncGetAttribute | cuKernelGetAttribute) echo 'if (first) *(int *)first = 0; return 0;' ;;
    cuLibraryUnload | cuFuncLoad | cuFuncSetAttribute | cuKernelSetAttribute) echo 'return 0;' ;;
    *) echo "return $no_device;" ;;
    esac
}

echo 'static int standin; /* what handles point to */'
nm -D --defined-only "$stub" | awk '$2 == "T" {print $3}' | sort -u | while read -r name; do
    echo "int $name(void *first, void *second);"
    echo "int $name(void *first, void *second) { (void)first; (void)second; $(answer "$name") }"
done
