/* The journal of an index that is being made. See video/index_journal.h.
 *
 * Each record is a whole index of one video (its image as a column file), with its length before
 * it: the checks of the index are the checks of the journal. */
#include "video/index_journal.h"
#include "base/file.h"
#include "video/index_columns.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_LIMIT ((uint64_t)1 << 30) /* bytes */

static char *journal_path(const char *kept) {
    return memory_text("%s.journal", kept);
}

int journal_open(Journal *journal, const char *kept, VideoCheck check, long whole, Error *error) {
    *journal = (Journal){.check = check};
    if (!kept)
        return 0;
    char *folder = path_folder(kept);
    int result = folder_make(folder, error);
    free(folder);
    journal->path = journal_path(kept);
    if (!result && file_exists(journal->path) && truncate(journal->path, whole))
        whole = 0;
    if (!result && !(journal->file = fopen(journal->path, "ae")))
        result = error_set(error, ERROR_RUN, "cannot write %s: %s", journal->path, strerror(errno));
    return result;
}

void journal_add(Journal *journal, const VideoFile *file) {
    if (!journal->file)
        return;
    char *source = "";
    IndexAbout about = {.sources = &source, .sources_count = 1, .check = journal->check};
    VideoFile entry = *file;
    entry.label = -1;
    entry.dataset = 0;
    uint8_t *image;
    size_t size;
    index_pack(&image, &size, &entry, 1, &about);
    uint64_t bytes = size;
    fwrite(&bytes, sizeof bytes, 1, journal->file);
    fwrite(image, 1, size, journal->file);
    fflush(journal->file);
    free(image);
}

void journal_close(Journal *journal, bool remove_it) {
    if (journal->file)
        fclose(journal->file);
    if (journal->path && remove_it)
        unlink(journal->path);
    free(journal->path);
    memset(journal, 0, sizeof *journal);
}

/* One entry as an own copy: false at the end, or at the first that is damaged. */
static bool read_entry(VideoFile *file, bool *same, FILE *journal, uint64_t left,
                       VideoCheck check) {
    uint64_t bytes;
    Error ignored;
    ColumnFile columns;
    VideoIndex index;
    if (fread(&bytes, sizeof bytes, 1, journal) != 1 || bytes > ENTRY_LIMIT || bytes > left)
        return false;
    uint8_t *image = memory_new(bytes, 1);
    if (fread(image, 1, bytes, journal) != bytes) {
        free(image);
        return false;
    }
    if (columns_open_image(&columns, image, bytes, "the journal", INDEX_FORMAT, INDEX_VERSION,
                           &ignored) ||
        index_take(&index, &columns, &ignored))
        return false;
    bool one = index.count == 1;
    *same = one && index_same_scanner(&index, check) && !index_verify_lists(&index, &ignored);
    if (*same) {
        VideoFile view = video_index_file(&index, 0);
        *file = video_file_copy(&view);
    }
    video_index_free(&index);
    return one;
}

long journal_read(VideoFile **files, size_t *count, const char *kept, VideoCheck check) {
    long whole = 0;
    *files = NULL;
    *count = 0;
    char *path = kept ? journal_path(kept) : NULL;
    FILE *journal = path ? fopen(path, "re") : NULL;
    struct stat about;
    free(path);
    if (!journal)
        return 0;
    uint64_t left = fstat(fileno(journal), &about) ? 0 : (uint64_t)about.st_size;
    VideoFile file;
    bool same;
    while (read_entry(&file, &same, journal, left, check)) {
        whole = ftell(journal);
        if (same) {
            if (!(*count & (*count - 1)))
                *files = memory_grow(*files, *count ? 2 * *count : 1, sizeof **files);
            (*files)[(*count)++] = file;
        }
    }
    fclose(journal);
    return whole;
}

void journal_free_files(VideoFile *files, size_t count) {
    for (size_t i = 0; i < count; i++)
        video_file_free(&files[i]);
    free(files);
}
