/* Where videos come from: folders walked recursively, and lists in the published form. */
#ifndef JEPA_VIDEO_SOURCES_H
#define JEPA_VIDEO_SOURCES_H

#include "base/error.h"
#include <stddef.h>

typedef struct SourceFile {
    char *path;  /* opens the file */
    char *name;  /* relative to the folder, or as the list says it */
    char *label; /* class, NULL if none */
} SourceFile;

typedef struct SourceList {
    size_t count;
    SourceFile *files; /* by name */
    size_t ignored;    /* files of other kinds in the folder */
} SourceList;

/* See video_index_build for what a source is. */
int source_list(SourceList *list, const char *source, Error *error);
void source_list_free(SourceList *list);

#endif
