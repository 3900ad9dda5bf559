/* jepa visualize: the clips of a folder as a map, by principal components and by t-SNE. */
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include "eval/features.h"
#include "eval/map_sheet.h"
#include "eval/pca.h"
#include "eval/png.h"
#include "eval/tsne.h"
#include "experiments/visualize.h"
#include "jepa/run.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_CLIPS 8 /* clips that go through the encoder at once */
#define ITERATIONS  1000

typedef struct Atlas {
    const Show *show;
    VideoIndex index;
    Features features;
    float *unit;                  /* [count][D] features of length 1 */
    int *label;                   /* [count] */
    double *pca, *tsne, share[2]; /* [count][2]; variance that each axis of pca carries */
} Atlas;

/* With the recipe's check and cache, whatever its own data sets were. */
static int index_videos(VideoIndex *index, const Show *show, Error *error) {
    Recipe recipe = show->scene.recipe;
    recipe.data.datasets[0] = (char *)(uintptr_t)show->video;
    recipe.data.datasets_count = 1;
    return run_index(index, &recipe, show->scene.device->threads, error);
}

static int extract(Atlas *a, Error *error) {
    const Show *show = a->show;
    ModelPlan plan = {.samples = BATCH_CLIPS};
    FeatureViews views = {
        .segments = (int)show->segments, .views = 1, .timeout = show->scene.recipe.data.timeout};
    Model model;
    if (scene_model(&model, &show->scene, &plan, *show->network, error))
        return -1;
    int result = features_extract(&a->features, &model, &a->index, &show->scene.clip, &views,
                                  *show->network, show->scene.device->threads, error);
    model_free(&model);
    return result;
}

/* Of more videos than can be embedded, so many spread evenly. */
static void thin_out(Features *f) {
    if (f->count <= TSNE_POINTS_MAX)
        return;
    log_warn("map: %d of %" PRId64 " videos, spread evenly", TSNE_POINTS_MAX, f->count);
    for (int64_t i = 0; i < TSNE_POINTS_MAX; i++) {
        int64_t from = i * f->count / TSNE_POINTS_MAX;
        memmove(f->rows + i * f->width, f->rows + from * f->width,
                (size_t)f->width * sizeof *f->rows);
        f->files[i] = f->files[from];
    }
    f->count = TSNE_POINTS_MAX;
}

/* Features of length 1, so that distance goes with the cosine; then both embeddings. */
static int embed(Atlas *a, Error *error) {
    const Show *show = a->show;
    size_t n = (size_t)a->features.count, width = (size_t)a->features.width;
    a->unit = memory_new(n * width, sizeof *a->unit);
    a->label = memory_new(n, sizeof *a->label);
    a->pca = memory_new(2 * n, sizeof *a->pca);
    a->tsne = memory_new(2 * n, sizeof *a->tsne);
    for (size_t i = 0; i < n; i++) {
        const float *row = a->features.rows + i * width;
        double square = 0;
        for (size_t d = 0; d < width; d++)
            square += (double)row[d] * row[d];
        for (size_t d = 0; d < width; d++)
            a->unit[i * width + d] = square > 0 ? (float)(row[d] / sqrt(square)) : 0;
        a->label[i] = video_index_label(&a->index, a->features.files[i]);
    }
    Pca pca;
    if (pca_fit(&pca, a->unit, n, (int)width, 2, error)) {
        pca_free(&pca);
        return -1;
    }
    float *projected = memory_new(2 * n, sizeof *projected);
    pca_project(projected, &pca, a->unit, n);
    for (size_t i = 0; i < 2 * n; i++)
        a->pca[i] = projected[i];
    for (int k = 0; k < 2; k++)
        a->share[k] = pca.total > 0 ? pca.variance[k] / pca.total : 0;
    free(projected);
    pca_free(&pca);
    TsneSpec spec = {show->perplexity, ITERATIONS, (uint64_t)show->seed};
    return tsne_embed(a->tsne, a->unit, n, (int)width, &spec, error);
}

/* The middle frame of the videos that are chosen: [count], NULL for the others and for those that
 * cannot be decoded. */
static uint8_t **decode_thumbnails(const Atlas *a, const bool *chosen) {
    size_t n = (size_t)a->features.count, area = (size_t)MAP_THUMBNAIL * MAP_THUMBNAIL;
    uint8_t **pictures = memory_new(n + 1, sizeof *pictures), *planes = memory_new(3 * area, 1);
    ClipSpec spec = {.frames = 1, .step = 1, .crop = MAP_THUMBNAIL, .hdr = a->show->scene.clip.hdr};
    ClipDecoder *decoder = clip_decoder_new(a->show->scene.recipe.data.timeout, NULL);
    for (size_t i = 0; i < n; i++) {
        VideoFile file = video_index_file(&a->index, a->features.files[i]);
        Error ignored = {0};
        ClipDraw draw;
        if (!chosen[i])
            continue;
        clip_draw_evaluation(&draw, &a->index, a->features.files[i], &spec, 0, 1, 0, 1);
        if (clip_decode(planes, decoder, &file, &draw, &spec, &ignored))
            continue; /* it stays a mark */
        pictures[i] = memory_new(3 * area, 1);
        for (size_t k = 0; k < 3 * area; k++)
            pictures[i][k] = planes[k % 3 * area + k / 3];
    }
    clip_decoder_free(decoder);
    free(planes);
    return pictures;
}

static int write_map(const Atlas *a, const char *what, const char *caption, const double *place,
                     const char *name, Error *error) {
    const Show *show = a->show;
    size_t n = (size_t)a->features.count;
    char *title = memory_text("%s of %" PRId64 " clips: %s", what, a->features.count,
                              path_name(show->video));
    char *subtitle = memory_text(
        "%s encoder of %s · mean token of %s", show->network, show->scene.source,
        show->segments > 1 ? "several clips of each video" : "the middle clip of each video");
    char *path = path_join(show->out, name);
    bool *chosen = memory_new(n + 1, sizeof *chosen);
    Canvas *canvas = NULL;
    MapSpec spec = {.title = title,
                    .subtitle = subtitle,
                    .caption = caption,
                    .count = n,
                    .place = place,
                    .label = a->index.classes ? a->label : NULL,
                    .classes = a->index.classes,
                    .class_names = (const char *const *)a->index.class_names};
    map_thumbnails(chosen, &spec);
    uint8_t **pictures = decode_thumbnails(a, chosen);
    spec.thumbnails = (const uint8_t *const *)pictures;
    int result = map_draw(&canvas, &spec, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result)
        printf("%s\n", path);
    for (size_t i = 0; i < n; i++)
        free(pictures[i]);
    free(pictures);
    canvas_free(canvas);
    free(chosen);
    free(title);
    free(subtitle);
    free(path);
    return result;
}

static int write_table(const Atlas *a, Error *error) {
    char *text = NULL, *path = path_join(a->show->out, "map.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    fprintf(file, "file,class,pca_x,pca_y,tsne_x,tsne_y\n");
    for (int64_t i = 0; i < a->features.count; i++) {
        char *name = csv_quote(video_index_name(&a->index, a->features.files[i]));
        char *class = csv_quote(a->label[i] >= 0 ? a->index.class_names[a->label[i]] : "");
        fprintf(file, "%s,%s,%.6g,%.6g,%.6g,%.6g\n", name, class, a->pca[2 * i], a->pca[2 * i + 1],
                a->tsne[2 * i], a->tsne[2 * i + 1]);
        free(name);
        free(class);
    }
    fclose(file);
    int result = file_write(path, text, size, error);
    if (!result)
        printf("%s\n", path);
    free(text);
    free(path);
    return result;
}

static int write_all(const Atlas *a, Error *error) {
    size_t n = (size_t)a->features.count;
    double perplexity = fmin(a->show->perplexity, fmax(((double)n - 1) / 3, 1));
    char *pca = memory_text("The two principal components of the clips' features (each of length "
                            "1) that vary most: %.0f %% of the variance across, %.0f %% up.",
                            100 * a->share[0], 100 * a->share[1]);
    char *tsne = memory_text("t-SNE of the clips' features (each of length 1), perplexity %.3g, %d "
                             "iterations, seed %" PRId64 ". Neighbours here are neighbours there; "
                             "distances between groups, their sizes and densities mean little.",
                             perplexity, ITERATIONS, a->show->seed);
    int result = write_map(a, "Principal components", pca, a->pca, "map-pca.png", error);
    if (!result)
        result = write_map(a, "Neighbours", tsne, a->tsne, "map-tsne.png", error);
    if (!result)
        result = write_table(a, error);
    free(pca);
    free(tsne);
    return result;
}

int map_show(const Show *show, Error *error) {
    Atlas a = {.show = show};
    int result = index_videos(&a.index, show, error);
    if (!result)
        result = extract(&a, error);
    if (!result && a.features.count < 3)
        result = error_set(error, ERROR_USAGE,
                           "--parts map: %" PRId64 " videos in %s; a map needs three or more",
                           a.features.count, show->video);
    if (!result) {
        thin_out(&a.features);
        result = embed(&a, error);
    }
    if (!result)
        result = write_all(&a, error);
    features_free(&a.features);
    video_index_free(&a.index);
    free(a.unit);
    free(a.label);
    free(a.pca);
    free(a.tsne);
    return result;
}
