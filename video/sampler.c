/* The sampler. See video/sampler.h. */
#include "video/sampler.h"
#include "video/hold_out.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX    (1u << 24)
#define ATTEMPTS_MAX 256

/* Attempt a of a slot draws from the streams of slot + a · 2^24: no other slot of a step uses them
 * (a step has fewer than 2^24 slots, a slot fewer than 256 attempts). */
static Random stream(const Sampler *s, RandomPurpose purpose, uint64_t step, uint64_t slot,
                     int attempt) {
    return random_at(s->settings.seed, purpose, step, slot + ((uint64_t)attempt << 24));
}

ClipSpec sampler_clip(const Sampler *s, uint32_t file) {
    ClipSpec spec = s->settings.clip;
    int own = s->settings.frames[video_index_dataset(s->index, file)];
    spec.frames = own ? own : spec.frames;
    return spec;
}

/* The files that can be drawn, by data set, or all in one. */
static void fill_sets(Sampler *s) {
    const VideoIndex *index = s->index;
    bool by_duration = s->settings.mode == SAMPLER_DURATION;
    bool *held = hold_out(index, s->settings.seed, s->settings.hold_out);
    for (int d = 0; d < s->sets; d++) {
        s->set[d].files = memory_new(index->usable, sizeof *s->set[d].files);
        if (by_duration)
            s->set[d].ends = memory_new(index->usable, sizeof *s->set[d].ends);
    }
    for (size_t u = 0; u < index->usable; u++) {
        uint32_t number = index->usable_files[u];
        ClipSpec spec = sampler_clip(s, number);
        VideoFile file = video_index_file(index, number);
        if (spec.hdr == CLIP_HDR_REFUSE && video_file_is_hdr(&file)) {
            s->hdr++;
            continue;
        }
        if (clip_windows(&file, &spec) < 1) {
            s->too_short++;
            continue;
        }
        if (held && held[number]) {
            s->held++;
            continue;
        }
        SamplerSet *set = &s->set[s->settings.weighted ? file.dataset : 0];
        set->units += by_duration ? (uint64_t)clip_stretches(&file, &spec) : 1;
        if (by_duration)
            set->ends[set->count] = set->units;
        set->files[set->count++] = number;
    }
    free(held);
}

/* Whole samples of a block for each set: the largest remainders get what rounding down leaves. */
static int share_block(Sampler *s, Error *error) {
    double total = 0, rest[INDEX_SOURCES_MAX];
    uint32_t given = 0;
    for (int d = 0; d < s->sets; d++)
        total += s->settings.weights[d];
    for (int d = 0; d < s->sets; d++) {
        double share = SAMPLER_BLOCK * s->settings.weights[d] / total;
        s->set[d].quota = (uint32_t)floor(share);
        rest[d] = share - s->set[d].quota;
        given += s->set[d].quota;
    }
    for (; given < SAMPLER_BLOCK; given++) {
        int best = 0;
        for (int d = 1; d < s->sets; d++)
            best = rest[d] > rest[best] ? d : best;
        s->set[best].quota++;
        rest[best] -= 1;
    }
    for (int d = 0; d < s->sets; d++) {
        s->set[d].start = d ? s->set[d - 1].start + s->set[d - 1].quota : 0;
        if (s->settings.weights[d] > 0 && !s->set[d].quota)
            return error_set(error, ERROR_USAGE,
                             "data.datasets_weights: %g of %g is less than one sample in %d",
                             s->settings.weights[d], total, SAMPLER_BLOCK);
        if (s->set[d].quota && !s->set[d].units)
            return error_set(error, ERROR_RUN,
                             "data set %d (%s) has a weight but no video that can be drawn", d + 1,
                             s->index->sources[d]);
    }
    return 0;
}

int sampler_new(Sampler *s, const VideoIndex *index, const SamplerSettings *settings,
                Error *error) {
    *s = (Sampler){.index = index, .settings = *settings, .sets = 1};
    JEPA_ASSERT(settings->num_clips >= 1);
    if (clip_check_views(&settings->clip, error))
        return -1;
    if (settings->weighted) {
        if (settings->weighted != index->sources_count)
            return error_set(error, ERROR_USAGE,
                             "data.datasets_weights: expected a weight for each of the %d data "
                             "sets, found %d",
                             index->sources_count, settings->weighted);
        s->sets = settings->weighted;
    }
    fill_sets(s);
    if (settings->weighted && share_block(s, error)) {
        sampler_free(s);
        return -1;
    }
    for (int d = 0; d < s->sets; d++)
        s->units += !settings->weighted || s->set[d].quota ? s->set[d].units : 0;
    if (!s->units) {
        size_t hdr = s->hdr, held = s->held;
        sampler_free(s);
        if (held)
            return error_set(error, ERROR_USAGE,
                             "diagnostics.hold_out: %d: no video is left to train on (%zu are held "
                             "out)",
                             settings->hold_out, held);
        if (hdr)
            return error_set(error, ERROR_RUN,
                             "no video is left to draw: %zu are HDR, which data.hdr: refuse keeps "
                             "out, the others too short",
                             hdr);
        return error_set(error, ERROR_RUN,
                         "no video is as long as a clip (%zu are shorter): lower data.num_frames "
                         "or sampling_rate, or set data.short_videos to repeat or loop",
                         index->usable);
    }
    return 0;
}

void sampler_free(Sampler *s) {
    for (int d = 0; d < s->sets; d++) {
        free(s->set[d].files);
        free(s->set[d].ends);
    }
    memset(s, 0, sizeof *s);
}

/* The file of a unit, and which of its parts the unit is. */
static uint32_t find_unit(const SamplerSet *set, uint64_t unit, uint64_t *part, uint64_t *parts) {
    *part = 0;
    *parts = 1;
    if (!set->ends)
        return set->files[unit];
    size_t low = 0, high = set->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->ends[middle] <= unit)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t before = low ? set->ends[low - 1] : 0;
    *part = unit - before;
    *parts = set->ends[low] - before;
    return set->files[low];
}

/* The set that sample n comes from, and its number within it. */
static const SamplerSet *find_set(const Sampler *s, uint64_t n, uint64_t *own) {
    *own = n;
    if (s->sets == 1)
        return &s->set[0];
    uint64_t block = n / SAMPLER_BLOCK;
    uint64_t place = random_permute(s->settings.seed, RANDOM_MIX, block, n % SAMPLER_BLOCK,
                                    SAMPLER_BLOCK);
    int d = 0;
    while (place >= s->set[d].start + s->set[d].quota)
        d++;
    *own = block * s->set[d].quota + (place - s->set[d].start);
    return &s->set[d];
}

void sampler_draw(const Sampler *s, ClipDraw *draw, uint64_t step, uint64_t slots, uint64_t group,
                  uint64_t slot, int attempt) {
    uint64_t clips = (uint64_t)s->settings.num_clips, seed = s->settings.seed;
    JEPA_ASSERT(slots <= SLOTS_MAX && attempt >= 0 && attempt < ATTEMPTS_MAX && slot < slots &&
                group % clips == 0 && slots % group == 0);
    memset(draw, 0, sizeof *draw);
    draw->attempt = attempt;
    /* slot = group number · group + clip · (group / clips) + unit within the group */
    uint64_t width = group / clips, within = slot % group;
    uint64_t clip = within / width;
    uint64_t sample = step * (slots / clips) + slot / group * width + within % width, own;
    const SamplerSet *set = find_set(s, sample, &own);
    uint64_t unit;
    if (attempt == 0) {
        /* sets are told apart by the high bits of the epoch's key */
        uint64_t key = (own / set->units) * INDEX_SOURCES_MAX + (uint64_t)(set - s->set);
        unit = random_permute(seed, RANDOM_ORDER, key, own % set->units, set->units);
    } else {
        /* clips of one video share their replacement, should both fail */
        Random random = stream(s, RANDOM_REDRAW, step, slot - clip * width, attempt);
        unit = random_below(&random, set->units);
    }
    uint64_t part, parts;
    draw->file = find_unit(set, unit, &part, &parts);
    VideoFile file = video_index_file(s->index, draw->file);
    ClipSpec spec = sampler_clip(s, draw->file);
    Random frames = stream(s, RANDOM_FRAMES, step, slot, attempt);
    Random crop = stream(s, RANDOM_CROP, step, slot, attempt);
    Random flip = stream(s, RANDOM_FLIP, step, slot, attempt);
    Random augment = stream(s, RANDOM_AUGMENT, step, slot, attempt);
    double share = ((double)clip + random_unit(&frames)) / (double)clips;
    clip_draw_frames(draw, &file, &spec, ((double)part + share) / (double)parts);
    clip_draw_crop(draw, &file, &spec, &crop);
    draw->flip = random_unit(&flip) < 0.5 && spec.flip;
    augment_draw(&draw->augment, &spec.augment, &augment);
    /* the views go on where the clip's own crop, flip and augmentation stop */
    clip_draw_views(draw, &file, &spec, &crop, &flip, &augment);
}
