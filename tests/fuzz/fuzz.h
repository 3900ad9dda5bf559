/* What the fuzz targets share: bytes under a file name, as the program gets them. */
#ifndef JEPA_TESTS_FUZZ_H
#define JEPA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Puts the bytes into a file in memory; `path` receives a name that opens it. The caller closes
 * the descriptor, which is -1 where there is no memory. */
int fuzz_file(char path[64], const uint8_t *data, size_t size);

#endif
