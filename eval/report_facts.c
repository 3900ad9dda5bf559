/* Data, recipe, checkpoints and hashes in a report. See eval/report_parts.h. */
#include "eval/axis.h"
#include "eval/html.h"
#include "eval/report_parts.h"
#include <math.h>
#include <string.h>

#define CHIPS_MOST       24 /* kinds in a row */
#define CHECKPOINTS_MOST 30 /* of a run, the newest */

static void write_tally(FILE *out, const char *name, const Tally *tally) {
    size_t left = tally->beyond;
    if (!tally->kinds)
        return;
    html_element(out, "dt", NULL, name);
    fputs("<dd class=\"chips\">", out);
    for (size_t i = 0; i < tally->kinds; i++) {
        if (i >= CHIPS_MOST) {
            left += tally->counts[i];
            continue;
        }
        fputs("<span>", out);
        html_text(out, tally->texts[i]);
        fprintf(out, " <b>%zu</b></span> ", tally->counts[i]);
    }
    if (left)
        fprintf(out, "<span>others <b>%zu</b></span>", left);
    fputs("</dd>\n", out);
}

static void write_census(FILE *out, const ReportRun *run) {
    const VideoCensus *c = &run->census;
    char total[32], least[32], middle[32], most[32];
    fputs("<dl class=\"facts\">", out);
    for (int i = 0; i < run->sources_count; i++)
        report_fact(out, i ? "" : "From", "%s", run->sources[i]);
    report_fact(out, "Videos", "%zu, of which %zu are used and %zu in quarantine", c->videos,
                c->usable, c->videos - c->usable);
    if (c->usable) {
        report_duration(total, c->duration);
        report_duration(least, c->seconds[0]);
        report_duration(middle, c->seconds[c->usable / 2]);
        report_duration(most, c->seconds[c->usable - 1]);
        report_fact(out, "Length", "%s in all (%.2f h); shortest %s, median %s, longest %s", total,
                    c->duration / 3600, least, middle, most);
        report_fact(out, "Frames", "%.0f to %.0f a video, median %.0f", c->frames[0],
                    c->frames[c->usable - 1], c->frames[c->usable / 2]);
        report_fact(out, "Size", "%.1f MiB", c->bytes / (1 << 20));
    }
    write_tally(out, "Resolutions", &c->sizes);
    write_tally(out, "Frames a second", &c->rates);
    write_tally(out, "Codecs", &c->codecs);
    write_tally(out, "Containers", &c->containers);
    write_tally(out, "Pixel formats", &c->formats);
    write_tally(out, "Colours", &c->colours);
    if (run->classes)
        write_tally(out, "Classes", &c->classes);
    else
        report_fact(out, "Classes", "the videos have no labels");
    fputs("</dl>\n", out);
}

void report_data(FILE *out, const ReportRun *run) {
    report_begin(out, "data", "Data");
    if (run->index_problem)
        report_absent(out, "%s", run->index_problem);
    if (run->has_index)
        write_census(out, run);
    fputs("<h3>Quarantine</h3>", out);
    if (!run->quarantine.columns)
        report_absent(out, "quarantine.csv is not there");
    else if (!run->quarantine.rows)
        fputs("<p>Every file could be used.</p>", out);
    else {
        fputs("<p class=\"note\">Files that cannot be used, and clips that were drawn again at a "
              "step (the slots of its batch are counted from 0).</p>",
              out);
        report_table(out, &run->quarantine);
    }
    report_end(out);
}

void report_recipe(FILE *out, const ReportRun *run) {
    report_begin(out, "recipe", "Recipe");
    if (run->recipe_problem)
        report_absent(out, "%s", run->recipe_problem);
    if (run->recipe_text) {
        fputs("<details><summary>recipe.yaml, as resolved</summary>", out);
        html_element(out, "pre", NULL, run->recipe_text);
        fputs("</details>", out);
    }
    if (run->changes.rows) {
        fputs("<h3>Changed when it was resumed</h3>", out);
        report_table(out, &run->changes);
    }
    report_end(out);
}

static void write_checkpoint(FILE *out, const ReportCheckpoint *c) {
    fputs("<tr><td>", out);
    html_text(out, c->name);
    if (!c->problem && !strcmp(c->name, "best"))
        fprintf(out, ", of step %lld", (long long)c->step);
    fputs("</td>", out);
    if (c->problem) {
        fputs("<td colspan=\"3\" class=\"bad\">", out);
        html_text(out, c->problem);
        fputs("</td></tr>\n", out);
        return;
    }
    fprintf(out, "<td class=\"number\">%lld</td><td>%s</td><td>", (long long)c->updates,
            c->precision);
    html_element(out, "code", NULL, c->hash);
    if (c->other_recipe)
        fputs(" <span class=\"bad\">another recipe than recipe.yaml</span>", out);
    if (c->other_index)
        fputs(" <span class=\"bad\">other videos than videos.index</span>", out);
    fputs("</td></tr>\n", out);
}

static void write_hashes(FILE *out, const ReportRun *run) {
    fputs("<dl class=\"facts hashes\">", out);
    report_fact(out, "recipe.yaml", "%s", run->recipe_hash);
    report_fact(out, "videos.index", "%s", run->index_hash);
    fputs("</dl>", out);
    if (!run->checkpoints_count) {
        report_absent(out, "no checkpoint is there yet");
        return;
    }
    size_t count = run->checkpoints_count;
    size_t first = count > CHECKPOINTS_MOST ? count - CHECKPOINTS_MOST : 0;
    fputs("<div class=\"scroll\"><table class=\"hashes\"><thead><tr><th>Checkpoint</th>"
          "<th>Updates</th><th>Computed in</th><th>BLAKE2b-256</th></tr></thead><tbody>\n",
          out);
    for (size_t i = first; i < count; i++)
        write_checkpoint(out, &run->checkpoints[i]);
    fputs("</tbody></table></div>", out);
    if (first)
        fprintf(out, "<p class=\"note\">and %zu older ones</p>", first);
}

void report_checkpoints(FILE *out, const ReportPage *page) {
    report_begin(out, "checkpoints", "Checkpoints and hashes");
    fputs("<p class=\"note\">BLAKE2b-256. A checkpoint's is that of its header, which holds the "
          "hash of every tensor; <code>jepa inspect</code> holds these against the bytes. The "
          "index has the hash of every video.</p>",
          out);
    for (int r = 0; r < page->count; r++) {
        if (page->count > 1)
            html_element(out, "h3", NULL, page->runs[r].name);
        write_hashes(out, &page->runs[r]);
    }
    report_end(out);
}
