/* Attentive probes: against the published code's values, against a plain implementation in double
 * and its finite differences, many at once against one at a time, on a problem that pooling by the
 * mean cannot solve. */
#include "base/file.h"
#include "base/random.h"
#include "eval/attentive_parts.h"
#include "eval/linear_model.h"
#include "experiments/check_reference.h"
#include "tests/eval/attentive_plain.h"
#include "tests/jepa/reference_weights.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { D = 12, HEADS = 3, HIDDEN = 20, TOKENS = 7, OUTPUTS = 4, COUNT = 5 };

static Device *open_device(int threads) {
    Device *device;
    Error error = {0};
    if (device_open(&device, "cpu", threads, &error))
        fail_msg("%s", error.text);
    return device;
}

static AttentiveConfig config_of(int depth) {
    return (AttentiveConfig){depth, D, HEADS, HIDDEN, OUTPUTS, PROBE_LAYERNORM_EPS};
}

static Attentive *new_probe(const AttentiveConfig *config, int probes, Device *device) {
    Attentive *probe;
    Error error = {0};
    if (attentive_new(&probe, config, probes, 7, device, &error))
        fail_msg("%s", error.text);
    return probe;
}

/* Weights that are not as small as initial ones, so that every term counts. */
static void set_large(Attentive *probe, int number, uint64_t seed) {
    ProbeWeights w;
    Error error = {0};
    attentive_get(&w, probe, number);
    Random random = random_at(seed, RANDOM_TEST, 0, 0);
    for (size_t i = 0; i < w.count; i++)
        for (int64_t k = 0; k < w.tensors[i].count; k++)
            w.tensors[i].values[k] += (float)(0.3 * random_normal(&random));
    assert_int_equal(attentive_set(probe, number, &w, &error), 0);
    probe_weights_free(&w);
}

static void fill(float *x, size_t count, uint64_t seed) {
    Random random = random_at(seed, RANDOM_TEST, 1, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(0.5 + 2 * random_normal(&random));
}

/* ---- the published code ---- */

static void published_values(void **state) {
    (void)state;
    static const char *const names[] = {"tiny", "deep"};
    static const int rows[] = {17, 53};
    for (int threads = 1; threads <= 3; threads += 2)
        for (int i = 0; i < 2; i++) {
            char folder[200];
            CheckTable table = {0};
            Error error = {0};
            snprintf(folder, sizeof folder, "%s/attentive_probe_%s", REFERENCE, names[i]);
            if (!folder_exists(folder)) {
                print_message("%s is not beside this checkout: skipped\n", folder);
                skip();
            }
            Device *device = open_device(threads);
            if (check_probe(&table, folder, NULL, 0, device, &error))
                fail_msg("%s", error.text);
            assert_int_equal(table.failed, 0);
            assert_int_equal(table.rows, rows[i]);
            device_close(device);
        }
}

/* The same weights from a file as probes are published in, and from the folder of a probe. */
static void published_weights(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa-attentive-XXXXXX";
    const char *reference = REFERENCE "/attentive_probe_deep";
    TensorList own = {0};
    WeightsFile file;
    ProbeWeights weights;
    CheckTable table = {0};
    Error error = {0};
    if (tensors_take(&own, REFERENCE "/attentive_probe_deep/probe.safetensors", "weights.",
                     "classifiers.0.module."))
        skip();
    assert_non_null(mkdtemp(folder));
    char *path = path_join(folder, "x.safetensors"), *probe = path_join(folder, "probe");
    Device *device = open_device(1);
    assert_int_equal(tensors_write(&own, 0, own.count, folder, "x.safetensors"), 0);
    assert_int_equal(weights_file_open(&file, path, &error), 0);
    assert_int_equal(probe_weights_take(&weights, &file, 0, HEADS, false, &error), 0);
    assert_int_equal(probe_weights_save(probe, &weights, &error), 0);
    if (check_probe(&table, reference, path, 0, device, &error) ||
        check_probe(&table, reference, probe, 0, device, &error))
        fail_msg("%s", error.text);
    assert_int_equal(table.rows, 2 * 53);
    assert_int_equal(table.failed, 0);
    assert_int_equal(
        check_probe(&table, REFERENCE "/attentive_probe_tiny", probe, 0, device, &error), -1);
    assert_non_null(strstr(error.text, "4 blocks"));
    device_close(device);
    weights_file_close(&file);
    probe_weights_free(&weights);
    tensors_free(&own);
    assert_int_equal(folder_remove(probe, &error), 0);
    assert_int_equal(folder_remove(folder, &error), 0);
    free(path);
    free(probe);
}

static void published_settings(void **state) {
    (void)state;
    AttentiveTraining t;
    attentive_published(&t, 1);
    assert_int_equal(t.probes, 1);
    assert_true(t.final_weight_decay == 1e-6 && !t.decay_all && t.clip_grad == 1);
    attentive_published(&t, 2);
    assert_int_equal(t.probes, 20);
    assert_true(t.decay_all && t.clip_grad == 0 && t.final_weight_decay < 0);
    assert_true(t.lr[0] == 5e-3 && t.lr[19] == 1e-4);
    assert_true(t.weight_decay[0] == 0.01 && t.weight_decay[3] == 0.8 && t.weight_decay[4] == 0.01);
}

/* ---- a plain implementation in double ---- */

typedef struct Problem {
    AttentiveLoss loss;
    double huber;
    float tokens[COUNT * TOKENS * D];
    int classes[COUNT];
    float values[COUNT * OUTPUTS];
    AttentiveLabels labels;
} Problem;

static void make_problem(Problem *p, AttentiveLoss loss) {
    Random random = random_at(3, RANDOM_TEST, 2, 0);
    *p = (Problem){.loss = loss, .huber = 0.7};
    fill(p->tokens, sizeof p->tokens / sizeof *p->tokens, 5);
    for (int i = 0; i < COUNT; i++)
        p->classes[i] = (int)random_below(&random, OUTPUTS);
    for (int i = 0; i < COUNT * OUTPUTS; i++)
        p->values[i] = (float)(loss == ATTENTIVE_LABELS ? (double)random_below(&random, 2)
                                                        : random_normal(&random));
    p->labels = loss == ATTENTIVE_CLASSES ? (AttentiveLabels){.classes = p->classes}
                                          : (AttentiveLabels){.values = p->values};
}

/* Some entries of every tensor: central differences of the loss in double. What is left is the
 * float32 rounding of the gradients, 3e-7 of the largest entry; the limit is 2e-5. */
static void compare_gradients(Plain *plain, const ProbeWeights *gradients, const Problem *p) {
    const double h = 1e-5;
    for (size_t i = 0; i < gradients->count; i++) {
        const ProbeTensor *t = &gradients->tensors[i];
        double largest = 0, error = 0;
        for (int64_t k = 0; k<t->count; k += t->count> 64 ? 11 : 1) {
            double kept = plain->values[i][k], loss[2];
            for (int side = 0; side < 2; side++) {
                plain->values[i][k] = kept + (side ? h : -h);
                loss[side] = plain_loss(plain, p->loss, p->huber, p->tokens, &p->labels, COUNT,
                                        TOKENS);
            }
            plain->values[i][k] = kept;
            double slope = (loss[1] - loss[0]) / (2 * h);
            largest = fmax(largest, fabs(slope));
            error = fmax(error, fabs(slope - t->values[k]));
        }
        if (!(error <= 2e-5 * largest + 1e-9))
            fail_msg("%s: gradient off by %g of %g", t->name, error, largest);
    }
}

static void gradients_of(int depth, AttentiveLoss loss) {
    Problem *p = memory_new(1, sizeof *p);
    make_problem(p, loss);
    Device *device = open_device(2);
    AttentiveConfig config = config_of(depth);
    Attentive *probe = new_probe(&config, 2, device); /* the second one is looked at */
    double losses[2];
    float outputs[2 * COUNT * OUTPUTS];
    ProbeWeights weights, gradients;
    Error error = {0};
    set_large(probe, 0, 1);
    set_large(probe, 1, 2);
    assert_int_equal(attentive_forward(outputs, probe, p->tokens, COUNT, TOKENS, &error), 0);
    assert_int_equal(attentive_backward(losses, probe, loss, p->huber, p->tokens, &p->labels, COUNT,
                                        TOKENS, &error),
                     0);
    attentive_get(&weights, probe, 1);
    attentive_get_gradients(&gradients, probe, 1);
    Plain plain = plain_new(&weights);
    double largest = 0, off = 0;
    for (int s = 0; s < COUNT; s++) { /* the query's side is the plain form, to rounding */
        double logits[OUTPUTS];
        plain_forward(logits, &plain, p->tokens + s * TOKENS * D, TOKENS);
        for (int k = 0; k < OUTPUTS; k++) {
            largest = fmax(largest, fabs(logits[k]));
            off = fmax(off, fabs(logits[k] - outputs[(COUNT + s) * OUTPUTS + k]));
        }
    }
    assert_true(largest > 0.1 && off <= 2e-6 * largest);
    double plain_value = plain_loss(&plain, loss, p->huber, p->tokens, &p->labels, COUNT, TOKENS);
    assert_true(fabs(losses[1] - plain_value) <= 2e-6 * fabs(plain_value));
    compare_gradients(&plain, &gradients, p);
    plain_free(&plain);
    probe_weights_free(&weights);
    probe_weights_free(&gradients);
    attentive_free(probe);
    device_close(device);
    free(p);
}

static void gradients_depth_1(void **state) {
    (void)state;
    gradients_of(1, ATTENTIVE_CLASSES);
    gradients_of(1, ATTENTIVE_LABELS);
    gradients_of(1, ATTENTIVE_VALUES);
}

static void gradients_deeper(void **state) {
    (void)state;
    gradients_of(2, ATTENTIVE_CLASSES);
    gradients_of(2, ATTENTIVE_VALUES);
    gradients_of(3, ATTENTIVE_LABELS);
}

/* ---- training ---- */

/* One token of each sequence is marked (dimension 0) and carries the class; all the others carry
 * other classes, so that their mean says nothing of it. */
enum { TOY_CLASSES = 4, TOY_TOKENS = 24, TOY_TRAIN = 256, TOY_TEST = 200, TOY_D = 16 };

typedef struct Toy {
    float *tokens; /* [count][TOY_TOKENS][TOY_D] */
    int *classes;
    int64_t count;
    int begun, fails;
} Toy;

static Toy toy_new(int64_t count, uint64_t seed) {
    Toy toy = {.count = count};
    Random random = random_at(seed, RANDOM_TEST, 4, 0);
    toy.tokens = memory_new((size_t)count * TOY_TOKENS * TOY_D, sizeof(float));
    toy.classes = memory_new((size_t)count, sizeof(int));
    for (int64_t s = 0; s < count; s++) {
        uint64_t marked = random_below(&random, TOY_TOKENS);
        toy.classes[s] = (int)random_below(&random, TOY_CLASSES);
        for (uint64_t t = 0; t < TOY_TOKENS; t++) {
            float *x = toy.tokens + ((uint64_t)s * TOY_TOKENS + t) * TOY_D;
            int class = t == marked ? toy.classes[s] : (int)random_below(&random, TOY_CLASSES);
            for (int d = 0; d < TOY_D; d++)
                x[d] = (float)(0.3 * random_normal(&random));
            x[0] += t == marked ? 2 : 0;
            x[1 + class] += 2;
        }
    }
    return toy;
}

static void toy_free(Toy *toy) {
    free(toy->tokens);
    free(toy->classes);
}

static int toy_read(float *out, const int64_t *items, int64_t n, void *context, Error *error) {
    Toy *toy = context;
    size_t each = (size_t)TOY_TOKENS * TOY_D;
    if (toy->fails && !--toy->fails)
        return error_set(error, ERROR_RUN, "toy: a damaged shard");
    for (int64_t i = 0; i < n; i++) {
        assert_true(items[i] >= 0 && items[i] < toy->count);
        memcpy(out + (size_t)i * each, toy->tokens + (size_t)items[i] * each, each * sizeof *out);
    }
    return 0;
}

static int toy_begin(int epoch, const int64_t *order, void *context, Error *error) {
    Toy *toy = context;
    (void)error;
    assert_non_null(order);
    assert_int_equal(epoch, toy->begun++);
    return 0;
}

static TokenSource toy_source(Toy *toy) {
    return (TokenSource){.context = toy,
                         .count = toy->count,
                         .tokens = TOY_TOKENS,
                         .width = TOY_D,
                         .read = toy_read,
                         .begin = toy_begin};
}

static AttentiveConfig toy_config(int depth) {
    return (AttentiveConfig){depth, TOY_D, 4, 4 * TOY_D, TOY_CLASSES, PROBE_LAYERNORM_EPS};
}

static AttentiveTraining toy_training(int probes, double epochs) {
    AttentiveTraining t;
    attentive_published(&t, 2);
    t.probes = probes;
    t.epochs = epochs;
    t.batch = 24; /* the last one of 256 sequences has 16 */
    for (int p = 0; p < probes; p++) {
        t.lr[p] = 5e-3 / (1 + p);
        t.weight_decay[p] = 0.01 * (1 + p);
    }
    return t;
}

static void train_toy(Attentive *probe, double *losses, const AttentiveTraining *t, Toy *toy) {
    TokenSource source = toy_source(toy);
    AttentiveLabels labels = {.classes = toy->classes};
    Error error = {0};
    toy->begun = 0;
    if (attentive_train(probe, losses, t, &source, &labels, &error))
        fail_msg("%s", error.text);
    assert_int_equal(toy->begun, (int)ceil(t->epochs));
}

static double accuracy(Attentive *probe, int number, Toy *toy) {
    float *out = memory_new((size_t)(probe->probes * toy->count) * TOY_CLASSES, sizeof *out);
    TokenSource source = toy_source(toy);
    Error error = {0};
    int64_t correct = 0;
    assert_int_equal(attentive_apply(out, probe, &source, &error), 0);
    for (int64_t i = 0; i < toy->count; i++) {
        const float *o = out + (number * toy->count + i) * TOY_CLASSES;
        int best = 0;
        for (int k = 1; k < TOY_CLASSES; k++)
            best = o[k] > o[best] ? k : best;
        correct += best == toy->classes[i];
    }
    free(out);
    return (double)correct / (double)toy->count;
}

/* The linear probe on the mean token. */
static double mean_accuracy(const Toy *train, const Toy *test) {
    const Toy *sets[] = {train, test};
    float *means[2];
    LinearModel model;
    for (int i = 0; i < 2; i++) {
        means[i] = memory_new((size_t)sets[i]->count * TOY_D, sizeof(float));
        for (int64_t t = 0; t < sets[i]->count * TOY_TOKENS; t++)
            for (int d = 0; d < TOY_D; d++)
                means[i][t / TOY_TOKENS * TOY_D + d] += sets[i]->tokens[t * TOY_D + d] / TOY_TOKENS;
    }
    Targets fit = {.task = TASK_CLASSES,
                   .count = train->count,
                   .outputs = TOY_CLASSES,
                   .classes = train->classes};
    Targets asked = {.task = TASK_CLASSES,
                     .count = test->count,
                     .outputs = TOY_CLASSES,
                     .classes = test->classes};
    float *out = memory_new((size_t)test->count * TOY_CLASSES, sizeof *out);
    linear_fit(&model, means[0], TOY_D, &fit, LINEAR_SOFTMAX, 0.01, 1);
    linear_outputs(out, &model, means[1], test->count);
    double accuracy_of_mean = score(&asked, out, NULL);
    linear_free(&model);
    free(out);
    free(means[0]);
    free(means[1]);
    return accuracy_of_mean;
}

static void solves_what_the_mean_cannot(void **state) {
    (void)state;
    Toy train = toy_new(TOY_TRAIN, 1), test = toy_new(TOY_TEST, 2);
    double mean = mean_accuracy(&train, &test);
    assert_true(mean < 0.5); /* one token of 24 against 23 that say anything */
    for (int depth = 1; depth <= 2; depth++) {
        Device *device = open_device(2);
        AttentiveConfig config = toy_config(depth);
        AttentiveTraining t = toy_training(depth == 1 ? 3 : 1, depth == 1 ? 30 : 15);
        Attentive *probe = new_probe(&config, t.probes, device);
        double losses[3];
        train_toy(probe, losses, &t, &train);
        double right = accuracy(probe, 0, &test);
        print_message("depth %d: %.3f, the mean token %.3f; loss %.4f\n", depth, right, mean,
                      losses[0]);
        assert_true(right > 0.95);
        attentive_free(probe);
        device_close(device);
    }
    toy_free(&train);
    toy_free(&test);
}

/* |a - b| / |b| of all weights of a probe, as vectors. */
static double weights_apart(const Attentive *a, int i, const Attentive *b, int k) {
    double apart = 0, size = 0;
    const float *x = probe_weights_at(a, i), *y = probe_weights_at(b, k);
    for (int64_t e = 0; e < a->total; e++) {
        apart += ((double)x[e] - y[e]) * ((double)x[e] - y[e]);
        size += (double)y[e] * y[e];
    }
    return sqrt(apart / size);
}

/* Products of more rows sum in the same order on most CPUs, then the bits are equal; where they are
 * not, rounding is, and two epochs make no more of it than 1e-4. A neighbour that diverges
 * changes nothing. */
static void many_are_as_one(void **state) {
    (void)state;
    enum { probes = 4 };
    for (int depth = 1; depth <= 2; depth++) {
        Toy toy = toy_new(TOY_TRAIN, 1);
        Device *device = open_device(2);
        AttentiveConfig config = toy_config(depth);
        AttentiveTraining t = toy_training(probes, 2);
        t.lr[0] = 900; /* nobody's neighbour of choice */
        Attentive *many = new_probe(&config, probes, device);
        double losses[probes], loss, most = 0;
        train_toy(many, losses, &t, &toy);
        assert_true(!(losses[0] < 1)); /* NaN too */
        for (int p = 1; p < probes; p++) {
            AttentiveTraining alone = toy_training(1, 2);
            alone.lr[0] = t.lr[p];
            alone.weight_decay[0] = t.weight_decay[p];
            Attentive *one = new_probe(&config, 1, device);
            train_toy(one, &loss, &alone, &toy);
            assert_true(fabs(loss - losses[p]) <= 1e-4 * loss);
            most = fmax(most, weights_apart(many, p, one, 0));
            attentive_free(one);
        }
        print_message("depth %d: many and one apart by %g\n", depth, most);
        assert_true(most <= 1e-4);
        attentive_free(many);
        device_close(device);
        toy_free(&toy);
    }
}

/* The same weights after training, for any number of threads, and again. */
static void threads_change_nothing(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 2};
    for (int depth = 1; depth <= 2; depth++) {
        Toy toy = toy_new(70, 1);
        AttentiveConfig config = toy_config(depth);
        AttentiveTraining t = toy_training(3, 1.5);
        float *first = NULL;
        double first_losses[3];
        for (int i = 0; i < 4; i++) {
            Device *device = open_device(threads[i]);
            Attentive *probe = new_probe(&config, 3, device);
            size_t bytes = (size_t)(3 * probe->total) * sizeof *first;
            double losses[3];
            probe->chunk_bytes = depth == 1 ? 1 << 16 : 1 << 18; /* several chunks to a batch */
            train_toy(probe, losses, &t, &toy);
            assert_true(probe->work.sequences < t.batch);
            if (!first) {
                first = memory_new(bytes, 1);
                memcpy(first, probe->weights, bytes);
                memcpy(first_losses, losses, sizeof losses);
            }
            assert_memory_equal(probe->weights, first, bytes);
            assert_memory_equal(losses, first_losses, sizeof losses);
            attentive_free(probe);
            device_close(device);
        }
        free(first);
        toy_free(&toy);
    }
}

/* Chunks are a matter of memory: gradients and outputs are those of one chunk, to rounding. */
static void chunks_are_as_one(void **state) {
    (void)state;
    enum { n = 40 };
    Toy toy = toy_new(n, 1);
    AttentiveLabels labels = {.classes = toy.classes};
    Error error = {0};
    for (int depth = 1; depth <= 2; depth++) {
        Device *device = open_device(2);
        AttentiveConfig config = toy_config(depth);
        Attentive *probe[2];
        float out[2][2 * n * TOY_CLASSES];
        double losses[2][2], apart = 0, size = 0;
        for (int i = 0; i < 2; i++) {
            probe[i] = new_probe(&config, 2, device);
            set_large(probe[i], 1, 9);
            probe[i]->chunk_bytes = !i ? 1 << 28 : depth == 1 ? 1 << 16 : 1 << 18;
            assert_int_equal(attentive_forward(out[i], probe[i], toy.tokens, n, TOY_TOKENS, &error),
                             0);
            assert_int_equal(attentive_backward(losses[i], probe[i], ATTENTIVE_CLASSES, 1,
                                                toy.tokens, &labels, n, TOY_TOKENS, &error),
                             0);
        }
        assert_int_equal(probe[0]->work.sequences, n);
        assert_true(probe[1]->work.sequences < n);
        for (int i = 0; i < 2 * n * TOY_CLASSES; i++)
            assert_true(fabsf(out[0][i] - out[1][i]) <= 2e-6f * (1 + fabsf(out[0][i])));
        for (int64_t i = 0; i < 2 * probe[0]->total; i++) {
            double x = probe[0]->gradients[i], y = probe[1]->gradients[i];
            apart += (x - y) * (x - y);
            size += x * x;
        }
        assert_true(size > 0 && sqrt(apart / size) <= 2e-6);
        assert_true(fabs(losses[0][1] - losses[1][1]) <= 1e-6 * losses[0][1]);
        attentive_free(probe[0]);
        attentive_free(probe[1]);
        device_close(device);
    }
    toy_free(&toy);
}

/* A step by hand: with two steps in all the cosine gives half the learning rate and then none, and
 * the decay its mean and then its end; Adam's first step is lr g / (|g| + eps), g clipped. */
static void a_step_by_hand(void **state) {
    (void)state;
    for (int family = 1; family <= 2; family++) {
        Toy toy = toy_new(20, 1);
        Device *device = open_device(1);
        AttentiveConfig config = toy_config(1);
        AttentiveTraining t;
        attentive_published(&t, family);
        t.probes = 1;
        t.epochs = 2;
        t.batch = 20;
        t.lr[0] = 0.01;
        t.weight_decay[0] = 0.5;
        t.clip_grad = family == 1 ? 1e-6 : 0; /* so small that Adam's eps sees it */
        Attentive *probe = new_probe(&config, 1, device), *before;
        AttentiveLabels labels = {.classes = toy.classes};
        double loss, square = 0, apart = 0;
        Error error = {0};
        before = new_probe(&config, 1, device);
        assert_int_equal(attentive_backward(&loss, before, ATTENTIVE_CLASSES, 1, toy.tokens,
                                            &labels, 20, TOY_TOKENS, &error),
                         0);
        train_toy(probe, &loss, &t, &toy);
        for (int64_t i = 0; i < probe->total; i++)
            square += (double)before->gradients[i] * before->gradients[i];
        double clip = t.clip_grad > 0 ? fmin(1, t.clip_grad / (sqrt(square) + 1e-6)) : 1;
        double decay = family == 1 ? 1e-6 + (0.5 - 1e-6) / 2 : 0.5, rate = 0.01 / 2;
        for (int64_t i = 0; i < probe->total; i++) {
            double g = before->gradients[i] * clip, w = before->weights[i];
            bool decays = family == 2 || i < probe->decayed;
            w = w * (decays ? 1 - rate * decay : 1) - rate * g / (fabs(g) + 1e-8);
            apart = fmax(apart, fabs(w - probe->weights[i]));
        }
        assert_true(apart <= 2e-4 * rate); /* the order of the batch rounds the gradient */
        attentive_free(before);
        attentive_free(probe);
        device_close(device);
        toy_free(&toy);
    }
}

/* ---- weights in and out ---- */

static void round_trip(void **state) {
    (void)state;
    char folder[] = "/tmp/jepa-attentive-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = path_join(folder, "probe");
    Device *device = open_device(2), elsewhere = *device;
    elsewhere.on_host = false; /* as a GPU's: probes open a CPU device of their own */
    AttentiveConfig config = config_of(3);
    Attentive *probe = new_probe(&config, 2, device), *other;
    float tokens[COUNT * TOKENS * D], out[2 * COUNT * OUTPUTS], back[COUNT * OUTPUTS];
    ProbeWeights weights, loaded;
    Error error = {0};
    set_large(probe, 1, 4);
    fill(tokens, sizeof tokens / sizeof *tokens, 6);
    assert_int_equal(attentive_forward(out, probe, tokens, COUNT, TOKENS, &error), 0);
    attentive_get(&weights, probe, 1);
    if (probe_weights_save(path, &weights, &error) || probe_weights_load(&loaded, path, &error))
        fail_msg("%s", error.text);
    AttentiveConfig found = attentive_config(&loaded);
    assert_int_equal(found.depth, config.depth);
    assert_int_equal(found.heads, config.heads);
    assert_int_equal(found.hidden, config.hidden);
    assert_int_equal(found.outputs, config.outputs);
    other = new_probe(&found, 1, &elsewhere);
    assert_int_equal(attentive_set(other, 0, &loaded, &error), 0);
    assert_int_equal(attentive_forward(back, other, tokens, COUNT, TOKENS, &error), 0);
    assert_memory_equal(back, out + COUNT * OUTPUTS, sizeof back);
    attentive_free(other);
    config.outputs++;
    other = new_probe(&config, 1, device);
    assert_int_equal(attentive_set(other, 0, &loaded, &error), -1);
    assert_non_null(strstr(error.text, "outputs"));
    attentive_free(other);
    attentive_free(probe);
    probe_weights_free(&weights);
    probe_weights_free(&loaded);
    device_close(device);
    assert_int_equal(folder_remove(path, &error), 0);
    assert_int_equal(folder_remove(folder, &error), 0);
    free(path);
}

static void fresh_weights(void **state) {
    (void)state;
    AttentiveConfig config = {4, 64, 16, 256, 5, PROBE_LAYERNORM_EPS};
    Device *device = open_device(1);
    Attentive *probe = new_probe(&config, 3, device);
    ProbeWeights w;
    assert_memory_equal(probe_weights_at(probe, 2), probe->weights,
                        (size_t)probe->total * sizeof(float));
    attentive_get(&w, probe, 1);
    static const struct {
        const char *name;
        double std;
    } expected[] = {{"pooler.query_tokens", 0.02},
                    {"pooler.cross_attention_block.xattn.kv.weight", 0.02},
                    {"pooler.cross_attention_block.mlp.fc1.weight", 0.02},
                    {"pooler.cross_attention_block.mlp.fc2.weight", 0.02 / 2.449489742783178},
                    {"pooler.blocks.0.attn.proj.weight", 0.02 / 1.4142135623730951},
                    {"pooler.blocks.1.mlp.fc2.weight", 0.02 / 2},
                    {"pooler.blocks.2.mlp.fc2.weight", 0.02 / 2.449489742783178},
                    {"linear.weight", 0.125 / 1.7320508075688772},
                    {"pooler.blocks.1.attn.qkv.bias", 0}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const ProbeTensor *t = probe_weights_find(&w, expected[i].name);
        double square = 0;
        for (int64_t k = 0; k < t->count; k++)
            square += (double)t->values[k] * t->values[k];
        double std = sqrt(square / (double)t->count), noise = 5 / sqrt(2.0 * (double)t->count);
        assert_true(fabs(std - expected[i].std) <= noise * expected[i].std);
    }
    assert_true(probe_weights_find(&w, "pooler.blocks.2.norm2.weight")->values[63] == 1);
    probe_weights_free(&w);
    attentive_free(probe);
    device_close(device);
}

/* ---- what is refused ---- */

static void expect_refused(Attentive *probe, const AttentiveTraining *t, Toy *toy,
                           const TokenSource *source, const AttentiveLabels *labels,
                           const char *message) {
    double losses[4];
    Error error = {0};
    toy->begun = 0;
    assert_int_equal(attentive_train(probe, losses, t, source, labels, &error), -1);
    if (!strstr(error.text, message))
        fail_msg("\"%s\" is not in: %s", message, error.text);
}

static void refusals(void **state) {
    (void)state;
    Toy toy = toy_new(30, 1);
    Device *device = open_device(1);
    AttentiveConfig config = toy_config(1), wrong = config;
    AttentiveTraining t = toy_training(2, 2), other = t;
    Attentive *probe = new_probe(&config, 2, device), *none = NULL;
    TokenSource source = toy_source(&toy), narrow = source;
    AttentiveLabels labels = {.classes = toy.classes};
    float values[30 * TOY_CLASSES] = {0};
    AttentiveLabels numbers = {.values = values};
    Error error = {0};
    other.probes = 1;
    expect_refused(probe, &other, &toy, &source, &labels, "settings of 1 probes for 2");
    narrow.width = 8;
    expect_refused(probe, &t, &toy, &narrow, &labels, "tokens of width 8");
    expect_refused(probe, &t, &toy, &source, &numbers, "needs classes");
    other = t;
    other.loss = ATTENTIVE_LABELS;
    values[5] = 1.5f;
    expect_refused(probe, &other, &toy, &source, &numbers, "sequence 1 has the label 1.5");
    other.loss = ATTENTIVE_VALUES;
    values[5] = NAN;
    expect_refused(probe, &other, &toy, &source, &numbers, "expected a number");
    other = t;
    other.batch = 0;
    expect_refused(probe, &other, &toy, &source, &labels, "batch 0");
    toy.fails = 2; /* the second batch */
    expect_refused(probe, &t, &toy, &source, &labels, "a damaged shard");
    toy.classes[7] = TOY_CLASSES;
    expect_refused(probe, &t, &toy, &source, &labels, "sequence 7 has class 4: expected 0 to 3");
    wrong.heads = 5;
    assert_int_equal(attentive_new(&none, &wrong, 1, 0, device, &error), -1);
    assert_int_equal(attentive_new(&none, &config, ATTENTIVE_PROBES_MAX + 1, 0, device, &error),
                     -1);
    attentive_free(probe);
    device_close(device);
    toy_free(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),   cmocka_unit_test(published_weights),
        cmocka_unit_test(published_settings), cmocka_unit_test(gradients_depth_1),
        cmocka_unit_test(gradients_deeper),   cmocka_unit_test(solves_what_the_mean_cannot),
        cmocka_unit_test(many_are_as_one),    cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(chunks_are_as_one),  cmocka_unit_test(a_step_by_hand),
        cmocka_unit_test(round_trip),         cmocka_unit_test(fresh_weights),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
