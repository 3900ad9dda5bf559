/* jepa visualize: what one token is like, and where it looks: similarity and attention, over space
 * and time, of the encoder that sees the whole clip. */
#include "base/file.h"
#include "eval/axis.h"
#include "eval/film_page.h"
#include "eval/latent_film.h"
#include "eval/png.h"
#include "eval/sheet.h"
#include "eval/token_paint.h"
#include "eval/token_query.h"
#include "experiments/visualize.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERIES_MOST 8
#define MAPS_MOST    24 /* rows for one query: the mean over the heads, then some heads */
#define COLUMNS_MOST 16 /* time steps in a picture */
#define FILM_PANELS  4  /* panels beside each other */
#define FILM_ROWS    4

typedef struct Place {
    int t, y, x;
} Place;

/* A number for each token of the clip: a row of tiles, or a panel. */
typedef struct Map {
    char *name, *explanation;
    float *values; /* [N] */
    Place query;
    int number;   /* of the query */
    double share; /* of the attention that tokens get; the rest is the class token's */
} Map;

typedef struct Query {
    const Show *show;
    const Footage *footage;
    MaskGrid grid;
    Place place[QUERIES_MOST];
    int count, block;
    ShownClip clip;
    TokenFeatures features;
    Map map[QUERIES_MOST * MAPS_MOST];
    int maps;
    bool attention; /* else similarity */
    double low, high;
} Query;

/* ---- what was asked for ---- */

static int parse_place(Place *place, const char *text, MaskGrid grid, Error *error) {
    int end = 0;
    if (sscanf(text, "%d,%d,%d%n", &place->t, &place->y, &place->x, &end) == 3 && !text[end] &&
        place->t >= 0 && place->y >= 0 && place->x >= 0 && place->t < grid.time &&
        place->y < grid.height && place->x < grid.width)
        return 0;
    return error_set(error, ERROR_USAGE,
                     "--query %s: expected time step, row and column of a token with commas, 0,0,0 "
                     "to %d,%d,%d",
                     text, grid.time - 1, grid.height - 1, grid.width - 1);
}

static int parse(Query *q, Error *error) {
    const Show *show = q->show;
    EncoderConfig encoder = config_teacher(&show->scene.config);
    if (*show->network == 'c')
        encoder = config_encoder(&show->scene.config);
    q->grid = config_grid(&show->scene.config);
    if (show->queries.count > QUERIES_MOST)
        return error_set(error, ERROR_USAGE, "--query: %zu of them, at most %d at a time",
                         show->queries.count, QUERIES_MOST);
    for (size_t i = 0; i < show->queries.count; i++)
        if (parse_place(&q->place[q->count++], show->queries.items[i], q->grid, error))
            return -1;
    if (!q->count)
        q->place[q->count++] = (Place){q->grid.time / 2, q->grid.height / 2, q->grid.width / 2};
    int64_t layer = show->layer == NOT_GIVEN ? encoder.depth - 1 : show->layer;
    if (layer < 0 || layer >= encoder.depth)
        return error_set(error, ERROR_USAGE, "--layer %" PRId64 ": the encoder has blocks 0 to %d",
                         layer, encoder.depth - 1);
    if (show->head != NOT_GIVEN && (show->head < 0 || show->head >= encoder.heads))
        return error_set(error, ERROR_USAGE, "--head %" PRId64 ": a block has heads 0 to %d",
                         show->head, encoder.heads - 1);
    q->block = (int)layer;
    return 0;
}

/* ---- the numbers ---- */

static Map *map_new(Query *q, int number) {
    Map *map = &q->map[q->maps++];
    *map = (Map){.values = memory_new((size_t)mask_grid_tokens(q->grid), sizeof *map->values),
                 .query = q->place[number],
                 .number = number,
                 .share = 1};
    return map;
}

static int64_t row_of(const Query *q, Place place) {
    return q->features.extra + ((int64_t)place.t * q->grid.height + place.y) * q->grid.width +
           place.x;
}

static void add_similarity(Query *q, int number) {
    const TokenFeatures *f = &q->features;
    Map *map = map_new(q, number);
    int64_t tokens = f->rows - f->extra;
    token_similarity(map->values, f->values + (int64_t)f->extra * f->width, tokens, f->width,
                     row_of(q, map->query) - f->extra);
    map->name = memory_text("Similarity");
    map->explanation = memory_text("Cosine of the framed token's features and each other's, after "
                                   "the encoder's norm.");
}

/* One head's attention, or with head -1 the mean of all, times the number of rows: 1 is an even
 * share. */
static void add_head(Query *q, int number, int head) {
    const TokenFeatures *f = &q->features;
    Map *map = map_new(q, number);
    int64_t tokens = f->rows - f->extra;
    float *attention = memory_new((size_t)f->rows, sizeof *attention);
    int first = head < 0 ? 0 : head, last = head < 0 ? f->heads - 1 : head;
    map->share = 0;
    for (int h = first; h <= last; h++) {
        token_attention(attention, f->qkv, f->step, f->rows, f->width, f->heads, h,
                        row_of(q, map->query));
        for (int64_t i = 0; i < tokens; i++) {
            double part = attention[f->extra + i] / (double)(last - first + 1);
            map->values[i] += (float)(part * (double)f->rows);
            map->share += part;
        }
    }
    free(attention);
    map->name = head < 0 ? memory_text("Mean of the %d heads", f->heads)
                         : memory_text("Head %d", head);
    map->explanation = f->extra ? memory_text("%.0f %% of it goes to tokens, the rest to the class "
                                              "token.",
                                              100 * map->share)
                                : NULL;
}

static void add_attention(Query *q, int number) {
    int heads = q->features.heads;
    if (q->show->head != NOT_GIVEN) {
        add_head(q, number, (int)q->show->head);
        return;
    }
    if (heads > 1)
        add_head(q, number, -1);
    for (int h = 0; h < heads && h + 1 < MAPS_MOST; h++)
        add_head(q, number, h);
}

static void maps_free(Query *q) {
    for (int i = 0; i < q->maps; i++) {
        free(q->map[i].name);
        free(q->map[i].explanation);
        free(q->map[i].values);
    }
    q->maps = 0;
}

/* All maps of a kind, and one scale for them. The framed tokens, whose own values stand out, do not
 * count for it. */
static void compute(Query *q, bool attention) {
    size_t tokens = (size_t)mask_grid_tokens(q->grid), count = 0;
    q->attention = attention;
    for (int i = 0; i < q->count; i++)
        if (attention)
            add_attention(q, i);
        else
            add_similarity(q, i);
    float *all = memory_new((size_t)q->maps * tokens, sizeof *all);
    for (int i = 0; i < q->maps; i++)
        for (size_t n = 0; n < tokens; n++)
            if ((int64_t)n + q->features.extra != row_of(q, q->map[i].query))
                all[count++] = q->map[i].values[n];
    token_range(&q->low, &q->high, all, count);
    q->low = attention ? 0 : q->low < -1 ? -1 : q->low;
    q->high = !attention && q->high > 1 ? 1 : q->high;
    free(all);
}

/* ---- pictures ---- */

static void paint(Canvas *tile, const Query *q, const Map *map, int step) {
    int area = q->grid.height * q->grid.width;
    token_paint_values(tile, q->grid, map->values + (int64_t)step * area, q->low, q->high,
                       COLORMAP_DEPTH, q->show->smooth ? UPSCALE_SMOOTH : UPSCALE_NEAREST);
    if (step == map->query.t)
        token_paint_frame(tile, q->grid, map->query.y, map->query.x);
}

static const char *unit_of(const Query *q) {
    return q->attention ? "× an even share" : "cosine";
}

typedef struct Columns {
    int count, step[COLUMNS_MOST];
} Columns;

/* A row of the sheet: a map's tiles, or with map NULL the frames with the query in them. */
static int add_row(Sheet *sheet, const Query *q, const Columns *columns, const Map *map,
                   Place place, Error *error) {
    Canvas *tiles[COLUMNS_MOST] = {NULL};
    const uint8_t *images[COLUMNS_MOST];
    char *titles[COLUMNS_MOST] = {NULL};
    int result = 0, height = q->clip.small[0], width = q->clip.small[1];
    for (int i = 0; i < columns->count && !result; i++) {
        int step = columns->step[i];
        result = canvas_new(&tiles[i], width, height, COLOR_CONTEXT, error);
        if (result)
            break;
        if (map) {
            paint(tiles[i], q, map, step);
        } else {
            token_paint_picture(tiles[i], q->clip.small_frames[step]);
            if (step == place.t)
                token_paint_frame(tiles[i], q->grid, place.y, place.x);
        }
        images[i] = tiles[i]->rgb;
        titles[i] = show_moment(q->footage,
                                q->clip.draw.frames[step * q->show->scene.config.tubelet]);
    }
    if (!result && !map)
        result = sheet_headings(sheet, (const char *const *)titles, columns->count, error);
    if (!result)
        result = sheet_row(sheet, map ? map->name : "Video",
                           map ? map->explanation : "The framed token is the one that is asked.",
                           images, columns->count, height, width, UPSCALE_NEAREST, error);
    if (!result && map)
        sheet_colourbar(sheet, COLORMAP_DEPTH, q->low, q->high, unit_of(q));
    for (int i = 0; i < columns->count; i++) {
        canvas_free(tiles[i]);
        free(titles[i]);
    }
    return result;
}

/* Evenly spread time steps, that of each query among them. */
static Columns choose_columns(const Query *q) {
    Columns c = {.count = q->grid.time < COLUMNS_MOST ? q->grid.time : COLUMNS_MOST};
    for (int i = 0; i < c.count; i++)
        c.step[i] = i * q->grid.time / c.count;
    for (int n = 0; n < q->count; n++) /* the column to its left moves to it */
        for (int i = c.count - 1; i >= 0; i--)
            if (c.step[i] <= q->place[n].t) {
                c.step[i] = q->place[n].t;
                break;
            }
    return c;
}

static char *what_text(const Query *q) {
    return q->attention ? memory_text("Where a token looks, block %d of %d", q->block,
                                      q->show->scene.config.teacher.dim && *q->show->network == 't'
                                          ? q->show->scene.config.teacher.depth
                                          : q->show->scene.config.depth)
                        : memory_text("What a token is like");
}

static int fill(Sheet *sheet, const Query *q, Error *error) {
    Columns columns = choose_columns(q);
    for (int i = 0, number = -1; i < q->maps; i++) {
        const Map *map = &q->map[i];
        if (map->number != number) {
            number = map->number;
            char *title = memory_text("Token at time step %d, row %d, column %d", map->query.t,
                                      map->query.y, map->query.x);
            int result = sheet_section(sheet, title, error);
            free(title);
            if (result || add_row(sheet, q, &columns, NULL, map->query, error))
                return -1;
        }
        if (add_row(sheet, q, &columns, map, map->query, error))
            return -1;
    }
    if (q->attention)
        sheet_caption(sheet, "Softmax of the token's query with every key, of the whole clip; 1 is "
                             "an even share of it for every token. One scale for all rows; what "
                             "lies beyond takes the colour at its end.");
    else
        sheet_caption(sheet, "One scale for all rows, the framed token itself left out; what lies "
                             "beyond takes the colour at its end.");
    return 0;
}

static int write_picture(const Query *q, const char *folder, const char *name, Error *error) {
    char *what = what_text(q), *title = memory_text("%s: %s", what, show_name(q->footage));
    char *base = show_origin(q->show, q->footage, q->clip.draw.frames);
    char *origin = memory_text("%s encoder of %s", q->show->network, base);
    char *file = memory_text("%s.png", name), *path = path_join(folder, file);
    Sheet *sheet = sheet_new(title, origin, q->clip.small[0]);
    Canvas *canvas = NULL;
    int result = fill(sheet, q, error);
    if (!result)
        result = sheet_draw(&canvas, sheet, error);
    if (!result)
        result = png_write(path, canvas, error);
    if (!result)
        printf("%s\n", path);
    canvas_free(canvas);
    sheet_free(sheet);
    free(what);
    free(title);
    free(base);
    free(origin);
    free(file);
    free(path);
    return result;
}

/* ---- films ---- */

/* A panel: a map, or the video with the queries in it. */
typedef struct Cell {
    int row, column;
    const Map *map; /* NULL: the video, */
    int number;     /* with this query; -1: with all */
} Cell;

/* With several maps of several tokens, a row for each token: the video, then its first maps. Else
 * the video and the first maps, one after another. */
static int place_cells(Cell *cells, const Query *q) {
    int each = q->maps / q->count, count = 0;
    bool rows = q->count > 1 && each > 1;
    for (int n = 0; n < (rows ? q->count : 1) && n < FILM_ROWS; n++) {
        int maps = rows ? each : q->maps, most = rows ? FILM_PANELS : FILM_PANELS * FILM_ROWS;
        for (int i = 0; i <= maps && i < most; i++)
            cells[count++] = (Cell){.row = rows ? n : i / FILM_PANELS,
                                    .column = i % FILM_PANELS,
                                    .map = i ? &q->map[n * each + i - 1] : NULL,
                                    .number = rows ? n : -1};
    }
    return count;
}

static FilmPage *make_panels(const Query *q, const Cell *cells, int count, Error *error) {
    char *what = what_text(q), *title = memory_text("%s: %s", what, show_name(q->footage));
    char *crop = show_crop(q->footage, &q->clip.draw);
    char *subtitle = memory_text("%s encoder of %s%s", q->show->network, q->show->scene.source,
                                 crop);
    int columns = count < FILM_PANELS ? count : FILM_PANELS, rows = cells[count - 1].row + 1;
    FilmPage *panels = film_page_new(title, subtitle, NULL, rows, columns, q->clip.large[0],
                                     q->clip.large[1]);
    for (int i = 0; i < count; i++) {
        const Map *map = cells[i].map;
        char *label = !map           ? memory_text("Video")
                      : q->count > 1 ? memory_text("%s, token %d,%d,%d", map->name, map->query.t,
                                                   map->query.y, map->query.x)
                                     : memory_text("%s", map->name);
        film_page_label(panels, cells[i].row, cells[i].column, label);
        free(label);
    }
    for (int r = 0; r < rows; r++)
        film_page_bar(panels, r, COLORMAP_DEPTH, q->low, q->high, unit_of(q));
    free(what);
    free(title);
    free(crop);
    free(subtitle);
    if (!film_page_start(panels, error))
        return panels;
    film_page_free(panels);
    return NULL;
}

static int film_frames(const Query *q, FilmPage *panels, const Cell *cells, int count, Film *film,
                       Error *error) {
    int frames = q->show->scene.clip.frames;
    for (int f = 0; f < frames; f++) {
        int step = f / q->show->scene.config.tubelet;
        for (int i = 0; i < count; i++) {
            Canvas *tile = film_page_tile(panels, cells[i].row, cells[i].column);
            if (cells[i].map) {
                paint(tile, q, cells[i].map, step);
                continue;
            }
            token_paint_picture(tile, q->clip.large_frames[f]);
            for (int n = 0; n < q->count; n++)
                if (q->place[n].t == step && (cells[i].number < 0 || cells[i].number == n))
                    token_paint_frame(tile, q->grid, q->place[n].y, q->place[n].x);
        }
        char *moment = show_moment(q->footage, q->clip.draw.frames[f]);
        int result = film_frame(film, film_page_picture(panels, moment, (f + 1.0) / frames), error);
        free(moment);
        if (result)
            return -1;
    }
    return 0;
}

static int write_film(const Query *q, const char *folder, const char *name, Error *error) {
    Cell cells[FILM_PANELS * FILM_ROWS];
    int count = place_cells(cells, q), width, height;
    FilmPage *panels = make_panels(q, cells, count, error);
    Film *film = NULL;
    if (!panels)
        return -1;
    film_page_size(panels, &width, &height);
    VideoFraction rate = film_rate(
        show_rate(q->footage, q->clip.draw.frames, q->show->scene.clip.frames));
    int result = film_open(&film, folder, name, q->show->formats, width, height, rate, error);
    if (!result)
        result = film_frames(q, panels, cells, count, film, error);
    if (!result)
        result = film_close(film, stdout, error);
    else
        film_abandon(film);
    film_page_free(panels);
    return result;
}

static int write_kind(Query *q, bool attention, const char *folder, Error *error) {
    const char *name = attention ? "attention" : "similarity";
    compute(q, attention);
    int result = 0;
    if (q->show->formats & FILM_STILL)
        result = write_picture(q, folder, name, error);
    if (!result && (q->show->formats & FILM_MOVES))
        result = write_film(q, folder, name, error);
    maps_free(q);
    return result;
}

static int show_footage(Query *q, Model *model, size_t i, Error *error) {
    const Show *show = q->show;
    char *folder = show_folder(show, i, error);
    q->footage = &show->footage[i];
    int result = folder ? shown_clip_read(&q->clip, show, q->footage, FILM_PANELS, error) : -1;
    if (!result) {
        ModelInput input = {.samples = 1, .pixels = q->clip.pixels, .values = q->clip.values};
        model_set_input(model, &input);
        token_features(&q->features, model, *show->network, q->block);
        for (int64_t n = 0; n < q->features.rows * q->features.width && !result; n++)
            if (!isfinite(q->features.values[n]))
                result = error_set(error, ERROR_RUN,
                                   "the encoder's features are not finite numbers: the checkpoint "
                                   "is damaged, or its training has diverged");
    }
    if (!result && (show->parts & PART_SIMILARITY))
        result = write_kind(q, false, folder, error);
    if (!result && (show->parts & PART_ATTENTION))
        result = write_kind(q, true, folder, error);
    token_features_free(&q->features);
    shown_clip_free(&q->clip);
    free(folder);
    return result;
}

int query_check(const Show *show, Error *error) {
    Query *q = memory_new(1, sizeof *q);
    q->show = show;
    int result = parse(q, error);
    free(q);
    return result;
}

int query_show(const Show *show, Error *error) {
    Query *q = memory_new(1, sizeof *q);
    ModelPlan plan = {.samples = 1};
    Model model;
    q->show = show;
    int result = parse(q, error);
    if (!result)
        result = scene_model(&model, &show->scene, &plan, *show->network, error);
    if (!result) {
        for (size_t i = 0; i < show->count && !result; i++)
            result = show_footage(q, &model, i, error);
        model_free(&model);
    }
    free(q);
    return result;
}
