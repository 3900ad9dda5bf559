/* jepa decoder train: a shallow network from frozen target latents to pixels
 * (eval/patch_decoder.h), with its error on videos it has not seen beside those of what looks at no
 * latent. */
#include "base/file.h"
#include "base/log.h"
#include "experiments/commands.h"
#include "experiments/decoder_saved.h"
#include "experiments/patches.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_OUT_PART 8 /* one video of so many, at least one */
#define STEPS_MOST    10000000
#define BATCH_MOST    65536

typedef struct DecoderArguments {
    PatchArguments patches;
    int64_t steps, batch, hidden;
    double lr, weight_decay;
} DecoderArguments;

/* Rows of videos to train on and of those to test on. */
typedef struct Split {
    int64_t *train, *test, trains, tests, train_videos, test_videos;
    Hash *hashes; /* [train_videos] ascending */
} Split;

static void split_free(Split *s) {
    free(s->train);
    free(s->test);
    free(s->hashes);
}

/* Videos with the same bytes are one. */
static int split_videos(Split *s, const Bank *bank, uint64_t seed, Error *error) {
    size_t videos = (size_t)bank->videos, rows = (size_t)bank->rows;
    int64_t *first = memory_new(videos, sizeof *first);
    bool *held = memory_new(videos, sizeof *held);
    size_t *own = memory_new(videos, sizeof *own), count = 0;
    *s = (Split){0};
    bank_distinct(first, bank);
    for (size_t v = 0; v < videos; v++)
        if (first[v] == (int64_t)v)
            own[count++] = v;
    size_t tests = (count + HELD_OUT_PART - 1) / HELD_OUT_PART;
    for (size_t i = 0; i < tests && count > 1; i++)
        held[own[random_permute(seed, RANDOM_SPLIT, 0, i, count)]] = true;
    s->hashes = memory_new(count, sizeof *s->hashes);
    for (size_t i = 0; i < count; i++)
        if (!held[own[i]])
            s->hashes[s->train_videos++] = bank->hashes[own[i]];
    qsort(s->hashes, (size_t)s->train_videos, sizeof *s->hashes, hash_order);
    s->train = memory_new(rows, sizeof *s->train);
    s->test = memory_new(rows, sizeof *s->test);
    for (size_t i = 0; i < rows; i++)
        if (held[first[bank->places[3 * i]]])
            s->test[s->tests++] = (int64_t)i;
        else
            s->train[s->trains++] = (int64_t)i;
    s->test_videos = (int64_t)tests;
    free(first);
    free(held);
    free(own);
    if (!s->tests || !s->trains)
        return error_set(error, ERROR_USAGE,
                         "patches of only %zu video%s: the decoder needs two or more, one of them "
                         "to be tested on",
                         count, count == 1 ? "" : "s");
    return 0;
}

static void print_result(const PatchDecoder *d, const DecoderAbout *a, const Split *s,
                         double seconds, const char *out) {
    const PatchErrors *e = &a->errors;
    printf("checkpoint       %s\n", a->bank.source);
    printf("patches          %" PRId64 " of %" PRId64 " videos to train on, %" PRId64 " of %" PRId64
           " others held out\n",
           a->rows, s->train_videos, a->held_out, s->test_videos);
    if (d->hidden)
        printf("decoder          %d -> %d -> %d", d->width, d->hidden, d->outputs);
    else
        printf("decoder          linear, %d -> %d", d->width, d->outputs);
    printf(" (%d frame%s x %d x %d pixels), %" PRId64 " steps in %.0f s\n", a->tubelet,
           a->tubelet > 1 ? "s" : "", a->patch, a->patch, a->steps, seconds);
    printf(
        "held-out error   mean square of pixels as 0..1; explained: 1 - error / that of the mean "
        "colour\n");
    const struct {
        const char *name;
        double error;
    } rows[] = {
        {"mean colour", e->colour}, {"mean of the place", e->place}, {"decoder", e->decoder}};
    for (int i = 0; i < 3; i++)
        printf("  %-17s %.5f   explained %6.3f\n", rows[i].name, rows[i].error,
               1 - rows[i].error / e->colour);
    printf("written          %s\n", out);
}

static int learn(const DecoderArguments *a, const PatchScene *s, const Bank *bank, Error *error) {
    PatchDecoder d = {0};
    DecoderAbout about = {.bank = bank->about,
                          .grid = bank->grid,
                          .tubelet = bank->tubelet,
                          .patch = bank->patch,
                          .steps = a->steps};
    PatchTraining training = {a->steps, (int)a->batch, a->lr, a->weight_decay,
                              (uint64_t)a->patches.seed};
    int hidden = a->hidden < 0 ? 4 * bank->width : (int)a->hidden;
    Split split;
    Device *cpu = NULL;
    double started = time_now(), seconds = 0;
    int result = split_videos(&split, bank, training.seed, error);
    if (!result)
        result = device_open(&cpu, "cpu", s->scene.device->threads, error);
    if (!result) {
        patch_decoder_new(&d, bank->width, hidden, bank->outputs, training.seed);
        result = patch_decoder_train(&d, NULL, &training, bank, split.train, split.trains, cpu,
                                     error);
        seconds = time_now() - started;
    }
    if (!result)
        result = patch_decoder_errors(&about.errors, &d, bank, split.train, split.trains,
                                      split.test, split.tests, cpu, error);
    about.rows = split.trains;
    about.held_out = split.tests;
    about.held_out_videos = split.test_videos;
    about.videos = split.hashes;
    about.video_count = split.train_videos;
    if (!result)
        result = decoder_save(&d, &about, a->patches.out, error);
    if (!result)
        print_result(&d, &about, &split, seconds, a->patches.out);
    device_close(cpu);
    patch_decoder_free(&d);
    split_free(&split);
    return result;
}

static int train(const DecoderArguments *a, Error *error) {
    const PatchArguments *p = &a->patches;
    PatchScene s;
    Bank bank = {0};
    if (folder_check(p->out, error))
        return -1;
    int result = patch_scene_open(&s, p, error);
    if (!result) {
        patch_scene_about(&bank.about, &s, p);
        result = patch_scene_gather(&bank, &s, p, error);
    }
    if (!result)
        result = learn(a, &s, &bank, error);
    bank_close(&bank);
    patch_scene_close(&s);
    return result;
}

static int check(const DecoderArguments *a, Error *error) {
    if (a->steps < 1 || a->steps > STEPS_MOST || a->batch < 1 || a->batch > BATCH_MOST)
        return error_set(error, ERROR_USAGE, "--steps: expected 1 to %d; --batch: 1 to %d",
                         STEPS_MOST, BATCH_MOST);
    if (a->hidden < -1 || a->hidden > PATCH_DECODER_HIDDEN_MAX)
        return error_set(error, ERROR_USAGE, "--hidden %" PRId64 ": expected 0 (linear) to %d",
                         a->hidden, PATCH_DECODER_HIDDEN_MAX);
    if (!(a->lr > 0 && a->lr <= 1) || !(a->weight_decay >= 0 && a->weight_decay <= 100))
        return error_set(error, ERROR_USAGE,
                         "--lr: expected a number above 0, at most 1; --weight-decay: 0 to 100");
    return 0;
}

int command_decoder(int argc, char **argv) {
    const CommandHelp help = {
        "jepa decoder train --checkpoint RUN|FILE --data FOLDER|LIST.csv --out DECODER",
        "Trains a shallow network on the CPU that draws the pixels of one patch from its frozen "
        "target latent, and prints its error on videos that were held out beside those of the mean "
        "colour and of the mean of each place. jepa visualize --parts expected --decoder DECODER "
        "draws predictions with it."};
    DecoderArguments a = {.patches = PATCH_ARGUMENTS,
                          .steps = 2000,
                          .batch = 256,
                          .hidden = -1,
                          .lr = 1e-3,
                          .weight_decay = 0.01};
    const Option options[] = {
        PATCH_OPTIONS(a.patches),
        {"out", "DECODER", "folder of the decoder", OPTION_TEXT, &a.patches.out},
        {"hidden", "N",
         "width of the hidden layer; 0: none, a linear map (default: 4 times that of "
         "a latent)",
         OPTION_INTEGER, &a.hidden},
        {"steps", "N", "updates (default 2000)", OPTION_INTEGER, &a.steps},
        {"batch", "N", "patches of an update (default 256)", OPTION_INTEGER, &a.batch},
        {"lr", "R", "peak of the learning rate (default 0.001)", OPTION_NUMBER, &a.lr},
        {"weight-decay", "W", "of AdamW (default 0.01)", OPTION_NUMBER, &a.weight_decay},
    };
    Error error = {0};
    TextList rest = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && (!rest.count || strcmp(rest.items[0], "train") != 0))
        error_set(&error, ERROR_USAGE, "expected jepa decoder train ...%s%s",
                  rest.count ? ", not " : "", rest.count ? rest.items[0] : "");
    if (parsed == 0 && !error.code) {
        TextList others = {rest.count - 1, rest.items + 1};
        if (!patch_check_arguments(&a.patches, &others, &error) && !check(&a, &error))
            train(&a, &error);
    }
    if (error.code)
        fprintf(stderr, "jepa decoder: %s\n", error.text);
    free(a.patches.sets.items);
    free(rest.items);
    return error.code;
}
