/* jepa inspect: a folder of videos, summed up for a person; checkpoints in inspect_checkpoint.c. */
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/inspect_checkpoint.h"
#include "experiments/options.h"
#include "jepa/run.h"
#include "kernels/device.h"
#include "video/census.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MOST 8  /* kinds in a line */
#define GOP_LONG   60 /* frames from keyframe to keyframe from which transcoding pays */
#define LABEL      17 /* columns before a line's value */

typedef struct InspectArguments {
    const char *recipe, *check;
    TextList sets;
    double timeout;
    int64_t threads, shown;
    bool tensors, whole_recipe; /* of a checkpoint */
} InspectArguments;

static void print_tally(const Tally *t, const char *label) {
    printf("%-*s", LABEL, label);
    size_t left = t->beyond;
    for (size_t i = 0; i < t->kinds; i++)
        if (i < SHOWN_MOST)
            printf("%s%s %zu", i ? ", " : "", t->texts[i], t->counts[i]);
        else
            left += t->counts[i];
    if (left)
        printf(", %zu others", left);
    printf("%s\n", t->kinds ? "" : "none");
}

static void print_duration(double seconds) {
    if (seconds < 60)
        printf("%.1f s", seconds);
    else if (seconds < 3600)
        printf("%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    else
        printf("%.1f h", seconds / 3600);
}

static void print_kinds(const VideoCensus *c) {
    size_t last = c->usable - 1, middle = c->usable / 2, long_gops = 0;
    printf("%-*s", LABEL, "length");
    print_duration(c->duration);
    printf(" in all; shortest ");
    print_duration(c->seconds[0]);
    printf(", median ");
    print_duration(c->seconds[middle]);
    printf(", longest ");
    print_duration(c->seconds[last]);
    printf("\n%-*s%.0f to %.0f, median %.0f\n", LABEL, "frames", c->frames[0], c->frames[last],
           c->frames[middle]);
    print_tally(&c->sizes, "sizes");
    print_tally(&c->rates, "frames a second");
    print_tally(&c->codecs, "codecs");
    print_tally(&c->containers, "containers");
    print_tally(&c->formats, "pixel formats");
    print_tally(&c->colours, "colours");
    printf(
        "%-*s%zu rotated, %zu with uneven time stamps, %zu without usable ones, %zu with sound\n",
        LABEL, "of these", c->rotated, c->uneven, c->untimed, c->with_audio);
    printf("%-*severy %.0f frames (median), at most every %.0f\n", LABEL, "keyframes",
           c->gaps[middle], c->gaps[last]);
    for (size_t i = 0; i < c->usable; i++)
        long_gops += c->gaps[i] > GOP_LONG;
    if (long_gops)
        printf("%-*s%zu videos have more than %d frames from keyframe to keyframe: clips of them "
               "are slow to reach (jepa transcode --gop 16)\n",
               LABEL, "", long_gops, GOP_LONG);
}

/* A name without what a terminal would obey. */
static void print_plain(const char *name) {
    printf("  ");
    for (; *name; name++)
        putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void print_unusable(const VideoIndex *index, int64_t most) {
    size_t count = index->count - index->usable;
    int64_t shown = 0;
    if (!count)
        return;
    printf("unusable:\n");
    for (size_t i = 0; i < index->count && shown < most; i++)
        if (video_index_reason(index, (uint32_t)i)) {
            print_plain(video_index_name(index, (uint32_t)i));
            printf(": %s\n", video_index_reason(index, (uint32_t)i));
            shown++;
        }
    if ((int64_t)count > shown)
        printf("  ... and %" PRId64 " more (--shown N)\n", (int64_t)count - shown);
}

/* What a recipe can draw. */
static int print_clips(const VideoIndex *index, const Recipe *recipe, Error *error) {
    SamplerSettings settings = recipe_sampler(recipe);
    Sampler sampler;
    if (settings.weighted && settings.weighted != index->sources_count) {
        log_info("the recipe's weights are for other data sets than these: not used");
        settings.weighted = 0;
    }
    if (sampler_new(&sampler, index, &settings, error))
        return -1;
    double windows = 0;
    size_t is_short = 0;
    for (size_t u = 0; u < index->usable; u++) {
        uint32_t number = index->usable_files[u];
        VideoFile file = video_index_file(index, number);
        ClipSpec spec = sampler_clip(&sampler, number);
        windows += (double)clip_windows(&file, &spec);
        is_short += clip_is_short(&file, &spec);
    }
    const ClipSpec *c = &settings.clip;
    printf("%-*s%d frames of %d x %d, ", LABEL, "clips", c->frames, c->crop, c->crop);
    if (c->fps > 0)
        printf("%g a second", c->fps);
    else if (c->duration > 0)
        printf("over %g s", c->duration);
    else
        printf("step %d", c->step);
    printf(": %.0f different windows", windows);
    printf("; %" PRIu64 " clips an epoch (sampling by %s)\n",
           sampler.units * (uint64_t)settings.num_clips,
           settings.mode == SAMPLER_DURATION ? "duration" : "video");
    if (sampler.hdr)
        printf("%-*s%zu videos are HDR and not drawn (data.hdr: refuse)\n", LABEL, "", sampler.hdr);
    if (sampler.held)
        printf("%-*s%zu videos are held out (diagnostics.hold_out)\n", LABEL, "", sampler.held);
    if (is_short)
        printf("%-*s%zu videos are shorter than a clip: %s\n", LABEL, "", is_short,
               c->short_videos == CLIP_SHORT_SKIP   ? "not drawn (data.short_videos: skip)"
               : c->short_videos == CLIP_SHORT_LOOP ? "begun again (data.short_videos: loop)"
                                                    : "their last frame is repeated "
                                                      "(data.short_videos: repeat)");
    sampler_free(&sampler);
    return 0;
}

static int inspect(const InspectArguments *a, const TextList *sources, Error *error) {
    Recipe recipe;
    VideoIndex index;
    recipe_default(&recipe);
    int result = a->recipe ? recipe_load(&recipe, a->recipe, error) : 0;
    for (size_t i = 0; i < a->sets.count && !result; i++)
        result = recipe_set(&recipe, a->sets.items[i], error);
    if (!result)
        result = recipe_check_data(&recipe, error);
    IndexSettings settings = {.sources_count = (int)sources->count,
                              .threads = a->threads ? (int)a->threads : device_threads_available(),
                              .scan = {.timeout = a->timeout},
                              .kept_may_fail = true,
                              .may_be_unusable = true};
    settings.scan.check = strcmp(a->check, "packets") ? VIDEO_CHECK_DECODE : VIDEO_CHECK_PACKETS;
    for (size_t i = 0; i < sources->count; i++)
        settings.sources[i] = sources->items[i];
    char *cache = video_index_cache(settings.sources, settings.sources_count, settings.scan.check);
    settings.kept = cache;
    double started = time_now();
    if (!result)
        result = video_index_make(&index, &settings, error);
    free(cache);
    if (!result) {
        printf("%-*s%zu in %d source%s, %zu usable, %zu unusable   (%.1f s)\n", LABEL, "videos",
               index.count, index.sources_count, index.sources_count > 1 ? "s" : "", index.usable,
               index.count - index.usable, time_now() - started);
        VideoCensus census;
        video_census(&census, &index);
        if (index.classes) {
            printf("%-*s%d\n", LABEL, "classes", index.classes);
            print_tally(&census.classes, "");
        }
        if (index.usable) {
            print_kinds(&census);
            result = print_clips(&index, &recipe, error);
        }
        video_census_free(&census);
        print_unusable(&index, a->shown);
        video_index_free(&index);
    }
    recipe_free(&recipe);
    return result;
}

static int inspect_one_checkpoint(const InspectArguments *a, const TextList *rest, Error *error) {
    if (rest->count != 1)
        return error_set(error, ERROR_USAGE, "%s is a checkpoint: give one at a time",
                         rest->items[0]);
    if (a->recipe || a->sets.count)
        return error_set(error, ERROR_USAGE,
                         "--recipe and --set are for videos; %s is a checkpoint (--whole-recipe "
                         "prints its own)",
                         rest->items[0]);
    return inspect_checkpoint(rest->items[0], a->tensors, a->whole_recipe, error);
}

int command_inspect(int argc, char **argv) {
    const CommandHelp help = {
        "jepa inspect FOLDER|LIST.csv|INDEX ... | CHECKPOINT [--tensors]",
        "Sums up what is in the videos: how many, how long, sizes, codecs, colours, keyframes, how "
        "many clips a recipe can draw, and what cannot be used and why. What it finds is kept for "
        "later runs. Or what is in a checkpoint (a run, whose newest is taken, a step-N folder, or "
        "a .safetensors file): sizes, networks, where it comes from, whether it is undamaged."};
    InspectArguments a = {.check = "decode", .timeout = 600, .shown = 20};
    const Option options[] = {
        {"recipe", "FILE", "recipe whose clips are counted; default: the published one of ViT-L",
         OPTION_TEXT, &a.recipe},
        {"set", "KEY=VALUE", "change a key of the recipe; may be repeated", OPTION_LIST, &a.sets},
        {"check", "HOW", "decode (default): every frame; packets: faster, finds less damage",
         OPTION_TEXT, &a.check},
        {"shown", "N", "unusable files that are named (default 20)", OPTION_INTEGER, &a.shown},
        {"timeout", "SECONDS", "give a file up after this long (default 600; 0: never)",
         OPTION_NUMBER, &a.timeout},
        {"threads", "N", "files read at a time; 0: all cores (default)", OPTION_INTEGER,
         &a.threads},
        {"tensors", NULL, "of a checkpoint: shape, values and hash of every tensor", OPTION_FLAG,
         &a.tensors},
        {"whole-recipe", NULL, "of a checkpoint: all of its recipe", OPTION_FLAG, &a.whole_recipe},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (!rest.count || rest.count > INDEX_SOURCES_MAX)
            error_set(&error, ERROR_USAGE, "expected 1 to %d folders, lists or an index",
                      INDEX_SOURCES_MAX);
        else if (strcmp(a.check, "decode") && strcmp(a.check, "packets"))
            error_set(&error, ERROR_USAGE, "--check %s: expected decode or packets", a.check);
        else if (a.threads < 0 || a.threads > 4096 || a.shown < 0 || !(a.timeout >= 0))
            error_set(&error, ERROR_USAGE, "--threads, --shown and --timeout: expected 0 or more");
        else if (inspect_is_checkpoint(rest.items[0]))
            inspect_one_checkpoint(&a, &rest, &error);
        else if (a.tensors || a.whole_recipe)
            error_set(&error, ERROR_USAGE,
                      "--tensors and --whole-recipe are for a checkpoint; %s is none",
                      rest.items[0]);
        else
            inspect(&a, &rest, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa inspect: %s\n", error.text);
    free(a.sets.items);
    free(rest.items);
    return error.code;
}
