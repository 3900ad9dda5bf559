/* jepa bank: target latents of many patches with their pixels, kept on disk (eval/bank.h), so that
 * jepa visualize can show a predicted token by the real patch that is nearest to it. */
#include "eval/bank.h"
#include "base/file.h"
#include "experiments/commands.h"
#include "experiments/patches.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_bank(const Bank *b, const char *out) {
    int64_t videos = bank_distinct(NULL, b);
    double bytes = (double)b->rows * (b->width * 2.0 + b->outputs + 12);
    printf("checkpoint       %s\n", b->about.source);
    printf("videos           %" PRId64, videos);
    if (videos < b->videos)
        printf(" of %" PRId64 ", at most", b->videos);
    else
        printf(",");
    printf(" %d clip%s each\n", b->about.segments, b->about.segments > 1 ? "s" : "");
    printf("patches          %" PRId64 " of %d frame%s x %d x %d pixels, latents of %d numbers\n",
           b->rows, b->tubelet, b->tubelet > 1 ? "s" : "", b->patch, b->patch, b->width);
    printf("bank             %s, %.1f MB\n", out, bytes / 1e6);
}

/* Is the bank at --out the one that is wanted? ERROR_USAGE: no. */
static int check_same(const Bank *there, const PatchArguments *a, const BankAbout *now,
                      Error *error) {
    const BankAbout *b = &there->about;
    const char *what = !hash_same(&b->checkpoint, &now->checkpoint) ? "another checkpoint"
                       : !hash_same(&b->recipe, &now->recipe)       ? "another recipe"
                       : !hash_same(&b->files, &now->files)         ? "other videos"
                       : b->tokens != now->tokens || b->seed != now->seed ||
                               b->segments != now->segments
                           ? "other --tokens, --segments or --seed"
                           : NULL;
    if (what)
        return error_set(error, ERROR_USAGE,
                         "%s holds a bank of %s (%s): remove it or choose another --out", a->out,
                         what, b->source);
    print_bank(there, a->out);
    printf("time             everything is there already: nothing to do\n");
    return 0;
}

static int build(const PatchArguments *a, Error *error) {
    PatchScene s = {0};
    Bank bank = {0};
    bool there = folder_exists(a->out) || file_exists(a->out);
    int result = there ? bank_open(&bank, a->out, error) : folder_check(a->out, error);
    if (!result)
        result = patch_scene_open(&s, a, error);
    if (!result && there) {
        BankAbout now;
        patch_scene_about(&now, &s, a);
        result = check_same(&bank, a, &now, error);
        free(now.source);
    } else if (!result) {
        patch_scene_about(&bank.about, &s, a);
        result = patch_scene_gather(&bank, &s, a, error);
        if (!result)
            result = bank_write(&bank, a->out, error);
        if (!result)
            print_bank(&bank, a->out);
    }
    bank_close(&bank);
    patch_scene_close(&s);
    return result;
}

int command_bank(int argc, char **argv) {
    const CommandHelp help = {
        "jepa bank --checkpoint RUN|FILE --data FOLDER|LIST.csv --out BANK",
        "Keeps the target latents of many patches beside their pixels: of each clip a random "
        "sample "
        "of its tokens, the same for the same --seed. jepa visualize --parts expected --bank BANK "
        "shows each predicted token by the real patch whose latent is nearest. A bank of another "
        "checkpoint, recipe or other videos is refused."};
    PatchArguments a = PATCH_ARGUMENTS;
    const Option options[] = {
        PATCH_OPTIONS(a),
        {"out", "BANK", "folder of the bank", OPTION_TEXT, &a.out},
    };
    Error error = {0};
    TextList rest = {0};
    int parsed = options_parse(argc, argv, &help, options, sizeof options / sizeof *options, &rest,
                               &error);
    if (parsed == 0 && !patch_check_arguments(&a, &rest, &error))
        build(&a, &error);
    if (error.code)
        fprintf(stderr, "jepa bank: %s\n", error.text);
    free(a.sets.items);
    free(rest.items);
    return error.code;
}
