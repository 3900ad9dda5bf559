/* Diagnostics during pretraining. See eval/diagnostics.h; the clips are in
 * eval/diagnostics_clips.c, what a clip goes through in eval/diagnostics_passes.c. */
#include "eval/diagnostics.h"
#include "eval/diagnostics_clips.h"
#include "eval/diagnostics_passes.h"
#include "eval/drift.h"
#include "eval/neighbours.h"
#include "eval/spectrum.h"
#include "eval/trivial.h"
#include "jepa/sigreg.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct Diagnostics {
    DiagnosticsStart start;
    DiagnosticClips clips;
    Passes passes;
    uint8_t *records; /* [C][record_bytes] of all ranks */
    size_t record_bytes;
    /* SIGReg on the device: rows, directions, and what the operation writes */
    void *memory;
    float *rows, *directions, *projections, *gap;
    double *statistic, *loss;
};

/* ---- memory ---- */

static int widest(const RecordShape *s) {
    return s->context_width > s->target_width ? s->context_width : s->target_width;
}

static void lay_out(Diagnostics *d, const RecordShape *s, Arena *arena) {
    int64_t width = widest(s);
    d->rows = arena_floats(arena, DIAGNOSTIC_ROWS * width);
    d->directions = arena_floats(arena, width * DIAGNOSTIC_DIRECTIONS);
    d->projections = arena_floats(arena, (int64_t)DIAGNOSTIC_ROWS * DIAGNOSTIC_DIRECTIONS);
    d->gap = arena_floats(arena, (int64_t)SIGREG_KNOTS * 2 * DIAGNOSTIC_DIRECTIONS);
    d->statistic = arena_take(arena, DIAGNOSTIC_DIRECTIONS, sizeof *d->statistic);
    d->loss = arena_take(arena, 1, sizeof *d->loss);
}

static size_t sigreg_scratch(const RecordShape *s, const Device *device) {
    ScratchNeeds needs = {.elements = (int64_t)DIAGNOSTIC_ROWS * widest(s),
                          .rows = DIAGNOSTIC_ROWS,
                          .width = widest(s) > DIAGNOSTIC_DIRECTIONS ? widest(s)
                                                                     : DIAGNOSTIC_DIRECTIONS};
    return device_scratch_bytes(device, &needs);
}

static void plan_memory(DiagnosticsMemory *m, const Recipe *r, Device *device, int ranks) {
    ModelPlan plan = passes_plan(r, device);
    int clips = r->diagnostics.videos, own = (clips + ranks - 1) / ranks;
    RecordShape shape = passes_shape(&plan, clips);
    Diagnostics sizes;
    Model weights = {.plan = plan}; /* only its plan and pointers are read while measuring */
    Arena model, arena = {0};
    ClipSpec spec = diagnostic_spec(r);
    size_t width = (size_t)widest(&shape), scratch = sigreg_scratch(&shape, device);
    plan.beside = &weights;
    model_measure(&model, &m->scratch, &plan, device);
    lay_out(&sizes, &shape, &arena);
    m->device = model.used + arena.used + sizeof(ModelScalars);
    m->scratch = scratch > m->scratch ? scratch : m->scratch;
    /* pixels, records, host copies, and the sets of rows with what their spectra take */
    m->host = (size_t)own * 3 * (size_t)spec.frames * (size_t)(spec.crop * clip_width(&spec)) +
              (size_t)clips * record_bytes_of(&shape) + passes_host_bytes(&plan) +
              DIAGNOSTIC_ROWS * width * (sizeof(float) + sizeof(double)) +
              width * width * sizeof(double);
}

/* ---- opening ---- */

static int take_memory(Diagnostics *d, Error *error) {
    Device *device = d->start.device;
    const RecordShape *shape = &d->passes.shape;
    Arena measure = {0}, arena = {0};
    lay_out(d, shape, &measure);
    if (device_reserve(device, sigreg_scratch(shape, device), error) ||
        device->allocate(&d->memory, measure.used, device, error))
        return -1;
    arena.base = d->memory;
    lay_out(d, shape, &arena);
    d->record_bytes = record_bytes_of(shape);
    d->records = memory_new((size_t)d->clips.count, d->record_bytes);
    return 0;
}

static int open_diagnostics(void *context, const DiagnosticsStart *start, Error *error) {
    Diagnostics **place = context, *d = *place = memory_new(1, sizeof *d);
    d->start = *start;
    if (diagnostic_clips_open(&d->clips, start, error) ||
        passes_open(&d->passes, start->recipe, start->model, d->clips.count, error) ||
        take_memory(d, error))
        return error_prefix(error, "diagnostics");
    return 0;
}

static void close_diagnostics(void *context) {
    Diagnostics **place = context, *d = *place;
    if (!d)
        return;
    if (d->memory)
        d->start.device->release(d->memory, d->start.device);
    passes_close(&d->passes);
    diagnostic_clips_close(&d->clips);
    free(d->records);
    free(d);
    *place = NULL;
}

/* ---- measures of all clips ---- */

static ClipRecord record_of(const Diagnostics *d, int clip) {
    return record_at(d->records + (size_t)clip * d->record_bytes, &d->passes.shape);
}

static bool is_valid(const Diagnostics *d, int clip) {
    return record_of(d, clip).counts[RECORD_VALID] != 0;
}

/* One set of rows of all clips, [*count][width]; caller frees. */
static float *all_rows(int64_t *count, const Diagnostics *d, int set, int width) {
    float *rows = memory_new(DIAGNOSTIC_ROWS * (size_t)width + 1, sizeof *rows);
    *count = 0;
    for (int c = 0; c < d->clips.count; c++) {
        ClipRecord r = record_of(d, c);
        const float *own = set == RECORD_CONTEXT  ? r.context
                           : set == RECORD_TARGET ? r.target
                                                  : r.predictor;
        for (int i = 0; i < r.counts[set] && *count < DIAGNOSTIC_ROWS; i++, ++*count)
            memcpy(rows + *count * width, own + i * width, (size_t)width * sizeof *rows);
    }
    return rows;
}

/* Mean and least over dimensions of the standard deviation over rows. */
static void measure_spread(double *mean, double *least, const float *rows, int64_t n, int width) {
    *mean = 0;
    *least = INFINITY;
    for (int k = 0; k < width; k++) {
        double m = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            m += rows[i * width + k] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (rows[i * width + k] - m) * (rows[i * width + k] - m);
        double std = sqrt(square / (double)n);
        *mean += std / width;
        *least = std < *least ? std : *least;
    }
}

/* Statistics are of float32, on the device that trains. */
static double measure_sigreg(Diagnostics *d, const float *rows, int64_t n, int width) {
    Device *op = d->start.device->exact;
    const SigregShape shape = {1, n, width, DIAGNOSTIC_DIRECTIONS, SIGREG_KNOTS};
    size_t elements = (size_t)width * DIAGNOSTIC_DIRECTIONS;
    float *directions = memory_new(elements, sizeof *directions);
    double loss = 0;
    sigreg_directions(directions, width, DIAGNOSTIC_DIRECTIONS, d->passes.seed, 0);
    op->upload(d->directions, directions, elements * sizeof *directions, op);
    op->upload(d->rows, rows, (size_t)(n * width) * sizeof *rows, op);
    op->zero(d->loss, sizeof *d->loss, op);
    op->sigreg_forward(d->loss, d->statistic, d->projections, d->gap, d->rows, d->directions,
                       &shape, 1, op);
    op->download(&loss, d->loss, sizeof loss, op);
    free(directions);
    return loss;
}

/* std, least std, RankMe, α and SIGReg of a set into five values from `first` on; of the
 * predictions the first three. What is not finite is told as infinite: NaN means not measured. */
static int64_t measure_set(Diagnosis *out, Diagnostics *d, int set, DiagnosisValue first) {
    const RecordShape *s = &d->passes.shape;
    int width = set == RECORD_CONTEXT ? s->context_width : s->target_width;
    bool predictions = set == RECORD_PREDICTOR;
    int64_t n;
    float *rows = all_rows(&n, d, set, width);
    double *value = out->value + first, *values = memory_new((size_t)width, sizeof *values);
    if (n && spectrum(values, rows, n, width, false)) {
        for (int k = 0; k < (predictions ? 3 : 5); k++)
            value[k] = INFINITY;
    } else if (n) {
        measure_spread(&value[0], &value[1], rows, n, width);
        value[2] = spectrum_rankme(values, width);
        if (!predictions && !spectrum(values, rows, n, width, true))
            value[3] = spectrum_alpha(values, n, width);
        if (!predictions)
            value[4] = measure_sigreg(d, rows, n, width);
    }
    free(rows);
    free(values);
    return n;
}

static void measure_lidar(Diagnosis *out, const Diagnostics *d) {
    const RecordShape *s = &d->passes.shape;
    size_t each = (size_t)s->views * (size_t)s->context_width;
    float *rows = memory_new((size_t)d->clips.count * each, sizeof *rows);
    int classes = 0;
    for (int c = 0; c < d->clips.count; c++)
        if (is_valid(d, c))
            memcpy(rows + (size_t)classes++ * each, record_of(d, c).views, each * sizeof *rows);
    if (classes >= 2) {
        double lidar = spectrum_lidar(rows, classes, s->views, s->context_width);
        out->value[DIAGNOSIS_LIDAR] = isnan(lidar) ? INFINITY : lidar;
    }
    free(rows);
}

static void measure_neighbours(Diagnosis *out, const Diagnostics *d) {
    const RecordShape *s = &d->passes.shape;
    int width = s->target_width ? s->target_width : s->context_width, n = 0,
        classes = d->clips.index->classes;
    if (!d->clips.label)
        return;
    float *rows = memory_new((size_t)d->clips.count * (size_t)width, sizeof *rows);
    int *labels = memory_new((size_t)d->clips.count, sizeof *labels);
    uint32_t *files = memory_new((size_t)d->clips.count, sizeof *files);
    for (int c = 0; c < d->clips.count; c++)
        if (is_valid(d, c)) {
            memcpy(rows + (size_t)n * (size_t)width, record_of(d, c).pooled,
                   (size_t)width * sizeof *rows);
            files[n] = d->clips.clip[c].file;
            labels[n++] = d->clips.label[c];
        }
    if (n) {
        out->value[DIAGNOSIS_KNN] = neighbours_accuracy(rows, labels, files, n, width, classes);
        out->value[DIAGNOSIS_MAJORITY] = majority_share(labels, n, classes);
    }
    free(rows);
    free(labels);
    free(files);
}

static void measure_prediction(Diagnosis *out, const Diagnostics *d) {
    double sums[RECORD_SUMS] = {0}, *value = out->value;
    for (int c = 0; c < d->clips.count; c++)
        for (int k = 0; k < RECORD_SUMS; k++)
            sums[k] += record_of(d, c).sums[k];
    if (sums[RECORD_HIDDEN] > 0) {
        value[DIAGNOSIS_ERROR] = sums[RECORD_ERROR] / sums[RECORD_HIDDEN];
        value[DIAGNOSIS_ERROR_MEAN] = sums[RECORD_ERROR_MEAN] / sums[RECORD_HIDDEN];
        value[DIAGNOSIS_ERROR_NEAREST] = sums[RECORD_ERROR_NEAREST] / sums[RECORD_HIDDEN];
        value[DIAGNOSIS_SKILL] = trivial_skill(value[DIAGNOSIS_ERROR], value[DIAGNOSIS_ERROR_MEAN],
                                               value[DIAGNOSIS_ERROR_NEAREST]);
    }
    if (sums[RECORD_TOKENS] > 0)
        value[DIAGNOSIS_DRIFT_COSINE] = sums[RECORD_COSINE] / sums[RECORD_TOKENS];
}

static void measure_all(Diagnosis *out, Diagnostics *d) {
    double *value = out->value;
    int clips = 0;
    for (int c = 0; c < d->clips.count; c++)
        clips += is_valid(d, c);
    value[DIAGNOSIS_CLIPS] = clips;
    value[DIAGNOSIS_ROWS] = (double)measure_set(out, d, RECORD_CONTEXT, DIAGNOSIS_CONTEXT_STD);
    if (d->passes.shape.target_width) {
        measure_set(out, d, RECORD_TARGET, DIAGNOSIS_TARGET_STD);
        measure_set(out, d, RECORD_PREDICTOR, DIAGNOSIS_PREDICTOR_STD);
    }
    measure_lidar(out, d);
    measure_prediction(out, d);
    measure_neighbours(out, d);
}

/* This rank's clips, then everybody's. */
static void pass_clips(Diagnostics *d) {
    DiagnosticClips *c = &d->clips;
    Device *device = d->start.device;
    Exchange *x = d->start.exchange;
    bool graphs = device->graphs;
    device->graphs = false; /* what the steps have captured stays */
    for (int i = 0; i < c->own; i++) {
        uint8_t *bytes = d->records + (size_t)(c->first + i) * d->record_bytes;
        ClipRecord record = record_at(bytes, &d->passes.shape);
        memset(bytes, 0, d->record_bytes);
        if (!c->failed[i])
            passes_clip(&record, &d->passes, c->pixels + (size_t)i * c->bytes, c->first + i);
    }
    device->graphs = graphs;
    for (int r = 0; r < x->ranks && x->ranks > 1; r++) {
        size_t from = (size_t)c->count * (size_t)r / (size_t)x->ranks,
               to = (size_t)c->count * (size_t)(r + 1) / (size_t)x->ranks;
        if (to > from)
            x->broadcast(d->records + from * d->record_bytes, (to - from) * d->record_bytes, r, x);
    }
}

static int run_diagnostics(Diagnosis *out, void *context, Error *error) {
    Diagnostics *d = *(Diagnostics **)context;
    Exchange *x = d->start.exchange;
    (void)error;
    for (int i = 0; i < DIAGNOSIS_VALUES; i++)
        out->value[i] = NAN;
    pass_clips(d);
    double drift = drift_weights(d->start.model, x);
    if (!x->rank) {
        measure_all(out, d);
        out->value[DIAGNOSIS_DRIFT_WEIGHTS] = drift;
    }
    if (x->ranks > 1)
        x->broadcast(out->value, sizeof out->value, 0, x);
    return 0;
}

TrainerDiagnostics diagnostics_hooks(Diagnostics **own) {
    return (TrainerDiagnostics){own, plan_memory, open_diagnostics, run_diagnostics,
                                close_diagnostics};
}
