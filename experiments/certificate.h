/* A parity certificate: what was compared with what, how well it agreed, and the hashes by which
 * somebody else can tell that it was the same things. JSON. */
#ifndef JEPA_EXPERIMENTS_CERTIFICATE_H
#define JEPA_EXPERIMENTS_CERTIFICATE_H

#include "base/error.h"
#include "base/hash.h"

typedef struct Certificate Certificate;

Certificate *certificate_new(void);
void certificate_free(Certificate *certificate);

/* A word of how it was computed: "device", "cpu". */
void certificate_text(Certificate *certificate, const char *key, const char *value);
/* A file that took part, by its name and BLAKE2b-256. */
int certificate_file(Certificate *certificate, const char *path, Error *error);
void certificate_hash(Certificate *certificate, const char *name, const Hash *hash);
/* One comparison: error and limit relative to the largest value. */
void certificate_row(Certificate *certificate, const char *stage, double error, double limit);

/* Adds versions, machine, date and the hash of this program; written whole or not at all. */
int certificate_write(const Certificate *certificate, const char *path, Error *error);

#endif
