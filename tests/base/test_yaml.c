/* YAML: the tree, the scalar forms, the bounds, and messages that name the line. */
#include "base/file.h"
#include "base/yaml.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static YamlNode *parse(const char *text) {
    YamlNode *root;
    Error error = {0};
    if (yaml_parse(&root, text, strlen(text), "test", &error))
        fail_msg("%s", error.text);
    return root;
}

/* Expects a refusal whose message contains `word`. */
static void refuse_bytes(const char *text, size_t count, const char *word) {
    YamlNode *root;
    Error error = {0};
    assert_int_equal(yaml_parse(&root, text, count, "test", &error), -1);
    assert_null(root);
    assert_int_equal(error.code, ERROR_USAGE);
    if (!strstr(error.text, word))
        fail_msg("expected \"%s\" in \"%s\"", word, error.text);
}

static void refuse(const char *text, const char *word) {
    refuse_bytes(text, strlen(text), word);
}

static void test_tree(void **state) {
    (void)state;
    YamlNode *root = parse("# a recipe\n"
                           "model:\n"
                           "  width: 192\n"
                           "  name: \"tiny\"\n"
                           "\n"
                           "masks:\n"
                           "  - {blocks: 8, scale: [0.15, 0.15]}\n"
                           "  - {blocks: 2}\n"
                           "note: |\n"
                           "  two\n"
                           "  lines\n");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    assert_string_equal(root->keys[1], "masks");
    const YamlNode *model = yaml_find(root, "model"), *masks = yaml_find(root, "masks");
    assert_string_equal(yaml_find(model, "width")->text, "192");
    assert_int_equal(yaml_find(model, "width")->line, 3);
    assert_true(yaml_find(model, "name")->quoted);
    assert_int_equal(masks->kind, YAML_LIST);
    assert_int_equal(masks->count, 2);
    assert_int_equal(masks->items[1]->line, 8);
    assert_int_equal(yaml_find(masks->items[0], "scale")->count, 2);
    assert_string_equal(yaml_find(root, "note")->text, "two\nlines\n");
    assert_null(yaml_find(root, "nobody"));
    assert_null(yaml_find(masks, "blocks"));
    assert_null(yaml_find(NULL, "blocks"));
    yaml_release(root);
    yaml_release(NULL);
}

static void test_json(void **state) {
    (void)state;
    YamlNode *root = parse("{\"a\": [1, 2.5e-3, true, null], \"b\": {\"c\": \"\\u00e9\"}}");
    const YamlNode *list = yaml_find(root, "a");
    double number = 0;
    bool truth = false;
    assert_int_equal(yaml_number(list->items[1], &number), 0);
    assert_true(number == 2.5e-3);
    assert_int_equal(yaml_bool(list->items[2], &truth), 0);
    assert_true(truth);
    assert_true(yaml_is_null(list->items[3]));
    assert_string_equal(yaml_find(yaml_find(root, "b"), "c")->text, "\xc3\xa9");
    yaml_release(root);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int integer, number; /* 0 when it is one */
        double value;
    } cases[] = {{"5", 0, 0, 5},
                 {"-3", 0, 0, -3},
                 {"+7", 0, 0, 7},
                 {"1e-4", -1, 0, 1e-4},
                 {"1.0e-4", -1, 0, 1e-4},
                 {"1e3", -1, 0, 1000},
                 {"2.50", -1, 0, 2.5},
                 {"9223372036854775807", 0, 0, 9223372036854775807.0},
                 {"9223372036854775808", -1, 0, 9223372036854775808.0},
                 {".inf", -1, -1, 0},
                 {"inf", -1, -1, 0},
                 {"nan", -1, -1, 0},
                 {"1e999", -1, -1, 0},
                 {"0x10", -1, -1, 0},
                 {"0x1p3", -1, -1, 0},
                 {"5x", -1, -1, 0},
                 {"5 6", -1, -1, 0},
                 {"1e", -1, -1, 0},
                 {"1.2.3", -1, -1, 0},
                 {"--5", -1, -1, 0},
                 {"-e", -1, -1, 0},
                 {".", -1, -1, 0},
                 {"e", -1, -1, 0},
                 {"\"5\"", -1, -1, 0},
                 {"'5'", -1, -1, 0},
                 {"1_000", -1, -1, 0},
                 {"", -1, -1, 0},
                 {"five", -1, -1, 0},
                 {"[5]", -1, -1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = memory_text("x: %s\n", cases[i].text);
        YamlNode *root = parse(text);
        const YamlNode *node = yaml_find(root, "x");
        int64_t integer = 0;
        double number = 0;
        if (yaml_integer(node, &integer) != cases[i].integer ||
            yaml_number(node, &number) != cases[i].number || number != cases[i].value)
            fail_msg("%s was read as %lld and %g", cases[i].text, (long long)integer, number);
        if (!cases[i].integer)
            assert_true((double)integer == cases[i].value);
        yaml_release(root);
        free(text);
    }
    int64_t integer;
    double number;
    assert_int_equal(yaml_integer(NULL, &integer), -1);
    assert_int_equal(yaml_number(NULL, &number), -1);
}

static void test_bools_and_null(void **state) {
    (void)state;
    YamlNode *root = parse("[true, True, YES, on, false, no, OFF, 1, maybe, 'true', ~, null, ]");
    bool truth;
    for (size_t i = 0; i < root->count; i++) {
        assert_int_equal(yaml_bool(root->items[i], &truth), i < 7 ? 0 : -1);
        if (i < 7)
            assert_int_equal(truth, i < 4);
        assert_int_equal(yaml_is_null(root->items[i]), i >= 10);
    }
    assert_int_equal(yaml_bool(NULL, &truth), -1);
    assert_false(yaml_is_null(NULL));
    yaml_release(root);
    root = parse("a:\nb: ''\n");
    assert_true(yaml_is_null(yaml_find(root, "a")));
    assert_false(yaml_is_null(yaml_find(root, "b")));
    yaml_release(root);
}

static void test_empty(void **state) {
    (void)state;
    const char *texts[] = {"", "\n\n", "# nothing\n", "---\n"};
    for (int i = 0; i < 4; i++) {
        YamlNode *root = parse(texts[i]);
        assert_true(yaml_is_null(root));
        yaml_release(root);
    }
}

static void test_refusals(void **state) {
    (void)state;
    refuse("a: 1\nb: 2\na: 3\n", "test:3: the key a comes twice");
    refuse("a: {b: 1, b: 2}\n", "the key b comes twice");
    refuse("a: 1\nb: [1, 2\nc: 3\n", "test:3");
    refuse("a: 1\n\tb: 2\n", "test:2");
    refuse("a: &x 1\n", "test:1: anchors and aliases");
    refuse("a: &x [1]\n", "anchors and aliases");
    refuse("a: &x {b: 1}\n", "anchors and aliases");
    refuse("&x a: 1\n", "expected a plain key");
    refuse("a: 1\nb: !!str 5\n", "test:2: tags");
    refuse("a: !x [1]\n", "test:1: tags");
    refuse("a: !!python/object:os.system {b: 1}\n", "test:1: tags");
    refuse("!!str a: 1\n", "expected a plain key");
    refuse("a: 1\nb: *x\n", "test:2: anchors and aliases");
    refuse("? [1, 2]\n: 3\n", "expected a plain key");
    refuse("a: 1\n---\nb: 2\n", "a second document");
    refuse("a: \"x\\0y\"\n", "a zero byte");
    refuse("\"x\\0y\": a\n", "a zero byte");
    refuse("a: 1\nb: \xff\xfe\n", "test:2: ");
    refuse("a: 1\nb: \x01\n", "test:2: ");
    refuse_bytes("a: x\0y\n", 7, "test:1: ");
}

/* Lists within lists: 32 deep is the limit. */
static void test_depth(void **state) {
    (void)state;
    char text[200];
    for (size_t depth = 1; depth <= 60; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = 0;
        YamlNode *root;
        Error error = {0};
        int result = yaml_parse(&root, text, 2 * depth, "test", &error);
        if (depth <= 32)
            assert_int_equal(result, 0);
        if (depth > 33)
            assert_int_equal(result, -1);
        yaml_release(root);
    }
}

static void test_sizes(void **state) {
    (void)state;
    size_t room = 1200000, used = 0;
    char *text = memory_new(room, 1);
    memset(text, '#', room - 1);
    refuse_bytes(text, ((size_t)1 << 20) + 1, "larger than 1 MiB");
    for (used = 0; used < 2 * 70000; used += 2)
        memcpy(text + used, used ? ",1" : "[1", 2);
    text[used++] = ']';
    refuse_bytes(text, used, "too large");
    for (int last = 0; last < 2; last++) { /* many keys: quick, and a duplicate is still found */
        used = 0;
        for (int i = 0; i < 60000; i++)
            used += (size_t)sprintf(text + used, "k%d: 1\n", i == 59999 ? last * i : i);
        YamlNode *root;
        Error error = {0};
        assert_int_equal(yaml_parse(&root, text, used, "test", &error), last ? 0 : -1);
        if (!last)
            assert_string_equal(error.text, "test:60000: the key k0 comes twice");
        yaml_release(root);
    }
    free(text);
}

/* No cut of a document does harm. */
static void test_truncations(void **state) {
    (void)state;
    const char *text = "a: {b: [1, \"x\\u00e9\", 'y'], c: {d: e}}\nf:\n  - g: |\n      h\n  - i\n";
    for (size_t count = 0; count <= strlen(text); count++) {
        char *bytes = memory_new(count, 1);
        memcpy(bytes, text, count);
        YamlNode *root;
        Error error = {0};
        int result = yaml_parse(&root, bytes, count, "cut", &error);
        assert_true(result == 0 ? root != NULL : root == NULL && *error.text);
        yaml_release(root);
        free(bytes);
    }
}

static void test_quote(void **state) {
    (void)state;
    const char *texts[] = {"plain",
                           "a/b.c-d",
                           "",
                           "true",
                           "no",
                           "null",
                           "~",
                           "5",
                           "1e-4",
                           "with space",
                           "a: b",
                           "#x",
                           "-",
                           "'",
                           "\"",
                           "\\",
                           "\n\t\r",
                           "\x01\x1f\x7f",
                           "é€😀",
                           "[x]",
                           "*x",
                           "&x",
                           "a\nb",
                           " x ",
                           "\xc2\x85\xc2\x9f",
                           "\xe2\x80\xa8\xe2\x80\xa9",
                           "\xef\xbb\xbf",
                           "\xef\xbf\xbe\xef\xbf\xbf",
                           "yes",
                           "Off",
                           "NULL",
                           "---",
                           "%",
                           "@",
                           "`"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *quoted = yaml_quote(texts[i]);
        char *line = memory_text("key: %s\nnext: 1\n", quoted);
        YamlNode *root = parse(line);
        const YamlNode *node = yaml_find(root, "key");
        bool truth;
        double number;
        assert_string_equal(node->text, texts[i]);
        assert_false(yaml_is_null(node));
        assert_int_equal(yaml_bool(node, &truth), -1);
        assert_int_equal(yaml_number(node, &number), -1);
        assert_int_equal(root->count, 2);
        yaml_release(root);
        free(line);
        free(quoted);
    }
    char *plain = yaml_quote("vit_tiny");
    assert_string_equal(plain, "vit_tiny");
    free(plain);
}

static void test_load(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = path_join(folder, "recipe.yaml");
    YamlNode *root;
    Error error = {0};
    assert_int_equal(yaml_load(&root, path, &error), -1);
    assert_null(root);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(file_write(path, "a: 1\n", 5, &error), 0);
    assert_int_equal(yaml_load(&root, path, &error), 0);
    assert_string_equal(yaml_find(root, "a")->text, "1");
    yaml_release(root);
    assert_int_equal(file_write(path, "a: 1\na: 2\n", 10, &error), 0);
    assert_int_equal(yaml_load(&root, path, &error), -1);
    char *expected = memory_text("%s:2: the key a comes twice", path);
    assert_string_equal(error.text, expected);
    assert_int_equal(folder_remove(folder, &error), 0);
    free(expected);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tree),
                                       cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_empty),
                                       cmocka_unit_test(test_bools_and_null),
                                       cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_depth),
                                       cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_truncations),
                                       cmocka_unit_test(test_quote),
                                       cmocka_unit_test(test_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
