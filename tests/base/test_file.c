/* Files appear whole or not at all, failures are named, locks exclude, any bytes work as a name. */
#include "base/file.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int make_folder(void **state) {
    *state = memory_text("/tmp/jepa-test-XXXXXX");
    return mkdtemp(*state) ? 0 : -1;
}

static int drop_folder(void **state) {
    int result = folder_remove(*state, NULL);
    free(*state);
    return result;
}

static void assert_content(const char *path, const char *expected) {
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&bytes, &count, path, 1000, &error), 0);
    assert_int_equal(count, strlen(expected));
    assert_string_equal((char *)bytes, expected);
    free(bytes);
}

static void test_round_trip(void **state) {
    /* a name of spaces, quotes, UTF-8, and bytes that are no UTF-8 */
    char *path = path_join(*state, "a b'\"\xc3\xa9\xe2\x82\xac\xff\x01.bin");
    char *partial = memory_text("%s.partial", path);
    Error error = {0};
    assert_false(file_exists(path));
    assert_int_equal(file_write(path, "one", 3, &error), 0);
    assert_true(file_exists(path));
    assert_false(file_exists(partial));
    assert_content(path, "one");
    assert_int_equal(file_write(path, "", 0, &error), 0);
    assert_content(path, "");
    FileWriter writer;
    assert_int_equal(file_writer_open(&writer, path, &error), 0);
    assert_int_equal(file_writer_put(&writer, "two", 3, &error), 0);
    assert_true(file_exists(partial));
    assert_content(path, ""); /* the old file until the very end */
    fprintf(writer.stream, " and %d", 3);
    assert_int_equal(file_writer_commit(&writer, &error), 0);
    assert_content(path, "two and 3");
    assert_int_equal(file_writer_open(&writer, path, &error), 0);
    assert_int_equal(file_writer_put(&writer, "half", 4, &error), 0);
    file_writer_abandon(&writer);
    assert_false(file_exists(partial));
    assert_content(path, "two and 3");
    free(partial);
    free(path);
}

static void test_read_refusals(void **state) {
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    char *path = path_join(*state, "five");
    assert_int_equal(file_read(&bytes, &count, path, 10, &error), -1);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(file_write(path, "12345", 5, &error), 0);
    assert_int_equal(file_read(&bytes, &count, path, 5, &error), 0);
    free(bytes);
    assert_int_equal(file_read(&bytes, &count, path, 4, &error), -1);
    assert_null(bytes);
    assert_non_null(strstr(error.text, "5 bytes"));
    assert_int_equal(file_read(&bytes, &count, *state, 10, &error), -1);
    assert_int_equal(file_read(&bytes, &count, "/dev/zero", 10, &error), -1);
    assert_non_null(strstr(error.text, "not a plain file"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(&bytes, &count, path, 10, &error), -1);
    free(path);
}

static void test_write_refusals(void **state) {
    Error error = {0};
    char *missing = path_join(*state, "missing/file"), *taken = path_join(*state, "folder");
    assert_int_equal(file_write(missing, "x", 1, &error), -1);
    assert_non_null(strstr(error.text, missing));
    assert_non_null(strstr(error.text, "No such file"));
    /* the rename fails on a folder of that name: nothing stays behind */
    assert_int_equal(folder_make(taken, &error), 0);
    assert_int_equal(file_write(taken, "x", 1, &error), -1);
    assert_non_null(strstr(error.text, taken));
    char *partial = memory_text("%s.partial", taken);
    assert_false(file_exists(partial));
    if (geteuid()) { /* root may write anywhere */
        char *inside = path_join(taken, "file");
        assert_int_equal(chmod(taken, 0555), 0);
        assert_int_equal(file_write(inside, "x", 1, &error), -1);
        assert_non_null(strstr(error.text, "Permission denied"));
        free(inside);
    }
    assert_int_equal(rmdir(taken), 0);
    free(partial);
    free(missing);
    free(taken);
}

/* Writes to "path.partial" land on /dev/full, where every write says ENOSPC. */
static void test_full_disk(void **state) {
    if (access("/dev/full", W_OK))
        skip();
    Error error = {0};
    char *path = path_join(*state, "file"), *partial = memory_text("%s.partial", path);
    char *large = memory_new(100000, 1);
    for (int kind = 0; kind < 3; kind++) {
        assert_int_equal(symlink("/dev/full", partial), 0);
        memset(&error, 0, sizeof error);
        if (kind < 2) { /* caught while writing, or only when the buffer is flushed */
            assert_int_equal(file_write(path, large, kind ? 10 : 100000, &error), -1);
            assert_non_null(strstr(error.text, "No space left"));
        } else { /* errors of the stream that the caller did not look at */
            FileWriter writer;
            assert_int_equal(file_writer_open(&writer, path, &error), 0);
            for (int i = 0; i < 100000; i++)
                fputc('x', writer.stream);
            assert_int_equal(file_writer_commit(&writer, &error), -1);
            assert_non_null(strstr(error.text, "disk full"));
        }
        assert_int_equal(error.code, ERROR_RUN);
        assert_non_null(strstr(error.text, partial));
        assert_false(file_exists(partial));
        assert_false(file_exists(path));
    }
    free(large);
    free(partial);
    free(path);
}

/* A file-size limit breaks a write halfway through; the old file must survive. */
static void test_size_limit(void **state) {
    Error error = {0};
    char *path = path_join(*state, "file");
    assert_int_equal(file_write(path, "old", 3, &error), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct rlimit limit = {4096, 4096};
        signal(SIGXFSZ, SIG_IGN);
        char *large = memory_new(100000, 1);
        int failed = setrlimit(RLIMIT_FSIZE, &limit) ||
                     file_write(path, large, 100000, &error) != -1 ||
                     !strstr(error.text, "File too large");
        free(large);
        _exit(failed);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_content(path, "old");
    char *partial = memory_text("%s.partial", path);
    assert_false(file_exists(partial));
    free(partial);
    free(path);
}

static void test_folders(void **state) {
    Error error = {0};
    char *deep = path_join(*state, "a/b//c/"), *file = path_join(*state, "a/file");
    assert_int_equal(folder_make(deep, &error), 0);
    assert_int_equal(folder_make(deep, &error), 0); /* again: fine */
    assert_true(folder_exists(deep));
    assert_false(file_exists(deep));
    assert_int_equal(folder_sync(deep, &error), 0);
    assert_int_equal(folder_make("", &error), -1);
    assert_int_equal(file_write(file, "x", 1, &error), 0);
    assert_false(folder_exists(file));
    assert_int_equal(folder_make(file, &error), -1);
    assert_non_null(strstr(error.text, "a file has that name"));
    char *below = path_join(file, "below");
    assert_int_equal(folder_make(below, &error), -1);
    assert_int_equal(folder_sync(below, &error), -1);
    char *top = path_join(*state, "a"), *middle = path_join(*state, "a/b");
    assert_int_equal(folder_remove(top, &error), -1); /* holds a folder: no recursion */
    assert_true(folder_exists(middle));
    assert_int_equal(folder_remove(deep, &error), 0);
    assert_int_equal(folder_remove(middle, &error), 0);
    assert_int_equal(folder_remove(top, &error), 0);
    assert_int_equal(folder_remove(top, &error), -1);
    assert_non_null(strstr(error.text, top));
    free(deep);
    free(file);
    free(below);
    free(top);
    free(middle);
}

static void check_join(const char *folder, const char *name, const char *expected) {
    char *path = path_join(folder, name);
    assert_string_equal(path, expected);
    free(path);
}

static void check_folder(const char *path, const char *expected) {
    char *folder = path_folder(path);
    assert_string_equal(folder, expected);
    free(folder);
}

static void test_paths(void **state) {
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("/", "b", "/b");
    check_join("a", "/b", "/b");
    check_join("", "b", "b");
    check_folder("a/b/c", "a/b");
    check_folder("c", ".");
    check_folder("/c", "/");
    assert_string_equal(path_name("a/b/c"), "c");
    assert_string_equal(path_name("c"), "c");
    assert_string_equal(path_name("a/"), "");
}

/* What folder_begin or folder_end would fail at is said before, and nothing is made. */
static void test_folder_check(void **state) {
    char *file = path_join(*state, "file"), *deep = path_join(*state, "a/b/c/");
    char *below = path_join(file, "x/y"), *partial = path_join(*state, "new.partial");
    char *new = path_join(*state, "new"), *above = path_join(*state, "a");
    Error error = {0};
    assert_int_equal(folder_check(deep, &error), 0);
    assert_int_equal(folder_check("new folder", &error), 0);
    assert_false(folder_exists(above));
    assert_int_equal(file_write(file, "x", 1, &error), 0);
    assert_int_equal(folder_check(file, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    assert_int_equal(folder_check(*state, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    assert_int_equal(folder_check(below, &error), -1);
    assert_non_null(strstr(error.text, "file is a file"));
    assert_int_equal(folder_check("", &error), -1);
    assert_int_equal(mkdir(partial, 0700), 0);
    assert_int_equal(folder_check(new, &error), -1);
    assert_non_null(strstr(error.text, "left by a program that was stopped"));
    assert_int_equal(rmdir(partial), 0);
    if (geteuid()) { /* root may write anywhere */
        assert_int_equal(chmod(*state, 0500), 0);
        assert_int_equal(folder_check(deep, &error), -1);
        assert_non_null(strstr(error.text, "cannot write into"));
        assert_int_equal(chmod(*state, 0700), 0);
    }
    free(file);
    free(deep);
    free(below);
    free(partial);
    free(new);
    free(above);
}

static void test_lock(void **state) {
    Error error = {0};
    char *path = path_join(*state, "lock");
    int lock = lock_take(path, &error);
    assert_true(lock >= 0);
    assert_int_equal(lock_take(path, &error), -1);
    char *holder = memory_text("process %ld:", (long)getpid());
    assert_non_null(strstr(error.text, holder));
    assert_non_null(strstr(error.text, path));
    lock_release(lock);
    lock_release(-1);
    /* A process that dies lets go, however it dies. */
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        char said = lock_take(path, NULL) >= 0 ? 'y' : 'n';
        (void)!write(ready[1], &said, 1);
        pause();
        _exit(0);
    }
    char said = 0;
    assert_int_equal(read(ready[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    assert_int_equal(lock_take(path, &error), -1);
    free(holder);
    holder = memory_text("process %ld:", (long)child);
    assert_non_null(strstr(error.text, holder));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    lock = lock_take(path, &error);
    assert_true(lock >= 0);
    lock_release(lock);
    close(ready[0]);
    close(ready[1]);
    char *missing = path_join(*state, "missing/lock");
    assert_int_equal(lock_take(missing, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    free(missing);
    free(holder);
    free(path);
}

static void test_within(void **state) {
    Error error = {0};
    char *folder = path_join(*state, "in"), *link = path_join(*state, "link");
    char *beside = path_join(*state, "inside"), *below = path_join(folder, "new/er");
    char *around = path_join(folder, "../out"), *through = path_join(link, "new");
    assert_int_equal(folder_make(folder, &error), 0);
    assert_int_equal(symlink("in", link), 0);
    assert_true(path_within(folder, folder));
    assert_true(path_within(below, folder));
    assert_true(path_within(through, folder));
    assert_true(path_within(folder, link));
    assert_true(path_within(folder, "/"));
    assert_false(path_within(beside, folder));
    assert_false(path_within(around, folder));
    assert_false(path_within(*state, folder));
    assert_false(path_within("nothing/new", folder));
    assert_false(path_within(folder, below)); /* no folder */
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(folder), 0);
    free(folder);
    free(link);
    free(beside);
    free(below);
    free(around);
    free(through);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_read_refusals, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_write_refusals, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_full_disk, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_size_limit, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_folders, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_folder_check, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_lock, make_folder, drop_folder),
        cmocka_unit_test(test_paths),
        cmocka_unit_test_setup_teardown(test_within, make_folder, drop_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
