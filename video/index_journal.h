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

/* `kept` NULL: nothing is journalled. What stands behind `whole` bytes, the end of a record that
 * was cut short, is dropped. Error: the journal cannot be written. */
int journal_open(Journal *journal, const char *kept, VideoCheck check, long whole, Error *error);
void journal_add(Journal *journal, const VideoFile *file);
void journal_close(Journal *journal, bool remove_it);

/* The entries of a journal that the same scanner wrote. Returns the bytes up to which it is whole.
 */
long journal_read(VideoFile **files, size_t *count, const char *kept, VideoCheck check);
void journal_free_files(VideoFile *files, size_t count);

#endif
