/* jepa visualize: pictures and films of what a trained model sees and predicts.
 *
 *   part         what                                              file
 *   sheet        masks, latents and errors of one clip             contact-sheet.png
 *   masks        what each mask setting shows and hides            masks
 *   latents      target and predicted latents in colour            latents
 *   errors       errors of the prediction and of trivial ones      errors
 *   future       what it expects of the frames after the first     future
 *   expected     its predictions as pixels, by a bank and a decoder expected
 *   similarity   one token against all others                      similarity
 *   attention    where one token looks                             attention
 *   map          the clips of a folder as a map                    map-pca.png, map-tsne.png
 * The clip is the evaluation one (largest centred crop, no mirroring), in the middle of the video
 * or where --start says; masks are drawn by the recipe's own sampler. */
#include "experiments/visualize.h"
#include "base/file.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/plan.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MOST 4096
#define TILE_LEAST   32
#define TILE_MOST    512
#define VIDEOS_MOST  256
#define FIT_BYTES    ((size_t)64 << 20) /* of rows for the axes of colours */

static const struct {
    const char *name;
    unsigned bit;
} part_names[] = {
    {"sheet", PART_SHEET},         {"masks", PART_MASKS},   {"latents", PART_LATENTS},
    {"errors", PART_ERRORS},       {"future", PART_FUTURE}, {"similarity", PART_SIMILARITY},
    {"attention", PART_ATTENTION}, {"map", PART_MAP},       {"expected", PART_EXPECTED}};

static int parse_parts(unsigned *parts, const char *text, Error *error) {
    *parts = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ","), i = 0, known = sizeof part_names / sizeof *part_names;
        while (i < known && (strlen(part_names[i].name) != length ||
                             memcmp(part_names[i].name, at, length) != 0))
            i++;
        if (i == known)
            return error_set(error, ERROR_USAGE,
                             "--parts %.*s: expected sheet, masks, latents, errors, future, "
                             "expected, similarity, attention or map, with commas",
                             (int)length, at);
        *parts |= part_names[i].bit;
        at += length;
        if (!*at)
            return 0;
    }
}

/* Stills unless others are asked for; but the future of a long video is a film. */
static int choose_formats(Show *s, const char *parts, const char *formats, Error *error) {
    s->parts = PARTS_CLIP;
    s->formats = FILM_STILL;
    s->future_formats = FILM_STILL | FILM_MP4;
    if ((parts && parse_parts(&s->parts, parts, error)) ||
        (formats && film_formats(&s->formats, formats, error)))
        return -1;
    if (formats)
        s->future_formats = s->formats;
    if (s->formats & FILM_STILL)
        return 0;
    if (!parts)
        s->parts &= ~PART_SHEET;
    if (s->parts & (PART_SHEET | PART_MAP))
        return error_set(error, ERROR_USAGE,
                         "--parts %s: a picture, not a film; add png to --format",
                         s->parts & PART_MAP ? "map" : "sheet");
    return 0;
}

/* ---- what the parts share ---- */

char *show_folder(const Show *show, size_t i, Error *error) {
    char *folder = memory_text("%s", show->out);
    if (show->count > 1) {
        free(folder);
        char *name = memory_text("%zu-%s", i, show_name(&show->footage[i]));
        folder = path_join(show->out, name);
        free(name);
    }
    if (folder_make(folder, error)) {
        free(folder);
        return NULL;
    }
    return folder;
}

const char *show_name(const Footage *footage) {
    return path_name(footage->file.name);
}

char *show_origin(const Show *s, const Footage *footage, const int64_t *frames) {
    const Scene *scene = &s->scene;
    int count = scene->clip.frames;
    MaskGrid grid = config_grid(&scene->config);
    return memory_text("%s · frames %" PRId64 " to %" PRId64 " of %" PRId64
                       ": a clip of %d · %d×%d×%d tokens of %d frame%s × %d×%d pixels · mask seed "
                       "%" PRId64,
                       scene->source, frames[0], frames[count - 1], footage->file.frames, count,
                       grid.time, grid.height, grid.width, scene->config.tubelet,
                       scene->config.tubelet > 1 ? "s" : "", scene->config.patch,
                       scene->config.patch, s->mask_seed);
}

char *show_crop(const Footage *footage, const ClipDraw *draw) {
    int width = video_file_width(&footage->file), height = video_file_height(&footage->file);
    if (draw->width == width && draw->height == height)
        return memory_text("%s", "");
    return memory_text(" · the middle %d×%d of %d×%d pixels", draw->width, draw->height, width,
                       height);
}

double show_rate(const Footage *footage, const int64_t *frames, int count) {
    double seconds = video_file_seconds(&footage->file, frames[count - 1]) -
                     video_file_seconds(&footage->file, frames[0]);
    return count > 1 && seconds > 0 ? (count - 1) / seconds : 1;
}

char *show_moment(const Footage *footage, int64_t frame) {
    return memory_text("%.2f s · frame %" PRId64, video_file_seconds(&footage->file, frame), frame);
}

int show_draw(ClipDraw *draw, const Show *s, const Footage *footage, Error *error) {
    clip_draw_evaluation(draw, &footage->index, 0, &s->scene.clip, 0, 1, 0, 1);
    if (s->start == NOT_GIVEN)
        return 0;
    return clip_draw_from(draw, &footage->file, &s->scene.clip, s->start, error);
}

/* ---- the work ---- */

/* The networks with the recipe's masks. */
static int load_predictor(Show *s, Error *error) {
    MaskRecipe recipe = recipe_mask(&s->scene.recipe);
    int64_t most = (int64_t)recipe.settings * mask_grid_tokens(recipe.grid);
    ModelPlan plan = {.samples = 1,
                      .settings = recipe.settings,
                      .contexts = mask_contexts(&recipe),
                      .context = most,
                      .joined = most,
                      .target = most};
    if (scene_model(&s->model, &s->scene, &plan, 't', error))
        return -1;
    s->has_model = true;
    return scene_predictor_trained(&s->scene, &s->model, PARTS_PREDICTED, PARTS_OTHER, error);
}

/* --axes, before anything is begun. */
static int load_axes(Show *s, Error *error) {
    char hash[HASH_TEXT];
    const ModelConfig *c = &s->scene.config;
    int width = config_teacher(c).dim * (c->levels ? c->levels : 1);
    if (!s->axes_file || !(s->parts & PARTS_COLOURED))
        return 0;
    if (latent_axes_load(&s->axes, s->axes_file, width, error))
        return -1;
    hash_text(hash, &s->scene.hash);
    if (*s->axes.checkpoint && strcmp(s->axes.checkpoint, hash) != 0)
        log_warn("%s was fitted for another checkpoint: like colours are like features only as far "
                 "as the two agree",
                 s->axes_file);
    return 0;
}

/* Fitted to what was gathered, and kept; nothing to do where they were given. */
static int settle_axes(Show *s, const LatentRows *rows, Error *error) {
    char *path = path_join(s->out, "axes.safetensors");
    int result = 0;
    if (!s->axes_file) {
        result = latent_axes_fit(&s->axes, rows, error);
        hash_text(s->axes.checkpoint, &s->scene.hash);
        if (!result)
            result = latent_axes_save(&s->axes, path, error);
        if (!result)
            printf("%s\n", path);
    }
    free(path);
    return result;
}

static int show_predictions(Show *s, Error *error) {
    LatentRows rows = {0};
    ClipShow *clips = NULL;
    FutureShow *future = NULL;
    int result = load_predictor(s, error);
    if (!result) {
        size_t adds = 2 * (s->count + (s->parts & PART_FUTURE ? FIT_WINDOWS + s->count : 0));
        rows.each = FIT_BYTES / sizeof(float) / (size_t)s->model.target_width / adds;
        rows.each = rows.each ? rows.each : 1;
    }
    if (!result && (s->parts & PARTS_CLIP))
        result = clip_show_gather(&clips, s, &rows, error);
    if (!result && (s->parts & PART_FUTURE))
        result = future_show_gather(&future, s, &rows, error);
    if (!result && (s->parts & PARTS_COLOURED))
        result = settle_axes(s, &rows, error);
    latent_rows_free(&rows);
    if (!result && clips)
        result = clip_show_draw(clips, s, error);
    if (!result && future)
        result = future_show_draw(future, s, error);
    if (!result && (s->parts & PART_EXPECTED))
        result = expected_show_draw(s->expected, s, error);
    clip_show_free(clips);
    future_show_free(future);
    if (s->has_model)
        model_free(&s->model);
    s->has_model = false;
    return result;
}

static int make_out(const Show *s, Error *error) {
    if (folder_make(s->out, error))
        return -1;
    if (access(s->out, W_OK))
        return error_set(error, ERROR_RUN, "%s: cannot write into this folder", s->out);
    return 0;
}

static int check_request(Show *s, Error *error) {
    const Recipe *recipe = &s->scene.recipe;
    if ((s->parts & PARTS_PREDICT) &&
        scene_needs_predictor(&s->scene, PARTS_PREDICTED, PARTS_OTHER, error))
        return -1;
    if (s->mask != NOT_GIVEN && s->mask >= recipe_mask(recipe).settings)
        return error_set(error, ERROR_USAGE,
                         "--mask %" PRId64 ": the recipe has %d mask settings, 0 to %d", s->mask,
                         recipe_mask(recipe).settings, recipe_mask(recipe).settings - 1);
    if (((s->parts & PART_FUTURE) && future_check(s, error)) ||
        ((s->parts & PARTS_QUERY) && query_check(s, error)) ||
        ((s->bank || s->decoder) && expected_show_open(&s->expected, s, error)))
        return -1;
    return 0;
}

static int visualize(Show *s, const char *checkpoint, const TextList *sets, Error *error) {
    const ClipSpec *clip = &s->scene.clip;
    int result = scene_open(&s->scene, checkpoint, sets, error);
    if (!result)
        result = check_request(s, error);
    if (!result)
        result = load_axes(s, error);
    if (!result)
        result = scene_open_device(&s->scene, s->device, (int)s->threads, error);
    if (!result && (s->parts & ~PART_MAP))
        result = footage_choose(&s->footage, &s->count, s->video, (size_t)s->videos, clip, error);
    ClipDraw draw;
    for (size_t i = 0; i < s->count && !result; i++) /* is --start possible? */
        result = show_draw(&draw, s, &s->footage[i], error);
    if (!result)
        result = make_out(s, error);
    if (!result)
        printf("checkpoint             %s\n", s->scene.source);
    if (!result && (s->parts & PARTS_PREDICT))
        result = show_predictions(s, error);
    if (!result && (s->parts & PARTS_QUERY))
        result = query_show(s, error);
    if (!result && (s->parts & PART_MAP))
        result = map_show(s, error);
    expected_show_free(s->expected);
    latent_axes_free(&s->axes);
    footage_free(s->footage, s->count);
    scene_close(&s->scene);
    return result;
}

static int check_numbers(const Show *s, Error *error) {
    if ((s->mask < 0 && s->mask != NOT_GIVEN) || (s->start < 0 && s->start != NOT_GIVEN) ||
        s->mask_seed < 0 || s->seed < 0 || s->windows < 0 || s->threads < 0 ||
        s->threads > THREADS_MOST)
        return error_set(error, ERROR_USAGE,
                         "--mask, --mask-seed, --seed, --start, --windows and --threads: 0 or more "
                         "(threads up to %d)",
                         THREADS_MOST);
    if (s->tile && (s->tile < TILE_LEAST || s->tile > TILE_MOST))
        return error_set(error, ERROR_USAGE, "--tile %" PRId64 ": expected %d to %d pixels",
                         s->tile, TILE_LEAST, TILE_MOST);
    if (s->videos < 1 || s->videos > VIDEOS_MOST)
        return error_set(error, ERROR_USAGE, "--videos %" PRId64 ": expected 1 to %d", s->videos,
                         VIDEOS_MOST);
    if (s->segments < 1 || s->segments > 64)
        return error_set(error, ERROR_USAGE, "--segments %" PRId64 ": expected 1 to 64",
                         s->segments);
    if (!(s->perplexity >= 1 && s->perplexity <= 1000))
        return error_set(error, ERROR_USAGE, "--perplexity %g: expected 1 to 1000", s->perplexity);
    if ((s->bank || s->decoder) && !(s->parts & (PART_EXPECTED | PART_FUTURE)))
        return error_set(error, ERROR_USAGE,
                         "--bank and --decoder: for --parts expected and future");
    if ((s->parts & PART_EXPECTED) && !s->bank && !s->decoder)
        return error_set(error, ERROR_USAGE,
                         "--parts expected: --bank (of jepa bank) or --decoder (of jepa decoder "
                         "train) is needed, or both");
    if (strcmp(s->network, "target") != 0 && strcmp(s->network, "context") != 0)
        return error_set(error, ERROR_USAGE, "--network %s: expected target or context",
                         s->network);
    return 0;
}

int command_visualize(int argc, char **argv) {
    const CommandHelp help = {
        "jepa visualize --checkpoint RUN|FILE --video FILE|FOLDER --out DIR [--parts LIST] "
        "[--format LIST]",
        "Draws what a trained model does with a video: what its masks hide, target and predicted "
        "latents in the colours of one joint PCA, the error of every token beside those of trivial "
        "predictors (parts sheet, masks, latents, errors: of one clip); what it expects of the "
        "frames to come, along the whole video (future); its predictions as pixels, by real "
        "patches "
        "of a bank and by a decoder (expected); what one token is like and where it looks "
        "(similarity, attention); the clips of a folder as a map (map). As pictures (png) or films "
        "(apng, gif, mp4, webm)."};
    Show s = {.mask = NOT_GIVEN,
              .start = NOT_GIVEN,
              .context_frames = NOT_GIVEN,
              .layer = NOT_GIVEN,
              .head = NOT_GIVEN,
              .videos = 1,
              .segments = 1,
              .perplexity = 30,
              .network = "target"};
    const char *checkpoint = NULL, *parts = NULL, *formats = NULL;
    TextList sets = {0}, rest = {0};
    const Option options[] = {
        {"checkpoint", "RUN|FILE",
         "a run (its newest checkpoint), one of its step-N folders, or a file of published weights",
         OPTION_TEXT, &checkpoint},
        {"video", "FILE", "a video, or a folder or list of some (see --videos)", OPTION_TEXT,
         &s.video},
        {"out", "DIR", "folder for the pictures; made if it is missing", OPTION_TEXT, &s.out},
        {"parts", "LIST",
         "sheet, masks, latents, errors (default: these), future, expected, similarity, attention, "
         "map",
         OPTION_TEXT, &parts},
        {"format", "LIST", "png (default; the future as mp4 too), apng, gif, mp4, webm",
         OPTION_TEXT, &formats},
        {"videos", "N", "of a folder or list, so many videos, spread evenly (default 1)",
         OPTION_INTEGER, &s.videos},
        {"mask", "N", "only this mask setting of the recipe (default: all)", OPTION_INTEGER,
         &s.mask},
        {"mask-seed", "S", "draws other masks (default 0)", OPTION_INTEGER, &s.mask_seed},
        {"start", "FRAME",
         "first frame of the clip (default: the middle of the video), or of the "
         "future (default: the start)",
         OPTION_INTEGER, &s.start},
        {"axes", "FILE", "colours of an earlier call (its axes.safetensors), not fitted again",
         OPTION_TEXT, &s.axes_file},
        {"smooth", NULL, "latents blended into each other instead of squares", OPTION_FLAG,
         &s.smooth},
        {"tile", "PIXELS", "height of a frame in pictures and films (default: by their number)",
         OPTION_INTEGER, &s.tile},
        {"context-frames", "K", "future: frames of a clip that are shown (default: half)",
         OPTION_INTEGER, &s.context_frames},
        {"windows", "N", "future: at most so many windows (default 0: to the end of the video)",
         OPTION_INTEGER, &s.windows},
        {"bank", "BANK", "expected, future: real patches, of jepa bank", OPTION_TEXT, &s.bank},
        {"decoder", "DECODER", "expected, future: of jepa decoder train", OPTION_TEXT, &s.decoder},
        {"query", "T,Y,X",
         "similarity, attention: a token by its place, from 0 (default: the "
         "middle); may be given again",
         OPTION_LIST, &s.queries},
        {"layer", "N", "attention: block, from 0 (default: the last)", OPTION_INTEGER, &s.layer},
        {"head", "N", "attention: only this head, from 0 (default: all and their mean)",
         OPTION_INTEGER, &s.head},
        {"network", "NAME", "similarity, attention, map: target (default) or context encoder",
         OPTION_TEXT, &s.network},
        {"segments", "N", "map: clips of each video, whose features are averaged (default 1)",
         OPTION_INTEGER, &s.segments},
        {"perplexity", "P", "map: neighbours that count, of t-SNE (default 30)", OPTION_NUMBER,
         &s.perplexity},
        {"seed", "S", "map: start of t-SNE (default 0)", OPTION_INTEGER, &s.seed},
        {"set", "KEY=VALUE", "change the recipe, e.g. data.sampling_rate=1; may be given again",
         OPTION_LIST, &sets},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &s.threads},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &s.device},
    };
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
        else if (!checkpoint || !s.video || !s.out)
            error_set(&error, ERROR_USAGE, "--checkpoint, --video and --out are needed");
        else if (!choose_formats(&s, parts, formats, &error) && !check_numbers(&s, &error))
            visualize(&s, checkpoint, &sets, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa visualize: %s\n", error.text);
    free(s.queries.items);
    free(sets.items);
    free(rest.items);
    return error.code;
}
