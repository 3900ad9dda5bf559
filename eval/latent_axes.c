/* Fitting, keeping and applying the axes of colours. See eval/latent_axes.h. */
#include "eval/latent_axes.h"
#include "base/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void latent_rows_add(LatentRows *all, const float *rows, size_t n, int width) {
    size_t take = all->each && all->each < n ? all->each : n, wide = (size_t)width;
    JEPA_ASSERT(!all->width || all->width == width);
    all->width = width;
    if (all->count + take > all->room) {
        all->room = 2 * all->room > all->count + take ? 2 * all->room : all->count + take;
        all->rows = memory_grow(all->rows, all->room * wide, sizeof *all->rows);
    }
    for (size_t i = 0; i < take; i++)
        memcpy(all->rows + (all->count++) * wide, rows + i * n / take * wide,
               wide * sizeof *all->rows);
}

void latent_rows_free(LatentRows *all) {
    free(all->rows);
    memset(all, 0, sizeof *all);
}

int latent_axes_fit(LatentAxes *axes, const LatentRows *rows, Error *error) {
    memset(axes, 0, sizeof *axes);
    if (pca_fit(&axes->pca, rows->rows, rows->count, rows->width, LATENT_COLORS, error))
        return -1;
    float *projected = memory_new(rows->count * LATENT_COLORS, sizeof *projected);
    pca_project(projected, &axes->pca, rows->rows, rows->count);
    pca_range(axes->low, axes->high, projected, rows->count, LATENT_COLORS);
    free(projected);
    return 0;
}

void latent_axes_free(LatentAxes *axes) {
    pca_free(&axes->pca);
    memset(axes, 0, sizeof *axes);
}

void latent_axes_place(float *place, const LatentAxes *axes, const float *rows, size_t n) {
    pca_project(place, &axes->pca, rows, n);
    pca_scale(place, n, LATENT_COLORS, axes->low, axes->high);
}

double latent_axes_share(const LatentAxes *axes, int k) {
    return axes->pca.total > 0 ? axes->pca.variance[k] / axes->pca.total : 0;
}

static TensorInfo tensor(const char *name, const double *values, int dims, int64_t first,
                         int64_t second) {
    int64_t count = dims > 1 ? first * second : first;
    return (TensorInfo){.name = (char *)(uintptr_t)name,
                        .type = TENSOR_F64,
                        .dims = dims,
                        .shape = {first, second},
                        .data = values,
                        .bytes = (size_t)count * sizeof *values};
}

int latent_axes_save(const LatentAxes *axes, const char *path, Error *error) {
    const Pca *pca = &axes->pca;
    const TensorInfo tensors[] = {
        tensor("mean", pca->mean, 1, pca->width, 0),
        tensor("axes", pca->axes, 2, LATENT_COLORS, pca->width),
        tensor("low", axes->low, 1, LATENT_COLORS, 0),
        tensor("high", axes->high, 1, LATENT_COLORS, 0),
        tensor("variance", pca->variance, 1, LATENT_COLORS, 0),
        tensor("total", &pca->total, 1, 1, 0),
    };
    char format[] = LATENT_AXES_FORMAT, checkpoint[HASH_TEXT], key[] = "checkpoint",
         kind[] = "format";
    memcpy(checkpoint, axes->checkpoint, sizeof checkpoint);
    const TensorNote notes[] = {{kind, format}, {key, checkpoint}};
    return safetensors_write_noted(path, tensors, sizeof tensors / sizeof *tensors, notes,
                                   sizeof notes / sizeof *notes, NULL, error);
}

/* A tensor of `count` finite F64 values into `to`. */
static int read_values(double *to, const Safetensors *file, const char *name, size_t count,
                       Error *error) {
    const TensorInfo *found = safetensors_find(file, name);
    if (!found || found->type != TENSOR_F64 || found->bytes != count * sizeof *to)
        return error_set(error, ERROR_RUN,
                         "%s: no axes of colours: its tensor \"%s\" is %s, expected %zu float64 "
                         "values",
                         file->path, name, found ? "another" : "missing", count);
    memcpy(to, found->data, found->bytes);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(to[i]))
            return error_set(error, ERROR_RUN, "%s: damaged: \"%s\" has a value that is not finite",
                             file->path, name);
    return 0;
}

static int read_axes(LatentAxes *axes, const Safetensors *file, int width, Error *error) {
    Pca *pca = &axes->pca;
    const TensorInfo *mean = safetensors_find(file, "mean");
    const char *format = safetensors_note(file, "format"),
               *checkpoint = safetensors_note(file, "checkpoint");
    if (!mean || !format || strcmp(format, LATENT_AXES_FORMAT) != 0)
        return error_set(error, ERROR_RUN,
                         "%s: not a file of axes; expected one that jepa visualize wrote "
                         "(axes.safetensors)",
                         file->path);
    if (mean->dims != 1 || mean->shape[0] != width)
        return error_set(error, ERROR_USAGE,
                         "%s: its axes are for features of width %lld, those of this checkpoint "
                         "have %d",
                         file->path, mean->dims ? (long long)mean->shape[0] : 0, width);
    size_t wide = (size_t)width;
    pca->width = width;
    pca->components = LATENT_COLORS;
    pca->mean = memory_new(wide, sizeof *pca->mean);
    pca->axes = memory_new(LATENT_COLORS * wide, sizeof *pca->axes);
    pca->variance = memory_new(LATENT_COLORS, sizeof *pca->variance);
    if (checkpoint)
        snprintf(axes->checkpoint, sizeof axes->checkpoint, "%s", checkpoint);
    return read_values(pca->mean, file, "mean", wide, error) ||
                   read_values(pca->axes, file, "axes", LATENT_COLORS * wide, error) ||
                   read_values(axes->low, file, "low", LATENT_COLORS, error) ||
                   read_values(axes->high, file, "high", LATENT_COLORS, error) ||
                   read_values(pca->variance, file, "variance", LATENT_COLORS, error) ||
                   read_values(&pca->total, file, "total", 1, error)
               ? -1
               : 0;
}

int latent_axes_load(LatentAxes *axes, const char *path, int width, Error *error) {
    Safetensors file;
    memset(axes, 0, sizeof *axes);
    if (safetensors_open(&file, path, error))
        return -1;
    int result = read_axes(axes, &file, width, error);
    safetensors_close(&file);
    if (result)
        latent_axes_free(axes);
    return result;
}
