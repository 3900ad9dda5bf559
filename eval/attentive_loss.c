/* Losses of attentive probes, of a row of K outputs o:
 *
 *   classes   -log softmax(o)[y]                                 gradient  softmax(o) - onehot(y)
 *   labels    mean_k log(1 + e^o) - y o,  y in [0, 1]            (sigmoid(o) - y) / K
 *   values    mean_k (e²/2 if |e| <= δ, else δ |e| - δ²/2)       clamp(e, ±δ) / K,  e = o - y
 *
 * in double; a batch's loss is the mean over its rows. As torch's cross_entropy,
 * binary_cross_entropy_with_logits and huber_loss. */
#include "eval/attentive_parts.h"
#include <math.h>

static double classes_row(float *gradient, const float *o, int64_t k, int label, double share) {
    double most = o[0], sum = 0;
    for (int64_t i = 1; i < k; i++)
        most = o[i] > most ? o[i] : most;
    for (int64_t i = 0; i < k; i++)
        sum += exp(o[i] - most);
    for (int64_t i = 0; i < k && gradient; i++)
        gradient[i] = (float)(share * (exp(o[i] - most) / sum - (i == label)));
    return log(sum) + most - o[label];
}

static double labels_row(float *gradient, const float *o, int64_t k, const float *y, double share) {
    double loss = 0;
    for (int64_t i = 0; i < k; i++) {
        double e = exp(-fabs((double)o[i])); /* log(1 + e^o) = max(o, 0) + log(1 + e^-|o|) */
        double sigmoid = o[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
        loss += fmax(o[i], 0) + log1p(e) - (double)y[i] * o[i];
        if (isnan(o[i])) /* fmax leaves it out */
            loss = NAN;
        if (gradient)
            gradient[i] = (float)(share / (double)k * (sigmoid - y[i]));
    }
    return loss / (double)k;
}

static double values_row(float *gradient, const float *o, int64_t k, const float *y, double delta,
                         double share) {
    double loss = 0;
    for (int64_t i = 0; i < k; i++) {
        double e = (double)o[i] - y[i], size = fabs(e);
        loss += size <= delta ? e * e / 2 : delta * (size - delta / 2);
        if (gradient)
            gradient[i] = (float)(share / (double)k * (size <= delta ? e : copysign(delta, e)));
    }
    return loss / (double)k;
}

double attentive_loss(float *dlogits, const float *logits, int64_t k, const ProbePass *pass) {
    double loss = 0;
    for (int64_t i = 0; i < pass->n; i++) {
        const float *o = logits + i * k;
        float *gradient = dlogits ? dlogits + i * k : NULL;
        int64_t item = pass->items[i];
        if (pass->loss == ATTENTIVE_CLASSES)
            loss += classes_row(gradient, o, k, pass->labels->classes[item], pass->share);
        else if (pass->loss == ATTENTIVE_LABELS)
            loss += labels_row(gradient, o, k, pass->labels->values + item * k, pass->share);
        else
            loss += values_row(gradient, o, k, pass->labels->values + item * k, pass->huber,
                               pass->share);
    }
    return loss;
}

int attentive_check_labels(const AttentiveLabels *labels, AttentiveLoss loss, int64_t count,
                           int64_t k, Error *error) {
    bool classes = loss == ATTENTIVE_CLASSES;
    if (classes ? !labels->classes : !labels->values)
        return error_set(error, ERROR_USAGE, "an attentive probe needs %s to be trained with",
                         classes ? "classes" : "values");
    for (int64_t i = 0; i < count && classes; i++)
        if (labels->classes[i] < 0 || labels->classes[i] >= k)
            return error_set(error, ERROR_USAGE, "sequence %lld has class %d: expected 0 to %lld",
                             (long long)i, labels->classes[i], (long long)k - 1);
    for (int64_t i = 0; i < count * k && !classes; i++) {
        float y = labels->values[i];
        if (!isfinite(y) || (loss == ATTENTIVE_LABELS && (y < 0 || y > 1)))
            return error_set(error, ERROR_USAGE, "sequence %lld has the label %g: expected %s",
                             (long long)(i / k), (double)y,
                             loss == ATTENTIVE_LABELS ? "0 to 1" : "a number");
    }
    return 0;
}
