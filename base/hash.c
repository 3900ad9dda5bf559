/* BLAKE2b-256 through libsodium. See base/hash.h. */
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(HashState) >= sizeof(crypto_generichash_state), "HashState is too small");

static crypto_generichash_state *inside(HashState *state) {
    return (crypto_generichash_state *)(void *)state->opaque;
}

void hash_start(HashState *state) {
    JEPA_ASSERT(sodium_init() >= 0);
    crypto_generichash_init(inside(state), NULL, 0, HASH_BYTES);
}

void hash_add(HashState *state, const void *bytes, size_t count) {
    crypto_generichash_update(inside(state), bytes, count);
}

Hash hash_end(HashState *state) {
    Hash hash;
    crypto_generichash_final(inside(state), hash.bytes, HASH_BYTES);
    return hash;
}

Hash hash_bytes(const void *bytes, size_t count) {
    HashState state;
    hash_start(&state);
    hash_add(&state, bytes, count);
    return hash_end(&state);
}

int hash_file(Hash *hash, const char *path, Error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block */
    struct stat about;
    int reason = file < 0 || fstat(file, &about) ? errno : 0;
    if (!reason && !S_ISREG(about.st_mode)) {
        close(file);
        return error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    }
    HashState state;
    hash_start(&state);
    while (!reason) {
        unsigned char piece[65536];
        ssize_t got = read(file, piece, sizeof piece);
        if (got > 0)
            hash_add(&state, piece, (size_t)got);
        else if (!got)
            break;
        else if (errno != EINTR)
            reason = errno;
    }
    if (file >= 0)
        close(file);
    *hash = hash_end(&state);
    if (reason)
        return error_set(error, ERROR_RUN, "cannot read %s: %s", path, strerror(reason));
    return 0;
}

void hash_text(char text[HASH_TEXT], const Hash *hash) {
    sodium_bin2hex(text, HASH_TEXT, hash->bytes, HASH_BYTES);
}

int hash_from_text(Hash *hash, const char *text) {
    size_t count = 0;
    return strlen(text) != HASH_TEXT - 1 ||
                   sodium_hex2bin(hash->bytes, HASH_BYTES, text, HASH_TEXT - 1, NULL, &count,
                                  NULL) ||
                   count != HASH_BYTES
               ? -1
               : 0;
}

int hash_same(const Hash *a, const Hash *b) {
    return !memcmp(a->bytes, b->bytes, HASH_BYTES);
}

int hash_order(const void *a, const void *b) {
    return memcmp(((const Hash *)a)->bytes, ((const Hash *)b)->bytes, HASH_BYTES);
}
