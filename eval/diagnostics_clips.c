/* The clips of diagnostics. See eval/diagnostics_clips.h. */
#include "eval/diagnostics_clips.h"
#include "base/log.h"
#include "video/hold_out.h"
#include "video/loader.h"
#include <stdlib.h>
#include <string.h>

ClipSpec diagnostic_spec(const Recipe *recipe) {
    ClipSpec spec = recipe_clip(recipe);
    spec.interpolation = CLIP_FAST;
    spec.views = (ClipViews){0};
    spec.augment = (AugmentSpec){0};
    return spec;
}

/* The videos that clips may be of: all, or those that are held out. Returns how many. */
static size_t list_videos(uint32_t *files, const VideoIndex *index, const Recipe *r) {
    SamplerSettings drawn = recipe_sampler(r);
    bool *held = hold_out(index, drawn.seed, drawn.hold_out);
    size_t count = 0;
    for (size_t i = 0; i < index->usable; i++)
        if (!held || held[index->usable_files[i]])
            files[count++] = index->usable_files[i];
    free(held);
    return count;
}

/* One clip of every video, in a keyed order, then a second one of those that have it, and so on. */
static void draw_clips(DiagnosticClips *c, const Recipe *r) {
    size_t wanted = (size_t)r->diagnostics.videos;
    uint32_t *files = memory_new(c->index->usable + 1, sizeof *files);
    size_t videos = list_videos(files, c->index, r);
    int most = videos ? (int)((wanted + videos - 1) / videos) : 0; /* clips of a video */
    c->clip = memory_new(wanted, sizeof *c->clip);
    for (int segment = 0; segment < most; segment++)
        for (size_t i = 0; i < videos && (size_t)c->count < wanted; i++) {
            uint32_t number =
                files[random_permute((uint64_t)r->meta.seed, RANDOM_DIAGNOSTIC, 0, i, videos)];
            VideoFile file = video_index_file(c->index, number);
            int64_t stretches = clip_stretches(&file, &c->spec);
            int segments = stretches < most ? (int)stretches : most;
            if (segment < segments && clip_can_be_drawn(&file, &c->spec))
                c->clip[c->count++] = (DiagnosticClip){number, segment, segments};
        }
    c->videos = videos;
    free(files);
}

static void find_labels(DiagnosticClips *c) {
    c->label = memory_new((size_t)c->count, sizeof *c->label);
    bool all = c->index->classes > 1;
    for (int i = 0; i < c->count && all; i++) {
        c->label[i] = video_index_label(c->index, c->clip[i].file);
        all = c->label[i] >= 0;
    }
    if (all)
        return;
    free(c->label);
    c->label = NULL;
}

static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const DiagnosticClips *c = context;
    const DiagnosticClip *clip = &c->clip[c->first + (int)job];
    if (attempt > 0) /* the set is fixed */
        return 0;
    clip_draw_evaluation(draw, c->index, clip->file, &c->spec, clip->segment, clip->segments, 0, 1);
    return 1;
}

static int read_clips(DiagnosticClips *c, const DiagnosticsStart *start, Error *error) {
    LoaderConfig config = {.index = c->index,
                           .spec = c->spec,
                           .source = {c, draw_job},
                           .jobs = (uint64_t)c->own,
                           .batch = 1,
                           .ring = 2 + 2 * start->threads,
                           .threads = start->threads,
                           .timeout = start->recipe->data.timeout};
    Loader *loader;
    const LoaderBatch *batch;
    Error stopped = {0};
    if (!c->own)
        return 0;
    if (loader_open(&loader, &config, error))
        return -1;
    Progress progress;
    progress_start(&progress, "clips of diagnostics", c->own, 0);
    for (int i = 0; (batch = loader_next(loader, &stopped)); i++) {
        c->failed[i] = batch->slots[0].failed;
        if (c->failed[i])
            log_warn("diagnostics: left out: %s",
                     batch->slots[0].reason ? batch->slots[0].reason : "?");
        memcpy(c->pixels + (size_t)i * c->bytes, batch->clips, c->bytes);
        progress_show(&progress, i + 1, "");
    }
    progress_end(&progress);
    loader_close(loader);
    if (stopped.code)
        *error = stopped;
    return stopped.code ? -1 : 0;
}

/* Videos of diagnostics.data that are trained on, by their bytes. */
static size_t count_trained(const DiagnosticClips *c, const VideoIndex *training) {
    size_t found = 0;
    for (int i = 0; i < c->count; i++) {
        Hash own = video_index_file(c->index, c->clip[i].file).hash;
        for (size_t k = 0; k < training->usable; k++) {
            VideoFile file = video_index_file(training, training->usable_files[k]);
            if (hash_same(&own, &file.hash)) {
                found++;
                break;
            }
        }
    }
    return found;
}

static void say_clips(const DiagnosticClips *c, const DiagnosticsStart *start) {
    const Recipe *r = start->recipe;
    if (r->diagnostics.hold_out) {
        log_info("diagnostics every %d steps on %d clips of %zu videos that are held out",
                 r->diagnostics.every, c->count, c->videos);
        return;
    }
    if (!r->diagnostics.data) {
        log_info("diagnostics every %d steps on %d clips of the training videos (diagnostics.data "
                 "names others, diagnostics.hold_out sets some apart)",
                 r->diagnostics.every, c->count);
        return;
    }
    size_t trained = count_trained(c, &start->run->index);
    log_info("diagnostics every %d steps on %d clips of %s", r->diagnostics.every, c->count,
             r->diagnostics.data);
    if (trained)
        log_warn("diagnostics.data: %zu of the %d clips are of videos that are trained on", trained,
                 c->count);
}

int diagnostic_clips_open(DiagnosticClips *c, const DiagnosticsStart *start, Error *error) {
    const Recipe *r = start->recipe;
    const Exchange *x = start->exchange;
    *c = (DiagnosticClips){.index = r->diagnostics.data ? &start->run->held_out
                                                        : &start->run->index,
                           .spec = diagnostic_spec(r)};
    draw_clips(c, r);
    if (!c->count)
        return error_set(error, ERROR_RUN,
                         "diagnostics.data: every video is too short, or HDR (data.short_videos, "
                         "data.hdr)");
    find_labels(c);
    if (r->checkpoint.keep_best == KEEP_BEST_PROBE && !c->label)
        return error_set(error, ERROR_USAGE,
                         "checkpoint.keep_best: probe goes by labels, which the clips of "
                         "diagnostics do not have: give diagnostics.data with class folders, or a "
                         "list");
    c->first = (int)((int64_t)c->count * x->rank / x->ranks);
    c->own = (int)((int64_t)c->count * (x->rank + 1) / x->ranks) - c->first;
    c->bytes = 3 * (size_t)c->spec.frames * (size_t)c->spec.crop * (size_t)clip_width(&c->spec);
    c->pixels = memory_new((size_t)c->own, c->bytes);
    c->failed = memory_new((size_t)c->own, sizeof *c->failed);
    if (!x->rank)
        say_clips(c, start);
    return read_clips(c, start, error);
}

void diagnostic_clips_close(DiagnosticClips *c) {
    free(c->clip);
    free(c->label);
    free(c->pixels);
    free(c->failed);
    *c = (DiagnosticClips){0};
}
