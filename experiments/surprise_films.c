/* jepa surprise --video: a curve under a film strip, and a table of the windows, for each video. */
#include "base/file.h"
#include "eval/colormap.h"
#include "experiments/surprise.h"
#include <inttypes.h>
#include <stdlib.h>

static int write_csv(const Surprise *s, const SurpriseVideo *v, const char *folder, Error *error) {
    char *path = path_join(folder, "surprise.csv");
    FileWriter writer;
    int result = file_writer_open(&writer, path, error);
    if (!result) {
        surprise_heading(writer.stream, s, "");
        surprise_rows(writer.stream, s, v, "");
        result = file_writer_commit(&writer, error);
    }
    if (!result)
        printf("%s\n", path);
    free(path);
    return result;
}

/* "first 2 frames seen", "4", ...: dark for a short one to light for a long one */
static void make_lines(SurpriseLine *lines, const Surprise *s, const SurpriseVideo *v) {
    for (int c = 0; c < s->count; c++)
        lines[c] = (SurpriseLine){
            .name = memory_text(c ? "%d" : "first %d frames seen", s->contexts[c]),
            .color = colormap_color(COLORMAP_DEPTH, 0.1 + 0.7 * c / fmax(1, s->count - 1)),
            .thickness = 3.5,
            .x = v->middle + c * v->count,
            .y = surprise_curve(v, s, c),
            .count = v->count};
}

static int write_picture(const Surprise *s, const SurpriseVideo *v, const Footage *footage,
                         const char *folder, Error *error) {
    char *path = path_join(folder, "surprise.png"), *about = surprise_about(s, footage);
    char *title = memory_text("Surprise: %s", path_name(footage->file.name));
    char *caption = memory_text("Mean |prediction - target| of the tokens behind the frames that "
                                "are seen, drawn at the middle of the predicted frames. %s %s.",
                                about, s->scene.source);
    SurpriseLine lines[SURPRISE_CONTEXTS];
    make_lines(lines, s, v);
    SurpriseSheet sheet = {.title = title,
                           .caption = caption,
                           .unit = "surprise",
                           .seconds = surprise_axis(footage),
                           .mark = NAN,
                           .strips = &v->strip,
                           .strip_count = 1,
                           .lines = lines,
                           .line_count = s->count};
    int result = surprise_picture(path, &sheet, error);
    for (int c = 0; c < s->count; c++) {
        free((char *)(uintptr_t)lines[c].name);
        free((double *)(uintptr_t)lines[c].y);
    }
    free(caption);
    free(title);
    free(about);
    free(path);
    return result;
}

/* Scores, and the window that surprises most. */
static void print_scores(const Surprise *s, const SurpriseVideo *v, const Footage *footage) {
    printf("video                  %s, %" PRId64 " windows\n", footage->file.name, v->count);
    printf("frames seen   avg     max     greatest in            repeated: avg     max\n");
    for (int c = 0; c <= s->count; c++) {
        const SurpriseScore *own = &v->score[SURPRISE_TRAINED],
                            *repeated = &v->score[SURPRISE_REPEATED];
        int64_t best = 0;
        double most = -INFINITY;
        for (int64_t w = 0; w < v->count; w++) {
            const double *values = v->values[SURPRISE_TRAINED] + w * s->count;
            double value = c < s->count ? values[c] : surprise_least(values, s->count);
            best = value > most ? w : best;
            most = fmax(most, value);
        }
        char *label = surprise_context_text(s, c);
        char *where = memory_text("%.2f to %.2f s", v->from[best], v->to[best]);
        printf("%11s   %.3f   %.3f   %-22s %12.3f   %.3f\n", label, own->mean[c], own->most[c],
               where, repeated->mean[c], repeated->most[c]);
        free(where);
        free(label);
    }
}

static int show(Surprise *s, const Footage *footage, const char *folder, Error *error) {
    SurpriseVideo v;
    int result = surprise_video(&v, s, footage, surprise_axis(footage), "surprise", error);
    if (!result)
        result = folder_make(folder, error);
    if (!result)
        result = write_csv(s, &v, folder, error);
    if (!result)
        result = write_picture(s, &v, footage, folder, error);
    if (!result)
        print_scores(s, &v, footage);
    surprise_video_free(&v);
    return result;
}

int surprise_films(Surprise *s, Error *error) {
    int result = 0;
    for (size_t i = 0; i < s->footage_count && !result; i++) {
        const Footage *footage = &s->footage[i];
        char *name = memory_text("%zu-%s", i, path_name(footage->file.name));
        char *folder = s->footage_count > 1 ? path_join(s->out, name) : memory_text("%s", s->out);
        result = show(s, footage, folder, error);
        free(folder);
        free(name);
    }
    return result;
}
