/* The clips of a run: drawn, read ahead, handed to the steps. See jepa/trainer_parts.h and
 * jepa/training.h. */
#include "jepa/trainer_parts.h"
#include <inttypes.h>

void stream_draw(const Stream *s, ClipDraw *draw, int64_t step, uint64_t slot, int attempt) {
    Sampler own = s->sampler; /* its lists stay the stream's */
    own.settings.seed = rewinds_seed(s->rewinds, own.settings.seed, step);
    sampler_draw(&own, draw, (uint64_t)step, (uint64_t)s->groups * (uint64_t)s->samples,
                 (uint64_t)s->samples, slot, attempt);
}

/* The loader asks from its own threads: a pure function of the job number. Jobs of this rank: its
 * slots of a step, then those of the next. */
static int draw_job(void *context, uint64_t job, int attempt, ClipDraw *draw) {
    const Stream *s = context;
    uint64_t own = (uint64_t)s->parts * (uint64_t)s->micro,
             first = (uint64_t)s->first_part * (uint64_t)s->micro;
    stream_draw(s, draw, (int64_t)(job / own), first + job % own, attempt);
    return 1;
}

static LoaderConfig loader_config(const Training *t, Stream *s) {
    uint64_t own = (uint64_t)s->parts * (uint64_t)s->micro;
    LoaderConfig loader = stream_loader(t, s);
    loader.source = (LoaderSource){s, draw_job};
    loader.first_job = (uint64_t)t->step * own;
    loader.jobs = (uint64_t)t->total * own;
    return loader;
}

const LoaderBatch *stream_next(Training *t, Stream *s, int part, StepReport *report, Error *error) {
    const LoaderBatch *batch = loader_next(s->loader, error);
    int slot = part * s->micro;
    if (!batch) {
        t->starved = true;
        error_prefix(error, "step %" PRId64, t->step);
        return NULL;
    }
    JEPA_ASSERT(batch->count == s->micro);
    ClipDraw *draws = stream_draws(s, t->step);
    for (int b = 0; b < s->micro; b++) {
        const LoaderSlot *own = &batch->slots[b];
        if (own->failed) {
            t->starved = true;
            error_set(error, ERROR_RUN,
                      "step %" PRId64 ": no clip could be decoded for slot %d of the %s in many "
                      "attempts; the first failure: %s",
                      t->step, slot + b, s->name, own->reason ? own->reason : "unknown");
            return NULL;
        }
        s->mirror[b] = own->draw.flip;
        report->replaced += own->draw.attempt > 0;
        draws[slot + b] = own->draw;
    }
    note_replaced(t, s, batch, slot);
    report->wait_ms += batch->wait * 1e3;
    report->decode_rate += batch->decode; /* seconds; the rate at the end of the step */
    report->ring += (double)batch->ready_ahead / t->units;
    return batch;
}

int trainer_open_loaders(Training *t, Error *error) {
    for (int i = 0; i < t->streams; i++) {
        LoaderConfig loader = loader_config(t, &t->stream[i]);
        if (t->stream[i].parts && loader_open(&t->stream[i].loader, &loader, error))
            return -1;
    }
    return 0;
}

void trainer_close_loaders(Training *t) {
    for (int i = 0; i < t->streams; i++) {
        if (t->stream[i].loader)
            loader_close(t->stream[i].loader);
        t->stream[i].loader = NULL;
    }
}
