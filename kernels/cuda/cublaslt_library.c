/* Finds cuBLASLt at run time. See kernels/cuda/cublaslt_library.h. */
#include "kernels/cuda/cublaslt_library.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define LIBRARY       "libcublasLt.so"
#define TOOLKIT       "/usr/local/cuda" /* where NVIDIA's installers put it */
#define VERSION_LEAST 120000            /* 12.0.0, as cublasLtGetVersion counts */

/* The newer version first, wherever it lies: by its name, as the system finds libraries, then in
 * the folders of a toolkit. It stays loaded until the process ends: loading takes long, and the
 * driver holds state of its own for it. */
static void *find_library(void) {
    const char *folders[] = {NULL, getenv("CUDA_PATH"), getenv("CUDA_HOME"), TOOLKIT};
    for (int version = 13; version >= 12; version--)
        for (int i = 0; i < 4; i++) {
            char path[4096];
            if (i && !folders[i])
                continue;
            int length = i ? snprintf(path, sizeof path, "%s/lib64/%s.%d", folders[i], LIBRARY,
                                      version)
                           : snprintf(path, sizeof path, "%s.%d", LIBRARY, version);
            void *library = length < (int)sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
            if (library)
                return library;
        }
    return NULL;
}

int cublaslt_open(CublasLt *lt, Error *error) {
    *lt = (CublasLt){.library = find_library()};
    if (!lt->library)
        return error_set(error, ERROR_RUN,
                         "cuBLASLt is missing: neither " LIBRARY ".13 nor .12 is where the system "
                         "looks for libraries or in lib64 of CUDA_PATH, CUDA_HOME or " TOOLKIT
                         "; install it (libcublas of the CUDA toolkit) or add its folder to "
                         "LD_LIBRARY_PATH");
    const char *missing = NULL;
#define FIND(name)                                                                                 \
    *(void **)&lt->name = dlsym(lt->library, "cublasLt" #name);                                    \
    missing = lt->name ? missing : "cublasLt" #name;
    CUBLASLT_FUNCTIONS(FIND)
#undef FIND
    if (missing)
        return error_set(error, ERROR_RUN, LIBRARY " has no %s: install cuBLAS 12 or 13", missing);
    if (lt->GetVersion() < VERSION_LEAST)
        return error_set(error, ERROR_RUN, LIBRARY " is version %zu: 12 or 13 is needed",
                         lt->GetVersion());
    return 0;
}
