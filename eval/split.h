/* Which videos train a probe and which test it.
 *
 * Clips cut from one source video look alike, so files of one group stay on one side. The group of
 * a file is what --group-regex matches in its name (its first parenthesis, if it has one). By
 * default files are ordered by the leading letters and then the number blocks of their names
 * (numbers by value), each its own group: neighbours in number are neighbours in the order, and the
 * cut falls once. Of each class, the groups that come last, a quarter of its files, are the test
 * set. Where classes are not what is asked for (numbers, labels), all files count as of one. */
#ifndef JEPA_EVAL_SPLIT_H
#define JEPA_EVAL_SPLIT_H

#include "base/error.h"
#include "video/index.h"

typedef struct Split {
    size_t count; /* files of the index */
    bool *test;   /* [count] */
    int *fold;    /* [count] fold of a training file, for choosing settings; groups stay together */
    char **group; /* [count] */
    bool by_class;                  /* only files with a class take part */
    size_t train_count, test_count; /* usable, labelled files */
} Split;

/* regex NULL: the default. Errors: an invalid regex, no classes although by_class, a class with a
 * single group. */
int split_make(Split *split, const VideoIndex *index, const char *regex, int folds, bool by_class,
               Error *error);
/* All usable files of the index train (the test set is another index). Errors: an invalid regex. */
int split_all_train(Split *split, const VideoIndex *index, const char *regex, int folds,
                    bool by_class, Error *error);
void split_free(Split *split);

/* name, class, group, set and fold (of training files) of every file, whole or not at all */
int split_save(const Split *split, const VideoIndex *index, const char *path, Error *error);

/* Order of names by letters and the values of number blocks: "clip2" before "clip10". */
int natural_order(const char *a, const char *b);

#endif
