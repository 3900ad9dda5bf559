/* Small help with JSON that a command writes. */
#ifndef JEPA_EXPERIMENTS_JSON_H
#define JEPA_EXPERIMENTS_JSON_H

#include "base/hash.h"
#include <jansson.h>

/* JSON takes UTF-8 only; a text that is none loses its odd bytes. */
json_t *json_text(const char *text);
json_t *json_number(double value); /* null where it is not finite */
json_t *json_hash(const Hash *hash);
/* Written whole or not at all; takes the reference to `json`. */
int json_save(json_t *json, const char *folder, const char *name, Error *error);

#endif
