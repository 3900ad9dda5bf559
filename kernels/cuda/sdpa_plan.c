/* Preparing attention by cuDNN: what it can do, in which parts, with which plans. See
 * kernels/cuda/sdpa.h. */
#include "kernels/cuda/sdpa_plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_ALIGNMENT 256   /* bytes, of each part of the workspace */
#define HEAD_MAX       256   /* channels */
#define OLDEST_VERSION 91100 /* 9.10.0 and 9.10.1 computed wrong results; older ones: not tried */
#define TOKENS_STEP    128   /* rows and columns of a tile of scores */

static const char *pass_name(SdpaPass pass) {
    static const char *const names[SDPA_PASSES] = {"inference", "forward", "backward",
                                                   "backward_fast"};
    return names[pass];
}

static int64_t round_up(int64_t x, int64_t step) {
    return (x + step - 1) / step * step;
}

/* ---- opening ---- */

static char *heading(const CudnnTarget *target) {
    return memory_text("cuDNN %zu, compute capability %d.%d", target->library->version,
                       target->capability / 10, target->capability % 10);
}

int sdpa_open(Sdpa *sdpa, const CudnnTarget *target, const SdpaSettings *settings, Error *error) {
    *sdpa = (Sdpa){.target = target,
                   .limit = settings->workspace ? settings->workspace : SDPA_WORKSPACE,
                   .fast = settings->fast,
                   .dry = settings->dry};
    if (!settings->chosen)
        return 0;
    char *here = heading(target);
    size_t line = strcspn(settings->chosen, "\n");
    int same = strlen(here) == line && !strncmp(here, settings->chosen, line);
    if (same)
        sdpa->chosen = memory_text("%s", settings->chosen);
    else
        error_set(error, ERROR_RUN,
                  "attention was planned for %.*s, here is %s: results would differ in rounding",
                  (int)line, settings->chosen, here);
    free(here);
    return same ? 0 : -1;
}

void sdpa_close(Sdpa *sdpa) {
    for (int i = 0; i < sdpa->count; i++)
        plan_end(&sdpa->plans[i].plan);
    free(sdpa->plans);
    free(sdpa->chosen);
    *sdpa = (Sdpa){0};
}

/* ---- what cuDNN does ---- */

static int generation(const Sdpa *sdpa) {
    return sdpa->target->capability / 10;
}

bool sdpa_supported(const Sdpa *sdpa, const SdpaNeed *need, Precision precision, bool causal,
                    Error *why) {
    const char *reason = NULL;
    int major = generation(sdpa);
    if (precision != PRECISION_BFLOAT16)
        reason = "float32";
    else if (causal)
        reason = "causal order by blocks";
    else if (need->head % 8 || need->head > HEAD_MAX)
        reason = "heads whose width is no multiple of 8, or above 256";
    else if (sdpa->target->library->version < OLDEST_VERSION)
        reason = "this version of cuDNN: 9.11 or newer is needed";
    else if (major < 8)
        reason = "compute capability below 8.0";
    /* cudnn-frontend refuses these from 9.18.1 on, though cuDNN 9.19 has a plan for some */
    else if ((major == 8 || major == 12) && need->backward)
        reason = "the backward pass of packed sequences on compute capability 8.x and 12.x";
    /* Transformer Engine avoids it */
    else if (major == 12 && need->lse)
        reason = "packed log-sum-exp on compute capability 12.x";
    else if (need->rows > INT32_MAX / (3 * need->heads * need->head))
        reason = "more than 2^31 elements in one tensor";
    if (reason)
        error_set(why, ERROR_RUN, "no attention by cuDNN for %s", reason);
    return !reason;
}

/* ---- buckets and parts ---- */

/* Buckets are 128 times 1, 2, 3, 4, 6, 8, 12, ...; the last one is the longest sequence. */
static int64_t bucket_after(int64_t bucket) {
    if (bucket < 2 * TOKENS_STEP)
        return bucket + TOKENS_STEP;
    bool power = !(bucket & (bucket - 1));
    return power ? bucket / 2 * 3 : bucket / 3 * 4;
}

static int64_t bucket_of(int64_t tokens, int64_t longest) {
    int64_t bucket = TOKENS_STEP, last = round_up(longest, TOKENS_STEP);
    while (bucket < tokens && bucket < last)
        bucket = bucket_after(bucket);
    return bucket < last ? bucket : last;
}

/* cuDNN's dS on Hopper; measured by planning, for 9.19. */
static int64_t ds_bytes(const Sdpa *sdpa, const SdpaGraphShape *s) {
    if (s->pass != SDPA_BACKWARD || generation(sdpa) != 9)
        return 0;
    return s->sequences * s->heads * round_up(s->tokens, 64) * round_up(s->tokens, 128) * 2;
}

static int64_t expected_bytes(const Sdpa *sdpa, const SdpaGraphShape *s) {
    return ds_bytes(sdpa, s) + sdpa_delta_bytes(s) + sdpa_dq_sum_bytes(s);
}

int64_t sdpa_whole_bytes(const Sdpa *sdpa, const SdpaNeed *need) {
    SdpaGraphShape s = {.pass = sdpa->fast ? SDPA_BACKWARD_FAST : SDPA_BACKWARD,
                        .sequences = need->sequences,
                        .tokens = bucket_of(need->longest, need->longest),
                        .heads = need->heads,
                        .head = need->head};
    return expected_bytes(sdpa, &s);
}

/* The next smaller part: parts of equal size, one more of them. False: there is none. */
static bool cut(SdpaGraphShape *s, int64_t sequences) {
    if (s->sequences > 1) {
        int64_t parts = (sequences + s->sequences - 1) / s->sequences, now = s->sequences;
        while (s->sequences == now)
            s->sequences = (sequences + parts) / (parts + 1), parts++;
        return true;
    }
    for (int64_t heads = s->heads - 1; heads >= 1; heads--)
        if (s->all_heads % heads == 0) {
            s->heads = heads;
            return true;
        }
    return false;
}

/* ---- plans ---- */

/* What has to be asked for by name, since the heuristics do not propose it: the backward pass with
 * sums in a fixed order on compute capability 10.0 to 10.3. Source: cudnn-frontend 1.23, whose
 * set_deterministic_algorithm asks for engine 5 with two stages (knob 14) and these kernels (24;
 * from 9.23 on, which was not tried, also tiles of 128 x 128: 27, 38, 40, 41). */
static const char *known_choice(const Sdpa *sdpa, SdpaPass pass) {
    int capability = sdpa->target->capability;
    if (pass != SDPA_BACKWARD || capability < 100 || capability > 103)
        return NULL;
    return sdpa->target->library->version < 92300 ? "engine 5 knobs 14:2 24:31"
                                                  : "engine 5 knobs 14:2 24:2 27:0 38:0 40:3 41:2";
}

/* "backward: 24 sequences, 1664 tokens, 16 of 16 heads of 64: " */
static char *key_text(const SdpaGraphShape *s) {
    return memory_text("%s: %" PRId64 " sequences, %" PRId64 " tokens, %" PRId64 " of %" PRId64
                       " heads of %" PRId64 ": ",
                       pass_name(s->pass), s->sequences, s->tokens, s->heads, s->all_heads,
                       s->head);
}

/* The earlier run's choice, or NULL. Caller frees. */
static char *chosen_before(const Sdpa *sdpa, const SdpaGraphShape *s) {
    char *key = key_text(s), *found = NULL;
    size_t length = strlen(key);
    for (const char *line = sdpa->chosen; line && !found; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length))
            found = memory_text("%.*s", (int)strcspn(line + length, "\n"), line + length);
    }
    free(key);
    return found;
}

static int make_plan(SdpaPlan *made, const Sdpa *sdpa, const SdpaGraphShape *shape, Error *error) {
    Graph graph;
    char *before = chosen_before(sdpa, shape);
    *made = (SdpaPlan){.shape = *shape};
    graph_start(&graph, sdpa->target);
    sdpa_graph(&graph, shape);
    const char *choice = before ? before : known_choice(sdpa, shape->pass);
    int status = sdpa->dry ? graph_choose(made->plan.choice, &graph, choice, error)
                           : graph_plan(&made->plan, &graph, choice, error);
    graph_end(&graph);
    free(before);
    if (status) {
        char *key = key_text(shape);
        error_extend(error, "attention, %s", key);
        free(key);
        return -1;
    }
    if (sdpa->dry)
        made->plan.workspace = ds_bytes(sdpa, shape);
    made->dq_sum = round_up(sdpa_delta_bytes(shape), PART_ALIGNMENT);
    made->work = made->dq_sum + round_up(sdpa_dq_sum_bytes(shape), PART_ALIGNMENT);
    made->bytes = made->work + round_up(made->plan.workspace, PART_ALIGNMENT);
    return 0;
}

static bool planned(const Sdpa *sdpa, const SdpaGraphShape *s) {
    for (int i = 0; i < sdpa->count; i++) {
        const SdpaGraphShape *p = &sdpa->plans[i].shape;
        if (p->pass == s->pass && p->sequences == s->sequences && p->tokens == s->tokens &&
            p->heads == s->heads && p->all_heads == s->all_heads && p->head == s->head)
            return true;
    }
    return false;
}

/* The largest part of a batch that keeps to the limit. */
static int plan_pass(Sdpa *sdpa, SdpaPass pass, const SdpaNeed *need, int64_t tokens,
                     Error *error) {
    SdpaGraphShape s = {.pass = pass,
                        .sequences = need->sequences,
                        .tokens = tokens,
                        .heads = need->heads,
                        .all_heads = need->heads,
                        .head = need->head};
    bool whole = true;
    while (whole && expected_bytes(sdpa, &s) > sdpa->limit)
        whole = cut(&s, need->sequences);
    for (; whole; whole = cut(&s, need->sequences)) {
        SdpaPlan made;
        if (planned(sdpa, &s))
            return 0;
        if (make_plan(&made, sdpa, &s, error))
            return -1;
        if (made.bytes <= sdpa->limit) {
            sdpa->plans = memory_grow(sdpa->plans, (size_t)sdpa->count + 1, sizeof *sdpa->plans);
            sdpa->plans[sdpa->count++] = made;
            sdpa->workspace = made.bytes > sdpa->workspace ? made.bytes : sdpa->workspace;
            return 0;
        }
        plan_end(&made.plan);
    }
    s.sequences = s.heads = 1;
    return error_set(error, ERROR_RUN,
                     "attention over %" PRId64 " tokens takes %.0f MiB for one head, the limit is "
                     "%.0f: allow more workspace",
                     tokens, (double)expected_bytes(sdpa, &s) / 1048576,
                     (double)sdpa->limit / 1048576);
}

int sdpa_plan(Sdpa *sdpa, const SdpaNeed *need, Error *error) {
    JEPA_ASSERT(need->sequences >= 1 && need->longest >= 1 && (need->lse || !need->backward));
    if (!sdpa_supported(sdpa, need, PRECISION_BFLOAT16, false, error))
        return -1;
    int before = sdpa->count, status = 0;
    int64_t workspace = sdpa->workspace, last = bucket_of(need->longest, need->longest);
    int64_t tokens = bucket_of(need->shortest, need->longest);
    for (;; tokens = bucket_of(tokens + 1, need->longest)) {
        status = plan_pass(sdpa, need->lse ? SDPA_FORWARD : SDPA_INFERENCE, need, tokens, error);
        if (!status && need->backward)
            status = plan_pass(sdpa, sdpa->fast ? SDPA_BACKWARD_FAST : SDPA_BACKWARD, need, tokens,
                               error);
        if (status || tokens == last)
            break;
    }
    if (status) {
        while (sdpa->count > before)
            plan_end(&sdpa->plans[--sdpa->count].plan);
        sdpa->workspace = workspace;
    }
    return status;
}

const SdpaPlan *sdpa_find(const Sdpa *sdpa, SdpaPass pass, int64_t heads, int64_t head,
                          int64_t sequences, int64_t longest) {
    const SdpaPlan *best = NULL;
    for (int i = 0; i < sdpa->count; i++) {
        const SdpaPlan *p = &sdpa->plans[i];
        const SdpaGraphShape *s = &p->shape;
        if (s->pass != pass || s->all_heads != heads || s->head != head || s->tokens < longest)
            continue;
        if (!best || s->tokens < best->shape.tokens) {
            best = p;
        } else if (s->tokens == best->shape.tokens) {
            bool holds = s->sequences >= sequences, held = best->shape.sequences >= sequences;
            bool fewer = s->sequences < best->shape.sequences;
            if (holds ? !held || fewer : !held && !fewer)
                best = p;
        }
    }
    return best;
}

char *sdpa_text(const Sdpa *sdpa) {
    char *first = heading(sdpa->target), *text = memory_text("%s\n", first);
    free(first);
    for (int i = 0; i < sdpa->count; i++) {
        char *key = key_text(&sdpa->plans[i].shape), *longer;
        longer = memory_text("%s%s%s\n", text, key, sdpa->plans[i].plan.choice);
        free(key);
        free(text);
        text = longer;
    }
    return text;
}
