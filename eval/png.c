/* PNG through libpng's simplified interface, into a file that appears whole or not at all. */
#include "eval/png.h"

#include "base/file.h"
#include <errno.h>
#include <png.h>
#include <string.h>

int png_write(const char *path, const Canvas *canvas, Error *error) {
    FileWriter writer;
    if (file_writer_open(&writer, path, error)) {
        return -1;
    }
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)canvas->width;
    image.height = (png_uint_32)canvas->height;
    image.format = PNG_FORMAT_RGB;
    errno = 0;
    if (!png_image_write_to_stdio(&image, writer.stream, 0, canvas->rgb, canvas->width * 3, NULL)) {
        int reason = errno; /* libpng says only "write error"; the system knows why */
        (void)error_set(error, ERROR_RUN, "%s: cannot write the picture: %s", path,
                        reason ? strerror(reason) : image.message);
        png_image_free(&image);
        file_writer_abandon(&writer);
        return -1;
    }
    return file_writer_commit(&writer, error);
}
