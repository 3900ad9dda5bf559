/* Loading cuDNN. See kernels/cuda/cudnn_library.h. */
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/library.h"
#include <stdlib.h>
#include <string.h>

#define STRING(x)    #x
#define TEXT_OF(x)   STRING(x)
#define LIBRARY_FILE "libcudnn.so." TEXT_OF(CUDNN_MAJOR)

int cudnn_library_open(CudnnLibrary *l, Error *error) {
    static const char *const files[] = {LIBRARY_FILE, NULL};
    *l = (CudnnLibrary){.library = NULL};
    const LibrarySymbol symbols[] = {{"cudnnGetVersion", &l->get_version},
                                     {"cudnnGetErrorString", &l->error_string},
                                     {"cudnnGetLastErrorString", &l->last_error},
                                     {"cudnnCreate", &l->create},
                                     {"cudnnDestroy", &l->destroy},
                                     {"cudnnSetStream", &l->set_stream},
                                     {"cudnnBackendCreateDescriptor", &l->descriptor_create},
                                     {"cudnnBackendDestroyDescriptor", &l->descriptor_destroy},
                                     {"cudnnBackendFinalize", &l->descriptor_finalize},
                                     {"cudnnBackendSetAttribute", &l->descriptor_set},
                                     {"cudnnBackendGetAttribute", &l->descriptor_get},
                                     {"cudnnBackendExecute", &l->execute}};
    if (library_open(&l->library, "cuDNN, which computes attention on GPUs,", files, symbols,
                     sizeof symbols / sizeof *symbols, error))
        return -1;
    l->version = l->get_version();
    return 0;
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
