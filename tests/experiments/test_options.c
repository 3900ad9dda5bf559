/* Command lines: every kind of option, every kind of mistake, and the help text. */
#include "experiments/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Values {
    bool resume;
    const char *out;
    int64_t steps;
    double rate;
    TextList set, rest;
} Values;

static const CommandHelp help = {"jepa pretrain RECIPE --out DIR [--resume]",
                                 "Trains a video world model from a folder of videos. This "
                                 "paragraph is long enough to be broken "
                                 "into several lines of at most eighty columns each."};

#define MAX_ARGUMENTS 16

/* Parses a NULL-terminated list of words. */
static int parse(Values *values, Error *error, const char *const *words) {
    char *argv[MAX_ARGUMENTS] = {"pretrain"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    const Option options[] = {
        {"resume", NULL, "go on where the last run of this folder stopped", OPTION_FLAG,
         &values->resume},
        {"out", "DIR",
         "folder for the run; made when missing. Everything that a run writes goes "
         "there, and nothing else is touched",
         OPTION_TEXT, &values->out},
        {"steps", "N", "number of steps", OPTION_INTEGER, &values->steps},
        {"rate", "X", "learning rate", OPTION_NUMBER, &values->rate},
        {"set", "KEY=VALUE", "change a setting of the recipe", OPTION_LIST, &values->set}};
    memset(values, 0, sizeof *values);
    return options_parse(argc, argv, &help, options, sizeof options / sizeof *options,
                         &values->rest, error);
}
#define PARSE(values, error, ...) parse((values), (error), (const char *const[]){__VA_ARGS__, NULL})

static void release(Values *values) {
    free(values->set.items);
    free(values->rest.items);
}

static void test_all_kinds(void **state) {
    (void)state;
    Values values;
    Error error = {0};
    assert_int_equal(PARSE(&values, &error, "recipe.yaml", "--out", "runs/a b", "--resume",
                           "--steps=-5", "--rate", "-1e-4", "--set", "a=1", "--set=b=2=3", "-"),
                     0);
    assert_true(values.resume);
    assert_string_equal(values.out, "runs/a b");
    assert_int_equal(values.steps, -5);
    assert_true(values.rate == -1e-4);
    assert_int_equal(values.set.count, 2);
    assert_string_equal(values.set.items[0], "a=1");
    assert_string_equal(values.set.items[1], "b=2=3");
    assert_int_equal(values.rest.count, 2);
    assert_string_equal(values.rest.items[0], "recipe.yaml");
    assert_string_equal(values.rest.items[1], "-");
    release(&values);
    assert_int_equal(PARSE(&values, &error, "--steps", "-3", "--out=", "--", "--resume", "--help"),
                     0);
    assert_int_equal(values.steps, -3);
    assert_string_equal(values.out, "");
    assert_false(values.resume);
    assert_int_equal(values.rest.count, 2);
    assert_string_equal(values.rest.items[0], "--resume");
    release(&values);
    assert_int_equal(parse(&values, &error, (const char *const[]){NULL}), 0);
    assert_null(values.out);
    assert_int_equal(values.rest.count, 0);
    release(&values);
    assert_int_equal(PARSE(&values, &error, "--out=--odd"), 0);
    assert_string_equal(values.out, "--odd");
    release(&values);
}

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *words[4];
        const char *message;
    } cases[] = {{{"--outt", "x"}, "unknown option --outt: did you mean --out?"},
                 {{"--stepps=5"}, "unknown option --stepps: did you mean --steps?"},
                 {{"--zzzzzzzz"}, "unknown option --zzzzzzzz; see --help"},
                 {{"--=5"}, "unknown option --; see --help"},
                 {{"-o", "x"}, "unknown option -o: options are long, like --out"},
                 {{"--out"}, "--out: DIR is missing"},
                 {{"--out", "--resume"}, "--out: DIR is missing"},
                 {{"--steps", "five"}, "--steps: expected a whole number, found \"five\""},
                 {{"--steps", "5.0"}, "--steps: expected a whole number, found \"5.0\""},
                 {{"--steps="}, "--steps: expected a whole number, found \"\""},
                 {{"--steps", "99999999999999999999"},
                  "--steps: expected a whole number, found \"99999999999999999999\""},
                 {{"--rate", "fast"}, "--rate: expected a number, found \"fast\""},
                 {{"--rate", "inf"}, "--rate: expected a number, found \"inf\""},
                 {{"--rate", "nan"}, "--rate: expected a number, found \"nan\""},
                 {{"--rate", "1e-4x"}, "--rate: expected a number, found \"1e-4x\""},
                 {{"--steps= 3"}, "--steps: expected a whole number, found \" 3\""},
                 {{"--rate", "0x10"}, "--rate: expected a number, found \"0x10\""},
                 {{"--rate="}, "--rate: expected a number, found \"\""},
                 {{"--resume=yes"}, "--resume takes no value"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Values values;
        Error error = {0};
        assert_int_equal(parse(&values, &error, cases[i].words), -1);
        assert_string_equal(error.text, cases[i].message);
        assert_int_equal(error.code, ERROR_USAGE);
        release(&values);
    }
}

static void test_long_name(void **state) {
    (void)state;
    Values values;
    Error error = {0};
    char word[3000];
    memset(word, 'x', sizeof word - 1);
    memcpy(word, "--", 2);
    word[sizeof word - 1] = 0;
    assert_int_equal(PARSE(&values, &error, word), -1);
    assert_non_null(strstr(error.text, "unknown option"));
    release(&values);
}

/* The help text as the program would print it. */
static void capture_help(char *text, size_t room, const char *const *words) {
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    Values values;
    Error error = {0};
    int result = parse(&values, &error, words);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, room - 1, file)] = 0;
    fclose(file);
    release(&values);
    assert_int_equal(result, 1);
    assert_int_equal(error.code, 0);
}

static void test_help(void **state) {
    (void)state;
    char text[8192], again[8192];
    capture_help(text, sizeof text, (const char *const[]){"--help", NULL});
    assert_ptr_equal(strstr(text, "usage: jepa pretrain RECIPE --out DIR [--resume]\n"), text);
    const char *parts[] = {"Trains a video", "--resume",        "--out DIR", "--steps N",
                           "--rate X",       "--set KEY=VALUE", "--help"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(text, parts[i]));
    /* one column for the explanations, and no line wider than eighty */
    const char *explained[] = {"go on where",   "folder for", "number of",
                               "learning rate", "change a",   "this text"};
    size_t column = 0;
    for (size_t i = 0; i < sizeof explained / sizeof *explained; i++) {
        const char *at = strstr(text, explained[i]), *start = at;
        assert_non_null(at);
        while (start > text && start[-1] != '\n')
            start--;
        if (!i)
            column = (size_t)(at - start);
        assert_int_equal(at - start, column);
    }
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        assert_true(length <= 80);
        line += length + (line[length] == '\n');
    }
    /* wherever it stands, and whatever else is wrong */
    capture_help(again, sizeof again,
                 (const char *const[]){"recipe", "--nonsense", "--out", "--help", NULL});
    assert_string_equal(again, text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_long_name), cmocka_unit_test(test_help)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
