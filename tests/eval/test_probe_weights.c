/* Attentive probes: taken from a file, written, read back to the same bits; damage is noticed. */
#include "eval/probe_weights.h"
#include "tests/jepa/reference_weights.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define CLASSES 7

typedef struct Place {
    char folder[40];
    char *path, *probe;
    TensorList own; /* attentive_probe_deep: 96 channels, 3 heads, depth 4 */
    bool reference;
} Place;

static int setup(void **state) {
    Place *p = memory_new(1, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/jepa-probe-XXXXXX");
    *state = p;
    if (!mkdtemp(p->folder))
        return -1;
    p->path = path_join(p->folder, "x.safetensors");
    p->probe = path_join(p->folder, "probe");
    p->reference = !tensors_take(&p->own, REFERENCE "/attentive_probe_deep/probe.safetensors",
                                 "weights.", "classifiers.0.module.");
    return 0;
}

static int teardown(void **state) {
    Place *p = *state;
    Error error = {0};
    if (folder_exists(p->probe))
        folder_remove(p->probe, &error);
    int result = folder_remove(p->folder, &error);
    tensors_free(&p->own);
    free(p->path);
    free(p->probe);
    free(p);
    return result;
}

static int take(ProbeWeights *probe, const Place *p, int heads, Error *error) {
    WeightsFile file;
    assert_int_equal(tensors_write(&p->own, 0, p->own.count, p->folder, "x.safetensors"), 0);
    assert_int_equal(weights_file_open(&file, p->path, error), 0);
    int result = probe_weights_take(probe, &file, 0, heads, false, error);
    weights_file_close(&file);
    return result;
}

static void test_round_trip(void **state) {
    Place *p = *state;
    ProbeWeights probe, back;
    Error error = {0};
    if (!p->reference)
        skip();
    if (take(&probe, p, 3, &error))
        fail_msg("%s", error.text);
    assert_int_equal(probe.depth, 4);
    assert_int_equal(probe.width, 96);
    assert_int_equal(probe.hidden, 384);
    assert_int_equal(probe.classes, CLASSES);
    assert_int_equal(probe.queries, 1);
    probe.source = memory_text("file.pt, BLAKE2b-256 00");
    assert_int_equal(probe_weights_save(p->probe, &probe, &error), 0);
    assert_int_equal(probe_weights_save(p->probe, &probe, &error), -1);
    assert_non_null(strstr(error.text, "is there already"));
    if (probe_weights_load(&back, p->probe, &error))
        fail_msg("%s", error.text);
    assert_int_equal(back.depth, 4);
    assert_int_equal(back.heads, 3);
    assert_int_equal(back.classes, CLASSES);
    assert_true(back.layernorm_eps == PROBE_LAYERNORM_EPS);
    assert_string_equal(back.source, probe.source);
    assert_int_equal(back.count, p->own.count);
    for (size_t i = 0; i < p->own.count; i++) {
        const TensorInfo *t = &p->own.items[i];
        const ProbeTensor *found = probe_weights_find(&back,
                                                      t->name + strlen("classifiers.0.module."));
        assert_non_null(found);
        assert_int_equal((size_t)found->count * sizeof(float), t->bytes);
        assert_memory_equal(found->values, t->data, t->bytes);
    }
    assert_null(probe_weights_find(&back, "pooler.blocks.3.norm1.bias"));
    probe_weights_free(&back);
    probe_weights_free(&probe);
}

static void expect_refused(const Place *p, int heads, const char *message) {
    ProbeWeights probe;
    Error error = {0};
    assert_int_equal(take(&probe, p, heads, &error), -1);
    if (!strstr(error.text, message))
        fail_msg("\"%s\" is not in: %s", message, error.text);
    probe_weights_free(&probe);
}

static void test_refusals(void **state) {
    Place *p = *state;
    const float values[2] = {0};
    if (!p->reference)
        skip();
    expect_refused(p, 7, "cannot have 7 heads");
    tensors_put(&p->own, "classifiers.0.module.verb_classifier.bias", 1, (int64_t[]){2}, values, 8);
    expect_refused(p, 3, "verb_classifier.bias: an attentive probe with one output layer");
    tensors_drop(&p->own, "classifiers.0.module.verb");
    tensors_put(&p->own, "classifiers.0.module.pooler.cross_attention_block.xattn.proj.bias", 1,
                (int64_t[]){2}, values, 8); /* V-JEPA 1's, never applied */
    tensors_drop(&p->own, "classifiers.0.module.pooler.blocks.1.mlp.fc2.bias");
    expect_refused(p, 3, "pooler.blocks.1.mlp.fc2.bias is missing");
    tensors_drop(&p->own, "classifiers.0.module.linear");
    expect_refused(p, 3, "is no attentive probe with one output layer");
}

static void test_damage(void **state) {
    Place *p = *state;
    ProbeWeights probe, back;
    Error error = {0};
    if (!p->reference)
        skip();
    assert_int_equal(take(&probe, p, 3, &error), 0);
    assert_int_equal(probe_weights_save(p->probe, &probe, &error), 0);
    uint8_t *about, *tensors;
    size_t about_bytes, tensors_bytes;
    char *about_path = path_join(p->probe, "probe.json");
    char *tensors_path = path_join(p->probe, "probe.safetensors");
    assert_int_equal(file_read(&about, &about_bytes, about_path, 1 << 20, &error), 0);
    assert_int_equal(file_read(&tensors, &tensors_bytes, tensors_path, 1 << 24, &error), 0);
    for (size_t i = 0; i < about_bytes; i++) { /* cut anywhere */
        assert_int_equal(file_write(about_path, about, i, &error), 0);
        if (!probe_weights_load(&back, p->probe, &error)) { /* only white space is missing */
            assert_true(i + 1 == about_bytes);
            probe_weights_free(&back);
        }
    }
    for (int k = 0; k < 3; k++) { /* other numbers */
        static const char *const swaps[][2] = {{"\"depth\": 4", "\"depth\": 5"},
                                               {"\"width\": 96", "\"width\": 2147483647"},
                                               {"\"classes\": 7", "\"classes\": -7"}};
        char *other = text_swap((char *)about, swaps[k][0], swaps[k][1]);
        assert_string_not_equal(other, (char *)about);
        assert_int_equal(file_write(about_path, other, strlen(other), &error), 0);
        assert_int_equal(probe_weights_load(&back, p->probe, &error), -1);
        free(other);
    }
    assert_int_equal(file_write(about_path, about, about_bytes, &error), 0);
    tensors[tensors_bytes / 2] ^= 1;
    assert_int_equal(file_write(tensors_path, tensors, tensors_bytes, &error), 0);
    assert_int_equal(probe_weights_load(&back, p->probe, &error), -1);
    assert_non_null(strstr(error.text, "its hash does not match"));
    free(about);
    free(tensors);
    free(about_path);
    free(tensors_path);
    probe_weights_free(&probe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
