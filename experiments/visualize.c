/* jepa visualize: pictures of what a trained model predicts for one video.
 *
 * The clip is the evaluation one (largest centred square, no mirroring), the masks are drawn by the
 * recipe's own sampler. See eval/latents.h for what is computed and eval/latent_sheet.h for the
 * pictures. */
#include "base/file.h"
#include "eval/latent_sheet.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/plan.h"
#include "jepa/checkpoint.h"
#include "jepa/recipe.h"
#include "video/clip.h"
#include "video/ffmpeg.h"
#include "video/sources.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOT_GIVEN    INT64_MIN
#define THREADS_MOST 4096

typedef struct VisualizeArguments {
    const char *checkpoint, *video, *out, *device;
    int64_t mask, mask_seed, start, threads;
} VisualizeArguments;

typedef struct Scene {
    Checkpoint checkpoint;
    Recipe recipe;
    VideoFile file;
    VideoIndex index;
    ClipSpec clip;
    ClipDraw draw;
    Device *device;
    Model model;
    MaskGroup masks;
    Latents latents;
    int tile;
    uint8_t *frames; /* [T][tile][tile][3] */
} Scene;

static int open_recipe(Scene *s, const VisualizeArguments *a, Error *error) {
    if (checkpoint_open(&s->checkpoint, a->checkpoint, error) ||
        recipe_parse(&s->recipe, s->checkpoint.recipe, "the checkpoint's recipe", error) ||
        recipe_check(&s->recipe, error))
        return -1;
    if (a->mask >= s->recipe.mask.count)
        return error_set(error, ERROR_USAGE,
                         "--mask %" PRId64 ": the recipe has %d mask settings, 0 to %d", a->mask,
                         s->recipe.mask.count, s->recipe.mask.count - 1);
    return 0;
}

static bool is_list(const char *path) {
    size_t length = strlen(path);
    return length > 4 && (!strcmp(path + length - 4, ".csv") || !strcmp(path + length - 4, ".txt"));
}

/* The clip in the middle of the video, or where --start says. */
static int choose_clip(Scene *s, const VisualizeArguments *a, Error *error) {
    if (video_index_of_files(&s->index, &s->file, 1, NULL, 0, error))
        return -1;
    if (s->recipe.objective != OBJECTIVE_JEPA)
        return error_set(error, ERROR_USAGE,
                         "this checkpoint has no predictor (objective: sigreg), so there is "
                         "nothing to compare with its targets");
    s->clip = recipe_clip(&s->recipe);
    if (s->clip.crop_width)
        return error_set(error, ERROR_USAGE,
                         "this checkpoint takes clips of %d x %d pixels; pictures are drawn of "
                         "square ones only so far",
                         s->clip.crop, s->clip.crop_width);
    clip_draw_evaluation(&s->draw, &s->index, 0, &s->clip, 0, 1, 0, 1);
    if (a->start != NOT_GIVEN)
        return clip_draw_from(&s->draw, &s->file, &s->clip, a->start, error);
    return 0;
}

/* The video itself, or the first usable one of a folder or list. */
static int open_video(Scene *s, const VisualizeArguments *a, Error *error) {
    SourceList list = {0};
    bool several = folder_exists(a->video) || is_list(a->video);
    ffmpeg_quiet();
    if (columns_is(a->video)) { /* the first usable one of an index */
        VideoIndex all;
        if (video_index_build(&all, a->video, 1, error))
            return -1;
        VideoFile first = video_index_file(&all, all.usable_files[0]);
        s->file = video_file_copy(&first);
        s->file.label = -1;
        s->file.dataset = 0;
        video_index_free(&all);
        return choose_clip(s, a, error);
    }
    if (several && source_list(&list, a->video, error))
        return -1;
    for (size_t i = 0; i == 0 || (i < list.count && s->file.reason); i++) {
        const char *path = several ? list.files[i].path : a->video;
        video_file_free(&s->file);
        video_file_scan(&s->file, path, NULL);
        s->file.name = memory_text("%s", path);
    }
    source_list_free(&list);
    if (s->file.reason)
        return error_set(error, ERROR_RUN, "%s: %s", s->file.name, s->file.reason);
    return choose_clip(s, a, error);
}

/* clip[3][frames][side][side] of the drawn frames; the caller frees. */
static int decode(uint8_t **clip, const Scene *s, int side, Error *error) {
    ClipSpec spec = s->clip;
    ClipDecoder *decoder = clip_decoder_new(s->recipe.data.timeout, NULL);
    spec.crop = side;
    *clip = memory_new((size_t)3 * (size_t)spec.frames * (size_t)side, (size_t)side);
    int result = clip_decode(*clip, decoder, &s->file, &s->draw, &spec, error);
    clip_decoder_free(decoder);
    if (result) {
        free(*clip);
        *clip = NULL;
        return error_prefix(error, "%s", s->file.name);
    }
    return 0;
}

/* The same with published interpolation, normalised. */
static int decode_values(float **values, const Scene *s, Error *error) {
    const ClipSpec *spec = &s->clip;
    ClipDecoder *decoder = clip_decoder_new(s->recipe.data.timeout, NULL);
    size_t side = (size_t)spec->crop;
    *values = memory_new((size_t)3 * (size_t)spec->frames * side * side, sizeof **values);
    int result = clip_decode_values(*values, decoder, &s->file, &s->draw, spec, error);
    clip_decoder_free(decoder);
    if (result) {
        free(*values);
        *values = NULL;
        return error_prefix(error, "%s", s->file.name);
    }
    return 0;
}

/* The first frame of each time step at the size of a tile. */
static int decode_tiles(Scene *s, Error *error) {
    uint8_t *clip = NULL;
    MaskGrid grid = s->latents.grid;
    s->tile = latent_tile(grid);
    if (decode(&clip, s, s->tile, error))
        return -1;
    size_t area = (size_t)s->tile * (size_t)s->tile, frames = (size_t)s->clip.frames;
    size_t tubelet = (size_t)s->recipe.data.tubelet_size;
    s->frames = memory_new((size_t)grid.time * area, 3);
    for (size_t t = 0; t < (size_t)grid.time; t++)
        for (size_t c = 0; c < 3; c++) {
            const uint8_t *plane = clip + (c * frames + t * tubelet) * area;
            for (size_t i = 0; i < area; i++)
                s->frames[(t * area + i) * 3 + c] = plane[i];
        }
    free(clip);
    return 0;
}

/* Weights, masks and passes. */
static int predict(Scene *s, const VisualizeArguments *a, Error *error) {
    MaskRecipe recipe = recipe_mask(&s->recipe);
    recipe.samples = 1;
    recipe.batch = MASK_PACKED;
    int64_t most = (int64_t)recipe.settings * mask_grid_tokens(recipe.grid);
    ModelPlan plan = {.config = recipe_model(&s->recipe),
                      .samples = 1,
                      .settings = recipe.settings,
                      .contexts = mask_contexts(&recipe),
                      .context = most,
                      .joined = most,
                      .target = most,
                      .float_input = s->clip.interpolation == CLIP_PUBLISHED};
    uint8_t *clip = NULL;
    float *values = NULL;
    if (plan.float_input ? decode_values(&values, s, error) : decode(&clip, s, s->clip.crop, error))
        return -1;
    int result = model_new(&s->model, &plan, s->device, error);
    if (!result)
        result = checkpoint_load(&s->model, &s->checkpoint, error);
    if (!result) {
        mask_group_new(&s->masks, &recipe, most, most);
        mask_group_draw(&s->masks, &recipe, (uint64_t)a->mask_seed, 0, 0, NULL);
        ModelInput input = {.samples = 1, .pixels = clip, .values = values};
        result = latents_compute(&s->latents, &s->model, &input, &s->masks, error);
    }
    free(values);
    free(clip);
    return result;
}

/* Seconds from the start of the video. */
static double frame_seconds(const VideoFile *file, int64_t frame) {
    return file->timed || file->fps > 0 ? video_file_seconds(file, frame) : NAN;
}

/* "15 %" or "15 to 20 %" */
static char *percent_text(const double share[2]) {
    return share[0] == share[1] ? memory_text("%.3g %%", 100 * share[0])
                                : memory_text("%.3g to %.3g %%", 100 * share[0], 100 * share[1]);
}

static char *mask_text(const MaskSetting *setting) {
    if (setting->kind == MASK_TUBE)
        return memory_text("%.3g %% of the places through all of time", 100 * setting->ratio);
    char *space = percent_text(setting->spatial_scale),
         *time = percent_text(setting->temporal_scale);
    bool whole = setting->temporal_scale[0] == 1 && setting->temporal_scale[1] == 1;
    char *text = memory_text("%d block%s of %s of the picture%s%s%s", setting->num_blocks,
                             setting->num_blocks == 1 ? "" : "s", space, whole ? "" : " and ",
                             whole ? "" : time, whole ? "" : " of the time");
    free(space);
    free(time);
    return text;
}

static char *origin_text(const Scene *s, const VisualizeArguments *a) {
    const int64_t *frames = s->draw.frames;
    int last = s->clip.frames - 1;
    MaskGrid grid = s->latents.grid;
    bool repeated = last > 0 && frames[last] == frames[last - 1]; /* the video is too short */
    return memory_text("%s, step %" PRId64 " · frames %" PRId64 " to %" PRId64 " of %" PRId64
                       ": a clip of %d%s · %d×%d×%d tokens of %d frames × %d×%d pixels · mask "
                       "seed %" PRId64,
                       s->checkpoint.folder, s->checkpoint.step, frames[0], frames[last],
                       s->file.frames, s->clip.frames, repeated ? ", the last repeated" : "",
                       grid.time, grid.height, grid.width, s->recipe.data.tubelet_size,
                       s->recipe.data.patch_size, s->recipe.data.patch_size, a->mask_seed);
}

static int draw(const Scene *s, const VisualizeArguments *a, Error *error) {
    int steps = s->latents.grid.time, settings = s->latents.settings;
    double *seconds = memory_new((size_t)steps, sizeof *seconds);
    int64_t *numbers = memory_new((size_t)steps, sizeof *numbers);
    for (int t = 0; t < steps; t++) {
        numbers[t] = s->draw.frames[t * s->recipe.data.tubelet_size];
        seconds[t] = frame_seconds(&s->file, numbers[t]);
    }
    char *texts[MASK_SETTINGS_MAX], *origin = origin_text(s, a);
    char *input = memory_text("%d×%d pixels", s->clip.crop, s->clip.crop);
    for (int m = 0; m < settings; m++)
        texts[m] = mask_text(&s->recipe.mask.settings[m]);
    LatentPictures pictures = {.latents = &s->latents,
                               .tile = s->tile,
                               .frames = s->frames,
                               .seconds = seconds,
                               .number = numbers,
                               .video = path_name(s->file.name),
                               .origin = origin,
                               .input = input,
                               .mask_text = (const char *const *)texts,
                               .only = a->mask == NOT_GIVEN ? -1 : (int)a->mask};
    int result = latent_pictures_write(&pictures, a->out, stdout, error);
    for (int m = 0; m < settings; m++)
        free(texts[m]);
    free(origin);
    free(input);
    free(seconds);
    free(numbers);
    return result;
}

static void print_measures(const Scene *s, const VisualizeArguments *a) {
    printf("checkpoint             %s\n", s->checkpoint.folder);
    printf("mask   hidden   error   of the mean   skill   cosine\n");
    for (int m = 0; m < s->latents.settings; m++) {
        const LatentMask *mask = &s->latents.mask[m];
        if (a->mask == NOT_GIVEN || a->mask == m)
            printf("%4d   %4.0f %%   %.3f         %.3f  %6.3f   %6.3f\n", m, 100 * mask->share,
                   mask->error, mask->trivial, mask->skill, mask->cosine);
    }
}

static int visualize(const VisualizeArguments *a, Error *error) {
    Scene s = {.tile = 0};
    recipe_default(&s.recipe);
    int result = open_recipe(&s, a, error);
    if (!result)
        result = plan_open_device(&s.device, a->device, 0, (int)a->threads, error);
    if (!result)
        result = open_video(&s, a, error);
    if (!result)
        result = folder_make(a->out, error);
    if (!result)
        result = predict(&s, a, error);
    if (!result)
        result = decode_tiles(&s, error);
    if (!result) {
        print_measures(&s, a);
        result = draw(&s, a, error);
    }
    free(s.frames);
    latents_free(&s.latents);
    mask_group_free(&s.masks);
    if (s.model.device)
        model_free(&s.model);
    device_close(s.device);
    video_index_free(&s.index);
    video_file_free(&s.file);
    recipe_free(&s.recipe);
    checkpoint_close(&s.checkpoint);
    return result;
}

int command_visualize(int argc, char **argv) {
    const CommandHelp help = {
        "jepa visualize --checkpoint RUN --video FILE --out DIR [--mask N] [--start FRAME]",
        "Writes PNGs of what the model predicts for a clip of the video: the frames, what each "
        "mask hides, target and predicted latents in the colours of one joint PCA, the error of "
        "every token beside that of a trivial predictor, and a contact sheet with all of it."};
    VisualizeArguments a = {.mask = NOT_GIVEN, .start = NOT_GIVEN};
    const Option options[] = {
        {"checkpoint", "RUN", "a run (its newest checkpoint) or a step-N folder", OPTION_TEXT,
         &a.checkpoint},
        {"video", "FILE", "the video; of a folder or list its first usable one", OPTION_TEXT,
         &a.video},
        {"out", "DIR", "folder for the pictures", OPTION_TEXT, &a.out},
        {"mask", "N", "only this mask setting of the recipe, 0 is the first (default: all)",
         OPTION_INTEGER, &a.mask},
        {"mask-seed", "S", "another draw of the masks (default 0)", OPTION_INTEGER, &a.mask_seed},
        {"start", "FRAME", "first frame of the clip (default: the middle of the video)",
         OPTION_INTEGER, &a.start},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &a.threads},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &a.device},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
        else if (!a.checkpoint || !a.video || !a.out)
            error_set(&error, ERROR_USAGE, "--checkpoint, --video and --out are needed");
        else if ((a.mask < 0 && a.mask != NOT_GIVEN) || (a.start < 0 && a.start != NOT_GIVEN) ||
                 a.mask_seed < 0 || a.threads < 0 || a.threads > THREADS_MOST)
            error_set(&error, ERROR_USAGE,
                      "--mask, --mask-seed, --start and --threads: 0 or more (threads up to %d)",
                      THREADS_MOST);
        else
            visualize(&a, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa visualize: %s\n", error.text);
    free(rest.items);
    return error.code;
}
