/* jepa surprise: where a video is not what the model expects.
 *
 *   --video   OUT/surprise.csv, OUT/surprise.png of a video (OUT/N-NAME/ of several)
 *   --pairs   OUT/results.csv, results.json: is the impossible video of a pair the more surprising
 *             one? OUT/windows.csv: all windows; OUT/pair-KIND.png: the first pair of each kind
 * What surprise is: eval/surprise.h. */
#include "experiments/surprise.h"
#include "base/file.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/plan.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VIDEOS_MOST   256
#define PICTURES_MOST 100
#define THREADS_MOST  4096
#define INSTEAD       "similarity, attention and map of jepa visualize"

static int make_out(const Surprise *s, Error *error) {
    if (folder_make(s->out, error))
        return -1;
    if (access(s->out, W_OK))
        return error_set(error, ERROR_RUN, "%s: cannot write into this folder", s->out);
    return 0;
}

static int load(Model *model, const Surprise *s, Error *error) {
    ModelPlan plan = {.config = {.token_by_length = true},
                      .samples = 1,
                      .settings = s->count,
                      .context = s->masks.cu_context[s->count],
                      .target = s->masks.cu_target[s->count]};
    return scene_model(model, &s->scene, &plan, 't', error);
}

/* The networks, with a mask setting for each context length. */
static int load_models(Surprise *s, Error *error) {
    const ModelConfig *config = &s->scene.config;
    surprise_masks(&s->masks, s->contexts, s->count, config->tubelet, config_grid(config));
    s->token = scene_late_token(&s->scene, 0); /* the first, as the published evaluation */
    if (load(&s->model, s, error))
        return -1;
    s->has_model = true;
    if (scene_predictor_trained(&s->scene, &s->model, "surprise", INSTEAD, error))
        return -1;
    if (!s->pairs)
        return 0;
    if (load(&s->random, s, error))
        return -1;
    s->has_random = true;
    model_init(&s->random, (uint64_t)s->random_seed);
    if (recipe_teacher(&s->scene.recipe))
        log_info("the frozen teacher of this run stays what it is in the random model too: only "
                 "its context encoder and predictor are random");
    return 0;
}

static int surprise(Surprise *s, const char *checkpoint, const char *contexts, const TextList *sets,
                    const char *device, Error *error) {
    int result = scene_open(&s->scene, checkpoint, sets, error);
    if (!result)
        result = scene_needs_predictor(&s->scene, "surprise", INSTEAD, error);
    if (!result)
        result = surprise_contexts(s->contexts, &s->count, contexts, s->scene.clip.frames,
                                   s->scene.config.tubelet, error);
    if (!result && s->stride >= s->scene.clip.frames)
        result = error_set(error, ERROR_USAGE,
                           "--stride %" PRId64 ": expected 1 to %d, less than a window's frames",
                           s->stride, s->scene.clip.frames - 1);
    if (!result && s->pairs)
        result = pair_list(&s->list, s->pairs, error);
    if (!result && s->video)
        result = footage_choose(&s->footage, &s->footage_count, s->video, (size_t)s->videos,
                                &s->scene.clip, error);
    if (!result)
        result = make_out(s, error);
    if (!result)
        result = scene_open_device(&s->scene, device, (int)s->threads, error);
    if (!result)
        result = load_models(s, error);
    if (!result)
        printf("checkpoint             %s\n", s->scene.source);
    if (!result)
        result = s->pairs ? surprise_study(s, error) : surprise_films(s, error);
    if (s->has_random)
        model_free(&s->random);
    if (s->has_model)
        model_free(&s->model);
    mask_group_free(&s->masks);
    pair_list_free(&s->list);
    footage_free(s->footage, s->footage_count);
    scene_close(&s->scene);
    return result;
}

static int check_numbers(const Surprise *s, Error *error) {
    if (s->stride < 1)
        return error_set(error, ERROR_USAGE, "--stride %" PRId64 ": expected 1 or more", s->stride);
    if (s->videos < 1 || s->videos > VIDEOS_MOST)
        return error_set(error, ERROR_USAGE, "--videos %" PRId64 ": expected 1 to %d", s->videos,
                         VIDEOS_MOST);
    if (s->pictures < 0 || s->pictures > PICTURES_MOST)
        return error_set(error, ERROR_USAGE, "--pictures %" PRId64 ": expected 0 to %d",
                         s->pictures, PICTURES_MOST);
    if (s->random_seed < 0 || s->threads < 0 || s->threads > THREADS_MOST)
        return error_set(error, ERROR_USAGE,
                         "--random-seed and --threads: 0 or more (threads up to %d)", THREADS_MOST);
    return 0;
}

int command_surprise(int argc, char **argv) {
    const CommandHelp help = {
        "jepa surprise --checkpoint RUN|FILE --video FILE|FOLDER | --pairs DIR --out DIR",
        "How far what comes is from what the model expected: of windows along a video, the mean "
        "|prediction - target| of all frames behind the first ones, as a curve under a film strip "
        "and as a table. With --pairs, of possible and impossible videos (jepa synth --physics): "
        "how often the impossible one surprises more, beside random weights and beside a "
        "prediction that repeats what was seen last."};
    Surprise s = {.stride = 2, .videos = 1, .pictures = 1};
    const char *checkpoint = NULL, *contexts = NULL, *device = NULL;
    TextList sets = {0}, rest = {0};
    const Option options[] = {
        {"checkpoint", "RUN|FILE",
         "a run (its newest checkpoint), one of its step-N folders, or a file of published weights",
         OPTION_TEXT, &checkpoint},
        {"video", "FILE", "a video, or a folder or list of some (see --videos)", OPTION_TEXT,
         &s.video},
        {"pairs", "DIR",
         "pairs instead: a pairs.csv or its folder, or a folder with NAME_possible.EXT and "
         "NAME_impossible.EXT",
         OPTION_TEXT, &s.pairs},
        {"out", "DIR", "folder for what is written; made if it is missing", OPTION_TEXT, &s.out},
        {"context", "LIST",
         "frames of a window that are seen: 2,4,6,8,10 (default: of 16, else the same shares)",
         OPTION_TEXT, &contexts},
        {"stride", "N", "frames of the clip from one window to the next (default 2)",
         OPTION_INTEGER, &s.stride},
        {"videos", "N", "of a folder or list, so many videos, spread evenly (default 1)",
         OPTION_INTEGER, &s.videos},
        {"pictures", "N", "pairs: pictures of so many of each kind (default 1)", OPTION_INTEGER,
         &s.pictures},
        {"random-seed", "S", "pairs: of the random weights beside it (default 0)", OPTION_INTEGER,
         &s.random_seed},
        {"set", "KEY=VALUE", "change the recipe, e.g. data.sampling_rate=1; may be given again",
         OPTION_LIST, &sets},
        {"threads", "N", "threads; 0: all (default)", OPTION_INTEGER, &s.threads},
        {"device", "NAME", OPTION_DEVICE_HELP, OPTION_TEXT, &device},
    };
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (rest.count)
            error_set(&error, ERROR_USAGE, "unexpected argument \"%s\"", rest.items[0]);
        else if (!checkpoint || !s.out || !s.video == !s.pairs)
            error_set(&error, ERROR_USAGE,
                      "--checkpoint, --out and one of --video and --pairs are needed");
        else if (!check_numbers(&s, &error))
            surprise(&s, checkpoint, contexts, &sets, device, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa surprise: %s\n", error.text);
    free(sets.items);
    free(rest.items);
    return error.code;
}
