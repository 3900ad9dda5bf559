/* cuDNN's plans on a machine without a GPU: the stand-in driver (standin_driver.sh) and the GPUs
 * that are described in devices/. Their numbers are those of NVIDIA's data sheets and of the table
 * of compute capabilities in the CUDA programming guide. */
#ifndef JEPA_TESTS_CUDA_PLANNING_H
#define JEPA_TESTS_CUDA_PLANNING_H

#include "kernels/cuda/cudnn_library.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DEVICE_TEXT 4096

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Opens cuDNN; false, and a message, where it is missing. The driver's soname is libcuda.so.1: once
 * it is loaded, cuDNN's own request for that file finds it. */
static inline bool planning_open(CudnnLibrary *library) {
    Error error = {0};
#ifdef JEPA_STANDIN_DRIVER
    if (!dlopen(JEPA_STANDIN_DRIVER, RTLD_NOW | RTLD_GLOBAL)) {
        printf("skipped: no stand-in driver: %s\n", dlerror());
        return false;
    }
    if (!cudnn_library_open(library, &error))
        return true;
#else
    *library = (CudnnLibrary){.library = NULL};
    error_set(&error, ERROR_RUN, "the toolkit has no stub of the driver");
#endif
    printf("skipped: %s\n", error.text);
    return false;
}

/* The GPU of devices/`name`.json */
static inline int planning_target(CudnnTarget *target, const CudnnLibrary *library,
                                  const char *name, Error *error) {
    char text[DEVICE_TEXT] = "", *path;
    path = memory_text("%s/tests/cuda/devices/%s.json", JEPA_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    size_t read = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    int status = read ? cudnn_target_describe(target, library, text, error)
                      : error_set(error, ERROR_RUN, "%s: cannot be read", path);
    free(path);
    return status;
}

#endif
