/* What diagnostics say of a model: plain numbers with names, so that the trainer can log them,
 * judge them (jepa/sentry.h) and choose by them without knowing how they are found
 * (eval/diagnostics.h, where each is defined). NaN: not measured, or it means nothing for this
 * objective. */
#ifndef JEPA_JEPA_DIAGNOSIS_H
#define JEPA_JEPA_DIAGNOSIS_H

typedef enum DiagnosisValue {
    DIAGNOSIS_CONTEXT_STD,
    DIAGNOSIS_CONTEXT_STD_LEAST,
    DIAGNOSIS_CONTEXT_RANKME,
    DIAGNOSIS_CONTEXT_ALPHA,
    DIAGNOSIS_CONTEXT_SIGREG,
    DIAGNOSIS_TARGET_STD,
    DIAGNOSIS_TARGET_STD_LEAST,
    DIAGNOSIS_TARGET_RANKME,
    DIAGNOSIS_TARGET_ALPHA,
    DIAGNOSIS_TARGET_SIGREG,
    DIAGNOSIS_PREDICTOR_STD,
    DIAGNOSIS_PREDICTOR_STD_LEAST,
    DIAGNOSIS_PREDICTOR_RANKME,
    DIAGNOSIS_LIDAR,
    DIAGNOSIS_SKILL,
    DIAGNOSIS_ERROR,
    DIAGNOSIS_ERROR_MEAN,
    DIAGNOSIS_ERROR_NEAREST,
    DIAGNOSIS_DRIFT_WEIGHTS,
    DIAGNOSIS_DRIFT_COSINE,
    DIAGNOSIS_KNN,
    DIAGNOSIS_MAJORITY,
    DIAGNOSIS_CLIPS,
    DIAGNOSIS_ROWS,
    DIAGNOSIS_VALUES
} DiagnosisValue;

typedef struct Diagnosis {
    double value[DIAGNOSIS_VALUES];
} Diagnosis;

/* Name of a value, as in diagnostics.csv: "context_rankme". */
const char *diagnosis_name(DiagnosisValue value);

#endif
