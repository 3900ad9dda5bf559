/* Loading libraries. See kernels/cuda/library.h. */
#include "kernels/cuda/library.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static void *open_below(const char *folder, const char *file) {
    char *path = memory_text("%s/lib64/%s", folder, file);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    free(path);
    return library;
}

static void *open_one(const char *file) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const char *folders[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !library; i++)
        if (folders[i])
            library = open_below(folders[i], file);
    return library;
}

int library_open(void **library, const char *what, const char *const *files,
                 const LibrarySymbol *symbols, size_t count, Error *error) {
    void *opened = NULL;
    for (size_t i = 0; files[i] && !opened; i++)
        opened = open_one(files[i]);
    if (!opened)
        return error_set(error, ERROR_RUN,
                         "%s is not found (%s): install it, or set LD_LIBRARY_PATH to its folder",
                         what, files[0]);
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(opened, symbols[i].name);
        if (!symbol) {
            dlclose(opened);
            return error_set(error, ERROR_RUN, "%s (%s) is too old: it has no %s", what, files[0],
                             symbols[i].name);
        }
        memcpy(symbols[i].to, &symbol, sizeof symbol);
    }
    *library = opened;
    return 0;
}
