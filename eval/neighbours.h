/* The accuracy of the nearest neighbours among few labelled features, each held out in turn: what a
 * run can afford to look at while it trains. Rows are centred by their mean, which mean-pooled
 * features have mostly in common; then, by the usual rule (Wu et al., arXiv 1805.01978),
 *     class of row i = argmax_c Σ_{j among the k most similar, label c} exp(cos(x_i, x_j) / T)
 * with k = 10 (or all there are) and T = 0.07. Rows of one group, clips of one video, are no
 * neighbours: they would find each other, whatever the features know. Ties: the smaller class. */
#ifndef JEPA_EVAL_NEIGHBOURS_H
#define JEPA_EVAL_NEIGHBOURS_H

#include <stdint.h>

#define NEIGHBOURS             10
#define NEIGHBOURS_TEMPERATURE 0.07

/* Share of rows[n][width] whose class is found; labels[n] in 0..classes-1, groups[n] any numbers. A
 * row without neighbours is not found. */
double neighbours_accuracy(const float *rows, const int *labels, const uint32_t *groups, int n,
                           int width, int classes);
/* Share of the most frequent class: what says nothing of the rows has this. */
double majority_share(const int *labels, int n, int classes);

#endif
