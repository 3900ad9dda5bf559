/* From a graph to a plan that runs: heuristics, engine, knobs. See kernels/cuda/cudnn_graph.h. */
#include "kernels/cuda/cudnn_graph.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROPOSALS_MAX 16 /* of the heuristics that are tried, best first */
#define KNOBS_MAX     32
#define NO_ATTRIBUTE  ((cudnnBackendAttributeName_t)-1)

typedef cudnnBackendDescriptor_t Descriptor;

/* Short names for calls that fail with a message; `l` is the library. */
static int create(Descriptor *made, const CudnnLibrary *l, cudnnBackendDescriptorType_t type,
                  const char *what, Error *error) {
    cudnnStatus_t status = l->descriptor_create(type, made);
    return status ? cudnn_error(l, status, what, error) : 0;
}
static int set(const CudnnLibrary *l, Descriptor of, cudnnBackendAttributeName_t name,
               cudnnBackendAttributeType_t type, int64_t count, const void *values,
               const char *what, Error *error) {
    cudnnStatus_t status = l->descriptor_set(of, name, type, count, values);
    return status ? cudnn_error(l, status, what, error) : 0;
}
static int finalize(const CudnnLibrary *l, Descriptor made, const char *what, Error *error) {
    cudnnStatus_t status = l->descriptor_finalize(made);
    return status ? cudnn_error(l, status, what, error) : 0;
}
static void destroy(const CudnnLibrary *l, Descriptor made) {
    if (made)
        l->descriptor_destroy(made);
}

/* The GPU: its handle or its description, whichever the target has. Of a handle the graph knows,
 * and with it the heuristics and engines; a description is told to each. */
static int set_target(const CudnnTarget *t, Descriptor of, cudnnBackendAttributeName_t handle,
                      cudnnBackendAttributeName_t properties, const char *what, Error *error) {
    if (t->handle && handle != NO_ATTRIBUTE)
        return set(t->library, of, handle, CUDNN_TYPE_HANDLE, 1, &t->handle, what, error);
    if (!t->handle && properties != NO_ATTRIBUTE)
        return set(t->library, of, properties, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &t->properties,
                   what, error);
    return 0;
}

/* ---- the choice as text ---- */

typedef struct Knob {
    int64_t type, value;
} Knob;

static int by_type(const void *a, const void *b) {
    int64_t x = ((const Knob *)a)->type, y = ((const Knob *)b)->type;
    return (x > y) - (x < y);
}

static int read_knobs(Knob knobs[KNOBS_MAX], int *count, const CudnnLibrary *l, Descriptor config,
                      Error *error) {
    const char *what = "reading what cuDNN chose";
    Descriptor choice[KNOBS_MAX] = {NULL};
    int64_t found = 0, one;
    int status = 0;
    *count = 0;
    for (int i = 0; i < KNOBS_MAX && !status; i++)
        status = create(&choice[i], l, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, what, error);
    if (!status) {
        cudnnStatus_t got = l->descriptor_get(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, KNOBS_MAX, &found,
                                              choice);
        status = got ? cudnn_error(l, got, what, error) : 0;
    }
    for (int64_t i = 0; i < found && i < KNOBS_MAX && !status; i++) {
        cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
        Knob *knob = &knobs[(*count)++];
        cudnnStatus_t got = l->descriptor_get(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                              CUDNN_TYPE_KNOB_TYPE, 1, &one, &type);
        if (!got)
            got = l->descriptor_get(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64,
                                    1, &one, &knob->value);
        knob->type = type;
        status = got ? cudnn_error(l, got, what, error) : 0;
    }
    for (int i = 0; i < KNOBS_MAX; i++)
        destroy(l, choice[i]);
    qsort(knobs, (size_t)*count, sizeof *knobs, by_type);
    return status;
}

static int read_engine(int64_t *index, const CudnnLibrary *l, Descriptor config, Error *error) {
    const char *what = "reading what cuDNN chose";
    Descriptor engine = NULL;
    int64_t one;
    if (create(&engine, l, CUDNN_BACKEND_ENGINE_DESCRIPTOR, what, error))
        return -1;
    cudnnStatus_t got = l->descriptor_get(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one, &engine);
    if (!got)
        got = l->descriptor_get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &one,
                                index);
    destroy(l, engine);
    return got ? cudnn_error(l, got, what, error) : 0;
}

static int describe(char choice[PLAN_CHOICE_TEXT], const CudnnLibrary *l, Descriptor config,
                    Error *error) {
    Knob knobs[KNOBS_MAX];
    int64_t engine;
    int count;
    if (read_engine(&engine, l, config, error) || read_knobs(knobs, &count, l, config, error))
        return -1;
    int at = snprintf(choice, PLAN_CHOICE_TEXT, "engine %" PRId64 " knobs", engine);
    for (int i = 0; i < count; i++) {
        JEPA_ASSERT(at < PLAN_CHOICE_TEXT - 48); /* room for two numbers */
        at += snprintf(choice + at, PLAN_CHOICE_TEXT - (size_t)at, " %" PRId64 ":%" PRId64,
                       knobs[i].type, knobs[i].value);
    }
    return 0;
}

static int parse(int64_t *engine, Knob knobs[KNOBS_MAX], int *count, const char *choice,
                 Error *error) {
    int read = 0;
    *count = 0;
    if (sscanf(choice, "engine %" SCNd64 " knobs%n", engine, &read) != 1 || !read)
        return error_set(error, ERROR_RUN,
                         "expected \"engine N knobs TYPE:VALUE ...\", found \"%s\"", choice);
    for (const char *text = choice + read; *text; text += read) {
        Knob *knob = &knobs[*count];
        if (*count == KNOBS_MAX ||
            sscanf(text, " %" SCNd64 ":%" SCNd64 "%n", &knob->type, &knob->value, &read) != 2)
            return error_set(error, ERROR_RUN, "expected knobs as TYPE:VALUE, found \"%s\"", text);
        ++*count;
    }
    return 0;
}

/* ---- engine configurations ---- */

static int graph_descriptor(Descriptor *made, const Graph *graph, Error *error) {
    const CudnnTarget *t = graph->target;
    const char *what = "the graph";
    if (create(made, t->library, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, what, error))
        return -1;
    if (set_target(t, *made, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, NO_ATTRIBUTE, what, error) ||
        set(t->library, *made, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            graph->operations, graph->operation, what, error))
        return -1;
    return finalize(t->library, *made, what, error);
}

/* The configuration that a text names. */
static int config_named(Descriptor *config, const CudnnTarget *t, Descriptor operations,
                        const char *choice, Error *error) {
    const CudnnLibrary *l = t->library;
    const char *what = "a chosen plan";
    Knob knobs[KNOBS_MAX];
    Descriptor engine = NULL, chosen[KNOBS_MAX] = {NULL};
    int64_t index;
    int count, status = parse(&index, knobs, &count, choice, error);
    if (!status)
        status = create(&engine, l, CUDNN_BACKEND_ENGINE_DESCRIPTOR, what, error);
    if (!status)
        status = set(l, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                     &operations, what, error) ||
                 set(l, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index, what,
                     error) ||
                 set_target(t, engine, NO_ATTRIBUTE, CUDNN_ATTR_ENGINE_DEVICEPROP, what, error) ||
                 finalize(l, engine, what, error) ||
                 create(config, l, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, what, error) ||
                 set(l, *config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                     &engine, what, error);
    for (int i = 0; i < count && !status; i++) {
        cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)knobs[i].type;
        status = create(&chosen[i], l, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, what, error) ||
                 set(l, chosen[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type,
                     what, error) ||
                 set(l, chosen[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
                     &knobs[i].value, what, error) ||
                 finalize(l, chosen[i], what, error);
    }
    if (!status && count)
        status = set(l, *config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                     count, chosen, what, error);
    if (!status)
        status = finalize(l, *config, what, error);
    for (int i = 0; i < KNOBS_MAX; i++)
        destroy(l, chosen[i]);
    destroy(l, engine);
    return status ? -1 : 0;
}

/* What the heuristics propose, best first: config[PROPOSALS_MAX], of which *count are found. */
static int propose(Descriptor *config, int64_t *count, const CudnnTarget *t, Descriptor operations,
                   Error *error) {
    const CudnnLibrary *l = t->library;
    const char *what = "cuDNN's heuristics";
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    Descriptor heuristics = NULL;
    int status = create(&heuristics, l, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, what, error);
    *count = 0;
    if (!status)
        status = set(l, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &operations, what, error) ||
                 set(l, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode,
                     what, error) ||
                 set_target(t, heuristics, NO_ATTRIBUTE, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, what,
                            error) ||
                 finalize(l, heuristics, what, error);
    for (int i = 0; i < PROPOSALS_MAX && !status; i++)
        status = create(&config[i], l, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, what, error);
    if (!status) {
        cudnnStatus_t got = l->descriptor_get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, PROPOSALS_MAX, count,
                                              config);
        status = got ? cudnn_error(l, got, what, error) : 0;
    }
    if (!status && !*count)
        status = error_set(error, ERROR_RUN,
                           "cuDNN %zu has no engine for this graph on compute "
                           "capability %d.%d",
                           l->version, t->capability / 10, t->capability % 10);
    destroy(l, heuristics);
    return status ? -1 : 0;
}

/* ---- plans ---- */

/* The plan of an engine configuration, which it takes over when it succeeds. */
static int build(Plan *plan, const CudnnTarget *t, Descriptor config, Error *error) {
    const CudnnLibrary *l = t->library;
    const char *what = "a plan";
    int64_t one;
    *plan = (Plan){.target = t, .config = config};
    int status = create(&plan->plan, l, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, what, error);
    if (!status)
        status = set_target(t, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                            CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, what, error) ||
                 set(l, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config, what, error) ||
                 finalize(l, plan->plan, what, error);
    if (!status) {
        cudnnStatus_t got = l->descriptor_get(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                              CUDNN_TYPE_INT64, 1, &one, &plan->workspace);
        status = got ? cudnn_error(l, got, what, error) : describe(plan->choice, l, config, error);
    }
    if (!status)
        return 0;
    destroy(l, plan->plan);
    *plan = (Plan){0};
    return -1;
}

/* The configurations of a graph, best first: one that is asked for, or what the heuristics propose.
 * `operations` is the graph's descriptor; release() frees all. */
typedef struct Configurations {
    Descriptor operations, config[PROPOSALS_MAX];
    int64_t count;
} Configurations;

static void release(Configurations *c, const CudnnLibrary *l) {
    for (int i = 0; i < PROPOSALS_MAX; i++)
        destroy(l, c->config[i]);
    destroy(l, c->operations);
}

static int configure(Configurations *c, const Graph *graph, const char *choice, Error *error) {
    *c = (Configurations){.count = 1};
    if (graph->failed) {
        if (error)
            *error = graph->error;
        return -1;
    }
    if (graph_descriptor(&c->operations, graph, error))
        return -1;
    return choice ? config_named(c->config, graph->target, c->operations, choice, error)
                  : propose(c->config, &c->count, graph->target, c->operations, error);
}

int graph_choose(char found[PLAN_CHOICE_TEXT], const Graph *graph, const char *choice,
                 Error *error) {
    const CudnnLibrary *l = graph->target->library;
    Configurations c;
    int status = configure(&c, graph, choice, error);
    if (!status)
        status = describe(found, l, c.config[0], error);
    release(&c, l);
    return status;
}

int graph_plan(Plan *plan, const Graph *graph, const char *choice, Error *error) {
    const CudnnTarget *t = graph->target;
    Configurations c;
    *plan = (Plan){0};
    int status = configure(&c, graph, choice, error);
    if (!status) {
        Error last = {0}; /* of proposals that cannot be built; forgotten when one can */
        status = -1;
        for (int64_t i = 0; i < c.count && status; i++) {
            status = build(plan, t, c.config[i], &last);
            if (!status)
                c.config[i] = NULL; /* the plan's now */
        }
        if (status && error)
            *error = last;
    }
    release(&c, t->library);
    return status;
}

int plan_run(const Plan *plan, const int64_t *uid, void *const *pointer, int count, void *workspace,
             Error *error) {
    const CudnnTarget *t = plan->target;
    const CudnnLibrary *l = t->library;
    const char *what = "launching a plan";
    Descriptor pack = NULL;
    JEPA_ASSERT(t->handle);
    int status = create(&pack, l, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, what, error);
    if (!status)
        status = set(l, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uid,
                     what, error) ||
                 set(l, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                     pointer, what, error) ||
                 set(l, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace,
                     what, error) ||
                 finalize(l, pack, what, error);
    if (!status) {
        cudnnStatus_t ran = l->execute(t->handle, plan->plan, pack);
        status = ran ? cudnn_error(l, ran, what, error) : 0;
    }
    destroy(l, pack);
    return status ? -1 : 0;
}

void plan_end(Plan *plan) {
    if (plan->plan) {
        destroy(plan->target->library, plan->plan);
        destroy(plan->target->library, plan->config);
    }
    *plan = (Plan){0};
}
