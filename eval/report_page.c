/* The report's frame: head, sections in their order, footer. See eval/report_page.h. */
#include "eval/report_page.h"
#include "base/file.h"
#include "eval/html.h"
#include "eval/report_assets.h"
#include "eval/report_parts.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void report_begin(FILE *out, const char *id, const char *title) {
    fprintf(out, "<section id=\"%s\">", id);
    html_element(out, "h2", NULL, title);
    fputc('\n', out);
}

void report_end(FILE *out) {
    fputs("</section>\n", out);
}

void report_absent(FILE *out, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    JEPA_ASSERT(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    html_element(out, "p", "absent", text);
    free(text);
}

void report_fact(FILE *out, const char *name, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    JEPA_ASSERT(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    html_element(out, "dt", NULL, name);
    html_element(out, "dd", NULL, *text ? text : "–");
    fputc('\n', out);
    free(text);
}

void report_table(FILE *out, const Table *table) {
    fputs("<div class=\"scroll\"><table><thead><tr>", out);
    for (size_t c = 0; c < table->columns; c++)
        html_element(out, "th", NULL, table->names[c]);
    fputs("</tr></thead><tbody>\n", out);
    for (size_t r = 0; r < table->rows; r++) {
        fputs("<tr>", out);
        for (size_t c = 0; c < table->columns; c++)
            html_element(out, "td", NULL, table_cell(table, r, (int)c));
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>", out);
    if (table->total > table->rows)
        fprintf(out, "<p class=\"note\">and %zu more rows</p>", table->total - table->rows);
}

void report_duration(char text[32], double seconds) {
    if (!isfinite(seconds))
        snprintf(text, 32, "–");
    else if (seconds < 60)
        snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, 32, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    else if (seconds < 48 * 3600.)
        snprintf(text, 32, "%.1f h", seconds / 3600);
    else
        snprintf(text, 32, "%.1f days", seconds / 86400);
}

static void write_head(FILE *out, const ReportPage *page, const char *title) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
          "<meta name=\"color-scheme\" content=\"light dark\">"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
          out);
    if (page->refresh > 0) /* the script does it itself, and keeps zoom and place */
        fprintf(out, "<noscript><meta http-equiv=\"refresh\" content=\"%.0f\"></noscript>",
                fmax(1, page->refresh));
    html_element(out, "title", NULL, title);
    fprintf(out, "<style>\n%s</style></head>\n", report_css);
    fprintf(out, "<body data-refresh=\"%.0f\"><main>\n", page->refresh);
}

static void write_links(FILE *out, const char *const links[][2], size_t count) {
    fputs("<nav>", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "<a href=\"#%s\">%s</a> ", links[i][0], links[i][1]);
    fputs("</nav>\n", out);
}

static void write_run(FILE *out, const ReportPage *page) {
    static const char *const links[][2] = {
        {"curves", "Curves"}, {"probes", "Probes"}, {"pictures", "Pictures"},
        {"data", "Data"},     {"recipe", "Recipe"}, {"checkpoints", "Checkpoints"}};
    const ReportRun *run = page->runs;
    fputs("<header>", out);
    html_element(out, "h1", NULL, run->name);
    report_state(out, run);
    fputs("</header>\n", out);
    report_tiles(out, run);
    write_links(out, links, sizeof links / sizeof *links);
    if (run->table_problem)
        report_absent(out, "%s", run->table_problem);
    if (run->rewinds.rows) {
        report_begin(out, "rewinds", "Rewinds");
        report_table(out, &run->rewinds);
        report_end(out);
    }
    report_curves(out, page);
    report_probes(out, run);
    report_pictures(out, run);
    report_data(out, run);
    report_recipe(out, run);
    report_checkpoints(out, page);
}

static void write_comparison(FILE *out, const ReportPage *page) {
    static const char *const links[][2] = {{"values", "Values"},
                                           {"differences", "Recipes"},
                                           {"probes", "Probes"},
                                           {"curves", "Curves"},
                                           {"checkpoints", "Checkpoints"}};
    fprintf(out, "<header><h1>%d runs compared</h1></header>\n", page->count);
    write_links(out, links, sizeof links / sizeof *links);
    report_compare_values(out, page);
    report_compare_recipes(out, page);
    report_compare_probes(out, page);
    report_curves(out, page);
    report_checkpoints(out, page);
}

static void write_footer(FILE *out, const ReportPage *page) {
    fputs("<footer><p>Written by ", out);
    html_text(out, page->program);
    fputs(", ", out);
    html_text(out, page->written);
    fputc('.', out);
    if (page->hash) {
        fputs(" The program's BLAKE2b-256: ", out);
        html_element(out, "code", NULL, page->hash);
    }
    fputs("</p></footer></main>\n", out);
}

int report_page_write(const char *path, const ReportPage *page, Error *error) {
    FileWriter writer;
    if (file_writer_open(&writer, path, error))
        return -1;
    FILE *out = writer.stream;
    char *title = page->count == 1 ? memory_text("%s", page->runs[0].name)
                                   : memory_text("%d runs compared", page->count);
    write_head(out, page, title);
    if (page->count == 1)
        write_run(out, page);
    else
        write_comparison(out, page);
    write_footer(out, page);
    fprintf(out, "<script>\n%s</script></body></html>\n", report_js);
    free(title);
    return file_writer_commit(&writer, error);
}
