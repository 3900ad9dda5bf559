/* jepa: one program, a subcommand for each job. */
#include "experiments/commands.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} Command;

static const Command commands[] = {
    {"pretrain", "train a V-JEPA on a folder of videos", command_pretrain},
    {"plan", "what a run of a recipe would be and take", command_plan},
    {"features", "what a frozen encoder says of every clip, kept in a store", command_features},
    {"probe", "how much the frozen features know: probes with their floors", command_probe},
    {"study", "probes and diagnostics in the course of a training, side by side", command_study},
    {"visualize", "pictures of what the model predicts for a video", command_visualize},
    {"surprise", "where a video is not what the model expects; possible against impossible",
     command_surprise},
    {"bank", "target latents of many patches with their pixels, to show predictions by",
     command_bank},
    {"decoder", "a shallow network that draws latents, trained on frozen ones", command_decoder},
    {"report", "one HTML file with all there is to see of a run, or of several", command_report},
    {"index", "read every video of a folder once and keep what was found", command_index},
    {"inspect", "what is in a folder of videos, what a recipe can draw; or in a checkpoint",
     command_inspect},
    {"import", "published weights, of PyTorch or Hugging Face, as a checkpoint", command_import},
    {"export", "a checkpoint for other programs: safetensors, or Hugging Face", command_export},
    {"frames", "exactly these frames of a video, as PNG or raw planes", command_frames},
    {"transcode", "videos made small and quick to read for training", command_transcode},
    {"synth", "make a labelled set of synthetic videos", command_synth},
    {"check-reference", "hold the network against values of the published code",
     command_check_reference},
    {"doctor", "what this build and machine can do", command_doctor},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out) {
    fprintf(out, "jepa %s: self-supervised video world models\n\n", JEPA_VERSION);
    fprintf(out, "  jepa COMMAND [options]       jepa COMMAND --help\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n  jepa help | --help           this text\n  jepa --version\n");
}

/* Threads that wait for work must sleep, as the decoders need the cores; and the BLAS must start no
 * threads of its own, as it is called from ours. Both libraries read their settings before main
 * begins, so the program sets them and starts itself again, once. A user's own settings stay. */
static void settle_threads(char **argv) {
    if (getenv("OMP_WAIT_POLICY") && getenv("OPENBLAS_NUM_THREADS"))
        return;
    if (!setenv("OMP_WAIT_POLICY", "passive", 0) && !setenv("OPENBLAS_NUM_THREADS", "1", 0))
        execv("/proc/self/exe",
              argv); /* returns only on failure; then the defaults serve as well */
}

int main(int argc, char **argv) {
    settle_threads(argv);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        print_help(stdout);
        return 0;
    }
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        printf("jepa %s\n", JEPA_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "jepa: there is no command \"%s\"; see jepa help\n", name);
    return 2;
}
