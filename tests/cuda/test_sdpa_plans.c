/* Every attention that the shipped recipes compute has a plan of cuDNN on the GPUs it is meant for,
 * forward and backward with a fixed order of sums, within the default workspace; or goes to the own
 * kernels for a reason that is said. Without a GPU: plans are chosen, checked and compiled for GPUs
 * that are described. It shows nothing of results or speed.
 *
 * For every network and every bucket of its lengths cuDNN is asked which engine it would take; of
 * each head width one plan, and that of the longest sequences, is compiled to the end (half a
 * second each). */
#include "kernels/cuda/sdpa_plan.h"
#include "tests/cuda/planning.h"
#include "tests/cuda/recipe_shapes.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct Given {
    CudnnLibrary library;
    bool there;
    RecipeShapes *shapes;
} Given;

static int prepare(void **state) {
    Given *given = memory_new(1, sizeof *given);
    Error error = {0};
    given->there = planning_open(&given->library);
    given->shapes = recipe_shapes(JEPA_SOURCE_DIR, &error);
    if (error.code)
        print_error("%s\n", error.text);
    *state = given;
    return error.code;
}

/* cuDNN stays loaded: it keeps memory of its own until the process ends. */
static int release(void **state) {
    Given *given = *state;
    free(given->shapes);
    free(given);
    return 0;
}

/* ---- what is planned ---- */

static void say(const AttentionShape *a, const char *what) {
    printf("  %-28s %-16s %4" PRId64 " sequences of up to %5" PRId64 " tokens, %2" PRId64
           " heads of %2" PRId64 ": %s\n",
           a->recipe, a->network, a->need.sequences, a->need.longest, a->need.heads, a->need.head,
           what);
}

static void plan_one(Sdpa *sdpa, const AttentionShape *a, const SdpaNeed *need) {
    Error error = {0};
    if (sdpa_plan(sdpa, need, &error)) {
        say(a, error.text);
        fail();
    }
    assert_in_range(sdpa->workspace, 0, SDPA_WORKSPACE);
}

/* Those whose kernels are our own; false for the rest. */
static bool goes_elsewhere(const Sdpa *sdpa, const AttentionShape *a) {
    Error why = {0};
    if (sdpa_supported(sdpa, &a->need, a->precision, a->causal, &why))
        return false;
    say(a, why.text);
    return true;
}

static int64_t longest_of(const RecipeShapes *shapes) {
    int64_t longest = 0;
    for (int i = 0; i < shapes->attentions; i++)
        if (shapes->attention[i].need.longest > longest)
            longest = shapes->attention[i].need.longest;
    return longest;
}

/* The first of the networks with this width of heads, of those that cuDNN computes. */
static bool first_of_its_kind(const Sdpa *sdpa, const RecipeShapes *shapes, int i) {
    const SdpaNeed *need = &shapes->attention[i].need;
    for (int k = 0; k < i; k++) {
        const AttentionShape *a = &shapes->attention[k];
        if (a->need.head == need->head && a->need.backward == need->backward &&
            sdpa_supported(sdpa, &a->need, a->precision, a->causal, NULL))
            return false;
    }
    return true;
}

static void end(Sdpa *sdpa, CudnnTarget *target, double started) {
    printf("  %d plans %s in %.1f s; workspace %.0f MiB\n", sdpa->count,
           sdpa->dry ? "proposed" : "compiled", seconds() - started,
           (double)sdpa->workspace / 1048576);
    sdpa_close(sdpa);
    cudnn_target_close(target);
}

static void begin(Sdpa *sdpa, CudnnTarget *target, const Given *given, const char *name, bool dry) {
    Error error = {0};
    if (!given->there)
        skip();
    if (planning_target(target, &given->library, name, &error) ||
        sdpa_open(sdpa, target, &(SdpaSettings){.dry = dry}, &error))
        fail_msg("%s", error.text);
    printf("%s, compute capability %d.%d, cuDNN %zu\n", name, target->capability / 10,
           target->capability % 10, given->library.version);
}

/* ---- tests ---- */

/* Lengths change from step to step: every one finds a plan that holds it and not much more. */
static void find_lengths(const Sdpa *sdpa, const SdpaNeed *n) {
    for (int64_t tokens = n->shortest; tokens <= n->longest; tokens++) {
        const SdpaPlan *f = sdpa_find(sdpa, n->lse ? SDPA_FORWARD : SDPA_INFERENCE, n->heads,
                                      n->head, n->sequences, tokens);
        assert_true(f && f->shape.tokens >= tokens);
        assert_true(f->shape.tokens < 2 * tokens || f->shape.tokens == 128);
        if (n->backward)
            assert_non_null(
                sdpa_find(sdpa, SDPA_BACKWARD, n->heads, n->head, n->sequences, tokens));
    }
}

static void say_parts(const Sdpa *sdpa, const AttentionShape *a) {
    const SdpaNeed *n = &a->need;
    const SdpaPlan *p = sdpa_find(sdpa, n->backward ? SDPA_BACKWARD : SDPA_INFERENCE, n->heads,
                                  n->head, n->sequences, n->longest);
    char *what = memory_text("%s, %" PRId64 " sequences and %" PRId64
                             " heads at once (all: %.0f MiB)",
                             p->plan.choice, p->shape.sequences, p->shape.heads,
                             n->backward ? (double)sdpa_whole_bytes(sdpa, n) / 1048576 : 0);
    say(a, what);
    free(what);
}

static void on(void **state, const char *name) {
    const Given *given = *state;
    const RecipeShapes *shapes = given->shapes;
    CudnnTarget target;
    Sdpa sdpa;
    double started = seconds();
    begin(&sdpa, &target, given, name, true);
    assert_true(shapes->recipes > 20);
    for (int i = 0; i < shapes->attentions; i++) {
        const AttentionShape *a = &shapes->attention[i];
        if (goes_elsewhere(&sdpa, a))
            continue;
        plan_one(&sdpa, a, &a->need);
        find_lengths(&sdpa, &a->need);
        say_parts(&sdpa, a);
    }
    end(&sdpa, &target, started);

    started = seconds();
    begin(&sdpa, &target, given, name, false);
    for (int i = 0; i < shapes->attentions; i++) {
        const AttentionShape *a = &shapes->attention[i];
        SdpaNeed longest = a->need;
        longest.shortest = longest.longest;
        if (sdpa_supported(&sdpa, &a->need, a->precision, a->causal, NULL) &&
            (first_of_its_kind(&sdpa, shapes, i) || longest.longest == longest_of(shapes)))
            plan_one(&sdpa, a, &longest);
    }
    end(&sdpa, &target, started);
}

static void all_on_h200(void **state) {
    on(state, "h200");
}
static void all_on_a100(void **state) {
    on(state, "a100");
}
static void all_on_a10(void **state) {
    on(state, "a10");
}
static void all_on_rtx4090(void **state) {
    on(state, "rtx4090");
}
static void all_on_b200(void **state) {
    on(state, "b200");
}
static void all_on_rtx5090(void **state) {
    on(state, "rtx5090");
}

/* What one run wrote down, another takes again; from elsewhere it is refused. */
static void plans_come_back(void **state) {
    const Given *given = *state;
    const SdpaNeed need = {.heads = 4,
                           .head = 64,
                           .sequences = 5,
                           .shortest = 200,
                           .longest = 200,
                           .rows = 1000,
                           .lse = true,
                           .backward = true};
    CudnnTarget target, other;
    Sdpa first, second;
    Error error = {0};
    begin(&first, &target, given, "h200", false);
    assert_int_equal(sdpa_plan(&first, &need, &error), 0);
    char *text = sdpa_text(&first);
    SdpaSettings settings = {.chosen = text};
    assert_int_equal(sdpa_open(&second, &target, &settings, &error), 0);
    assert_int_equal(sdpa_plan(&second, &need, &error), 0);
    char *again = sdpa_text(&second);
    assert_string_equal(text, again);
    sdpa_close(&second);
    /* another line than the heuristics' own: it is taken, or cuDNN says that it cannot be */
    char *wrong = memory_text("%s", text), *engine = strstr(wrong, "engine 2");
    assert_non_null(engine);
    memcpy(engine, "engine 9", 8);
    settings.chosen = wrong;
    assert_int_equal(sdpa_open(&second, &target, &settings, &error), 0);
    assert_int_equal(sdpa_plan(&second, &need, &error), -1);
    assert_int_equal(second.count, 0);
    sdpa_close(&second);
    settings.chosen = text;
    assert_int_equal(planning_target(&other, &given->library, "b200", &error), 0);
    assert_int_equal(sdpa_open(&second, &other, &settings, &error), -1);
    assert_non_null(strstr(error.text, "results would differ"));
    cudnn_target_close(&other);
    free(wrong);
    free(again);
    free(text);
    sdpa_close(&first);
    cudnn_target_close(&target);
}

/* A batch is cut until it fits: by sequences, then by heads; what never fits is refused. */
static void parts_keep_to_the_limit(void **state) {
    const Given *given = *state;
    SdpaNeed need = {.heads = 6,
                     .head = 64,
                     .sequences = 10,
                     .shortest = 1024,
                     .longest = 1024,
                     .rows = 10240,
                     .lse = true,
                     .backward = true};
    const struct {
        double mib; /* 2 for a head of a sequence, and a little */
        int64_t sequences, heads;
    } cases[] = {{200, 10, 6}, {100, 5, 6}, {13, 1, 6}, {8, 1, 3}, {2.5, 1, 1}, {1, 0, 0}};
    CudnnTarget target;
    Sdpa sdpa;
    begin(&sdpa, &target, given, "h200", false);
    sdpa_close(&sdpa);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        SdpaSettings settings = {.workspace = (int64_t)(cases[i].mib * 1048576)};
        assert_int_equal(sdpa_open(&sdpa, &target, &settings, &error), 0);
        int status = sdpa_plan(&sdpa, &need, &error);
        assert_int_equal(status, cases[i].sequences ? 0 : -1);
        if (!status) {
            const SdpaPlan *p = sdpa_find(&sdpa, SDPA_BACKWARD, 6, 64, 10, 1024);
            assert_int_equal(p->shape.sequences, cases[i].sequences);
            assert_int_equal(p->shape.heads, cases[i].heads);
            assert_true(sdpa.workspace <= settings.workspace);
        }
        sdpa_close(&sdpa);
    }
    cudnn_target_close(&target);
}

/* The other form of the backward pass. */
static void fast_form(void **state) {
    const Given *given = *state;
    const char *const names[] = {"h200", "b200"};
    const SdpaNeed need = {.heads = 12,
                           .head = 64,
                           .sequences = 8,
                           .shortest = 1500,
                           .longest = 1568,
                           .rows = 8 * 1568,
                           .lse = true,
                           .backward = true};
    for (int i = 0; i < 2; i++) {
        CudnnTarget target;
        Sdpa sdpa;
        Error error = {0};
        double started = seconds();
        begin(&sdpa, &target, given, names[i], false);
        sdpa.fast = true;
        if (sdpa_plan(&sdpa, &need, &error))
            fail_msg("%s", error.text);
        assert_non_null(sdpa_find(&sdpa, SDPA_BACKWARD_FAST, 12, 64, 8, 1568));
        end(&sdpa, &target, started);
    }
}

/* Lengths and places; unused ones are empty, at the end. */
static void index_of_a_batch(void **state) {
    (void)state;
    const int32_t cu[] = {0, 3, 3, 10};
    const int64_t room = 5, heads = 2, head = 8;
    int32_t index[5 + 3 * 6];
    const int32_t lengths[] = {3, 0, 7, 0, 0}, rows[] = {0, 3, 3, 10, 10, 10};
    assert_int_equal(sdpa_index_count(room), 5 + 3 * 6);
    sdpa_index_fill(index, room, cu, 3, heads, head);
    assert_memory_equal(index, lengths, sizeof lengths);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(index[5 + i], rows[i] * 3 * heads * head);
        assert_int_equal(index[5 + 6 + i], rows[i] * heads * head);
        assert_int_equal(index[5 + 12 + i], rows[i] * heads);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_of_a_batch),
        cmocka_unit_test(plans_come_back),
        cmocka_unit_test(parts_keep_to_the_limit),
        cmocka_unit_test(fast_form),
        cmocka_unit_test(all_on_h200),
        cmocka_unit_test(all_on_b200),
        cmocka_unit_test(all_on_a100),
        cmocka_unit_test(all_on_a10),
        cmocka_unit_test(all_on_rtx4090),
        cmocka_unit_test(all_on_rtx5090),
    };
    return cmocka_run_group_tests(tests, prepare, release);
}
