/* What has been scanned while an index is made: PATH.journal, one record a file, so that a killed
 * build goes on where it was. Private to the index. A journal is a help, never a need: what cannot
 * be written or read of it is scanned again. */
#ifndef JEPA_VIDEO_INDEX_JOURNAL_H
#define JEPA_VIDEO_INDEX_JOURNAL_H

#include "video/index.h"
#include <stdio.h>

typedef struct Journal {
    FILE *file;
    char *path;
    VideoCheck check;
} Journal;

/* `kept` NULL, or a folder that cannot be written: nothing is journalled. */
void journal_open(Journal *journal, const char *kept, VideoCheck check);
void journal_add(Journal *journal, const VideoFile *file);
void journal_close(Journal *journal, bool remove_it);

/* The entries of a journal that the same scanner wrote; a damaged end is left out. */
void journal_read(VideoFile **files, size_t *count, const char *kept, VideoCheck check);
void journal_free_files(VideoFile *files, size_t count);

#endif
