/* jepa probe: how much the frozen features know, beside what an untrained encoder, the raw pixels
 * and the majority class know. */
#include "experiments/probe.h"
#include "experiments/commands.h"
#include "experiments/probe_saved.h"
#include <stdlib.h>

/* kNN, linear probes and low-shot on pooled rows; the linear one on the encoder's is saved. */
static int probe_pooled(ProbeStudy *s, ProbeSource source, Error *error) {
    const ProbeArguments *a = s->a;
    ProbeRows rows;
    int result = 0;
    if (probe_rows(&rows, s, source, error))
        return -1;
    if (a->knn)
        probe_knn(s, &rows, source);
    /* pixels give attentive probes no tokens to look at: their floor is the linear probe's */
    if (a->linear || (source == SOURCE_PIXELS && !a->knn)) {
        LinearModel kept;
        probe_linear(&kept, s, &rows, source);
        if (source == SOURCE_ENCODER)
            result = probe_saved_linear(s, &kept, error);
        linear_free(&kept);
    }
    if (!result)
        probe_low_shot(s, &rows, source);
    probe_rows_free(&rows);
    return result;
}

static int probe_source(ProbeStudy *s, ProbeSource source, Error *error) {
    const ProbeArguments *a = s->a;
    int result = probe_study_load(s, source, error);
    if (!result && (a->knn || a->linear || source == SOURCE_PIXELS))
        result = probe_pooled(s, source, error);
    if (!result && a->attentive && source != SOURCE_PIXELS)
        result = probe_attentive(s, source, error);
    return result;
}

static int probe(const ProbeArguments *a, Error *error) {
    ProbeStudy s;
    int result = probe_study_open(&s, a, error);
    for (int source = 0; source < SOURCES && !result; source++)
        result = probe_source(&s, (ProbeSource)source, error);
    if (!result) {
        probe_trivial(&s);
        probe_print(&s);
        result = probe_write(&s, error);
    }
    probe_study_close(&s);
    return result;
}

int command_probe(int argc, char **argv) {
    ProbeArguments a;
    Error error = {0};
    int parsed = probe_options(&a, argc, argv, &error);
    if (parsed == 0) {
        if (a.apply)
            probe_apply(&a, &error);
        else
            probe(&a, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa probe: %s\n", error.text);
    free(a.encoder.sets.items);
    return error.code;
}
