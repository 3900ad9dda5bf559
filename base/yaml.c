/* YAML through libyaml's event parser, as a bounded tree. See base/yaml.h. */
#include "base/yaml.h"
#include "base/file.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define SIZE_LIMIT  ((size_t)1 << 20)
#define DEPTH_LIMIT 32
#define NODE_LIMIT  65536

typedef struct Reader {
    yaml_parser_t parser;
    const char *name;
    const char *text;
    size_t nodes;
    Error *error;
} Reader;

static int complain(Reader *reader, int line, const char *what) {
    return error_set(reader->error, ERROR_USAGE, "%s:%d: %s", reader->name, line, what);
}

static int next_event(Reader *reader, yaml_event_t *event) {
    if (yaml_parser_parse(&reader->parser, event))
        return 0;
    int line = (int)reader->parser.problem_mark.line + 1;
    if (reader->parser.error == YAML_READER_ERROR) { /* bad bytes come with an offset only */
        line = 1;
        for (size_t i = 0; i < reader->parser.problem_offset; i++)
            line += reader->text[i] == '\n';
    }
    return complain(reader, line, reader->parser.problem ? reader->parser.problem : "not YAML");
}

static int read_node(YamlNode **node, Reader *reader, yaml_event_t *event, int depth);

typedef struct Key {
    const char *text;
    int line;
} Key;

static int by_text(const void *a, const void *b) {
    const Key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Sorted, because a hostile map can hold tens of thousands of keys. */
static int check_keys(Key *keys, size_t count, Reader *reader) {
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(keys[i - 1].text, keys[i].text))
            return error_set(reader->error, ERROR_USAGE, "%s:%d: the key %s comes twice",
                             reader->name, keys[i].line, keys[i].text);
    return 0;
}

/* The items of a list up to its end. */
static int read_list(YamlNode *list, Reader *reader, int depth) {
    size_t room = 0;
    for (;;) {
        yaml_event_t event;
        if (next_event(reader, &event))
            return -1;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return 0;
        }
        if (list->count == room) {
            room = room ? 2 * room : 8;
            list->items = memory_grow(list->items, room, sizeof *list->items);
        }
        if (read_node(&list->items[list->count], reader, &event, depth))
            return -1;
        list->count++;
    }
}

static int read_key(char **key, Reader *reader, yaml_event_t *event, int line) {
    int result = 0;
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.anchor || event->data.scalar.tag)
        result = complain(reader, line, "expected a plain key");
    else if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        result = complain(reader, line, "a zero byte in a key");
    else
        *key = memory_text("%s", (const char *)event->data.scalar.value);
    yaml_event_delete(event);
    return result;
}

/* The keys and items of a map up to its end. `keys` is scratch for the search for duplicates. */
static int read_map(YamlNode *map, Key **keys, Reader *reader, int depth) {
    size_t room = 0;
    for (;;) {
        yaml_event_t event;
        char *key = NULL;
        if (next_event(reader, &event))
            return -1;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return map->count ? check_keys(*keys, map->count, reader) : 0;
        }
        if (map->count == room) {
            room = room ? 2 * room : 8;
            map->items = memory_grow(map->items, room, sizeof *map->items);
            map->keys = memory_grow(map->keys, room, sizeof *map->keys);
            *keys = memory_grow(*keys, room, sizeof **keys);
        }
        int line = (int)event.start_mark.line + 1;
        if (read_key(&key, reader, &event, line))
            return -1;
        if (next_event(reader, &event) ||
            read_node(&map->items[map->count], reader, &event, depth)) {
            free(key);
            return -1;
        }
        (*keys)[map->count] = (Key){key, line};
        map->keys[map->count++] = key;
    }
}

static int read_children(YamlNode *parent, Reader *reader, int depth) {
    if (parent->kind == YAML_LIST)
        return read_list(parent, reader, depth);
    Key *keys = NULL;
    int result = read_map(parent, &keys, reader, depth);
    free(keys);
    return result;
}

/* A tag could turn the text 5 into a number or back: refused, not ignored. */
static bool has_tag(const yaml_event_t *event) {
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.tag) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.tag) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.tag);
}

static bool has_anchor(const yaml_event_t *event) {
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.anchor) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor);
}

/* Takes the event over. */
static int read_node(YamlNode **node, Reader *reader, yaml_event_t *event, int depth) {
    int line = (int)event->start_mark.line + 1, result = 0;
    yaml_event_type_t type = event->type;
    YamlNode *made = NULL;
    if (depth > DEPTH_LIMIT || ++reader->nodes > NODE_LIMIT) {
        result = complain(reader, line, "nested too deep or too large");
    } else if (type == YAML_ALIAS_EVENT || has_anchor(event)) {
        result = complain(reader, line, "anchors and aliases are not allowed: write the value out");
    } else if (has_tag(event)) {
        result = complain(reader, line, "tags (!...) are not allowed: write the plain value");
    } else if (type == YAML_SCALAR_EVENT) {
        if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
            result = complain(reader, line, "a zero byte in a text");
        else {
            made = memory_new(1, sizeof *made);
            made->kind = YAML_SCALAR;
            made->text = memory_text("%s", (const char *)event->data.scalar.value);
            made->quoted = event->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                           event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
        }
    } else if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT) {
        made = memory_new(1, sizeof *made);
        made->kind = type == YAML_SEQUENCE_START_EVENT ? YAML_LIST : YAML_MAP;
    } else {
        result = complain(reader, line, "expected a value");
    }
    yaml_event_delete(event);
    if (made) {
        made->line = line;
        if (made->kind != YAML_SCALAR && read_children(made, reader, depth + 1)) {
            yaml_release(made);
            return -1;
        }
    }
    *node = made;
    return result;
}

static YamlNode *empty_document(void) {
    YamlNode *node = memory_new(1, sizeof *node);
    node->kind = YAML_SCALAR;
    node->text = memory_text("%s", "");
    node->line = 1;
    return node;
}

int yaml_parse(YamlNode **root, const char *text, size_t count, const char *name, Error *error) {
    *root = NULL;
    Reader reader = {.name = name, .text = text, .error = error};
    if (count > SIZE_LIMIT)
        return error_set(error, ERROR_USAGE,
                         "%s: larger than 1 MiB, so no recipe or list of settings", name);
    JEPA_ASSERT(yaml_parser_initialize(&reader.parser));
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, count);
    int result = 0;
    bool ended = false;
    while (!result && !ended) {
        yaml_event_t event;
        if ((result = next_event(&reader, &event)))
            break;
        ended = event.type == YAML_STREAM_END_EVENT;
        if (ended || event.type == YAML_STREAM_START_EVENT ||
            event.type == YAML_DOCUMENT_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
            yaml_event_delete(&event);
        else if (*root) {
            yaml_event_delete(&event);
            result = complain(&reader, (int)reader.parser.mark.line + 1, "a second document");
        } else
            result = read_node(root, &reader, &event, 0);
    }
    yaml_parser_delete(&reader.parser);
    if (result) {
        yaml_release(*root);
        *root = NULL;
    } else if (!*root)
        *root = empty_document();
    return result;
}

int yaml_load(YamlNode **root, const char *path, Error *error) {
    uint8_t *bytes;
    size_t count;
    *root = NULL;
    if (file_read(&bytes, &count, path, SIZE_LIMIT, error))
        return -1;
    int result = yaml_parse(root, (const char *)bytes, count, path, error);
    free(bytes);
    return result;
}

void yaml_release(YamlNode *root) {
    if (!root)
        return;
    for (size_t i = 0; i < root->count; i++) {
        yaml_release(root->items[i]);
        if (root->keys)
            free(root->keys[i]);
    }
    free(root->items);
    free(root->keys);
    free(root->text);
    free(root);
}

const YamlNode *yaml_find(const YamlNode *map, const char *key) {
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (!strcmp(map->keys[i], key))
            return map->items[i];
    return NULL;
}

int yaml_number(const YamlNode *node, double *value) {
    if (!node || node->kind != YAML_SCALAR || node->quoted || !*node->text)
        return -1;
    /* only the characters of decimal numbers: no hex, no inf, no nan, no spaces */
    if (strspn(node->text, "0123456789+-.eE") != strlen(node->text))
        return -1;
    char *end;
    double number = strtod(node->text, &end);
    if (*end || end == node->text || !isfinite(number))
        return -1;
    *value = number;
    return 0;
}

int yaml_integer(const YamlNode *node, int64_t *value) {
    if (!node || node->kind != YAML_SCALAR || node->quoted || !*node->text ||
        strspn(node->text, "0123456789+-") != strlen(node->text))
        return -1;
    char *end;
    errno = 0;
    long long number = strtoll(node->text, &end, 10);
    if (*end || end == node->text || errno)
        return -1;
    *value = number;
    return 0;
}

int yaml_bool(const YamlNode *node, bool *value) {
    if (!node || node->kind != YAML_SCALAR || node->quoted)
        return -1;
    const char *words[2][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};
    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 3; i++)
            if (!strcasecmp(node->text, words[truth][i])) {
                *value = truth;
                return 0;
            }
    return -1;
}

bool yaml_is_null(const YamlNode *node) {
    return node && node->kind == YAML_SCALAR && !node->quoted &&
           (!*node->text || !strcmp(node->text, "~") || !strcasecmp(node->text, "null"));
}

/* Bytes at `at` that libyaml reads as a control or a line break, or refuses: the code point, and
 * their number in *bytes; 0 when the text can stand as it is. */
static unsigned must_escape(const unsigned char *at, int *bytes) {
    *bytes = 1;
    if (at[0] < 0x20 || at[0] == 0x7f)
        return at[0];
    *bytes = 2;
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
        return at[1];
    *bytes = 3;
    if (at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
        return 0x2000u + at[2] - 0x80;
    if (at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf)
        return 0xfeff;
    if (at[0] == 0xef && at[1] == 0xbf && (at[2] == 0xbe || at[2] == 0xbf))
        return 0xffc0u + at[2] - 0x80;
    return 0;
}

/* Plain words that no reader takes for anything but a text. */
static bool needs_quotes(const char *text) {
    YamlNode node = {.kind = YAML_SCALAR, .text = (char *)text};
    bool truth;
    if (!*text || yaml_is_null(&node) || !yaml_bool(&node, &truth))
        return true;
    for (const char *at = text; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        bool digit = *at >= '0' && *at <= '9';
        if (!letter && *at != '_' && *at != '/' &&
            !(at > text && (digit || *at == '.' || *at == '-')))
            return true;
    }
    return false;
}

char *yaml_quote(const char *text) {
    if (!needs_quotes(text))
        return memory_text("%s", text);
    char *quoted = memory_new(strlen(text) + 1, 4), *out = quoted; /* "\x01" is four for one */
    *out++ = '"';
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int bytes;
        unsigned point = must_escape(at, &bytes);
        if (point) {
            out += sprintf(out, point < 0x100 ? "\\x%02x" : "\\u%04x", point);
            at += bytes;
            continue;
        }
        if (*at == '"' || *at == '\\')
            *out++ = '\\';
        *out++ = (char)*at++;
    }
    *out++ = '"';
    *out = 0;
    return quoted;
}
