/* What stands at the top of a report: how far the run is, and its numbers in short. See
 * eval/report_parts.h. */
#include "eval/axis.h"
#include "eval/html.h"
#include "eval/report_parts.h"
#include <math.h>
#include <string.h>

#define MEAN_STEPS 10 /* steps that the first and the last loss are the mean of */

void report_state(FILE *out, const ReportRun *run) {
    static const struct {
        const char *class, *text;
    } states[] = {[REPORT_RUNNING] = {"running", "running"},
                  [REPORT_PERHAPS] = {"running", "perhaps running on another machine"},
                  [REPORT_FINISHED] = {"finished", "finished"},
                  [REPORT_STOPPED] = {"stopped", "not running"}};
    fprintf(out, "<span class=\"state %s\">%s</span>", states[run->state].class,
            states[run->state].text);
}

static void tile(FILE *out, const char *name, const char *value, const char *note) {
    fputs("<div>", out);
    html_element(out, "span", NULL, name);
    html_element(out, "b", NULL, value);
    if (note && *note)
        html_element(out, "small", NULL, note);
    fputs("</div>\n", out);
}

static void tile_steps(FILE *out, const ReportRun *run) {
    char value[NUMBER_TEXT], of[NUMBER_TEXT], note[96] = "", left[32];
    number_whole(value, (double)run->steps);
    number_whole(of, (double)run->total);
    double step = report_median(run, "wall-time(ms)") / 1e3;
    bool goes_on = run->state == REPORT_RUNNING || run->state == REPORT_PERHAPS;
    report_duration(left, step * (double)(run->total - run->steps));
    if (run->total > run->steps && goes_on && isfinite(step))
        snprintf(note, sizeof note, "of %s, about %s left", of, left);
    else if (run->total > 0)
        snprintf(note, sizeof note, "of %s", of);
    tile(out, "Steps done", value, note);
}

static void tile_number(FILE *out, const ReportRun *run, const char *name, const char *column,
                        int digits, const char *note) {
    char value[NUMBER_TEXT];
    double last = report_last(run, column);
    number_text(value, last, digits);
    if (isfinite(last))
        tile(out, name, value, note);
}

void report_tiles(FILE *out, const ReportRun *run) {
    char value[64], note[96];
    double first = report_mean(run, "loss", MEAN_STEPS, false);
    double last = report_mean(run, "loss", MEAN_STEPS, true);
    fputs("<div class=\"tiles\">", out);
    tile_steps(out, run);
    if (isfinite(last)) {
        char from[NUMBER_TEXT], to[NUMBER_TEXT];
        number_text(from, first, 4);
        number_text(to, last, 4);
        snprintf(note, sizeof note, "at first %s; means of %d", from, MEAN_STEPS);
        tile(out, "Loss", to, note);
    }
    tile_number(out, run, "Feature spread", "target_std", 3, "of the target; 0: collapsed");
    tile_number(out, run, "RankMe", "target_rankme", 3, "of the target; 1: collapsed");
    tile_number(out, run, "Skill", "skill", 3, "over the mean target");
    if (report_probe_first(value, note, run))
        tile(out, "Probe", value, note);
    if (isfinite(run->seconds) && run->seconds > 0) {
        double speed = report_median(run, "clips_per_second");
        char time[32], rate[NUMBER_TEXT];
        report_duration(time, run->seconds);
        number_text(rate, speed, 3);
        snprintf(note, sizeof note, "%s clips/s, %.1f %% waiting", rate,
                 isfinite(run->waited) ? 100 * run->waited / run->seconds : 0.);
        tile(out, "Time of the steps", time, note);
    }
    fputs("</div>\n", out);
    if (run->checkpoints_count) {
        const ReportCheckpoint *c = &run->checkpoints[run->checkpoints_count - 1];
        fputs("<p class=\"last\">Last checkpoint <b>", out);
        html_text(out, c->name);
        fputs("</b> ", out);
        if (c->problem)
            html_element(out, "span", "bad", c->problem);
        else
            html_element(out, "code", NULL, c->hash);
        fputs("</p>\n", out);
    } else {
        report_absent(out, "no checkpoint is there yet");
    }
}
