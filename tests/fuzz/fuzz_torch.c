/* Hostile PyTorch checkpoints: whatever opens must be safe to read in full. Random bytes hardly
 * ever become a zip, so the input is a whole file only where its first byte is odd; else it is the
 * pickle of a file that is made here around it, with eight storages to refer to. */
#include "base/torch_file.h"
#include "tests/base/zip_bytes.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void look_at(const TorchFile *file) {
    Error error = {0};
    for (size_t i = 0; i < file->count; i++) {
        const TorchTensor *tensor = &file->tensors[i];
        if (torch_file_find(file, tensor->path) != tensor)
            abort(); /* paths are unique */
        if (tensor->count > file->store.map_bytes)
            abort();
        float *out = malloc(tensor->count * sizeof *out + 1);
        if (out && !torch_tensor_floats(out, tensor, &error) != tensor_type_is_float(tensor->type))
            abort();
        free(out);
    }
    for (size_t i = 0; i < file->scalar_count; i++) {
        const TorchScalar *scalar = &file->scalars[i];
        if (torch_file_find(file, scalar->path) ||
            (scalar->text && scalar->length < strlen(scalar->text)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t bytes[24] = {0, 0, 0x80, 0x3f, 1, 2, 3};
    if (size < 1)
        return 0;
    char path[64];
    int descriptor;
    if (data[0] & 1) {
        descriptor = fuzz_file(path, data + 1, size - 1);
    } else {
        const ZipPart parts[] = {{"x/data.pkl", data + 1, size - 1},
                                 {"x/byteorder", "little", 6},
                                 {"x/data/0", bytes, 24},
                                 {"x/data/1", bytes, 8},
                                 {"x/data/2", bytes, 4},
                                 {"x/data/3", bytes, 24},
                                 {"x/data/4", bytes, 24},
                                 {"x/data/5", bytes, 4},
                                 {"x/data/6", bytes, 8},
                                 {"x/data/7", bytes, 8}};
        ZipBytes zip = zip_build(parts, sizeof parts / sizeof *parts, data[0] & 2);
        descriptor = fuzz_file(path, zip.data, zip.count);
        free(zip.data);
    }
    if (descriptor < 0)
        return 0;
    TorchFile file;
    Error error = {0};
    if (!torch_file_open(&file, path, &error)) {
        look_at(&file);
        torch_file_close(&file);
    }
    close(descriptor);
    return 0;
}
