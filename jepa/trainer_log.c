/* What a run writes down of its steps. See jepa/trainer_parts.h. */
#include "base/log.h"
#include "base/words.h"
#include "jepa/trainer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A run that waits this long says so, once: after so many steps, and so many seconds of waiting. */
#define WAIT_SHARE   0.1
#define WAIT_STEPS   20
#define WAIT_SECONDS 1

void note_replaced(Training *t, const Stream *s, const LoaderBatch *batch, int slot) {
    for (int b = 0; b < batch->count; b++)
        if (batch->slots[b].reason) {
            char *name = csv_quote(video_index_name(s->index, batch->slots[b].bad_file));
            char *reason = csv_quote(batch->slots[b].reason);
            fprintf(t->notes, "%" PRId64 ",%d,%s,%s\n", t->step,
                    s->first_group * s->samples + slot + b, name, reason);
            free(name);
            free(reason);
        }
}

char *training_gather(const Training *t, const char *text) {
    Exchange *x = t->exchange;
    char **texts = memory_new((size_t)x->ranks, sizeof *texts), *all = NULL;
    x->doing = "the collection of messages";
    x->texts(texts, text, x);
    size_t length = 1;
    for (int r = 0; r < x->ranks && !x->rank; r++)
        length += strlen(texts[r]);
    if (!x->rank)
        all = memory_new(length, 1);
    for (int i = 0; i < x->ranks && all; i++) {
        int r = t->objective->backwards ? x->ranks - 1 - i : i;
        memcpy(all + strlen(all), texts[r], strlen(texts[r]) + 1);
        free(texts[r]);
    }
    free(texts);
    return all;
}

/* This rank's clips of a step in a stream, whose slots are numbered from `slot` on: rows of a CSV,
 * and lines for people. */
static void list_clips(FILE *rows, FILE *lines, const Stream *s, int64_t step, int slot) {
    const ClipDraw *draws = stream_draws(s, step);
    int first = s->first_part * s->micro;
    for (int i = first; i < first + s->parts * s->micro; i++) {
        if (!draws[i].count) /* not come to */
            continue;
        const char *name = video_index_name(s->index, draws[i].file);
        int64_t from = draws[i].frames[0], to = draws[i].frames[draws[i].count - 1];
        char *quoted = csv_quote(name);
        fprintf(rows, "%d,%s,%" PRId64 ",%" PRId64 "\n", slot + i, quoted, from, to);
        fprintf(lines, "slot %d %.40s frames %" PRId64 "..%" PRId64 "\n", slot + i, name, from, to);
        free(quoted);
    }
}

#define CLIPS_NAMED 8 /* in the message */

int not_finite(const Trainer *trainer, const StepReport *report, Error *error) {
    const Training *t = &trainer->t;
    double loss = isfinite(report->loss) ? (double)NAN : report->loss;
    char names[600] = "";
    char *path = memory_text("%s/nonfinite-step-%" PRId64 ".csv", t->run->folder, report->step);
    FILE *list = t->exchange->rank ? NULL : fopen(path, "we");
    int shown = 0, slots = 0;
    if (list)
        fprintf(list, "slot,file,first_frame,last_frame\n");
    for (int k = 0; k < t->streams; k++) {
        const Stream *s = &t->stream[k];
        char *text[2] = {NULL, NULL};
        size_t length[2];
        FILE *rows = open_memstream(&text[0], &length[0]),
             *lines = open_memstream(&text[1], &length[1]);
        JEPA_ASSERT(rows && lines);
        list_clips(rows, lines, s, report->step, slots);
        fclose(rows);
        fclose(lines);
        char *all_rows = training_gather(t, text[0]), *all_lines = training_gather(t, text[1]);
        if (list && all_rows)
            fputs(all_rows, list);
        for (char *line = all_lines; line && *line && shown < CLIPS_NAMED;) {
            size_t end = strcspn(line, "\n"), at = strlen(names);
            snprintf(names + at, sizeof names - at, "%s%.*s", shown++ ? ", " : "", (int)end, line);
            line += end + (line[end] != 0);
        }
        slots += s->groups * s->samples;
        free(all_rows);
        free(all_lines);
        free(text[0]);
        free(text[1]);
    }
    if (list)
        fclose(list);
    error_set(
        error, ERROR_RUN,
        "step %" PRId64 ": the loss is %g; the last checkpoint is untouched (step %" PRId64
        "); the clips: %s%s (all of them in %s); a lower lr or a look at these files may help",
        report->step, loss, trainer->saved < 0 ? 0 : trainer->saved, names,
        slots > shown ? ", ..." : "", path);
    free(path);
    return -1;
}

void write_row(const Training *t, const StepReport *r) {
    FILE *log = t->run->log;
    const Measures *m = &r->measures;
    const double values[] = {m->context_std,    m->target_std,    m->predictor_std,
                             m->context_rankme, m->target_rankme, m->predictor_rankme,
                             m->cosine,         m->skill};
    fprintf(log, "%" PRId64 ",%" PRId64 ",%.9g,%.9g,%.9g,%.6g,%.6g,%.1f,%.1f,", r->epoch, r->itr,
            r->loss, r->loss_jepa, r->reg_loss, r->encoder_norm, r->predictor_norm, r->compute_ms,
            r->wall_ms);
    fprintf(log, "%" PRId64 ",%.9g,%.9g,%.9g,%.2f,%.1f,%" PRId64 ",%" PRId64 ",%d,%d", r->step,
            r->lr, r->weight_decay, r->momentum, r->clips_per_second, r->wait_ms, r->context_tokens,
            r->target_tokens, r->replaced, r->mask_redraws);
    fprintf(log, ",%.1f,%.2f", r->decode_rate, r->ring);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (isnan(values[i]))
            fputc(',', log);
        else
            fprintf(log, ",%.6g", values[i]);
    fprintf(log, ",%.9g,%.9g,%.9g,%" PRId64, r->loss_context, r->invariance, r->sigreg,
            rewinds_branch(&t->run->rewinds, r->step));
    fputc('\n', log);
    fflush(log);
}

void read_scalars(StepReport *report, const ModelScalars *scalars) {
    report->loss = scalars->total;
    report->reg_loss = scalars->reg;
    report->loss_jepa = report->loss_context = 0;
    for (int m = 0; m < MASK_SETTINGS_MAX; m++) {
        report->loss_jepa += scalars->loss[m];
        report->loss_context += scalars->loss[MASK_SETTINGS_MAX + m];
    }
    report->invariance = scalars->invariance;
    report->sigreg = scalars->sigreg;
    report->encoder_norm = sqrt(scalars->square_sum[0]);
    report->predictor_norm = sqrt(scalars->square_sum[1]);
}

/* Time of the steps, and of waiting for clips in it. The first step always waits: nothing could be
 * read ahead of it. */
void note_waiting(const Training *t, TrainerResult *result, const StepReport *report, int64_t steps,
                  bool *said) {
    if (!steps)
        return;
    result->seconds += report->wall_ms / 1e3;
    result->waited += report->wait_ms / 1e3;
    if (*said || steps < WAIT_STEPS || result->waited < WAIT_SECONDS ||
        result->waited < WAIT_SHARE * result->seconds)
        return;
    *said = true;
    log_warn("%.0f %% of the time is spent waiting for clips, which %d threads decode: smaller "
             "files (jepa transcode), data.cache, or more cores and --workers would help",
             100 * result->waited / result->seconds, stream_loader(t, &t->stream[0]).threads);
}
