/* BLAKE2b-256: known answers, pieces against the whole, files. */
#include "base/file.h"
#include "base/hash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_hash(Hash hash, const char *expected) {
    char text[HASH_TEXT];
    hash_text(text, &hash);
    assert_string_equal(text, expected);
}

/* Digests as `b2sum -l 256` prints them. */
static void test_known_answers(void **state) {
    (void)state;
    assert_hash(hash_bytes("", 0),
                "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    assert_hash(hash_bytes(NULL, 0),
                "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    assert_hash(hash_bytes("abc", 3),
                "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void test_pieces(void **state) {
    (void)state;
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 >> 2);
    Hash whole = hash_bytes(bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 61) {
        HashState hashing;
        hash_start(&hashing);
        hash_add(&hashing, bytes, cut);
        hash_add(&hashing, bytes + cut, sizeof bytes - cut);
        Hash hash = hash_end(&hashing);
        assert_true(hash_same(&hash, &whole));
    }
    bytes[500] ^= 1;
    Hash other = hash_bytes(bytes, sizeof bytes);
    assert_false(hash_same(&other, &whole));
}

static void test_texts(void **state) {
    (void)state;
    Hash hash = hash_bytes("abc", 3), read;
    char text[HASH_TEXT + 1] = {0};
    hash_text(text, &hash);
    assert_int_equal(hash_from_text(&read, text), 0);
    assert_true(hash_same(&hash, &read));
    assert_int_equal(hash_order(&hash, &read), 0);
    read.bytes[HASH_BYTES - 1]--;
    assert_true(hash_order(&hash, &read) > 0 && hash_order(&read, &hash) < 0);
    text[HASH_TEXT - 1] = '0'; /* a digit too many, one too few, none at all */
    assert_int_equal(hash_from_text(&read, text), -1);
    text[HASH_TEXT - 2] = 0;
    assert_int_equal(hash_from_text(&read, text), -1);
    assert_int_equal(hash_from_text(&read, ""), -1);
    for (int at = 0; at < HASH_TEXT - 1; at += 9) /* what is no digit, wherever it stands */
        for (const char *bad = "g -+x\n"; *bad; bad++) {
            hash_text(text, &hash);
            text[at] = *bad;
            assert_int_equal(hash_from_text(&read, text), -1);
        }
}

static void test_file(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    Error error = {0};
    char *path = path_join(folder, "bytes"), *pipe_path = path_join(folder, "pipe");
    size_t count = 200001; /* several reads */
    unsigned char *bytes = memory_new(count, 1);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(i * i >> 3);
    assert_int_equal(file_write(path, bytes, count, &error), 0);
    Hash hash, expected = hash_bytes(bytes, count);
    assert_int_equal(hash_file(&hash, path, &error), 0);
    assert_true(hash_same(&hash, &expected));
    assert_int_equal(hash_file(&hash, folder, &error), -1);
    assert_non_null(strstr(error.text, folder));
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(hash_file(&hash, pipe_path, &error), -1); /* and does not wait for a writer */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hash_file(&hash, path, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(folder_remove(folder, &error), 0);
    free(bytes);
    free(path);
    free(pipe_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_answers),
                                       cmocka_unit_test(test_pieces), cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
