/* Splitting videos. See eval/split.h. */
#include "eval/split.h"
#include "base/file.h"
#include "base/words.h"
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define TEST_SHARE 0.25

int natural_order(const char *a, const char *b) {
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            a += strspn(a, "0"), b += strspn(b, "0");
            size_t la = strspn(a, "0123456789"), lb = strspn(b, "0123456789");
            if (la != lb)
                return la < lb ? -1 : 1;
            int order = strncmp(a, b, la);
            if (order)
                return order;
            a += la, b += lb;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++, b++;
        }
    }
    return *a ? 1 : *b ? -1 : 0;
}

typedef struct Item {
    size_t file;
    int label;
    const char *group;
} Item;

static int by_group(const void *a, const void *b) {
    const Item *x = a, *y = b;
    int order = natural_order(x->group, y->group);
    order = order ? order : strcmp(x->group, y->group);
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

static int name_groups(Split *split, const VideoIndex *index, const char *expression,
                       Error *error) {
    regex_t regex;
    regmatch_t match[2];
    if (expression && regcomp(&regex, expression, REG_EXTENDED)) {
        return error_set(error, ERROR_USAGE, "--group-regex %s: not an extended regular expression",
                         expression);
    }
    for (size_t i = 0; i < index->count; i++) {
        const char *name = video_index_name(index, (uint32_t)i);
        if (!expression || regexec(&regex, name, 2, match, 0)) {
            split->group[i] = memory_text("%s", name);
            continue;
        }
        regmatch_t found = regex.re_nsub > 0 && match[1].rm_so >= 0 ? match[1] : match[0];
        split->group[i] = memory_text("%.*s", (int)(found.rm_eo - found.rm_so), name + found.rm_so);
    }
    if (expression)
        regfree(&regex);
    return 0;
}

static Split new_split(const VideoIndex *index, bool by_class) {
    Split split = {.count = index->count, .by_class = by_class};
    split.test = memory_new(index->count, sizeof *split.test);
    split.fold = memory_new(index->count, sizeof *split.fold);
    split.group = memory_new(index->count, sizeof *split.group);
    return split;
}

/* Does the file take part, and as which class? -1: it does not. */
static int class_of(const Split *split, const VideoIndex *index, size_t file) {
    if (video_index_reason(index, (uint32_t)file))
        return -1;
    return split->by_class ? video_index_label(index, (uint32_t)file) : 0;
}

/* Files that take part in the order of their groups. */
static size_t list_items(Item *items, const Split *split, const VideoIndex *index) {
    size_t count = 0;
    for (size_t i = 0; i < index->count; i++)
        if (class_of(split, index, i) >= 0)
            items[count++] = (Item){i, class_of(split, index, i), split->group[i]};
    if (count)
        qsort(items, count, sizeof *items, by_group);
    return count;
}

/* Training files of each class, in order, into `folds` consecutive parts; a group keeps the fold of
 * its first file. */
static void make_folds(Split *split, const Item *items, size_t count, int classes, int folds) {
    int64_t *total = memory_new((size_t)classes, sizeof *total);
    int64_t *seen = memory_new((size_t)classes, sizeof *seen);
    for (size_t i = 0; i < count; i++)
        total[items[i].label] += !split->test[items[i].file];
    for (size_t i = 0; i < count; i++) {
        const Item *item = &items[i];
        if (split->test[item->file])
            continue;
        if (i && !strcmp(item->group, items[i - 1].group))
            split->fold[item->file] = split->fold[items[i - 1].file];
        else
            split->fold[item->file] = (int)(seen[item->label] * folds / total[item->label]);
        seen[item->label]++;
    }
    free(total);
    free(seen);
}

int split_make(Split *split, const VideoIndex *index, const char *regex, int folds, bool by_class,
               Error *error) {
    *split = new_split(index, by_class);
    if (by_class && index->classes < 2) {
        split_free(split);
        return error_set(
            error, ERROR_USAGE,
            "%s: a probe needs two classes or more: one folder for each class, or labels "
            "in the list",
            index->sources[0]);
    }
    if (name_groups(split, index, regex, error)) {
        split_free(split);
        return -1;
    }
    Item *items = memory_new(index->count, sizeof *items);
    size_t count = list_items(items, split, index), classes = by_class ? (size_t)index->classes : 1;
    int64_t *total = memory_new(classes, sizeof *total), *test = memory_new(classes, sizeof *test);
    for (size_t i = 0; i < count; i++)
        total[items[i].label]++;
    /* From the last group on: a group goes to the test set while a class of its lacks test files.
     */
    for (size_t end = count; end > 0;) {
        size_t first = end - 1;
        bool wanted = false;
        while (first > 0 && !strcmp(items[first - 1].group, items[end - 1].group))
            first--;
        for (size_t i = first; i < end; i++)
            wanted |= (double)test[items[i].label] + 0.5 <
                      TEST_SHARE * (double)total[items[i].label];
        for (size_t i = first; i < end && wanted; i++) {
            split->test[items[i].file] = true;
            test[items[i].label]++;
        }
        end = first;
    }
    int result = 0;
    for (size_t k = 0; k < classes && !result; k++)
        if (test[k] < 1 || test[k] == total[k])
            result = error_set(error, ERROR_USAGE,
                               "%s%s%s %lld usable videos, too few or of one group, to train "
                               "and to test on: add videos, give --val, or another --group-regex",
                               by_class ? "class \"" : "there are",
                               by_class ? index->class_names[k] : "", by_class ? "\" has" : "",
                               (long long)total[k]);
    if (!result) {
        make_folds(split, items, count, (int)classes, folds);
        for (size_t i = 0; i < count; i++)
            *(split->test[items[i].file] ? &split->test_count : &split->train_count) += 1;
    }
    free(items);
    free(total);
    free(test);
    if (result)
        split_free(split);
    return result;
}

int split_all_train(Split *split, const VideoIndex *index, const char *regex, int folds,
                    bool by_class, Error *error) {
    *split = new_split(index, by_class);
    if (name_groups(split, index, regex, error)) {
        split_free(split);
        return -1;
    }
    Item *items = memory_new(index->count, sizeof *items);
    split->train_count = list_items(items, split, index);
    make_folds(split, items, split->train_count, by_class ? index->classes : 1, folds);
    free(items);
    return 0;
}

void split_free(Split *split) {
    for (size_t i = 0; i < split->count && split->group; i++)
        free(split->group[i]);
    free(split->group);
    free(split->test);
    free(split->fold);
    memset(split, 0, sizeof *split);
}

int split_save(const Split *split, const VideoIndex *index, const char *path, Error *error) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    JEPA_ASSERT(out);
    fprintf(out, "file,class,group,set,fold\n");
    for (size_t i = 0; i < index->count; i++) {
        int label = video_index_label(index, (uint32_t)i);
        char *name = csv_quote(video_index_name(index, (uint32_t)i));
        char *class = csv_quote(label >= 0 ? index->class_names[label] : "");
        char *group = csv_quote(split->group[i]);
        bool unusable = video_index_reason(index, (uint32_t)i);
        const char *set = unusable                       ? "unusable"
                          : label < 0 && split->by_class ? "unlabelled"
                          : split->test[i]               ? "test"
                                                         : "train";
        fprintf(out, "%s,%s,%s,%s,", name, class, group, set);
        if (!strcmp(set, "train"))
            fprintf(out, "%d", split->fold[i]);
        fprintf(out, "\n");
        free(name);
        free(class);
        free(group);
    }
    fclose(out);
    int result = file_write(path, text, size, error);
    free(text);
    return result;
}
