/* What of the machine this process may use: cores and memory, the limits of its cgroup included
 * (version 1 and 2, its own and every one above it). */
#ifndef JEPA_BASE_MACHINE_H
#define JEPA_BASE_MACHINE_H

#include <stddef.h>

int machine_cores(void);     /* at least 1 */
size_t machine_memory(void); /* bytes; 0: unknown */

/* The limits alone, in a file system that begins at `root` ("": the machine's); 0: none. */
int machine_core_limit(const char *root); /* rounded up */
size_t machine_memory_limit(const char *root);

#endif
