/* How many tokens do the masks of a recipe have, at most and on average? By drawing. See
 * masking/mask.h. */
#include "masking/mask.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIMULATED_GROUPS 512
#define AVERAGED_GROUPS  64

/* Clip lengths of a simulated group, as often as the recipe says each comes. */
static void draw_lengths(int *time, const MaskRecipe *recipe, uint64_t group) {
    double total = 0;
    for (int i = 0; i < recipe->lengths; i++)
        total += recipe->length_weight[i];
    for (int b = 0; b < recipe->samples; b++) {
        Random random = random_at(0, RANDOM_DIAGNOSTIC, group, (uint64_t)b);
        int choice;
        if (total > 0) {
            double left = random_between(&random, 0, total);
            for (choice = 0; choice < recipe->lengths - 1; choice++) {
                left -= recipe->length_weight[choice];
                if (left < 0)
                    break;
            }
        } else {
            choice = (int)random_below(&random, (uint64_t)recipe->lengths);
        }
        time[b] = recipe->length[choice];
    }
}

/* Sums over the simulated groups of the tokens of parts of one size: context, target. */
typedef struct Simulated {
    double sum[2], square[2];
    int64_t seen[2], parts;
} Simulated;

static void count_parts(Simulated *sums, int size, const MaskGroup *group,
                        const MaskRecipe *recipe) {
    for (int first = 0; first < recipe->samples; first += size) {
        for (int k = 0; k < 2; k++) {
            const int32_t *cu = k ? group->cu_target : group->cu_context;
            int lists = k ? recipe->settings : mask_contexts(recipe);
            int64_t tokens = 0;
            for (int l = 0; l < lists; l++)
                tokens += cu[l * recipe->samples + first + size] - cu[l * recipe->samples + first];
            sums->sum[k] += (double)tokens;
            sums->square[k] += (double)tokens * (double)tokens;
            sums->seen[k] = tokens > sums->seen[k] ? tokens : sums->seen[k];
        }
        sums->parts++;
    }
}

/* Mean plus six standard deviations, or the most that was seen; at most `most`. */
static int64_t capacity_of(const Simulated *s, int k, int64_t most) {
    double mean = s->sum[k] / (double)s->parts;
    double variance = fmax(0, s->square[k] / (double)s->parts - mean * mean);
    int64_t capacity = (int64_t)ceil(mean + 6 * sqrt(variance));
    capacity = capacity < s->seen[k] ? s->seen[k] : capacity;
    return capacity < most ? capacity : most;
}

/* Groups of clips of the recipe's lengths, or all of `length` time steps (0: the recipe's). */
static void simulate(MaskCapacity *parts, int count, const MaskRecipe *recipe, int length) {
    int64_t tokens = (int64_t)recipe->samples * mask_grid_tokens(recipe->grid);
    int *time = recipe->lengths ? memory_new((size_t)recipe->samples, sizeof *time) : NULL;
    Simulated *sums = memory_new((size_t)count, sizeof *sums);
    MaskGroup group;
    mask_group_new(&group, recipe, tokens * mask_contexts(recipe), tokens * recipe->settings);
    for (int b = 0; time && b < recipe->samples; b++)
        time[b] = length;
    for (uint64_t i = 0; i < SIMULATED_GROUPS; i++) {
        if (time && !length)
            draw_lengths(time, recipe, i);
        mask_group_draw(&group, recipe, 0, i, 0, time);
        for (int p = 0; p < count; p++)
            count_parts(&sums[p], parts[p].samples, &group, recipe);
    }
    for (int p = 0; p < count; p++) {
        int64_t most = (int64_t)parts[p].samples * mask_grid_tokens(recipe->grid);
        parts[p].context = capacity_of(&sums[p], 0, most * mask_contexts(recipe));
        parts[p].target = capacity_of(&sums[p], 1, most * recipe->settings);
    }
    mask_group_free(&group);
    free(sums);
    free(time);
}

void mask_capacity(int64_t *context, int64_t *target, const MaskRecipe *recipe) {
    MaskCapacity group = {.samples = recipe->samples};
    simulate(&group, 1, recipe, 0);
    *context = group.context;
    *target = group.target;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value < high ? value : high;
}

void mask_capacities(MaskCapacity *parts, int count, const MaskRecipe *recipe) {
    MaskCapacity *all = memory_new((size_t)count + 1, sizeof *all), *one = &all[count];
    memcpy(all, parts, (size_t)count * sizeof *all);
    one->samples = 1;
    simulate(all, count + 1, recipe, 0);
    for (int i = 0; i < recipe->lengths; i++) {
        MaskCapacity longest = {.samples = 1};
        simulate(&longest, 1, recipe, recipe->length[i]);
        one->context = longest.context > one->context ? longest.context : one->context;
        one->target = longest.target > one->target ? longest.target : one->target;
    }
    for (int p = 0; p < count; p++) {
        int samples = parts[p].samples;
        JEPA_ASSERT(samples >= 1 && recipe->samples % samples == 0);
        parts[p] = all[p];
        if (samples == recipe->samples && samples > 1)
            continue; /* mask_capacity's */
        parts[p].context = clamp(all[p].context, one->context, samples * one->context);
        parts[p].target = clamp(all[p].target, one->target, samples * one->target);
    }
    free(all);
}

static void add_sequence(double *tokens, double *squares, int32_t count) {
    *tokens += count;
    *squares += (double)count * count;
}

void mask_means(MaskMeans *means, const MaskRecipe *recipe) {
    int64_t tokens = (int64_t)recipe->samples * mask_grid_tokens(recipe->grid);
    int samples = recipe->samples;
    int *time = recipe->lengths ? memory_new((size_t)samples, sizeof *time) : NULL;
    MaskMeans sum = {0};
    MaskGroup group;
    mask_group_new(&group, recipe, tokens * mask_contexts(recipe), tokens * recipe->settings);
    for (uint64_t i = 0; i < AVERAGED_GROUPS; i++) {
        if (time)
            draw_lengths(time, recipe, i);
        mask_group_draw(&group, recipe, 0, i, 0, time);
        const int32_t *context = group.cu_context, *target = group.cu_target;
        for (int b = 0; b < samples; b++) {
            MaskGrid grid = recipe->grid;
            grid.time = time ? time[b] : grid.time;
            add_sequence(&sum.clips, &sum.clip_squares, mask_grid_tokens(grid));
        }
        for (int c = 0; c < mask_contexts(recipe) * samples; c++)
            add_sequence(&sum.context, &sum.context_squares, context[c + 1] - context[c]);
        for (int s = 0; s < recipe->settings * samples; s++) {
            int c = group.context_of[s / samples] * samples + s % samples;
            int32_t joined = context[c + 1] - context[c], targets = target[s + 1] - target[s];
            add_sequence(&sum.predictor, &sum.predictor_squares, joined + targets);
            sum.joined += joined;
            sum.target += targets;
        }
    }
    mask_group_free(&group);
    free(time);
    *means = (MaskMeans){sum.clips / AVERAGED_GROUPS,     sum.clip_squares / AVERAGED_GROUPS,
                         sum.context / AVERAGED_GROUPS,   sum.context_squares / AVERAGED_GROUPS,
                         sum.predictor / AVERAGED_GROUPS, sum.predictor_squares / AVERAGED_GROUPS,
                         sum.target / AVERAGED_GROUPS,    sum.joined / AVERAGED_GROUPS};
}
