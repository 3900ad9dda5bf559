/* Pictures of a run in its report. See eval/report_parts.h.
 *
 * Folders of pictures are what `jepa visualize` writes (eval/latent_sheet.h): masks come from the
 * newest, latents of every folder are shown in the order of their steps, so that one sees them
 * change over training; each strip has the axes of its own PCA. */
#include "base/file.h"
#include "eval/html.h"
#include "eval/report_parts.h"
#include <stdlib.h>
#include <string.h>

#define FILE_MOST   ((size_t)16 << 20) /* bytes of a picture */
#define PAGE_MOST   ((size_t)48 << 20) /* of all of them */
#define STRIPS_MOST 12                 /* steps whose latents are shown */
#define SHEET       "contact-sheet.png"

typedef struct Group {
    const ReportPicture *pictures; /* [count] of one folder */
    size_t count;
} Group;

static const char *media_type(const uint8_t *bytes, size_t count) {
    if (count > 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8))
        return "image/png";
    if (count > 6 && (!memcmp(bytes, "GIF87a", 6) || !memcmp(bytes, "GIF89a", 6)))
        return "image/gif";
    return NULL;
}

void report_picture(FILE *out, const char *path, const char *name, size_t *room) {
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    if (file_read(&bytes, &count, path, *room < FILE_MOST ? *room : FILE_MOST, &error)) {
        report_absent(out, "%s", error.text);
        return;
    }
    const char *type = media_type(bytes, count);
    if (type) {
        fputs("<figure class=\"picture\"><div class=\"scroll\"><img alt=\"", out);
        html_text(out, name);
        fputs("\" src=\"", out);
        html_data_url(out, type, bytes, count);
        fputs("\"></div>", out);
        html_element(out, "figcaption", NULL, name);
        fputs("</figure>\n", out);
        *room -= count;
    } else {
        report_absent(out, "%s is no PNG or GIF file", path);
    }
    free(bytes);
}

static bool begins_with(const char *text, const char *begin) {
    return !strncmp(text, begin, strlen(begin));
}

/* All pictures of a group whose names begin so; NULL: all others. Returns how many. */
static int show(FILE *out, const Group *group, const char *begin, size_t *room) {
    int shown = 0;
    for (size_t i = 0; i < group->count; i++) {
        const ReportPicture *p = &group->pictures[i];
        bool known = begins_with(p->name, "mask") || begins_with(p->name, "latents");
        /* the sheet is the other pictures once more */
        if (begin ? !begins_with(p->name, begin)
                  : known || (group->count > 1 && !strcmp(p->name, SHEET)))
            continue;
        report_picture(out, p->path, p->name, room);
        shown++;
    }
    return shown;
}

static bool has(const Group *group, const char *begin) {
    for (size_t i = 0; i < group->count; i++)
        if (begins_with(group->pictures[i].name, begin))
            return true;
    return false;
}

static int by_step(const void *a, const void *b) {
    const Group *x = a, *y = b;
    int64_t s = x->pictures->step, t = y->pictures->step;
    if (s != t)
        return (s > t) - (s < t);
    return (x->pictures > y->pictures) - (x->pictures < y->pictures);
}

/* Pictures by folder, in the order of their steps; caller frees. */
static Group *make_groups(size_t *count, const ReportRun *run) {
    Group *groups = memory_new(run->pictures_count, sizeof *groups);
    *count = 0;
    for (size_t i = 0; i < run->pictures_count; i++) {
        const ReportPicture *p = &run->pictures[i];
        if (!*count || strcmp(groups[*count - 1].pictures->folder, p->folder) != 0)
            groups[(*count)++] = (Group){p, 0};
        groups[*count - 1].count++;
    }
    qsort(groups, *count, sizeof *groups, by_step);
    return groups;
}

static void show_strips(FILE *out, const Group *groups, size_t count, size_t *room) {
    size_t strips = 0, seen = 0;
    for (size_t g = 0; g < count; g++)
        strips += has(&groups[g], "latents");
    html_element(out, "h3", NULL, "Latents over training");
    if (!strips) {
        report_absent(out, "no pictures of latents");
        return;
    }
    fputs("<p class=\"note\">Target and predicted latents in the colours of three principal "
          "components; every strip has axes of its own, so colours of one are not those of "
          "another.</p>",
          out);
    for (size_t g = 0; g < count; g++) {
        if (!has(&groups[g], "latents"))
            continue;
        /* of many, some that lie evenly, the first and the last among them */
        size_t number = seen++;
        bool shown = strips <= STRIPS_MOST ||
                     (number * (STRIPS_MOST - 1) + strips - 2) / (strips - 1) !=
                         ((number + 1) * (STRIPS_MOST - 1) + strips - 2) / (strips - 1);
        if (!shown)
            continue;
        html_element(out, "h4", NULL, groups[g].pictures->folder);
        show(out, &groups[g], "latents", room);
    }
    if (strips > STRIPS_MOST)
        fprintf(out, "<p class=\"note\">%d of %zu folders are shown.</p>", STRIPS_MOST, strips);
}

void report_pictures(FILE *out, const ReportRun *run) {
    size_t count, room = PAGE_MOST;
    Group *groups = make_groups(&count, run);
    report_begin(out, "pictures", "Masks and latents");
    if (!count) {
        report_absent(out, "no pictures in %s (jepa report %s --video FILE makes them)",
                      run->folder, run->folder);
    } else {
        const Group *newest = &groups[count - 1];
        fputs("<h3>Masks</h3>", out);
        if (!show(out, newest, "mask", &room))
            report_absent(out, "no pictures of masks in %s", newest->pictures->folder);
        show_strips(out, groups, count, &room);
        fputs("<details><summary>More pictures of ", out);
        html_text(out, newest->pictures->folder);
        fputs("</summary>", out);
        if (!show(out, newest, NULL, &room))
            report_absent(out, "none");
        fputs("</details>", out);
    }
    free(groups);
    report_end(out);
}
