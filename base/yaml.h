/* YAML and JSON documents as a tree, through libyaml, bounded: 1 MiB, depth 32, 65,536 nodes.
 * Anchors and aliases are refused (they can make a small file expand without end), tags as well. */
#ifndef JEPA_BASE_YAML_H
#define JEPA_BASE_YAML_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum YamlKind { YAML_SCALAR, YAML_LIST, YAML_MAP } YamlKind;

typedef struct YamlNode {
    YamlKind kind;
    int line;                /* 1-based, for messages */
    char *text;              /* scalar: its text */
    bool quoted;             /* scalar: was quoted, so never a number, bool or null */
    size_t count;            /* list and map: children */
    char **keys;             /* map: [count] */
    struct YamlNode **items; /* list and map: [count] */
} YamlNode;

/* `name` stands in messages. Duplicate keys are errors. The tree is freed with yaml_release
 * (yaml_free is a symbol of libyaml). */
int yaml_parse(YamlNode **root, const char *text, size_t count, const char *name, Error *error);
int yaml_load(YamlNode **root, const char *path, Error *error);
void yaml_release(YamlNode *root);

const YamlNode *yaml_find(const YamlNode *map, const char *key); /* NULL if absent or not a map */
/* Scalars. YAML 1.2 core forms; 1e-4 counts as a number (YAML 1.1 readers get this wrong).
 * 0, or -1 when the node is no such thing (no message: the caller knows the key). */
int yaml_number(const YamlNode *node, double *value);
int yaml_integer(const YamlNode *node, int64_t *value);
int yaml_bool(const YamlNode *node, bool *value); /* true/false, any case; yes/no/on/off too */
bool yaml_is_null(const YamlNode *node);          /* null, ~ or empty, unquoted */

/* Writes `text` as a YAML double-quoted scalar when it needs quotes. Caller frees. */
char *yaml_quote(const char *text);

#endif
