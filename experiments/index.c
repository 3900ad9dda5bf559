/* jepa index: reads every video of the sources once, in parallel, and keeps what it found.
 *
 * A killed run goes on where it was; an index that is there already is refreshed: only files whose
 * size or modification time differ are read again. */
#include "video/index.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "kernels/device.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct IndexArguments {
    const char *out, *check;
    double timeout;
    int64_t threads;
} IndexArguments;

static int make(const IndexArguments *a, const TextList *sources, Error *error) {
    IndexSettings settings = {.sources_count = (int)sources->count,
                              .threads = a->threads ? (int)a->threads : device_threads_available(),
                              .scan = {.timeout = a->timeout},
                              .kept = a->out,
                              .may_be_unusable = true};
    settings.scan.check = strcmp(a->check, "packets") ? VIDEO_CHECK_DECODE : VIDEO_CHECK_PACKETS;
    for (size_t i = 0; i < sources->count; i++)
        settings.sources[i] = sources->items[i];
    for (size_t i = 0; i < sources->count; i++)
        if (columns_is(sources->items[i]))
            return error_set(error, ERROR_USAGE,
                             "%s is an index: give the folders or lists that it was made from",
                             sources->items[i]);
    VideoIndex index;
    double started = time_now();
    if (video_index_make(&index, &settings, error))
        return -1;
    char text[HASH_TEXT];
    hash_text(text, &index.hash);
    printf("videos           %zu, %zu usable, %zu unusable (jepa inspect %s names them)\n",
           index.count, index.usable, index.count - index.usable, a->out);
    printf("content hash     %s\n", text);
    printf("index            %s, %.1f s\n", a->out, time_now() - started);
    video_index_free(&index);
    return 0;
}

int command_index(int argc, char **argv) {
    const CommandHelp help = {
        "jepa index FOLDER|LIST.csv ... --out INDEX.index [--check decode|packets]",
        "Reads every video once and keeps streams, sizes, rotation, colours, time stamps, "
        "keyframes, content hashes and, for what cannot be used, the reason. INDEX can then be "
        "given wherever a folder of videos can. Run it again to refresh it: only files that have "
        "changed are read. Killed, it goes on where it was."};
    IndexArguments a = {.check = "decode", .timeout = 600};
    const Option options[] = {
        {"out", "INDEX", "the index file", OPTION_TEXT, &a.out},
        {"check", "HOW",
         "decode (default): every frame, which finds all damage; packets: time stamps from the "
         "container and the first frames only, ten times as fast and more",
         OPTION_TEXT, &a.check},
        {"timeout", "SECONDS", "give a file up after this long (default 600; 0: never)",
         OPTION_NUMBER, &a.timeout},
        {"threads", "N", "files read at a time; 0: all cores (default)", OPTION_INTEGER,
         &a.threads},
    };
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0) {
        if (!rest.count || rest.count > INDEX_SOURCES_MAX)
            error_set(&error, ERROR_USAGE, "expected 1 to %d folders or lists of videos",
                      INDEX_SOURCES_MAX);
        else if (!a.out)
            error_set(&error, ERROR_USAGE, "--out is missing: the index file");
        else if (strcmp(a.check, "decode") && strcmp(a.check, "packets"))
            error_set(&error, ERROR_USAGE, "--check %s: expected decode or packets", a.check);
        else if (a.threads < 0 || a.threads > 4096 || !(a.timeout >= 0))
            error_set(&error, ERROR_USAGE, "--threads and --timeout: expected 0 or more");
        else
            make(&a, &rest, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa index: %s\n", error.text);
    free(rest.items);
    return error.code;
}
