/* Loading cuDNN. See kernels/cuda/cudnn_library.h. */
#include "kernels/cuda/cudnn_library.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING(x)    #x
#define TEXT_OF(x)   STRING(x)
#define LIBRARY_NAME "libcudnn.so." TEXT_OF(CUDNN_MAJOR)

/* The file itself, or the same file in `folder`/lib64 or `folder`/lib; a NULL folder has none. */
static void *open_below(const char *folder) {
    static const char *const parts[] = {"lib64", "lib"};
    void *file = NULL;
    for (size_t i = 0; folder && !file && i < sizeof parts / sizeof *parts; i++) {
        char *path = memory_text("%s/%s/%s", folder, parts[i], LIBRARY_NAME);
        file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        free(path);
    }
    return file;
}

static void *open_file(void) {
    void *file = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);
    const char *folders[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda"};
    for (size_t i = 0; !file && i < sizeof folders / sizeof *folders; i++)
        file = open_below(folders[i]);
    return file;
}

int cudnn_library_open(CudnnLibrary *library, Error *error) {
    CudnnLibrary l = {.file = open_file()};
    if (!l.file)
        return error_set(error, ERROR_RUN,
                         "cuDNN is not there: expected %s where libraries are, or below $CUDA_HOME",
                         LIBRARY_NAME);
    struct {
        const char *name;
        void *place; /* of a function pointer; POSIX lets dlsym's result be one */
    } functions[] = {{"cudnnGetVersion", &l.get_version},
                     {"cudnnGetErrorString", &l.error_string},
                     {"cudnnGetLastErrorString", &l.last_error},
                     {"cudnnCreate", &l.create},
                     {"cudnnDestroy", &l.destroy},
                     {"cudnnSetStream", &l.set_stream},
                     {"cudnnBackendCreateDescriptor", &l.descriptor_create},
                     {"cudnnBackendDestroyDescriptor", &l.descriptor_destroy},
                     {"cudnnBackendFinalize", &l.descriptor_finalize},
                     {"cudnnBackendSetAttribute", &l.descriptor_set},
                     {"cudnnBackendGetAttribute", &l.descriptor_get},
                     {"cudnnBackendExecute", &l.execute}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *symbol = dlsym(l.file, functions[i].name);
        if (!symbol) {
            cudnn_library_close(&l);
            return error_set(error, ERROR_RUN, "%s has no %s: expected cuDNN %d.%d or newer",
                             LIBRARY_NAME, functions[i].name, CUDNN_MAJOR, CUDNN_MINOR);
        }
        memcpy(functions[i].place, &symbol, sizeof symbol);
    }
    l.version = l.get_version();
    *library = l;
    return 0;
}

void cudnn_library_close(CudnnLibrary *library) {
    if (library->file)
        dlclose(library->file);
    *library = (CudnnLibrary){0};
}

int cudnn_error(const CudnnLibrary *library, cudnnStatus_t status, const char *what, Error *error) {
    char last[512] = "";
    library->last_error(last, sizeof last);
    for (char *c = last; *c; c++) /* one line */
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return error_set(error, ERROR_RUN, "%s: cuDNN %zu says %s%s%s%s", what, library->version,
                     library->error_string(status), *last ? " (" : "", last, *last ? ")" : "");
}

int cudnn_target_open(CudnnTarget *target, const CudnnLibrary *library, cudaStream_t stream,
                      int capability, Error *error) {
    *target = (CudnnTarget){.library = library, .capability = capability};
    cudnnStatus_t status = library->create(&target->handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->set_stream(target->handle, stream);
    if (status == CUDNN_STATUS_SUCCESS)
        return 0;
    cudnn_error(library, status, "opening cuDNN on this GPU", error);
    cudnn_target_close(target);
    return -1;
}

int cudnn_target_describe(CudnnTarget *target, const CudnnLibrary *library, const char *json,
                          Error *error) {
    *target = (CudnnTarget){.library = library};
    const char *key = "\"deviceVer\":", *version = strstr(json, key);
    if (!version)
        return error_set(error, ERROR_RUN,
                         "description of a GPU: expected %s with 100 major + 10 "
                         "minor of its compute capability",
                         key);
    target->capability = atoi(version + strlen(key)) / 10;
    cudnnStatus_t status = library->descriptor_create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                                                      &target->properties);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->descriptor_set(target->properties,
                                         CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                         (int64_t)strlen(json), json);
    if (status == CUDNN_STATUS_SUCCESS)
        status = library->descriptor_finalize(target->properties);
    if (status == CUDNN_STATUS_SUCCESS)
        return 0;
    cudnn_error(library, status, "description of a GPU", error);
    cudnn_target_close(target);
    return -1;
}

void cudnn_target_close(CudnnTarget *target) {
    if (target->properties)
        target->library->descriptor_destroy(target->properties);
    if (target->handle)
        target->library->destroy(target->handle);
    *target = (CudnnTarget){0};
}
