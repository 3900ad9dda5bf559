/* Hostile safetensors files: whatever opens must be safe to read in full. */
#include "base/safetensors.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int descriptor = fuzz_file(path, data, size);
    if (descriptor < 0)
        return 0;
    Safetensors file;
    Error error = {0};
    if (!safetensors_open(&file, path, &error)) {
        for (size_t i = 0; i < file.count; i++) {
            const TensorInfo *tensor = &file.tensors[i];
            size_t count = tensor->bytes / tensor_type_bytes(tensor->type);
            if (safetensors_find(&file, tensor->name) != tensor)
                abort();
            float *out = malloc(count * sizeof *out + 1);
            int result = safetensors_floats(out, count, &file, tensor->name, &error);
            if (out && !result != tensor_type_is_float(tensor->type))
                abort();
            free(out);
        }
        safetensors_close(&file);
    }
    close(descriptor);
    return 0;
}
