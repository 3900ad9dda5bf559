/* See fuzz.h. */
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int fuzz_file(char path[64], const uint8_t *data, size_t size) {
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0)
        return -1;
    if (write(file, data, size) != (ssize_t)size) {
        close(file);
        return -1;
    }
    snprintf(path, 64, "/proc/self/fd/%d", file);
    return file;
}
