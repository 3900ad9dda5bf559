/* jepa surprise --pairs: every pair, and what the scores of all say. See eval/surprise.h. */
#include "base/file.h"
#include "base/log.h"
#include "base/words.h"
#include "eval/colormap.h"
#include "experiments/json.h"
#include "experiments/surprise.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KINDS_MOST 64
#define SCORES     2 /* avg and max */

typedef struct Study {
    Surprise *s;
    const Pair *pairs;
    size_t count;
    const char *kind[KINDS_MOST];
    int64_t pictures[KINDS_MOST]; /* drawn of each */
    int kinds;
    int *kind_of; /* [count] */
    /* [count] score of each pair's video: possible, impossible */
    double *score[SURPRISE_MODELS][SURPRISE_CONTEXTS + 1][SCORES][2];
    FileWriter windows;
} Study;

static const char *const score_names[SCORES] = {"avg", "max"};

static int find_kinds(Study *t, Error *error) {
    for (size_t i = 0; i < t->count; i++) {
        int k = 0;
        while (k < t->kinds && strcmp(t->kind[k], t->pairs[i].kind) != 0)
            k++;
        if (k == KINDS_MOST)
            return error_set(error, ERROR_RUN, "%s: more than %d kinds of pairs", t->s->pairs,
                             KINDS_MOST);
        if (k == t->kinds)
            t->kind[t->kinds++] = t->pairs[i].kind;
        t->kind_of[i] = k;
    }
    return 0;
}

/* Before anything is computed: can all of them be read, and are they long enough? */
static int check_videos(const Study *t, Error *error) {
    for (size_t i = 0; i < t->count; i++)
        for (int side = 0; side < 2; side++) {
            Footage footage;
            int result = footage_open(&footage,
                                      side ? t->pairs[i].impossible : t->pairs[i].possible,
                                      &t->s->scene.clip, error);
            footage_close(&footage);
            if (result)
                return -1;
        }
    return 0;
}

/* ---- a pair ---- */

static void keep_scores(Study *t, size_t i, int side, const SurpriseVideo *v) {
    for (int m = 0; m < SURPRISE_MODELS; m++)
        for (int c = 0; c <= t->s->count; c++) {
            t->score[m][c][0][side][i] = v->score[m].mean[c];
            t->score[m][c][1][side][i] = v->score[m].most[c];
        }
}

static void write_windows(Study *t, size_t i, int side, const SurpriseVideo *v) {
    char *kind = csv_quote(t->pairs[i].kind);
    char *prefix = memory_text("%s,%" PRId64 ",%s,", kind, t->pairs[i].number,
                               side ? "impossible" : "possible");
    surprise_rows(t->windows.stream, t->s, v, prefix);
    free(prefix);
    free(kind);
}

#define NAME_MOST 60

/* What is no letter or digit becomes '_'. */
static void clean(char name[NAME_MOST + 1], const char *kind) {
    snprintf(name, NAME_MOST + 1, "%s", kind);
    for (char *at = name; *at; at++)
        *at = isalnum((unsigned char)*at) || *at == '-' ? *at : '_';
}

/* pair-KIND.png, pair-KIND.2.png; kinds that would have the same name are told apart by their
 * number. */
static char *file_name(const Study *t, int kind, int64_t number) {
    char name[NAME_MOST + 1], other[NAME_MOST + 1], same[16] = "", more[24] = "";
    clean(name, t->kind[kind]);
    for (int k = 0; k < kind && !*same; k++) {
        clean(other, t->kind[k]);
        if (!strcmp(name, other))
            snprintf(same, sizeof same, ".kind%d", kind + 1);
    }
    if (number)
        snprintf(more, sizeof more, ".%" PRId64, number + 1);
    return memory_text("pair-%s%s%s.png", name, same, more);
}

/* Both videos as strips, and their curves for the middle one of the context lengths. */
static int draw_pair(Study *t, size_t i, const Footage footage[2], const SurpriseVideo v[2],
                     double axis, Error *error) {
    const Surprise *s = t->s;
    const Pair *pair = &t->pairs[i];
    static const char *const names[] = {"possible", "impossible"};
    int c = s->count / 2;
    int kind = t->kind_of[i];
    char *name = file_name(t, kind, t->pictures[kind]), *path = path_join(s->out, name);
    char *about = surprise_about(s, &footage[0]);
    char *title = memory_text("Surprise: %s, pair %" PRId64, pair->kind, pair->number);
    char *caption = memory_text("Mean |prediction - target| of the tokens behind the first %d "
                                "frames of each window, drawn at the middle of the predicted "
                                "frames. %s %s.",
                                s->contexts[c], about, s->scene.source);
    SurpriseStrip strips[2];
    SurpriseLine lines[2];
    double *values[2];
    for (int side = 0; side < 2; side++) {
        Color color = palette_color(side);
        values[side] = surprise_curve(&v[side], s, c);
        strips[side] = v[side].strip;
        strips[side].label = names[side];
        strips[side].color = color;
        /* where they are equal, the thinner one is seen on the other */
        lines[side] = (SurpriseLine){names[side],    color,
                                     side ? 3.5 : 8, v[side].middle + c * v[side].count,
                                     values[side],   v[side].count};
    }
    bool known = pair->event >= 0 && pair->event < footage[1].file.frames;
    SurpriseSheet sheet = {.title = title,
                           .caption = caption,
                           .unit = "surprise",
                           .seconds = axis,
                           .mark = known ? video_file_seconds(&footage[1].file, pair->event) : NAN,
                           .mark_name = "event",
                           .strips = strips,
                           .strip_count = 2,
                           .lines = lines,
                           .line_count = 2};
    int result = surprise_picture(path, &sheet, error);
    free(values[0]);
    free(values[1]);
    free(caption);
    free(title);
    free(about);
    free(path);
    free(name);
    return result;
}

static int take_pair(Study *t, size_t i, Error *error) {
    const Pair *pair = &t->pairs[i];
    const char *paths[] = {pair->possible, pair->impossible};
    Footage footage[2] = {0};
    SurpriseVideo video[2] = {0};
    int64_t *drawn = &t->pictures[t->kind_of[i]];
    bool tiles = *drawn < t->s->pictures;
    int result = 0;
    for (int side = 0; side < 2 && !result; side++)
        result = footage_open(&footage[side], paths[side], &t->s->scene.clip, error);
    double axis = result ? 0 : fmax(surprise_axis(&footage[0]), surprise_axis(&footage[1]));
    for (int side = 0; side < 2 && !result; side++) {
        result = surprise_video(&video[side], t->s, &footage[side], tiles ? axis : 0, NULL, error);
        if (!result)
            keep_scores(t, i, side, &video[side]);
        if (!result)
            write_windows(t, i, side, &video[side]);
    }
    if (!result && tiles)
        result = draw_pair(t, i, footage, video, axis, error);
    *drawn += tiles;
    for (int side = 0; side < 2; side++) {
        surprise_video_free(&video[side]);
        footage_close(&footage[side]);
    }
    return result;
}

/* ---- results ---- */

/* Of kind k, or of all of them. */
static SurprisePairs result_of(const Study *t, int k, int model, int context, int score) {
    SurprisePairs result;
    double *side[2], *const *from = t->score[model][context][score];
    int64_t *scene = memory_new(t->count, sizeof *scene);
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        side[i] = memory_new(t->count, sizeof *side[i]);
    for (size_t i = 0; i < t->count; i++)
        if (k == t->kinds || t->kind_of[i] == k) {
            side[0][n] = from[0][i];
            side[1][n] = from[1][i];
            scene[n++] = t->pairs[i].scene;
        }
    surprise_pairs(&result, side[0], side[1], scene, n);
    free(side[0]);
    free(side[1]);
    free(scene);
    return result;
}

static const char *kind_name(const Study *t, int k) {
    return k < t->kinds ? t->kind[k] : "all";
}

/* Kinds, and all of them where there are several. */
static int groups(const Study *t) {
    return t->kinds > 1 ? t->kinds + 1 : t->kinds;
}

static json_t *json_result(const Study *t, int k, int m, int c, int a, const SurprisePairs *r) {
    char *context = surprise_context_text(t->s, c);
    json_t *row = json_object();
    json_object_set_new(row, "kind", json_text(kind_name(t, k)));
    json_object_set_new(row, "model", json_string(surprise_model_name((SurpriseModel)m)));
    json_object_set_new(row, "context", json_string(context));
    json_object_set_new(row, "score", json_string(score_names[a]));
    json_object_set_new(row, "pairs", json_integer(r->pairs));
    json_object_set_new(row, "scenes", json_integer(r->scenes));
    json_object_set_new(row, "right", json_integer(r->right));
    json_object_set_new(row, "equal", json_integer(r->equal));
    json_object_set_new(row, "accuracy", json_number(r->accuracy));
    json_object_set_new(row, "low", json_number(r->low));
    json_object_set_new(row, "high", json_number(r->high));
    json_object_set_new(row, "scene_accuracy", json_number(r->scene_accuracy));
    json_object_set_new(row, "scene_low", json_number(r->scene_low));
    json_object_set_new(row, "scene_high", json_number(r->scene_high));
    json_object_set_new(row, "auroc", json_number(r->auroc));
    free(context);
    return row;
}

static json_t *json_head(const Study *t) {
    const Surprise *s = t->s;
    json_t *head = json_object(), *contexts = json_array();
    for (int c = 0; c < s->count; c++)
        json_array_append_new(contexts, json_integer(s->contexts[c]));
    json_object_set_new(head, "checkpoint", json_text(s->scene.source));
    json_object_set_new(head, "hash", json_hash(&s->scene.hash));
    json_object_set_new(head, "pairs_source", json_text(s->pairs));
    json_object_set_new(head, "window_frames", json_integer(s->scene.clip.frames));
    json_object_set_new(head, "stride", json_integer(s->stride));
    json_object_set_new(head, "contexts", contexts);
    json_object_set_new(head, "random_seed", json_integer(s->random_seed));
    json_object_set_new(
        head, "intervals",
        json_string(s->list.scenes ? "Wilson, 95 %, n = scenes" : "Wilson, 95 %, n = pairs"));
    return head;
}

static int write_results(const Study *t, Error *error) {
    const Surprise *s = t->s;
    char *text = NULL, *path = path_join(s->out, "results.csv");
    size_t size;
    FILE *file = open_memstream(&text, &size);
    JEPA_ASSERT(file);
    json_t *json = json_head(t), *rows = json_array();
    fprintf(file, "kind,model,context,score,pairs,scenes,right,equal,accuracy,low,high,auroc,"
                  "scene_accuracy,scene_low,scene_high\n");
    for (int k = 0; k < groups(t); k++)
        for (int m = 0; m < SURPRISE_MODELS; m++)
            for (int c = 0; c <= s->count; c++)
                for (int a = 0; a < SCORES; a++) {
                    SurprisePairs r = result_of(t, k, m, c, a);
                    char *kind = csv_quote(kind_name(t, k)), *context = surprise_context_text(s, c);
                    fprintf(file,
                            "%s,%s,%s,%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                            ",%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g\n",
                            kind, surprise_model_name((SurpriseModel)m), context, score_names[a],
                            r.pairs, r.scenes, r.right, r.equal, r.accuracy, r.low, r.high, r.auroc,
                            r.scene_accuracy, r.scene_low, r.scene_high);
                    json_array_append_new(rows, json_result(t, k, m, c, a, &r));
                    free(kind);
                    free(context);
                }
    fclose(file);
    json_object_set_new(json, "results", rows);
    int result = file_write(path, text, size, error);
    if (result)
        json_decref(json);
    else
        result = json_save(json, s->out, "results.json", error);
    if (!result)
        printf("%s\n%s/results.json\n", path, s->out);
    free(text);
    free(path);
    return result;
}

/* " 62.5 % [30.6, 86.3]" */
static void print_share(double share, double low, double high) {
    printf("   %5.1f %% [%5.1f, %5.1f]", 100 * share, 100 * low, 100 * high);
}

static void print_row(const Study *t, const char *label, int k, int m, int c) {
    SurprisePairs avg = result_of(t, k, m, c, 0), most = result_of(t, k, m, c, 1);
    printf("%-11.11s  %-8s %6" PRId64, label, surprise_model_name((SurpriseModel)m), avg.pairs);
    print_share(avg.accuracy, avg.low, avg.high);
    print_share(most.accuracy, most.low, most.high);
    if (t->s->list.scenes)
        print_share(avg.scene_accuracy, avg.scene_low, avg.scene_high);
    printf("   %.3f\n", avg.auroc);
}

static void print_table(const Study *t, const char *first) {
    printf("%-11s  %-8s %6s   %-22s   %-22s%s   %s\n", first, "model", "pairs", "pairs: avg",
           "pairs: max", t->s->list.scenes ? "   scenes: avg           " : "", "AUROC");
}

static void print_results(const Study *t) {
    const Surprise *s = t->s;
    SurprisePairs all = result_of(t, t->kinds, SURPRISE_TRAINED, s->count, 0);
    printf("\nPairs in which the impossible video surprises more, by the mean (avg) and by the "
           "greatest (max)\nof its windows; equal ones count half. random: initial weights, seed "
           "%" PRId64 ". repeated: the\nnearest token that was seen stands for the prediction.\n",
           s->random_seed);
    if (s->list.scenes)
        printf("95 %% intervals (Wilson) are of %" PRId64 " scenes, as the pairs of one scene are "
               "no independent\nwitnesses. scenes: those whose impossible videos together surprise "
               "more than their possible\nones; what a beginning or an ending adds by itself "
               "cancels there.\n",
               all.scenes);
    else
        printf("95 %% intervals (Wilson) are of pairs.\n");
    printf("\nOf each window the least over the lengths of context:\n");
    print_table(t, "kind");
    for (int k = 0; k < groups(t); k++)
        for (int m = 0; m < SURPRISE_MODELS; m++)
            print_row(t, kind_name(t, k), k, m, s->count);
    printf("\nBy length of context, %s:\n", t->kinds > 1 ? "all kinds" : kind_name(t, 0));
    print_table(t, "frames seen");
    for (int c = 0; c < s->count; c++)
        for (int m = 0; m < SURPRISE_MODELS; m++) {
            char *label = surprise_context_text(s, c);
            print_row(t, label, t->kinds, m, c);
            free(label);
        }
}

static int compute(Study *t, Error *error) {
    Progress progress;
    char *path = path_join(t->s->out, "windows.csv");
    int result = file_writer_open(&t->windows, path, error);
    if (result) {
        free(path);
        return -1;
    }
    surprise_heading(t->windows.stream, t->s, "kind,pair,video,");
    progress_start(&progress, "surprise", (double)t->count, 0);
    for (size_t i = 0; i < t->count && !result; i++) {
        result = take_pair(t, i, error);
        progress_show(&progress, (double)i + 1, "pairs");
    }
    progress_end(&progress);
    if (result)
        file_writer_abandon(&t->windows);
    else
        result = file_writer_commit(&t->windows, error);
    if (!result)
        printf("%s\n", path);
    free(path);
    return result;
}

int surprise_study(Surprise *s, Error *error) {
    Study *t = memory_new(1, sizeof *t);
    t->s = s;
    t->pairs = s->list.pairs;
    t->count = s->list.count;
    t->kind_of = memory_new(t->count, sizeof *t->kind_of);
    double **scores = &t->score[0][0][0][0];
    size_t arrays = sizeof t->score / sizeof *scores;
    for (size_t a = 0; a < arrays; a++)
        scores[a] = memory_new(t->count, sizeof **scores);
    int result = find_kinds(t, error);
    if (!result)
        result = check_videos(t, error);
    if (!result)
        result = compute(t, error);
    if (!result)
        result = write_results(t, error);
    if (!result)
        print_results(t);
    for (size_t a = 0; a < arrays; a++)
        free(scores[a]);
    free(t->kind_of);
    free(t);
    return result;
}
