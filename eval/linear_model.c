/* See eval/linear_model.h. */
#include "eval/linear_model.h"
#include "eval/lbfgs.h"
#include "eval/linear_basis.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ITERATIONS_MAX 1000
#define GRADIENT_LIMIT 1e-6
#define TILE           256               /* rows of one matrix product */
#define CHUNKS_MAX     16                /* sums over rows that are made side by side */
#define CHUNK_VALUES   ((size_t)1 << 26) /* most numbers in all their gradients */

const double linear_lambdas[LINEAR_LAMBDAS] = {10, 3, 1, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4};

/* Fortran: every argument by address, and the length of the text at the end. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_n);
void dpotrs_(const char *uplo, const int *n, const int *columns, const double *a, const int *lda,
             double *b, const int *ldb, int *info, size_t uplo_n);

typedef struct Problem {
    LinearBasis basis;
    LinearLoss loss;
    int outputs, columns; /* K; r + 1 */
    double lambda;
    const int *classes;
    double *values;          /* [n][K] standardised where they are numbers; or NULL */
    double *centre, *spread; /* [K] of the values, 0 and 1 where they are not standardised */
    double *weights;         /* [K][r + 1] */
    int chunks, threads;
    int64_t chunk_rows;
    double *gradients; /* [chunks][K][r + 1] */
    double *scores;    /* [chunks][TILE][K] */
    double *losses;    /* [chunks] */
} Problem;

/* ---- one problem ---- */

/* Losses of a row's scores s[K]; s becomes their derivative. */
static double row_loss(double *s, const Problem *p, int64_t row) {
    double loss = 0;
    int outputs = p->outputs;
    if (p->loss == LINEAR_SOFTMAX) {
        double top = -INFINITY, sum = 0;
        int class = p->classes[row];
        for (int k = 0; k < outputs; k++)
            top = fmax(top, s[k]);
        loss = top - s[class];
        for (int k = 0; k < outputs; k++)
            sum += s[k] = exp(s[k] - top);
        for (int k = 0; k < outputs; k++)
            s[k] = s[k] / sum - (k == class);
        return loss + log(sum);
    }
    const double *y = p->values + row * outputs;
    for (int k = 0; k < outputs; k++) {
        double e = s[k] - y[k];
        if (p->loss == LINEAR_SIGMOID) {
            loss += fmax(s[k], 0) - s[k] * y[k] + log1p(exp(-fabs(s[k])));
            s[k] = 1 / (1 + exp(-s[k])) - y[k];
        } else if (p->loss == LINEAR_SQUARED || fabs(e) <= LINEAR_HUBER_DELTA) {
            loss += e * e / 2;
            s[k] = e;
        } else {
            loss += LINEAR_HUBER_DELTA * (fabs(e) - LINEAR_HUBER_DELTA / 2);
            s[k] = e > 0 ? LINEAR_HUBER_DELTA : -LINEAR_HUBER_DELTA;
        }
    }
    return loss;
}

/* Loss and gradient of rows chunk · chunk_rows ... */
static void evaluate_chunk(const Problem *p, const double *weights, int chunk) {
    int64_t first = chunk * p->chunk_rows, n = p->basis.n;
    int64_t end = first + p->chunk_rows < n ? first + p->chunk_rows : n;
    size_t columns = (size_t)p->columns, outputs = (size_t)p->outputs;
    double *gradient = p->gradients + (size_t)chunk * outputs * columns;
    double *scores = p->scores + (size_t)chunk * TILE * outputs, loss = 0;
    memset(gradient, 0, outputs * columns * sizeof *gradient);
    for (int64_t at = first; at < end; at += TILE) {
        int rows = (int)(end - at < TILE ? end - at : TILE);
        const double *z = p->basis.z + (size_t)at * columns;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, p->outputs, p->columns, 1, z,
                    p->columns, weights, p->columns, 0, scores, p->outputs);
        for (int i = 0; i < rows; i++)
            loss += row_loss(scores + (size_t)i * outputs, p, at + i);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, p->outputs, p->columns, rows,
                    1 / (double)n, scores, p->outputs, z, p->columns, 1, gradient, p->columns);
    }
    p->losses[chunk] = loss / (double)n;
}

static double evaluate(double *gradient, const double *weights, void *context) {
    const Problem *p = context;
    size_t columns = (size_t)p->columns, size = (size_t)p->outputs * columns;
    double loss = 0;
#pragma omp parallel for num_threads(p->threads) schedule(static) if (p->chunks > 1)
    for (int chunk = 0; chunk < p->chunks; chunk++)
        evaluate_chunk(p, weights, chunk);
    memset(gradient, 0, size * sizeof *gradient);
    for (int chunk = 0; chunk < p->chunks; chunk++) {
        const double *part = p->gradients + (size_t)chunk * size;
        loss += p->losses[chunk];
        for (size_t i = 0; i < size; i++)
            gradient[i] += part[i];
    }
    for (size_t i = 0; i < size; i++)
        if ((i + 1) % columns) { /* the bias is not penalised */
            loss += 0.5 * p->lambda * weights[i] * weights[i];
            gradient[i] += p->lambda * weights[i];
        }
    return loss;
}

/* Ridge regression: (zᵀz / n + λ) W = zᵀy / n; the columns of z have mean 0, so b = mean y. */
static void solve_squared(Problem *p) {
    int rank = p->basis.rank, columns = p->columns, outputs = p->outputs, info = 0;
    size_t side = (size_t)rank;
    double *normal = memory_new(side * side + 1, sizeof *normal), n = (double)p->basis.n;
    memset(p->weights, 0, (size_t)outputs * (size_t)columns * sizeof *p->weights);
    /* y is standardised: its mean is 0, and so is b */
    if (rank) {
        int rows = (int)p->basis.n;
        double *right = memory_new(side * (size_t)outputs, sizeof *right); /* [K][r] */
        cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, rank, rows, 1 / n, p->basis.z, columns,
                    0, normal, rank);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, rank, rows, 1 / n, p->values,
                    outputs, p->basis.z, columns, 0, right, rank);
        for (size_t d = 0; d < side; d++)
            normal[d * side + d] += p->lambda;
        dpotrf_("L", &rank, normal, &rank, &info, 1);
        JEPA_ASSERT(info == 0); /* λ > 0 */
        dpotrs_("L", &rank, &outputs, normal, &rank, right, &rank, &info, 1);
        JEPA_ASSERT(info == 0);
        for (size_t k = 0; k < (size_t)outputs; k++)
            memcpy(p->weights + k * (size_t)columns, right + k * side, side * sizeof *right);
        free(right);
    }
    free(normal);
}

static void standardise_values(Problem *p, const Targets *t) {
    size_t n = (size_t)t->count, outputs = (size_t)t->outputs;
    p->values = memory_new(n * outputs, sizeof *p->values);
    for (size_t k = 0; k < outputs; k++) {
        double mean = 0, square = 0;
        p->spread[k] = 1;
        if (p->loss == LINEAR_SQUARED || p->loss == LINEAR_HUBER) {
            for (size_t i = 0; i < n; i++)
                mean += t->values[i * outputs + k] / (double)n;
            for (size_t i = 0; i < n; i++) {
                double away = t->values[i * outputs + k] - mean;
                square += away * away / (double)n;
            }
            p->spread[k] = square > 0 ? sqrt(square) : 1;
        }
        p->centre[k] = mean;
        for (size_t i = 0; i < n; i++)
            p->values[i * outputs + k] = (t->values[i * outputs + k] - mean) / p->spread[k];
    }
}

static void problem_make(Problem *p, const float *rows, int width, const Targets *t,
                         LinearLoss loss, int threads) {
    size_t outputs = (size_t)t->outputs;
    JEPA_ASSERT(t->count >= 1 && (loss == LINEAR_SOFTMAX) == (t->classes != NULL));
    *p = (Problem){.loss = loss, .outputs = t->outputs, .classes = t->classes, .threads = threads};
    linear_basis_make(&p->basis, rows, t->count, width);
    p->columns = p->basis.rank + 1;
    size_t size = outputs * (size_t)p->columns;
    p->centre = memory_new(outputs, sizeof *p->centre);
    p->spread = memory_new(outputs, sizeof *p->spread);
    if (t->values)
        standardise_values(p, t);
    else
        for (size_t k = 0; k < outputs; k++)
            p->spread[k] = 1;
    int64_t chunks = (t->count + TILE - 1) / TILE;
    chunks = chunks > CHUNKS_MAX ? CHUNKS_MAX : chunks;
    while (chunks > 1 && (size_t)chunks * size > CHUNK_VALUES)
        chunks--;
    p->chunk_rows = (t->count + chunks - 1) / chunks;
    p->chunks = (int)((t->count + p->chunk_rows - 1) / p->chunk_rows);
    p->weights = memory_new(size, sizeof *p->weights);
    p->gradients = memory_new((size_t)p->chunks * size, sizeof *p->gradients);
    p->scores = memory_new((size_t)p->chunks * TILE * outputs, sizeof *p->scores);
    p->losses = memory_new((size_t)p->chunks, sizeof *p->losses);
}

static void problem_free(Problem *p) {
    linear_basis_free(&p->basis);
    free(p->values);
    free(p->centre);
    free(p->spread);
    free(p->weights);
    free(p->gradients);
    free(p->scores);
    free(p->losses);
}

/* From the weights that are there: of a larger λ, or zero. */
static void solve(Problem *p, LinearModel *m, double lambda) {
    size_t width = (size_t)p->basis.width, outputs = (size_t)p->outputs;
    size_t size = outputs * (size_t)p->columns;
    *m = (LinearModel){.loss = p->loss,
                       .width = p->basis.width,
                       .outputs = p->outputs,
                       .lambda = p->lambda = lambda,
                       .converged = true};
    if (p->loss == LINEAR_SQUARED) {
        double *gradient = memory_new(size, sizeof *gradient);
        solve_squared(p);
        m->objective = evaluate(gradient, p->weights, p);
        free(gradient);
    } else {
        LbfgsResult result = lbfgs_minimise(p->weights, size, evaluate, p, GRADIENT_LIMIT,
                                            ITERATIONS_MAX);
        m->objective = result.value;
        m->iterations = result.iterations;
        m->converged = result.converged;
    }
    m->mean = memory_new(width, sizeof *m->mean);
    m->scale = memory_new(width, sizeof *m->scale);
    m->weights = memory_new(outputs * (width + 1), sizeof *m->weights);
    memcpy(m->mean, p->basis.mean, width * sizeof *m->mean);
    memcpy(m->scale, p->basis.scale, width * sizeof *m->scale);
    linear_basis_weights(m->weights, &p->basis, p->weights, p->outputs);
    for (size_t k = 0; k < outputs; k++) {
        double *w = m->weights + k * (width + 1);
        for (size_t d = 0; d <= width; d++)
            w[d] *= p->spread[k];
        w[width] += p->centre[k];
    }
}

void linear_fit(LinearModel *model, const float *rows, int width, const Targets *targets,
                LinearLoss loss, double lambda, int threads) {
    Problem problem;
    problem_make(&problem, rows, width, targets, loss, threads);
    solve(&problem, model, lambda);
    problem_free(&problem);
}

void linear_free(LinearModel *model) {
    free(model->mean);
    free(model->scale);
    free(model->weights);
    memset(model, 0, sizeof *model);
}

/* ---- predictions ---- */

void linear_outputs(float *out, const LinearModel *m, const float *rows, int64_t n) {
    size_t width = (size_t)m->width, outputs = (size_t)m->outputs;
    double *x = memory_new(TILE * (width + 1), sizeof *x);
    double *s = memory_new(TILE * outputs, sizeof *s);
    for (int64_t at = 0; at < n; at += TILE) {
        int count = (int)(n - at < TILE ? n - at : TILE);
        for (size_t i = 0; i < (size_t)count; i++) {
            const float *row = rows + ((size_t)at + i) * width;
            for (size_t d = 0; d < width; d++)
                x[i * (width + 1) + d] = (row[d] - m->mean[d]) * m->scale[d];
            x[i * (width + 1) + width] = 1;
        }
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, m->outputs, m->width + 1, 1, x,
                    m->width + 1, m->weights, m->width + 1, 0, s, m->outputs);
        for (size_t i = 0; i < (size_t)count * outputs; i++)
            out[(size_t)at * outputs + i] = (float)s[i];
    }
    free(x);
    free(s);
}

void linear_probabilities(float *out, int64_t n, int outputs, LinearLoss loss) {
    for (int64_t i = 0; i < n; i++) {
        float *s = out + i * outputs;
        double top = s[score_best(s, outputs)], sum = 0;
        for (int k = 0; k < outputs && loss == LINEAR_SOFTMAX; k++)
            sum += exp(s[k] - top);
        for (int k = 0; k < outputs; k++)
            if (loss == LINEAR_SOFTMAX)
                s[k] = (float)(exp(s[k] - top) / sum);
            else if (loss == LINEAR_SIGMOID)
                s[k] = (float)(1 / (1 + exp(-(double)s[k])));
    }
}

/* ---- choosing λ ---- */

/* Outputs for the rows of fold f by models of the others, for every λ: out[λ][n][K]. False: there
 * are no others. */
static bool predict_fold(float *out, const float *rows, int width, const Targets *t,
                         const int *fold, int f, LinearLoss loss, int threads) {
    size_t n = (size_t)t->count, outputs = (size_t)t->outputs, w = (size_t)width;
    int64_t *kept = memory_new(n + 1, sizeof *kept), *held = memory_new(n + 1, sizeof *held);
    int64_t kept_count = 0, held_count = 0;
    for (size_t i = 0; i < n; i++)
        *(fold[i] == f ? &held[held_count++] : &kept[kept_count++]) = (int64_t)i;
    if (kept_count && held_count) {
        Targets others;
        Problem problem;
        float *train = memory_new((size_t)kept_count * w, sizeof *train);
        float *test = memory_new((size_t)held_count * w, sizeof *test);
        float *said = memory_new((size_t)held_count * outputs, sizeof *said);
        for (size_t i = 0; i < (size_t)kept_count; i++)
            memcpy(train + i * w, rows + (size_t)kept[i] * w, w * sizeof *train);
        for (size_t i = 0; i < (size_t)held_count; i++)
            memcpy(test + i * w, rows + (size_t)held[i] * w, w * sizeof *test);
        targets_take(&others, t, kept, kept_count);
        problem_make(&problem, train, width, &others, loss, threads);
        for (size_t l = 0; l < LINEAR_LAMBDAS; l++) {
            LinearModel model;
            solve(&problem, &model, linear_lambdas[l]);
            linear_outputs(said, &model, test, held_count);
            for (size_t i = 0; i < (size_t)held_count; i++)
                memcpy(out + (l * n + (size_t)held[i]) * outputs, said + i * outputs,
                       outputs * sizeof *out);
            linear_free(&model);
        }
        problem_free(&problem);
        targets_free(&others);
        free(train);
        free(test);
        free(said);
    }
    free(kept);
    free(held);
    return kept_count > 0;
}

double linear_choose(double *scores, const float *rows, int width, const Targets *t,
                     const int *fold, int folds, LinearLoss loss, int threads) {
    size_t size = (size_t)t->count * (size_t)t->outputs;
    float *out = memory_new(LINEAR_LAMBDAS * size + 1, sizeof *out);
    double best = LINEAR_LAMBDA, best_score = -INFINITY;
    bool whole = t->count > 0;
    for (int f = 0; f < folds && whole; f++)
        whole = predict_fold(out, rows, width, t, fold, f, loss, threads);
    for (size_t l = 0; l < LINEAR_LAMBDAS; l++) {
        double now = whole ? score(t, out + l * size, NULL) : NAN;
        if (scores)
            scores[l] = now;
        if (now > best_score) { /* never true of NaN */
            best_score = now;
            best = linear_lambdas[l];
        }
    }
    free(out);
    return best;
}
