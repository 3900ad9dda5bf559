/* Counting what is in an index. See video/census.h. */
#include "video/census.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tally_add(Tally *t, const char *text) {
    size_t i = 0;
    while (i < t->kinds && strcmp(t->texts[i], text))
        i++;
    if (i == TALLY_KINDS) {
        t->beyond++;
        return;
    }
    if (i == t->kinds) {
        t->texts = memory_grow(t->texts, t->kinds + 1, sizeof *t->texts);
        t->counts = memory_grow(t->counts, t->kinds + 1, sizeof *t->counts);
        t->texts[t->kinds] = memory_text("%s", text);
        t->counts[t->kinds++] = 0;
    }
    t->counts[i]++;
}

/* The most frequent first; of equals the one that came first. */
static void tally_sort(Tally *t) {
    for (size_t i = 1; i < t->kinds; i++) {
        char *text = t->texts[i];
        size_t count = t->counts[i], at = i;
        for (; at > 0 && t->counts[at - 1] < count; at--) {
            t->texts[at] = t->texts[at - 1];
            t->counts[at] = t->counts[at - 1];
        }
        t->texts[at] = text;
        t->counts[at] = count;
    }
}

static void tally_free(Tally *t) {
    for (size_t i = 0; i < t->kinds; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t->counts);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ITU-T H.273 */
static void colour_text(char text[64], const VideoFile *f) {
    const char *matrix = f->colour[0] == 1                         ? "BT.709"
                         : f->colour[0] == 5 || f->colour[0] == 6  ? "BT.601"
                         : f->colour[0] == 9 || f->colour[0] == 10 ? "BT.2020"
                         : f->colour[0] == 0                       ? "RGB"
                         : f->colour[0] == 2                       ? "unspecified"
                                                                   : "other";
    snprintf(text, 64, "%s%s%s", matrix, f->colour[1] == 2 ? " full range" : "",
             video_file_is_hdr(f) ? " HDR" : "");
}

/* Do frames lie further apart or closer than rounding to the time base explains? */
static bool is_uneven(const VideoFile *f) {
    int64_t least = INT64_MAX, most = 0;
    for (int64_t i = 1; f->timed && f->pts && i < f->frames; i++) {
        int64_t gap = (int64_t)((uint64_t)f->pts[i] - (uint64_t)f->pts[i - 1]);
        least = gap < least ? gap : least;
        most = gap > most ? gap : most;
    }
    return most > least && most - least > 1;
}

static void count_video(VideoCensus *c, const VideoIndex *index, size_t u) {
    VideoFile f = video_index_file(index, index->usable_files[u]);
    char size[64], rate[32], colour[64];
    snprintf(size, sizeof size, "%dx%d", video_file_width(&f), video_file_height(&f));
    snprintf(rate, sizeof rate, "%.4g", f.fps);
    colour_text(colour, &f);
    tally_add(&c->sizes, size);
    tally_add(&c->rates, rate);
    tally_add(&c->codecs, f.codec);
    tally_add(&c->containers, f.container);
    tally_add(&c->formats, f.format);
    tally_add(&c->colours, colour);
    if (f.label >= 0 && f.label < index->classes)
        tally_add(&c->classes, index->class_names[f.label]);
    c->rotated += f.rotation != 0;
    c->uneven += is_uneven(&f);
    c->untimed += !f.timed && f.frames > 1;
    c->with_audio += f.streams[1] > 0;
    c->gaps[u] = (double)f.frames / (double)(f.key_count ? f.key_count : 1);
    c->seconds[u] = f.duration;
    c->frames[u] = (double)f.frames;
    c->duration += f.duration;
    c->bytes += (double)f.bytes;
}

void video_census(VideoCensus *c, const VideoIndex *index) {
    memset(c, 0, sizeof *c);
    c->videos = index->count;
    c->usable = index->usable;
    c->seconds = memory_new(c->usable, sizeof *c->seconds);
    c->frames = memory_new(c->usable, sizeof *c->frames);
    c->gaps = memory_new(c->usable, sizeof *c->gaps);
    for (size_t u = 0; u < c->usable; u++)
        count_video(c, index, u);
    qsort(c->seconds, c->usable, sizeof *c->seconds, ascending);
    qsort(c->frames, c->usable, sizeof *c->frames, ascending);
    qsort(c->gaps, c->usable, sizeof *c->gaps, ascending);
    Tally *tallies[] = {&c->sizes,   &c->rates,   &c->codecs, &c->containers,
                        &c->formats, &c->colours, &c->classes};
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies; i++)
        tally_sort(tallies[i]);
}

void video_census_free(VideoCensus *c) {
    tally_free(&c->sizes);
    tally_free(&c->rates);
    tally_free(&c->codecs);
    tally_free(&c->containers);
    tally_free(&c->formats);
    tally_free(&c->colours);
    tally_free(&c->classes);
    free(c->seconds);
    free(c->frames);
    free(c->gaps);
    memset(c, 0, sizeof *c);
}
