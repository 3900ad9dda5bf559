/* The step of the JEPA objectives: V-JEPA 1, 2 and 2.1, I-JEPA, a frozen teacher.
 *
 * Loss: the mean over mask settings of the mean over their target elements of |z - h|^p / p (over
 * clip lengths too where there are several), plus λ times the same over context tokens (2.1). The
 * means run over the global batch (mask.batch: packed), or over each group and then over groups, as
 * the published gradient average over ranks does (truncate). Source: facebookresearch/jepa
 * app/vjepa/train.py; vjepa2 app/vjepa/train.py, app/vjepa_2_1/train.py. */
#include "base/log.h"
#include "base/words.h"
#include "jepa/training.h"
#include <stdlib.h>
#include <string.h>

/* What every part of a group may have, all from one simulation. */
static void find_capacities(Stream *s) {
    s->capacity = memory_new((size_t)s->samples, sizeof *s->capacity);
    for (int n = 1; n <= s->samples; n++)
        if (s->samples % n == 0)
            s->capacity[s->capacities++].samples = n;
    mask_capacities(s->capacity, s->capacities, &s->mask_recipe);
}

static MaskCapacity capacity_of(const Stream *s, int samples) {
    int i = 0;
    while (s->capacity[i].samples != samples)
        i++;
    return s->capacity[i];
}

/* Masks are drawn for groups, and must not depend on how these are cut: a group is drawn again when
 * it or one sample exceeds what is planned, whatever the micro-batch, never for a micro-batch. */
static void plan(ModelPlan *plan, const Training *training, Stream *stream) {
    (void)training;
    if (!stream->capacity)
        find_capacities(stream);
    MaskCapacity part = capacity_of(stream, stream->micro);
    plan->settings = stream->mask_recipe.settings;
    plan->contexts = mask_contexts(&stream->mask_recipe);
    plan->context = part.context;
    plan->target = part.target;
    /* every setting may read a shared context */
    plan->joined = plan->context * plan->settings / plan->contexts;
}

/* The masks of a step. */
static size_t memory(const Training *t) {
    size_t bytes = 0;
    for (int i = 0; i < t->streams; i++) {
        const Stream *s = &t->stream[i];
        MaskCapacity whole = capacity_of(s, s->samples);
        bytes += (size_t)s->groups * mask_group_bytes(&s->mask_recipe, whole.context, whole.target);
    }
    return bytes;
}

static void count(TrainerPlan *plan, const Training *t) {
    for (int i = 0; i < t->streams; i++) {
        const Stream *s = &t->stream[i];
        MaskMeans m;
        StepFlops flops;
        double groups = s->groups;
        mask_means(&m, &s->mask_recipe);
        FlopsInput input = {.all = {groups * m.clips, groups * m.clip_squares},
                            .context = {groups * m.context, groups * m.context_squares},
                            .predictor = {groups * m.predictor, groups * m.predictor_squares},
                            .targets = groups * m.target,
                            .joined = groups * m.joined};
        flops_step(&flops, &s->plan.config, &input);
        plan->flops.target += flops.target;
        plan->flops.context += flops.context;
        plan->flops.predictor += flops.predictor;
        plan->flops.backward += flops.backward;
        plan->flops.attention += flops.attention;
        plan->flops.total += flops.total;
        plan->step_context += input.context.rows;
        plan->step_target += input.targets;
    }
}

static int prepare(Training *t, Error *error) {
    (void)error;
    for (int s = 0; s < t->streams; s++) {
        Stream *stream = &t->stream[s];
        MaskRecipe part = stream->mask_recipe;
        MaskCapacity one = capacity_of(stream, 1), whole = capacity_of(stream, stream->samples);
        part.samples = stream->micro;
        mask_group_new(&stream->part, &part, stream->plan.context, stream->plan.target);
        stream->masks = memory_new((size_t)stream->groups, sizeof *stream->masks);
        for (int g = 0; g < stream->groups; g++) {
            MaskGroup *masks = &stream->masks[g];
            mask_group_new(masks, &stream->mask_recipe, whole.context, whole.target);
            masks->sample_context = one.context;
            masks->sample_target = one.target;
        }
        stream->shares = memory_new((size_t)t->length_count, sizeof *stream->shares);
    }
    return 0;
}

static void release(Training *t) {
    for (int s = 0; s < t->streams; s++) {
        Stream *stream = &t->stream[s];
        for (int g = 0; g < stream->groups && stream->masks; g++)
            mask_group_free(&stream->masks[g]);
        mask_group_free(&stream->part);
        free(stream->masks);
        free(stream->shares);
    }
}

static int length_number(const Training *t, int frames) {
    int k = 0;
    while (k + 1 < t->length_count && t->lengths[k] != frames)
        k++;
    return k;
}

static bool lengths_differ(const Training *t, const Stream *s) {
    return t->length_count > 1 && !s->picture;
}

/* Frames, time steps and length of each slot of the step: a pure function, the same for whatever
 * replaces a clip. */
static void find_lengths(const Training *t, Stream *s) {
    uint64_t slots = (uint64_t)(s->groups * s->samples);
    for (uint64_t i = 0; i < slots; i++) {
        ClipDraw draw;
        stream_draw(s, &draw, t->step, i, 0);
        s->frames[i] = draw.count;
        s->steps[i] = draw.count / t->recipe->data.tubelet_size;
        s->length[i] = length_number(t, draw.count);
    }
}

static void draw_masks(Training *t, StepReport *report) {
    uint64_t seed = training_seed(t);
    for (int i = 0; i < t->streams; i++) {
        Stream *s = &t->stream[i];
        bool differ = lengths_differ(t, s);
        if (differ)
            find_lengths(t, s);
        for (int g = 0; g < s->groups; g++) {
            mask_group_draw(&s->masks[g], &s->mask_recipe, seed, (uint64_t)t->step,
                            (uint64_t)(s->first_group + g),
                            differ ? s->steps + g * s->samples : NULL);
            report->mask_redraws += s->masks[g].redraws;
        }
    }
}

/* Target tokens of setting m, or context tokens that it is predicted from, in groups from .. to-1;
 * of clips of length k, or of all (k < 0). */
static double count_tokens(const Stream *s, int from, int to, int m, int k, bool targets) {
    double tokens = 0;
    for (int g = from; g < to; g++) {
        const MaskGroup *masks = &s->masks[g];
        const int32_t *cu = targets ? masks->cu_target : masks->cu_context;
        int first = (targets ? m : masks->context_of[m]) * s->samples;
        for (int b = 0; b < s->samples; b++)
            if (k < 0 || s->length[g * s->samples + b] == k)
                tokens += cu[first + b + 1] - cu[first + b];
    }
    return tokens;
}

/* What one element of the loss counts for, in a mean over groups from .. to-1 that is `share` of
 * the loss. */
static void fill_weights(LossWeights *weights, const Training *t, Stream *s, int from, int to,
                         double share) {
    const Recipe *r = t->recipe;
    int settings = s->mask_recipe.settings, width = s->model.target_width;
    double lambda = recipe_lambda(r, t->step, s->picture);
    *weights = (LossWeights){.power = r->loss.smooth_l1 ? LOSS_SMOOTH_L1 : r->loss.loss_exp,
                             .by_distance = r->loss.weight_distance_loss,
                             .reg_coeff = r->loss.reg_coeff,
                             .reg_weight = 1.0 / ((double)training_slots(t) * width)};
    for (int m = 0; m < settings; m++) {
        weights->element[m] = share / (settings * count_tokens(s, from, to, m, -1, true) * width);
        if (lambda > 0)
            weights->context[m] = share * lambda /
                                  (settings * count_tokens(s, from, to, m, -1, false) * width);
    }
    if (!lengths_differ(t, s))
        return;
    int cells = 0;
    for (int k = 0; k < t->length_count; k++)
        for (int m = 0; m < settings; m++) {
            double tokens = count_tokens(s, from, to, m, k, true);
            cells += tokens > 0;
            s->shares[k][m] = tokens > 0 ? 1 / tokens : 0;
        }
    for (int m = 0; m < settings; m++)
        weights->element[m] = share / ((double)cells * width);
    weights->length = (const double(*)[MASK_SETTINGS_MAX])s->shares;
}

/* A part at work: its clips, its group, its first sample there. */
typedef struct Part {
    const LoaderBatch *batch;
    int group, first;
} Part;

/* Samples from .. from + count - 1 of a part's group: forward and backward; `last`: nothing of the
 * part comes after them. A micro-batch with more tokens than are planned for goes in two halves,
 * one after the other: nearly never, as the plan has six standard deviations to spare; which ones
 * do is a function of the masks alone. */
static void run_samples(Training *t, Stream *s, const Part *part, int from, int count, bool last,
                        const LossWeights *weights, StepReport *report) {
    MaskGroup *masks = &s->masks[part->group];
    const LoaderBatch *batch = part->batch;
    if (s->micro < s->samples) {
        if (!mask_group_part(&s->part, masks, s->samples, from, count, s->mask_recipe.settings)) {
            JEPA_ASSERT(count > 1);
            int half = count / 2;
            run_samples(t, s, part, from, half, false, weights, report);
            run_samples(t, s, part, from + half, count - half, last, weights, report);
            return;
        }
        masks = &s->part;
    }
    bool differ = lengths_differ(t, s);
    int own = from - part->first; /* of the part */
    size_t clip = (size_t)own * 3 * (size_t)s->clip.frames *
                  (size_t)(s->clip.crop * clip_width(&s->clip));
    int slot = part->group * s->samples + from;
    ModelInput input = {.samples = count,
                        .pixels = batch->clips ? batch->clips + clip : NULL,
                        .values = batch->values ? batch->values + clip : NULL, /* mirrored */
                        .mirror = batch->values ? NULL : s->mirror + own,
                        .frames = differ ? s->frames + slot : NULL};
    model_set_input(&s->model, &input);
    model_set_masks(&s->model, masks, count);
    if (differ)
        model_set_lengths(&s->model, s->length + slot, count);
    model_set_drops(&s->model, from, count, s->samples, training_seed(t), (uint64_t)t->step,
                    (uint64_t)(s->first_group + part->group));
    double started = time_now();
    model_forward_target(&s->model, count);
    model_forward_prediction(&s->model, count, weights);
    s->model.final = last ? training_final(t) : NULL;
    model_backward(&s->model, count, weights);
    report->compute_ms += (time_now() - started) * 1e3;
    report->context_tokens += s->model.context_rows;
    report->target_tokens += s->model.target_rows;
}

/* Packed: one mean over the stream's groups, which count by their number. Truncated: a mean for
 * each group. */
static int run_stream(Training *t, Stream *s, int all_groups, StepReport *report, Error *error) {
    bool packed = s->mask_recipe.batch == MASK_PACKED;
    LossWeights weights;
    int parts = s->samples / s->micro, group = -1; /* parts of a group; the one at work */
    if (packed)
        fill_weights(&weights, t, s, 0, s->groups, (double)s->groups / all_groups);
    for (int p = s->first_part; p < s->first_part + s->parts; p++) {
        Part part = {stream_next(t, s, p, report, error), p / parts, p % parts * s->micro};
        if (!part.batch)
            return -1;
        if (reduce_is_last(&t->reduction) && training_agree(t, 0, error))
            return -1;
        if (!packed && part.group != group)
            fill_weights(&weights, t, s, part.group, part.group + 1, 1.0 / all_groups);
        group = part.group;
        training_begin_unit(t);
        run_samples(t, s, &part, part.first, s->micro, true, &weights, report);
        reduce_next(&t->reduction);
    }
    return 0;
}

static int step(Training *t, StepReport *report, Error *error) {
    int groups = 0;
    for (int i = 0; i < t->streams; i++)
        groups += t->stream[i].groups;
    draw_masks(t, report);
    for (int i = t->streams - 1; i >= 0; i--) /* videos last: what is measured is theirs */
        if (run_stream(t, &t->stream[i], groups, report, error))
            return -1;
    return 0;
}

static int no_extras(ExtraTensor extras[EXTRA_TENSORS_MAX], const Training *t) {
    (void)extras, (void)t;
    return 0;
}

const ObjectiveSteps objective_jepa = {"jepa", false,   plan, memory,    "masks",
                                       count,  prepare, step, no_extras, release};
