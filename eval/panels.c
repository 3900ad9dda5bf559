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
    PANEL(DIAGNOSTICS, "diagnostics", "Feature spread", "on fixed videos; 0 is collapse", LINEAR,
          ZERO, ENCODERS("std")),
    PANEL(DIAGNOSTICS, "diagnostics", "Least spread", "of any dimension", AUTO, ZERO,
          ENCODERS("std_least")),
    PANEL(DIAGNOSTICS, "diagnostics", "RankMe", "on fixed videos", LINEAR, ZERO,
          ENCODERS("rankme")),
    PANEL(DIAGNOSTICS, "diagnostics", "LiDAR", "effective rank of what tells videos apart", LINEAR,
          ZERO, {"lidar", "LiDAR"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Decay of the spectrum", "α of its power law", LINEAR, ZERO,
          ENCODERS("alpha")),
    PANEL(DIAGNOSTICS, "diagnostics", "SIGReg", "distance from a Gaussian", AUTO, ZERO,
          ENCODERS("sigreg")),
    PANEL(DIAGNOSTICS, "diagnostics", "Prediction error", "beside the trivial predictors", LINEAR,
          ZERO, {"error", "this model"}, {"error_mean", "mean answer"},
          {"error_nearest", "nearest token"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Skill", "0 is no better than a baseline", LINEAR, ZERO,
          {"skill", "skill"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Drift", "since the diagnosis before", LINEAR, ZERO,
          {"drift_weights", "weights"}, {"drift_cosine", "features, cosine"}),
    PANEL(DIAGNOSTICS, "diagnostics", "Nearest neighbours", "share whose class is right", LINEAR,
          ZERO, {"knn", "kNN"}, {"majority", "majority class"}),
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
