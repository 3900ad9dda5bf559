/* Surprise and what it says of pairs. See eval/surprise.h. */
#include "eval/surprise.h"
#include "eval/scores.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISHED_FRAMES 16 /* of a window; of these 2, 4, ... 10 are seen */

/* Into an ascending list without doubles; -1: there is no room. */
static int insert(int *list, int *count, int value) {
    int place = 0;
    while (place < *count && list[place] < value)
        place++;
    if (place < *count && list[place] == value)
        return 0;
    if (*count == SURPRISE_CONTEXTS)
        return -1;
    memmove(list + place + 1, list + place, (size_t)(*count - place) * sizeof *list);
    list[place] = value;
    (*count)++;
    return 0;
}

int surprise_contexts(int contexts[SURPRISE_CONTEXTS], int *count, const char *text, int frames,
                      int tubelet, Error *error) {
    int most = frames - tubelet;
    *count = 0;
    if (most < tubelet)
        return error_set(error, ERROR_USAGE,
                         "the clips of this checkpoint are single time steps, so there is no later "
                         "one to predict");
    for (int c = 2; !text && c <= 10; c += 2) {
        int steps = (int)lround((double)c * frames / PUBLISHED_FRAMES / tubelet);
        steps = steps < 1 ? 1 : steps;
        insert(contexts, count, steps * tubelet < most ? steps * tubelet : most);
    }
    for (const char *at = text; at;) {
        char *end;
        long value = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || value < tubelet || value > most ||
            value % tubelet || insert(contexts, count, (int)value))
            return error_set(error, ERROR_USAGE,
                             "--context %s: expected up to %d multiples of %d (frames of a token) "
                             "from %d to %d, with commas, for clips of %d frames",
                             text, SURPRISE_CONTEXTS, tubelet, tubelet, most, frames);
        at = *end ? end + 1 : NULL;
    }
    return 0;
}

void surprise_masks(MaskGroup *masks, const int *contexts, int count, int tubelet, MaskGrid grid) {
    int area = grid.height * grid.width, tokens = mask_grid_tokens(grid);
    int64_t seen = 0;
    for (int m = 0; m < count; m++)
        seen += (int64_t)(contexts[m] / tubelet) * area;
    MaskRecipe recipe = {.settings = count, .samples = 1, .grid = grid};
    mask_group_new(masks, &recipe, seen, (int64_t)count * tokens - seen);
    for (int m = 0; m < count; m++) {
        int split = contexts[m] / tubelet * area;
        int32_t *context = masks->context + masks->cu_context[m],
                *target = masks->target + masks->cu_target[m];
        for (int i = 0; i < split; i++)
            context[i] = i;
        for (int i = split; i < tokens; i++)
            target[i - split] = i;
        masks->cu_context[m + 1] = masks->cu_context[m] + split;
        masks->cu_target[m + 1] = masks->cu_target[m] + tokens - split;
    }
}

void surprise_values(double *values, const Latents *l) {
    for (int m = 0; m < l->settings; m++)
        values[m] = l->mask[m].error;
}

void surprise_repeated(double *values, const Latents *l) {
    for (int m = 0; m < l->settings; m++)
        values[m] = l->mask[m].nearest;
}

double surprise_least(const double *values, int count) {
    double least = values[0];
    for (int m = 1; m < count; m++)
        least = fmin(least, values[m]);
    return least;
}

void surprise_add(SurpriseScore *s, const double *values, int count) {
    s->windows++;
    for (int m = 0; m <= count; m++) {
        double value = m < count ? values[m] : surprise_least(values, count);
        s->mean[m] += (value - s->mean[m]) / (double)s->windows;
        s->most[m] = s->windows == 1 ? value : fmax(s->most[m], value);
    }
}

/* ---- pairs ---- */

typedef struct Scored {
    double score;
    bool impossible;
} Scored;

static int by_score(const void *a, const void *b) {
    const Scored *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

typedef struct Excess {
    int64_t scene;
    double more; /* of the impossible video */
} Excess;

/* Of one scene by size too, so that the order of their sum is always the same. */
static int by_scene(const void *a, const void *b) {
    const Excess *x = a, *y = b;
    return x->scene != y->scene ? (x->scene > y->scene) - (x->scene < y->scene)
                                : (x->more > y->more) - (x->more < y->more);
}

/* Over all videos in the order of their scores: for each impossible one, the possible ones below
 * it, and half of those beside it. */
static double auroc(const double *possible, const double *impossible, size_t n) {
    Scored *all = memory_new(2 * n, sizeof *all);
    double below = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        all[2 * i] = (Scored){possible[i], false};
        all[2 * i + 1] = (Scored){impossible[i], true};
    }
    qsort(all, 2 * n, sizeof *all, by_score);
    for (size_t first = 0, end; first < 2 * n; first = end) {
        double here = 0, wanted = 0;
        for (end = first; end < 2 * n && all[end].score <= all[first].score; end++) {
            here += !all[end].impossible;
            wanted += all[end].impossible;
        }
        sum += wanted * (below + here / 2);
        below += here;
    }
    free(all);
    return sum / ((double)n * (double)n);
}

/* Scenes, and how many of them have more in their impossible videos. Returns how many independent
 * witnesses the pairs are. */
static double judge_scenes(SurprisePairs *r, const double *possible, const double *impossible,
                           const int64_t *scene, size_t n) {
    Excess *all = memory_new(n, sizeof *all);
    double right = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        all[i] = (Excess){scene ? scene[i] : (int64_t)i, impossible[i] - possible[i]};
    qsort(all, n, sizeof *all, by_scene);
    for (size_t first = 0, end; first < n; first = end) {
        double more = 0;
        for (end = first; end < n && all[end].scene == all[first].scene; end++)
            more += all[end].more;
        right += more > 0 ? 1 : more < 0 ? 0 : 0.5;
        squares += (double)(end - first) * (double)(end - first);
        r->scenes++;
    }
    r->scene_accuracy = right / (double)r->scenes;
    wilson_share(&r->scene_low, &r->scene_high, r->scene_accuracy, (double)r->scenes);
    free(all);
    return (double)n * (double)n / squares;
}

void surprise_pairs(SurprisePairs *r, const double *possible, const double *impossible,
                    const int64_t *scene, size_t n) {
    *r = (SurprisePairs){.pairs = (int64_t)n,
                         .accuracy = NAN,
                         .high = 1,
                         .auroc = NAN,
                         .scene_accuracy = NAN,
                         .scene_high = 1};
    if (!n)
        return;
    for (size_t i = 0; i < n; i++) {
        r->right += impossible[i] > possible[i];
        r->equal += impossible[i] == possible[i];
    }
    double witnesses = judge_scenes(r, possible, impossible, scene, n);
    r->accuracy = ((double)r->right + (double)r->equal / 2) / (double)n;
    wilson_share(&r->low, &r->high, r->accuracy, witnesses);
    r->auroc = auroc(possible, impossible, n);
}
