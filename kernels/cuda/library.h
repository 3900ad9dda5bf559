/* NVIDIA's libraries, loaded when a GPU asks for them: the program starts on machines that have
 * none of them, and says in one line which one a GPU lacks.
 *
 * What was opened stays until the process ends: the libraries have threads of their own (NCCL's
 * that answers `ncclras`) and kernels that the driver knows, whose code must not go away. */
#ifndef JEPA_KERNELS_CUDA_LIBRARY_H
#define JEPA_KERNELS_CUDA_LIBRARY_H

#include "base/error.h"
#include <stddef.h>

/* A function that is looked up: its name, and where its address goes. */
typedef struct LibrarySymbol {
    const char *name;
    void *to; /* address of a function pointer */
} LibrarySymbol;

/* Opens the first of `files` ("libnccl.so.2", ...; NULL ends them) that is found where the system
 * looks, then below $CUDA_HOME, $CUDA_PATH and /usr/local/cuda, and fills `symbols`. *library is
 * dlopen's. ERROR_RUN: none is found, or it lacks a function; `what` ("NCCL") says what it is for.
 */
int library_open(void **library, const char *what, const char *const *files,
                 const LibrarySymbol *symbols, size_t count, Error *error);

#endif
