/* The picture of a confusion matrix: which classes are taken for which. */
#ifndef JEPA_EVAL_CONFUSION_H
#define JEPA_EVAL_CONFUSION_H

#include "base/error.h"
#include "eval/canvas.h"
#include <stdint.h>

#define CONFUSION_CLASSES_MAX 4096

/* counts [classes][classes]: rows are true classes, columns predicted ones, entries how many clips.
 * names [classes], or NULL for numbers; long ones are cut with "…". A cell's colour is its share of
 * its row; where it is large enough it also says the percentage and the count. Rows without clips
 * are grey. `title` and `subtitle` may be NULL; without a subtitle accuracy is computed and said.
 * The caller frees *canvas. Errors: classes outside 1..CONFUSION_CLASSES_MAX, a negative count. */
int confusion_draw(Canvas **canvas, const int64_t *counts, const char *const *names, int classes,
                   const char *title, const char *subtitle, Error *error);

/* Share of clips on the diagonal, and the mean over non-empty rows of their share on it; NaN where
 * there are no clips. counts [classes][classes]. */
double confusion_accuracy(const int64_t *counts, int classes);
double confusion_mean_recall(const int64_t *counts, int classes);

#endif
