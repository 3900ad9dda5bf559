/* Hostile lists of videos, and hostile journals of an index. */
#include "tests/fuzz/fuzz.h"
#include "video/index_journal.h"
#include "video/sources.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    if (size < 1)
        return 0;
    int file = fuzz_file(path, data + 1, size - 1);
    if (file < 0)
        return 0;
    if (data[0] & 1) {
        SourceList list;
        Error error = {0};
        if (!source_list(&list, path, &error))
            source_list_free(&list);
    } else {
        VideoFile *files;
        size_t count;
        char kept[96], link[128]; /* the journal of X is X.journal */
        snprintf(kept, sizeof kept, "/tmp/jepa-fuzz-%ld", (long)getpid());
        snprintf(link, sizeof link, "%s.journal", kept);
        unlink(link);
        if (!symlink(path, link)) {
            journal_read(&files, &count, kept, VIDEO_CHECK_DECODE);
            journal_free_files(files, count);
            unlink(link);
        }
    }
    close(file);
    return 0;
}
