/* Which columns of a run's logs are drawn, and how: for curves.png, the report and TensorBoard. */
#ifndef JEPA_EVAL_PANELS_H
#define JEPA_EVAL_PANELS_H

#include "eval/chart.h"

#define PANEL_COLUMNS 5

/* Where columns come from. Both have a column "step". */
typedef enum PanelSource {
    PANEL_LOG,         /* log.csv, a row a step */
    PANEL_DIAGNOSTICS, /* diagnostics.csv, a row for each time the model was diagnosed */
    PANEL_SOURCES
} PanelSource;

enum {
    PANEL_ZERO = 1,   /* a linear axis reaches 0 */
    PANEL_SMOOTH = 2, /* noisy from step to step: a running mean is drawn over it */
    PANEL_PAGE = 4    /* the source's page of charts has it (curves.png) */
};

typedef struct Panel {
    PanelSource source;
    const char *group; /* heading; also the first part of TensorBoard's tags */
    const char *title, *unit;
    ChartScale scale;
    int flags; /* those above */
    struct {
        const char *column, *name; /* of the log; in the legend */
    } columns[PANEL_COLUMNS];      /* up to the first without a name */
} Panel;

/* All panels in the order they are drawn, groups together. */
const Panel *panels_all(size_t *count);

/* The group of a column of this source; "other" for one that no panel has. */
const char *panels_group(PanelSource source, const char *column);
/* Is it a column that counts or names rows ("epoch", "branch") and is never drawn? */
bool panels_is_key(const char *column);

#endif
