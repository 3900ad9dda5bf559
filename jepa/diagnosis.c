/* Names of what diagnostics measure. See jepa/diagnosis.h. */
#include "jepa/diagnosis.h"
#include "base/error.h"

static const char *const names[DIAGNOSIS_VALUES] = {
    [DIAGNOSIS_CONTEXT_STD] = "context_std",
    [DIAGNOSIS_CONTEXT_STD_LEAST] = "context_std_least",
    [DIAGNOSIS_CONTEXT_RANKME] = "context_rankme",
    [DIAGNOSIS_CONTEXT_ALPHA] = "context_alpha",
    [DIAGNOSIS_CONTEXT_SIGREG] = "context_sigreg",
    [DIAGNOSIS_TARGET_STD] = "target_std",
    [DIAGNOSIS_TARGET_STD_LEAST] = "target_std_least",
    [DIAGNOSIS_TARGET_RANKME] = "target_rankme",
    [DIAGNOSIS_TARGET_ALPHA] = "target_alpha",
    [DIAGNOSIS_TARGET_SIGREG] = "target_sigreg",
    [DIAGNOSIS_PREDICTOR_STD] = "predictor_std",
    [DIAGNOSIS_PREDICTOR_STD_LEAST] = "predictor_std_least",
    [DIAGNOSIS_PREDICTOR_RANKME] = "predictor_rankme",
    [DIAGNOSIS_LIDAR] = "lidar",
    [DIAGNOSIS_SKILL] = "skill",
    [DIAGNOSIS_ERROR] = "error",
    [DIAGNOSIS_ERROR_MEAN] = "error_mean",
    [DIAGNOSIS_ERROR_NEAREST] = "error_nearest",
    [DIAGNOSIS_DRIFT_WEIGHTS] = "drift_weights",
    [DIAGNOSIS_DRIFT_COSINE] = "drift_cosine",
    [DIAGNOSIS_KNN] = "knn",
    [DIAGNOSIS_MAJORITY] = "majority",
    [DIAGNOSIS_CLIPS] = "clips",
    [DIAGNOSIS_ROWS] = "rows",
};

const char *diagnosis_name(DiagnosisValue value) {
    JEPA_ASSERT(value < DIAGNOSIS_VALUES);
    return names[value];
}
