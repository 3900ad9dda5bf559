/* Content hashes: BLAKE2b-256 (libsodium's generichash, no key). */
#ifndef JEPA_BASE_HASH_H
#define JEPA_BASE_HASH_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 32
#define HASH_TEXT  (2 * HASH_BYTES + 1) /* lower-case hex with the final zero */

typedef struct Hash {
    uint8_t bytes[HASH_BYTES];
} Hash;

typedef struct HashState {
    _Alignas(64) unsigned char opaque[384]; /* crypto_generichash_state */
} HashState;

void hash_start(HashState *state);
void hash_add(HashState *state, const void *bytes, size_t count);
Hash hash_end(HashState *state);

Hash hash_bytes(const void *bytes, size_t count);
int hash_file(Hash *hash, const char *path, Error *error); /* reads the whole file */
void hash_text(char text[HASH_TEXT], const Hash *hash);
/* Reads what hash_text wrote: 64 hexadecimal digits and nothing else; 0, or -1. */
int hash_from_text(Hash *hash, const char *text);
int hash_same(const Hash *a, const Hash *b);  /* 1 when equal */
int hash_order(const void *a, const void *b); /* of two Hash, for qsort and bsearch */

#endif
