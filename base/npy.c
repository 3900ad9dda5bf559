/* Writing .npy files. See base/npy.h. */
#include "base/npy.h"
#include <inttypes.h>
#include <string.h>

#define ALIGNMENT 64
#define PREFIX    10 /* bytes before the text */
#define TEXT_MAX  256

int npy_begin(FileWriter *writer, const char *path, const char *descr, const int64_t *shape,
              int dims, Error *error) {
    JEPA_ASSERT(dims >= 1 && dims <= NPY_DIMS);
    char header[PREFIX + TEXT_MAX + ALIGNMENT] = "\x93NUMPY\x01";
    int at = PREFIX + snprintf(header + PREFIX, TEXT_MAX,
                               "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < dims; i++)
        at += snprintf(header + at, (size_t)(PREFIX + TEXT_MAX - at), "%" PRId64 "%s", shape[i],
                       dims == 1      ? ","
                       : i < dims - 1 ? ", "
                                      : "");
    at += snprintf(header + at, (size_t)(PREFIX + TEXT_MAX - at), "), }");
    JEPA_ASSERT(at < PREFIX + TEXT_MAX - 1);
    int whole = (at + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; /* the text ends with a newline */
    memset(header + at, ' ', (size_t)(whole - at));
    header[whole - 1] = '\n';
    header[8] = (char)((whole - PREFIX) & 0xff);
    header[9] = (char)((whole - PREFIX) >> 8);
    if (file_writer_open(writer, path, error))
        return -1;
    if (!file_writer_put(writer, header, (size_t)whole, error))
        return 0;
    file_writer_abandon(writer);
    return -1;
}
