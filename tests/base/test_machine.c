/* Limits of cgroups, from file systems made for it. */
#include "base/error.h"
#include "base/file.h"
#include "base/machine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/jepa-machine-XXXXXX";

static void put(const char *path, const char *text) {
    Error error = {0};
    char *whole = memory_text("%s%s", root, path), *folder = path_folder(whole);
    assert_int_equal(folder_make(folder, &error), 0);
    assert_int_equal(file_write(whole, text, strlen(text), &error), 0);
    free(folder);
    free(whole);
}

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char *command = memory_text("rm -rf %s", root);
    int result = system(command);
    free(command);
    return result;
}

static void nothing_says_nothing(void **state) {
    (void)state;
    assert_int_equal(machine_core_limit(root), 0);
    assert_int_equal(machine_memory_limit(root), 0);
    assert_true(machine_cores() >= 1 && machine_memory() > 0);
}

static void second_version(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/outer/inner\n");
    put("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    assert_int_equal(machine_core_limit(root), 0);
    assert_int_equal(machine_memory_limit(root), 0);
    put("/sys/fs/cgroup/outer/cpu.max", "250000 100000\n"); /* the one above counts too */
    put("/sys/fs/cgroup/outer/memory.max", "1073741824\n");
    assert_int_equal(machine_core_limit(root), 3);
    assert_int_equal(machine_memory_limit(root), 1073741824);
    put("/sys/fs/cgroup/outer/inner/cpu.max", "100000 100000\n");
    assert_int_equal(machine_core_limit(root), 1);
    put("/proc/self/cgroup", "0::/not/to/be/seen\n"); /* only what lies at the top */
    assert_int_equal(machine_core_limit(root), 0);
    put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(machine_core_limit(root), 4);
}

static void first_version(void **state) {
    (void)state;
    put("/proc/self/cgroup", "5:memory:/job\n2:cpuset:/\n1:cpu,cpuacct:/job\n0::/\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(machine_core_limit(root), 0);
    assert_int_equal(machine_memory_limit(root), 0);
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2147483648\n");
    assert_int_equal(machine_core_limit(root), 2);
    assert_int_equal(machine_memory_limit(root), 2147483648u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_says_nothing),
        cmocka_unit_test(second_version),
        cmocka_unit_test(first_version),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
