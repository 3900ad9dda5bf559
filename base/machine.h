/* What of the machine this process may use: cores and memory, the limits of its cgroup included
 * (version 1 and 2, its own and every one above it). */
#ifndef JEPA_BASE_MACHINE_H
#define JEPA_BASE_MACHINE_H

#include <stddef.h>

int machine_cores(void);     /* at least 1 */
size_t machine_memory(void); /* bytes; 0: unknown */

/* Which cores this process may run on, a bit each. */
#define MACHINE_MASK 128 /* bytes */
void machine_mask(unsigned char mask[MACHINE_MASK]);
/* The cores of process `me` of `count` on one machine, which may run on these: a core that several
 * may run on counts in parts, so that nobody's is divided who has been given his own. The limit of
 * the cgroup is divided among all. At least 1. */
int machine_cores_among(const unsigned char masks[][MACHINE_MASK], int count, int me);

/* The limits alone, in a file system that begins at `root` ("": the machine's); 0: none. */
int machine_core_limit(const char *root); /* rounded up */
size_t machine_memory_limit(const char *root);

#endif
