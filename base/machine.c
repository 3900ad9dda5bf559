/* Cores and memory of this process. See base/machine.h.
 *
 * /proc/self/cgroup has a line "number:controllers:path" for each hierarchy; version 2's is
 * "0::path". Their files lie in /sys/fs/cgroup, version 1's in a folder named after the controller.
 * In a container the path may be one that is not to be seen: then its parents are. */
#include "base/machine.h"
#include "base/error.h"
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum Limited { LIMITED_CPU, LIMITED_MEMORY } Limited;

/* "quota period" in two numbers of one file or two files, "max" or a negative quota: none. */
static double read_limit(const char *folder, Limited what, bool second) {
    static const char *const names[2][2] = {{"cpu.cfs_quota_us", "cpu.max"},
                                            {"memory.limit_in_bytes", "memory.max"}};
    double values[2] = {0, 0};
    char *path = memory_text("%s/%s", folder, names[what][second]);
    FILE *file = fopen(path, "r");
    int fields = file ? fscanf(file, "%lf %lf", &values[0], &values[1]) : 0;
    if (file)
        fclose(file);
    free(path);
    if (fields < 1 || values[0] <= 0)
        return 0;
    if (what == LIMITED_MEMORY)
        return values[0];
    if (!second) {
        path = memory_text("%s/cpu.cfs_period_us", folder);
        file = fopen(path, "r");
        if (!file || fscanf(file, "%lf", &values[1]) != 1)
            values[1] = 0;
        if (file)
            fclose(file);
        free(path);
    }
    return values[1] > 0 ? values[0] / values[1] : 0;
}

/* The smallest limit of a cgroup and those above it; 0: none. Takes `path` apart. */
static double least_limit(const char *mount, char *path, Limited what, bool second) {
    double least = 0;
    for (;;) {
        char *folder = memory_text("%s%s", mount, path);
        double limit = read_limit(folder, what, second);
        free(folder);
        if (limit > 0 && (!(least > 0) || limit < least))
            least = limit;
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

static bool names_controller(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, name, length) && (!at[length] || at[length] == ','))
            return true;
    return false;
}

static double limit_of(const char *root, Limited what) {
    const char *controller = what == LIMITED_CPU ? "cpu" : "memory";
    char *name = memory_text("%s/proc/self/cgroup", root), *line = NULL;
    FILE *file = fopen(name, "r");
    size_t room = 0;
    double least = 0;
    while (file && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path || strstr(path, "/.."))
            continue;
        *path++ = 0;
        list++;
        bool second = !*list;
        if (!second && !names_controller(list, controller))
            continue;
        char *mount = memory_text("%s/sys/fs/cgroup%s%s", root, second ? "" : "/",
                                  second ? "" : controller);
        double limit = least_limit(mount, path, what, second);
        free(mount);
        if (limit > 0 && (!(least > 0) || limit < least))
            least = limit;
    }
    if (file)
        fclose(file);
    free(line);
    free(name);
    return least;
}

int machine_core_limit(const char *root) {
    double limit = limit_of(root, LIMITED_CPU);
    int cores = limit < 1e6 ? (int)limit : 0;
    return cores + (limit < 1e6 && limit > cores);
}

size_t machine_memory_limit(const char *root) {
    double limit = limit_of(root, LIMITED_MEMORY);
    return limit < 0x1p60 ? (size_t)limit : 0; /* version 1 says "none" with a large number */
}

int machine_cores(void) {
    cpu_set_t set;
    /* machines of more than 1,024 cores do not fit the set */
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                            : (int)sysconf(_SC_NPROCESSORS_ONLN);
    cores = cores < 1 ? 1 : cores;
    int limit = machine_core_limit("");
    return limit > 0 && limit < cores ? limit : cores;
}

void machine_mask(unsigned char mask[MACHINE_MASK]) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set))
        for (int i = 0; i < (int)sysconf(_SC_NPROCESSORS_ONLN) && i < 8 * MACHINE_MASK; i++)
            CPU_SET(i, &set);
    memset(mask, 0, MACHINE_MASK);
    for (int i = 0; i < 8 * MACHINE_MASK && i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set))
            mask[i / 8] |= (unsigned char)(1 << i % 8);
}

int machine_cores_among(const unsigned char masks[][MACHINE_MASK], int count, int me) {
    double cores = 0;
    for (int i = 0; i < 8 * MACHINE_MASK; i++) {
        int sharing = 0;
        for (int r = 0; r < count; r++)
            sharing += masks[r][i / 8] >> i % 8 & 1;
        if (masks[me][i / 8] >> i % 8 & 1)
            cores += 1.0 / sharing;
    }
    int limit = machine_core_limit("") / count, own = (int)(cores + 1e-6);
    if (limit > 0 && limit < own)
        own = limit;
    return own < 1 ? 1 : own;
}

size_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t memory = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
    size_t limit = machine_memory_limit("");
    return limit && (!memory || limit < memory) ? limit : memory;
}
