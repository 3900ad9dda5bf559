/* Results as files. See experiments/probe.h.
 *
 *   OUT/results.csv, results.json   every row of the table; the second also with what is below
 *   OUT/by_class.csv                accuracy of each class (by_label.csv: AP; by_value.csv: R2)
 *   OUT/settings.csv                every candidate of a choice and what it came to
 *   OUT/low_shot.csv                where asked for
 *   OUT/predictions.csv             of every test video, by each probe on this encoder
 *   OUT/confusion.png               of the linear probe, or the first one; confusion-PROBE.png
 *   OUT/manifest.json               what was used, with hashes */
#include "base/file.h"
#include "base/words.h"
#include "eval/confusion.h"
#include "eval/png.h"
#include "experiments/json.h"
#include "experiments/probe.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JSON_CLASSES_MAX 512 /* whose confusion matrix is in results.json as well */

/* ---- CSV ---- */

typedef struct Csv {
    FILE *file;
    char *text;
    size_t size;
    bool begun; /* the line has a field */
} Csv;

static void csv_open(Csv *csv, const char *header) {
    *csv = (Csv){0};
    csv->file = open_memstream(&csv->text, &csv->size);
    JEPA_ASSERT(csv->file);
    if (header)
        fprintf(csv->file, "%s\n", header);
}

static void csv_text(Csv *csv, const char *text) {
    char *quoted = csv_quote(text);
    fprintf(csv->file, "%s%s", csv->begun ? "," : "", quoted);
    csv->begun = true;
    free(quoted);
}

/* What is no number stays empty. */
static void csv_number(Csv *csv, double value) {
    fprintf(csv->file, csv->begun ? "," : "");
    if (isfinite(value))
        fprintf(csv->file, "%.6g", value);
    csv->begun = true;
}

static void csv_end_line(Csv *csv) {
    fprintf(csv->file, "\n");
    csv->begun = false;
}

static int csv_save(Csv *csv, const ProbeStudy *s, const char *name, Error *error) {
    char *path = path_join(s->out, name);
    fclose(csv->file);
    int result = file_write(path, csv->text, csv->size, error);
    free(csv->text);
    free(path);
    return result;
}

/* Test videos that are right; of other tasks nothing can be counted. */
static double correct_of(const ProbeStudy *s, const ProbeResult *r) {
    return s->test.targets.task == TASK_CLASSES ? round(r->score * (double)s->test.count) : NAN;
}

static int write_results(const ProbeStudy *s, Error *error) {
    Csv csv;
    csv_open(&csv, "probe,features,metric,score,low95,high95,correct,test_videos,setting,"
                   "selected_on");
    for (int i = 0; i < s->result_count; i++) {
        const ProbeResult *r = &s->results[i];
        csv_text(&csv, r->probe);
        csv_text(&csv, r->features);
        csv_text(&csv, probe_metric(s->test.targets.task));
        csv_number(&csv, r->score);
        csv_number(&csv, r->low);
        csv_number(&csv, r->high);
        csv_number(&csv, correct_of(s, r));
        csv_number(&csv, (double)s->test.count);
        csv_text(&csv, r->setting);
        csv_text(&csv, r->selected_on);
        csv_end_line(&csv);
    }
    return csv_save(&csv, s, "results.csv", error);
}

/* Test videos of a class, or with a label. */
static int64_t count_of(const Targets *t, int output) {
    int64_t count = 0;
    for (int64_t i = 0; i < t->count; i++)
        count += t->classes               ? t->classes[i] == output
                 : t->task == TASK_LABELS ? t->values[i * t->outputs + output] > 0.5F
                                          : 1;
    return count;
}

static int write_each(const ProbeStudy *s, Error *error) {
    const Targets *t = &s->test.targets;
    static const char *const names[] = {"by_class.csv", "by_label.csv", "by_value.csv"};
    static const char *const headers[] = {
        "probe,features,class,accuracy,low95,high95,test_videos,selected_on",
        "probe,features,label,AP,low95,high95,test_videos_with_it,selected_on",
        "probe,features,value,R2,low95,high95,test_videos,selected_on"};
    Csv csv;
    csv_open(&csv, headers[t->task]);
    for (int i = 0; i < s->result_count; i++)
        for (int o = 0; o < t->outputs; o++) {
            const ProbeResult *r = &s->results[i];
            csv_text(&csv, r->probe);
            csv_text(&csv, r->features);
            csv_text(&csv, t->names[o]);
            csv_number(&csv, r->each[o]);
            csv_number(&csv, r->each_low[o]);
            csv_number(&csv, r->each_high[o]);
            csv_number(&csv, (double)count_of(t, o));
            csv_text(&csv, r->selected_on);
            csv_end_line(&csv);
        }
    return csv_save(&csv, s, names[t->task], error);
}

static int write_settings(const ProbeStudy *s, Error *error) {
    Csv csv;
    csv_open(&csv, "probe,features,setting,score,measured_on");
    for (int i = 0; i < s->setting_count; i++) {
        const ProbeSetting *p = &s->settings[i];
        csv_text(&csv, p->probe);
        csv_text(&csv, p->features);
        csv_text(&csv, p->setting);
        csv_number(&csv, p->score);
        csv_text(&csv, p->measured_on);
        csv_end_line(&csv);
    }
    return csv_save(&csv, s, "settings.csv", error);
}

static int write_low_shot(const ProbeStudy *s, Error *error) {
    if (!s->low_shot_count)
        return 0;
    Csv csv;
    csv_open(&csv, "probe,features,percent,labels,mean_top1,low,high,draws,test_videos,"
                   "selected_on");
    for (int i = 0; i < s->low_shot_count; i++) {
        const ProbeLowShot *few = &s->low_shot[i];
        csv_text(&csv, few->probe);
        csv_text(&csv, few->features);
        csv_number(&csv, few->percent);
        csv_number(&csv, (double)few->labels);
        csv_number(&csv, few->mean);
        csv_number(&csv, few->low);
        csv_number(&csv, few->high);
        csv_number(&csv, (double)s->a->seeds);
        csv_number(&csv, (double)s->test.count);
        csv_text(&csv, SELECTED_FOLDS);
        csv_end_line(&csv);
    }
    return csv_save(&csv, s, "low_shot.csv", error);
}

static bool of_encoder(const ProbeResult *r) {
    return r->features == probe_source_names[SOURCE_ENCODER];
}

/* "linear", "linear (selected on test)" */
static char *column_name(const ProbeResult *r, const char *target) {
    return memory_text("%s%s%s%s", r->probe, *target ? " " : "", target,
                       strcmp(r->selected_on, SELECTED_TEST) ? "" : " (selected on test)");
}

static int write_predictions(const ProbeStudy *s, Error *error) {
    const Targets *t = &s->test.targets;
    int columns = t->task == TASK_CLASSES ? 1 : t->outputs;
    Csv csv;
    csv_open(&csv, NULL);
    csv_text(&csv, "file");
    for (int o = 0; o < columns; o++)
        csv_text(&csv, t->task == TASK_CLASSES ? "class" : t->names[o]);
    for (int i = 0; i < s->result_count; i++)
        for (int o = 0; o < columns && of_encoder(&s->results[i]); o++) {
            char *name = column_name(&s->results[i], t->task == TASK_CLASSES ? "" : t->names[o]);
            csv_text(&csv, name);
            free(name);
        }
    csv_end_line(&csv);
    for (int64_t v = 0; v < s->test.count; v++) {
        csv_text(&csv, video_index_name(s->test.index, s->test.files[v]));
        for (int o = 0; o < columns; o++)
            if (t->task == TASK_CLASSES)
                csv_text(&csv, t->names[t->classes[v]]);
            else
                csv_number(&csv, t->values[v * t->outputs + o]);
        for (int i = 0; i < s->result_count; i++) {
            const float *out = s->results[i].outputs + v * t->outputs;
            for (int o = 0; o < columns && of_encoder(&s->results[i]); o++)
                if (t->task == TASK_CLASSES)
                    csv_text(&csv, t->names[score_best(out, t->outputs)]);
                else
                    csv_number(&csv, out[o]);
        }
        csv_end_line(&csv);
    }
    return csv_save(&csv, s, "predictions.csv", error);
}

/* ---- confusion ---- */

/* [K][K]: rows are true classes. */
static int64_t *confusion_of(const ProbeStudy *s, const ProbeResult *r) {
    const Targets *t = &s->test.targets;
    size_t classes = (size_t)t->outputs;
    int64_t *counts = memory_new(classes * classes, sizeof *counts);
    for (int64_t i = 0; i < t->count; i++)
        counts[(size_t)t->classes[i] * classes +
               (size_t)score_best(r->outputs + i * t->outputs, t->outputs)]++;
    return counts;
}

static int draw_confusion(const ProbeStudy *s, const ProbeResult *r, const char *name,
                          Error *error) {
    const Targets *t = &s->test.targets;
    char *path = path_join(s->out, name), *which = column_name(r, "");
    char *title = memory_text("Confusion on frozen features: %s", which);
    int64_t *counts = confusion_of(s, r);
    Canvas *canvas = NULL;
    int result = confusion_draw(&canvas, counts, (const char *const *)t->names, t->outputs, title,
                                NULL, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result && !strcmp(name, "confusion.png"))
        printf("confusion matrix       %s   (%s)\n", path, which);
    canvas_free(canvas);
    free(counts);
    free(path);
    free(which);
    free(title);
    return result;
}

static int draw_confusions(const ProbeStudy *s, Error *error) {
    const ProbeResult *main = NULL;
    int result = 0;
    if (s->test.targets.task != TASK_CLASSES || s->test.targets.outputs > CONFUSION_CLASSES_MAX)
        return 0;
    for (int i = 0; i < s->result_count; i++)
        if (of_encoder(&s->results[i]) && (!main || !strcmp(s->results[i].probe, "linear")))
            main = &s->results[i];
    for (int i = 0; i < s->result_count && !result; i++) {
        const ProbeResult *r = &s->results[i];
        if (!of_encoder(r))
            continue;
        char *name = r == main ? memory_text("confusion.png")
                               : memory_text("confusion-%s.png", r->probe);
        for (char *at = name; *at; at++)
            *at = (char)(*at == ' ' || *at == ',' ? '-' : tolower((unsigned char)*at));
        result = draw_confusion(s, r, name, error);
        free(name);
    }
    return result;
}

/* ---- JSON ---- */

static json_t *result_json(const ProbeStudy *s, const ProbeResult *r) {
    const Targets *t = &s->test.targets;
    json_t *each = json_array();
    for (int o = 0; o < t->outputs; o++)
        json_array_append_new(
            each,
            json_pack("{s:o, s:o, s:o, s:o, s:I}", "name", json_text(t->names[o]), "score",
                      json_number(r->each[o]), "low95", json_number(r->each_low[o]), "high95",
                      json_number(r->each_high[o]), "test_videos", (json_int_t)count_of(t, o)));
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:s, s:s, s:b, s:o}", "probe", r->probe,
        "features", r->features, "metric", probe_metric(t->task), "score", json_number(r->score),
        "low95", json_number(r->low), "high95", json_number(r->high), "correct",
        json_number(correct_of(s, r)), "test_videos", (json_int_t)t->count, "setting", r->setting,
        "selected_on", r->selected_on, "selected_on_test", !strcmp(r->selected_on, SELECTED_TEST),
        "each", each);
    if (t->task == TASK_CLASSES && t->outputs <= JSON_CLASSES_MAX) {
        int64_t *counts = confusion_of(s, r);
        json_t *rows = json_array();
        for (int i = 0; i < t->outputs; i++) {
            json_t *row = json_array();
            for (int k = 0; k < t->outputs; k++)
                json_array_append_new(row, json_integer(counts[i * t->outputs + k]));
            json_array_append_new(rows, row);
        }
        json_object_set_new(json, "confusion", rows);
        free(counts);
    }
    return json;
}

static int write_json(const ProbeStudy *s, Error *error) {
    json_t *results = json_array(), *settings = json_array(), *few = json_array();
    for (int i = 0; i < s->result_count; i++)
        json_array_append_new(results, result_json(s, &s->results[i]));
    for (int i = 0; i < s->setting_count; i++) {
        const ProbeSetting *p = &s->settings[i];
        json_array_append_new(settings,
                              json_pack("{s:s, s:s, s:s, s:o, s:s}", "probe", p->probe, "features",
                                        p->features, "setting", p->setting, "score",
                                        json_number(p->score), "measured_on", p->measured_on));
    }
    for (int i = 0; i < s->low_shot_count; i++) {
        const ProbeLowShot *f = &s->low_shot[i];
        json_array_append_new(
            few, json_pack("{s:s, s:s, s:f, s:I, s:o, s:o, s:o, s:I, s:s}", "probe", f->probe,
                           "features", f->features, "percent", f->percent, "labels",
                           (json_int_t)f->labels, "mean", json_number(f->mean), "low",
                           json_number(f->low), "high", json_number(f->high), "draws",
                           (json_int_t)s->a->seeds, "selected_on", SELECTED_FOLDS));
    }
    return json_save(json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "task", s->a->task_name, "metric",
                               probe_metric(s->a->task), "checkpoint", json_text(s->source),
                               "results", results, "settings", settings, "low_shot", few),
                     s->out, "results.json", error);
}

static json_t *index_json(const ProbeStudy *s, int set) {
    const VideoIndex *index = &s->index[set];
    return json_pack("{s:o, s:o, s:I, s:I}", "source", json_text(index->sources[0]), "blake2b_256",
                     json_hash(&index->hash), "videos", (json_int_t)index->count, "usable",
                     (json_int_t)index->usable);
}

static int file_hash_json(json_t **json, const char *path, Error *error) {
    Hash hash;
    if (hash_file(&hash, path, error))
        return -1;
    *json = json_hash(&hash);
    return 0;
}

/* What the numbers depend on. */
static int write_manifest(const ProbeStudy *s, Error *error) {
    const ProbeArguments *a = s->a;
    const FrozenEncoder *e = &s->encoder;
    json_t *command = json_array(), *indexes = json_array(), *stores = json_array(), *hash;
    json_t *targets = json_array();
    char *split = path_join(s->out, "split.csv");
    int result = file_hash_json(&hash, split, error);
    free(split);
    if (result)
        return -1;
    for (int i = 0; i < a->argc; i++)
        json_array_append_new(command, json_text(a->argv[i]));
    for (int i = 0; i < s->sets; i++)
        json_array_append_new(indexes, index_json(s, i));
    for (int i = 0; i < s->store_count; i++)
        json_array_append_new(stores, json_pack("{s:o, s:o, s:o, s:o}", "folder",
                                                json_text(s->stores[i].folder), "checkpoint",
                                                json_hash(&s->stores[i].checkpoint), "files",
                                                json_hash(&s->stores[i].files), "frames",
                                                json_hash(&s->stores[i].frames)));
    for (int i = 0; i < s->sets && a->targets && !result; i++) {
        const char *path = i && a->val_targets ? a->val_targets : a->targets;
        json_t *of_file;
        if (!(result = file_hash_json(&of_file, path, error)))
            json_array_append_new(
                targets, json_pack("{s:o, s:o}", "file", json_text(path), "blake2b_256", of_file));
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:b, "
        "s:s, s:o}",
        "program", "jepa probe", "version", JEPA_VERSION, "command", command, "checkpoint",
        json_text(s->source), "checkpoint_blake2b_256", json_hash(&s->weights),
        "recipe_blake2b_256", json_hash(&e->recipe_hash), "network", a->encoder.network,
        "precision", e->device->precision == PRECISION_BFLOAT16 ? "bfloat16" : "float32", "videos",
        indexes, "targets", targets, "split_blake2b_256", hash, "train_videos",
        (json_int_t)s->train.count, "test_videos", (json_int_t)s->test.count, "segments",
        (json_int_t)a->segments, "crops", (json_int_t)a->crops, "seed", (json_int_t)a->seed,
        "select_on_test", a->select_on_test, "settings_selected_on",
        a->select_on_test ? SELECTED_TEST : "the training set alone", "stores", stores);
    json_object_set_new(json, "device", json_text(e->device->name));
    json_t *clip = json_pack("{s:i, s:i, s:f, s:i, s:i}", "frames", e->clip.frames, "step",
                             e->clip.step, "fps", e->clip.fps, "height", e->clip.crop, "width",
                             clip_width(&e->clip));
    json_object_set_new(json, "clip", clip);
    json_t *layers = json_array();
    for (int i = 0; i < e->model.plan.layers; i++)
        json_array_append_new(layers, json_integer(e->model.plan.layer[i]));
    json_object_set_new(json, "layers", layers);
    if (result) {
        json_decref(json);
        return -1;
    }
    return json_save(json, s->out, "manifest.json", error);
}

int probe_write(const ProbeStudy *s, Error *error) {
    if (write_results(s, error) || write_each(s, error) || write_settings(s, error) ||
        write_low_shot(s, error) || write_predictions(s, error) || write_json(s, error) ||
        draw_confusions(s, error))
        return -1;
    return write_manifest(s, error); /* last: what it names is there */
}
