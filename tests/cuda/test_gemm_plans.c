/* Every linear layer that the shipped recipes compute in bfloat16 has a plan of cuDNN on the H200:
 * with its bias, with exact GELU and its gradient in the same kernel, and for both gradients. The
 * device's GEMMs go through cuBLASLt, which cannot be asked without a GPU; cuDNN can, and takes the
 * same sizes, strides and types. It is asked for every layer, and one plan of each kind and engine
 * is compiled to the end. Without a GPU; nothing runs. */
#include "kernels/cuda/cudnn_graph.h"
#include "tests/cuda/planning.h"
#include "tests/cuda/recipe_shapes.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A matrix in cuDNN's three dimensions; turned: its columns lie one after another. */
static GraphTensor matrix(Graph *g, int64_t uid, cudnnDataType_t type, int64_t rows,
                          int64_t columns, bool turned) {
    return graph_tensor(
        g, &(GraphTensorSpec){.uid = uid,
                              .type = type,
                              .memory = uid ? GRAPH_DEVICE : GRAPH_VIRTUAL,
                              .dims = 3,
                              .dim = {1, rows, columns},
                              .stride = {rows * columns, turned ? 1 : columns, turned ? rows : 1}});
}

/* y = x wᵀ + b, or gelu of it with what is below kept */
static void forward(Graph *g, const LinearShape *s, bool gelu) {
    GraphTensor x = matrix(g, 1, CUDNN_DATA_BFLOAT16, s->rows, s->in, false);
    GraphTensor w = matrix(g, 2, CUDNN_DATA_BFLOAT16, s->in, s->out, true);
    GraphTensor b = matrix(g, 3, CUDNN_DATA_FLOAT, 1, s->out, false);
    GraphTensor product = matrix(g, 0, CUDNN_DATA_FLOAT, s->rows, s->out, false);
    GraphTensor y = matrix(g, 4, CUDNN_DATA_BFLOAT16, s->rows, s->out, false);
    graph_matmul(g, x, w, product, NULL, NULL, NULL);
    graph_pointwise(g, CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, product, b, NULL, y);
    if (gelu)
        graph_pointwise(g, CUDNN_POINTWISE_GELU_FWD, CUDNN_DATA_FLOAT, y, NULL, NULL,
                        matrix(g, 5, CUDNN_DATA_BFLOAT16, s->rows, s->out, false));
}

/* dx = dy w, or da = (dy w) gelu'(a) */
static void backward_input(Graph *g, const LinearShape *s, bool gelu) {
    GraphTensor dy = matrix(g, 1, CUDNN_DATA_BFLOAT16, s->rows, s->out, false);
    GraphTensor w = matrix(g, 2, CUDNN_DATA_BFLOAT16, s->out, s->in, false);
    GraphTensor dx = matrix(g, 3, CUDNN_DATA_BFLOAT16, s->rows, s->in, false);
    if (!gelu) {
        graph_matmul(g, dy, w, dx, NULL, NULL, NULL);
        return;
    }
    GraphTensor product = matrix(g, 0, CUDNN_DATA_FLOAT, s->rows, s->in, false);
    GraphTensor a = matrix(g, 4, CUDNN_DATA_BFLOAT16, s->rows, s->in, false);
    graph_matmul(g, dy, w, product, NULL, NULL, NULL);
    graph_pointwise_backward(g, CUDNN_POINTWISE_GELU_BWD, a, product, dx);
}

/* dw = dyᵀ x in float32 */
static void backward_weight(Graph *g, const LinearShape *s) {
    GraphTensor dy = matrix(g, 1, CUDNN_DATA_BFLOAT16, s->out, s->rows, true);
    GraphTensor x = matrix(g, 2, CUDNN_DATA_BFLOAT16, s->rows, s->in, false);
    graph_matmul(g, dy, x, matrix(g, 3, CUDNN_DATA_FLOAT, s->out, s->in, false), NULL, NULL, NULL);
}

#define SEEN_MAX 64

typedef enum Kind { FORWARD, FORWARD_GELU, INPUT, INPUT_GELU, WEIGHT, KINDS } Kind;

static bool wanted(Kind kind, const LinearShape *s) {
    switch (kind) {
    case FORWARD:
        return !s->gelu;
    case FORWARD_GELU:
        return s->gelu;
    case INPUT:
        return s->backward && !s->before_gelu;
    case INPUT_GELU:
        return s->backward && s->before_gelu;
    default:
        return true;
    }
}

/* Which engine cuDNN takes for it; a plan is compiled when no other of this kind had the same. */
typedef struct Seen {
    char choice[SEEN_MAX][PLAN_CHOICE_TEXT];
    int count;
} Seen;

static bool is_new(Seen *seen, Kind kind, const char *choice) {
    char *text = memory_text("%d: %s", (int)kind, choice);
    bool found = false;
    for (int i = 0; i < seen->count; i++)
        found = found || !strcmp(seen->choice[i], text);
    if (!found && seen->count < SEEN_MAX)
        snprintf(seen->choice[seen->count++], PLAN_CHOICE_TEXT, "%s", text);
    free(text);
    return !found;
}

static int plan_one(Plan *plan, const CudnnTarget *target, Kind kind, const LinearShape *s,
                    Seen *seen, Error *error) {
    Graph graph;
    graph_start(&graph, target);
    if (kind == FORWARD || kind == FORWARD_GELU)
        forward(&graph, s, kind == FORWARD_GELU);
    else if (kind == WEIGHT)
        backward_weight(&graph, s);
    else
        backward_input(&graph, s, kind == INPUT_GELU);
    *plan = (Plan){.target = NULL};
    int status = graph_choose(plan->choice, &graph, NULL, error);
    if (!status && is_new(seen, kind, plan->choice))
        status = graph_plan(plan, &graph, NULL, error);
    graph_end(&graph);
    return status;
}

static void every_layer_on_h200(void **state) {
    (void)state;
    static const char *const names[KINDS] = {"forward", "forward, GELU", "input's gradient",
                                             "input's gradient through GELU", "weight's gradient"};
    CudnnLibrary library;
    CudnnTarget target;
    Error error = {0};
    double started = seconds();
    Seen seen = {.count = 0};
    int plans = 0, refused = 0;
    if (!planning_open(&library))
        skip();
    RecipeShapes *shapes = recipe_shapes(JEPA_SOURCE_DIR, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(planning_target(&target, &library, "h200", &error), 0);
    assert_true(shapes->linears > 20);
    for (int i = 0; i < shapes->linears; i++) {
        const LinearShape *s = &shapes->linear[i];
        printf("  %6" PRId64 " rows, %4" PRId64 " to %4" PRId64 ":", s->rows, s->in, s->out);
        for (Kind kind = 0; kind < KINDS; kind++) {
            Plan plan;
            if (!wanted(kind, s))
                continue;
            if (plan_one(&plan, &target, kind, s, &seen, &error)) {
                printf(" %s: %s;", names[kind], error.text);
                refused++;
                continue;
            }
            printf(" %s %s%s;", names[kind], plan.choice, plan.plan ? " (compiled)" : "");
            plans++;
            plan_end(&plan);
        }
        printf("\n");
    }
    printf("%d plans, %d compiled, in %.1f s\n", plans, seen.count, seconds() - started);
    assert_int_equal(refused, 0);
    cudnn_target_close(&target);
    free(shapes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer_on_h200)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
