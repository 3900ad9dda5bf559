/* See experiments/json.h. */
#include "experiments/json.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *value) {
    json_t *text = json_string(value);
    if (text)
        return text;
    char *plain = memory_text("%s", value);
    for (char *at = plain; *at; at++)
        *at = (unsigned char)*at < 128 ? *at : '?';
    text = json_string(plain);
    free(plain);
    return text;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_hash(const Hash *hash) {
    char text[HASH_TEXT];
    hash_text(text, hash);
    return json_string(text);
}

int json_save(json_t *json, const char *folder, const char *name, Error *error) {
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    char *path = path_join(folder, name);
    json_decref(json);
    JEPA_ASSERT(text);
    int result = file_write(path, text, strlen(text), error);
    free(text);
    free(path);
    return result;
}
