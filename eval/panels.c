/* The panels. See eval/panels.h. */
#include "eval/panels.h"
#include <string.h>

#define PANEL(source, group, title, unit, scale, flags, ...)                                       \
    {                                                                                              \
        PANEL_##source, group, title, unit, CHART_##scale, flags, {                                \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ENCODERS(measure)                                                                          \
    {"context_" measure, "context"}, {"target_" measure, "target"}, {                              \
        "predictor_" measure, "predictor"                                                          \
    }
enum { ZERO = PANEL_ZERO, SMOOTH = PANEL_SMOOTH, PAGE = PANEL_PAGE };

static const Panel panels[] = {
    PANEL(LOG, "loss", "Loss", "distance to the EMA target's features", AUTO, SMOOTH | PAGE,
          {"loss", "loss"}),
    PANEL(LOG, "loss", "Parts of the loss", NULL, AUTO, SMOOTH, {"loss-jepa", "prediction"},
          {"loss_context", "context tokens"}, {"reg-loss", "regulariser before its weight"},
          {"invariance", "invariance"}, {"sigreg", "SIGReg"}),
    PANEL(LOG, "schedule", "Learning rate", NULL, LINEAR, ZERO | PAGE, {"lr", "learning rate"}),
    PANEL(LOG, "schedule", "Weight decay", NULL, LINEAR, PAGE, {"wd", "weight decay"}),
    PANEL(LOG, "schedule", "EMA momentum", "of the target encoder", LINEAR, PAGE,
          {"momentum", "momentum"}),
    PANEL(LOG, "gradient", "Gradient norm", "before the optimiser step", AUTO, SMOOTH | PAGE,
          {"enc-grad-norm", "encoder"}, {"pred-grad-norm", "predictor"}),
    PANEL(LOG, "collapse", "Feature spread", "standard deviation over a batch; 0 is collapse",
          LINEAR, ZERO | PAGE, ENCODERS("std")),
    PANEL(LOG, "collapse", "RankMe", "effective number of feature dimensions", LINEAR, ZERO | PAGE,
          ENCODERS("rankme")),
    PANEL(LOG, "collapse", "Prediction quality",
          "1 is perfect, skill 0 is no better than a baseline", LINEAR, ZERO | PAGE,
          {"cosine", "cosine similarity"}, {"skill", "skill"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Feature spread",
          "standard deviation over tokens; 0 is collapse", LINEAR, ZERO | PAGE, ENCODERS("std")),
    PANEL(DIAGNOSTICS, "diagnostics", "Least spread", "of any dimension", AUTO, ZERO,
          ENCODERS("std_least")),
    PANEL(DIAGNOSTICS, "diagnostics", "RankMe", "effective number of feature dimensions", LINEAR,
          ZERO | PAGE, ENCODERS("rankme")),
    PANEL(DIAGNOSTICS, "diagnostics", "LiDAR",
          "directions in which clips differ, whatever the mask", LINEAR, ZERO | PAGE,
          {"lidar", "context"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Alpha", "decay of the spectrum; near 1 is said to be best",
          LINEAR, PAGE, {"context_alpha", "context"}, {"target_alpha", "target"}),
    PANEL(DIAGNOSTICS, "diagnostics", "SIGReg statistic", "distance from a Gaussian", AUTO, PAGE,
          {"context_sigreg", "context"}, {"target_sigreg", "target"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Predictor skill",
          "over the best trivial predictor; 1 is perfect", LINEAR, ZERO | PAGE, {"skill", "skill"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Prediction error", "mean absolute, of hidden tokens", LINEAR,
          ZERO | PAGE, {"error", "predictor"}, {"error_mean", "mean token"},
          {"error_nearest", "nearest token"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Target drift", "from the context encoder", LINEAR,
          ZERO | PAGE, {"drift_weights", "weights, relative"},
          {"drift_cosine", "features, cosine"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Nearest neighbours", "accuracy, each video held out in turn",
          LINEAR, ZERO | PAGE, {"knn", "features"}, {"majority", "majority class"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Rewinds", "branch of the run", LINEAR, ZERO | PAGE,
          {"branch", "branch"}),
    PANEL(LOG, "speed", "Speed", "clips per second", LINEAR, ZERO | SMOOTH | PAGE,
          {"clips_per_second", "clips per second"}),
    PANEL(LOG, "speed", "Time of a step", "milliseconds", LINEAR, ZERO | SMOOTH,
          {"wall-time(ms)", "whole step"}, {"gpu-time(ms)", "arithmetic"}),
    PANEL(LOG, "speed", "Waiting for clips", "milliseconds of a step", LINEAR, ZERO | SMOOTH,
          {"wait(ms)", "waiting"}),
    PANEL(LOG, "speed", "Decoding", "clips per second of one worker", LINEAR, ZERO | SMOOTH,
          {"decode(clips/s)", "decoding"}),
    PANEL(LOG, "speed", "Clips ahead", "micro-batches that wait in the ring", LINEAR, ZERO | SMOOTH,
          {"ring", "ring"}),
    PANEL(LOG, "tokens", "Tokens of a step", NULL, LINEAR, ZERO | SMOOTH,
          {"context_tokens", "context"}, {"target_tokens", "target"}),
    PANEL(LOG, "tokens", "Drawn again", "clips that could not be used, masks that were too large",
          LINEAR, ZERO, {"replaced", "clips"}, {"mask_redraws", "masks"}),
};

const Panel *panels_all(size_t *count) {
    *count = sizeof panels / sizeof *panels;
    return panels;
}

const char *panels_group(PanelSource source, const char *column) {
    for (size_t p = 0; p < sizeof panels / sizeof *panels; p++)
        for (int i = 0; i < PANEL_COLUMNS && panels[p].columns[i].column; i++)
            if (panels[p].source == source && !strcmp(panels[p].columns[i].column, column))
                return panels[p].group;
    return "other";
}

bool panels_is_key(const char *column) {
    static const char *const keys[] = {"step", "epoch", "itr", "branch", "clips", "rows"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i], column))
            return true;
    return false;
}
