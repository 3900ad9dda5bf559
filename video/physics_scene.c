/* Scenes of possible and impossible events. See video/physics.h.
 *
 * Lengths are shares of the frame S, times shares of the video F, so that every size and length
 * shows the same: a body crosses the frame in about one video, v = k S / F with k around 1. It is
 * behind the middle of the pillar at t = h - 1/2, h the switch frame: half a frame's way off in the
 * frames h - 1 and h, where the pillar, 1.4 bodies wide, still hides it with a pixel to spare. */
#include "video/physics_scene.h"
#include <math.h>
#include <string.h>

#define PI           3.14159265358979323846
#define RADIUS       0.1   /* of S */
#define RADIUS_WALL  0.075 /* through: the screen must hide a body on each side of the wall */
#define PILLAR_WIDTH 1.4   /* of a body's diameter */
#define WALL_WIDTH   0.06  /* of S */
#define SCREEN_SPARE 0.04  /* of S: what the screen is wider than what it hides, on each side */
#define SCREEN_REACH 1.8   /* radii above and below the middle of the lane */
#define LANES        3

enum { STREAM_LAYOUT = 16, STREAM_LOOKS, STREAM_BACKDROP }; /* `step` of the random streams */

const char *physics_kind_name(PhysicsKind kind) {
    static const char *const names[PHYSICS_KINDS] = {"jump", "shape", "through", "vanish"};
    JEPA_ASSERT(kind < PHYSICS_KINDS);
    return names[kind];
}

const char *physics_occluder(const PhysicsScene *scene) {
    return !scene->hidden ? "none" : scene->kind == PHYSICS_THROUGH ? "screen" : "pillar";
}

const char *physics_what(const PhysicsScene *scene, int world) {
    switch (scene->kind) {
    case PHYSICS_JUMP:
        return scene->along ? "along" : "across";
    case PHYSICS_SHAPE:
        return scene->texture ? "texture" : "shape";
    case PHYSICS_THROUGH:
        return world ? "right" : "left";
    case PHYSICS_VANISH:
        return world ? "vanishes" : "appears";
    case PHYSICS_KINDS:
        break;
    }
    return "";
}

static double sign(Random *random) {
    return random_below(random, 2) ? 1 : -1;
}

/* Three lanes that do not touch, in random order: y of their middles. */
static void lanes_make(double lane[LANES], double size, Random *random) {
    for (int i = 0; i < LANES; i++) {
        int j = (int)random_below(random, (uint64_t)i + 1);
        lane[i] = lane[j];
        lane[j] = size * (0.2 + 0.3 * i + random_between(random, -0.04, 0.04));
    }
}

/* The body goes behind the pillar, or, in the open, past the middle of the frame. */
static void passage_make(PhysicsScene *p, const double lane[LANES], double size, double frames,
                         Random *random) {
    SynthScene *s = &p->scene;
    double middle = size * random_between(random, 0.42, 0.58);
    double pace = random_between(random, 0.9, 1.25), gap = size * random_between(random, 0.3, 0.4);
    p->velocity = sign(random) * pace * size / frames;
    p->crossing[0] = p->crossing[1] = middle;
    p->lane[0] = p->lane[1] = lane[0];
    if (p->kind == PHYSICS_JUMP && p->along) {
        p->crossing[0] = middle - gap / 2;
        p->crossing[1] = middle + gap / 2;
    } else if (p->kind == PHYSICS_JUMP) {
        p->lane[1] = lane[1];
    }
    if (p->hidden) {
        s->pillar_x = middle;
        s->pillar_width = PILLAR_WIDTH * 2 * s->radius;
        s->pillar_bottom = size;
    }
}

/* A wall from top to bottom, and before its middle a screen that hides a body on either side. */
static void wall_make(PhysicsScene *p, double size, double frames, Random *random) {
    SynthScene *s = &p->scene;
    s->wall_width = WALL_WIDTH * size;
    s->pillar_x = size * random_between(random, 0.48, 0.52);
    s->pillar_width = 4 * s->radius + s->wall_width + 2 * SCREEN_SPARE * size;
    double lane = size * random_between(random, 0.46, 0.54);
    s->pillar_top = lane - SCREEN_REACH * s->radius;
    s->pillar_bottom = lane + SCREEN_REACH * s->radius;
    p->velocity = random_between(random, 0.75, 1) * size / frames;
    p->lane[0] = p->lane[1] = lane;
    p->crossing[0] = s->pillar_x - s->wall_width / 2 - s->radius;
    p->crossing[1] = s->pillar_x + s->wall_width / 2 + s->radius;
}

/* The other body: in a lane of its own; beside the wall it stands and turns. */
static void other_make(PhysicsScene *p, const double lane[LANES], double size, double frames,
                       Random *random) {
    SynthObject *other = &p->scene.object[1];
    double middle = size * random_between(random, 0.2, 0.8);
    other->y = lane[2];
    other->velocity = random_between(random, -0.8, 0.8) * size / frames;
    if (p->kind == PHYSICS_THROUGH) {
        middle = size * (0.5 + 0.3 * sign(random) + random_between(random, -0.04, 0.04));
        other->y = size * (0.5 + 0.32 * sign(random) + random_between(random, -0.03, 0.03));
        other->velocity = 0;
    }
    other->x = middle - other->velocity * frames / 2;
}

void physics_scene_make(PhysicsScene *p, PhysicsKind kind, int number, const PhysicsSpec *spec) {
    JEPA_ASSERT(kind < PHYSICS_KINDS && number >= 0 && spec->size >= PHYSICS_SIZE_MIN &&
                spec->frames >= PHYSICS_FRAMES_MIN);
    memset(p, 0, sizeof *p);
    SynthScene *s = &p->scene;
    double size = spec->size, frames = spec->frames;
    uint64_t slot = (uint64_t)number * PHYSICS_KINDS + (uint64_t)kind;
    Random looks = random_at(spec->seed, RANDOM_SYNTH, STREAM_LOOKS, slot);
    Random backdrop = random_at(spec->seed, RANDOM_SYNTH, STREAM_BACKDROP, slot);
    Random layout = random_at(spec->seed, RANDOM_SYNTH, STREAM_LAYOUT, slot);
    p->kind = kind;
    p->number = number;
    p->hidden = kind != PHYSICS_JUMP || number % 2 == 0;
    p->along = kind == PHYSICS_JUMP && !p->hidden && number / 2 % 2 == 0;
    p->texture = kind == PHYSICS_SHAPE && number % 2;
    s->size = spec->size;
    s->world = 4 * size; /* nothing that leaves comes back on the other side */
    s->objects = SYNTH_OBJECTS;
    s->radius = (kind == PHYSICS_THROUGH ? RADIUS_WALL : RADIUS) * size;
    synth_looks_make(s, &looks);
    synth_backdrop_make(&s->backdrop, spec->size, &backdrop);
    SynthObject changed = s->object[0];
    if (p->texture)
        changed.texture = s->object[2].texture;
    else
        changed.shape = s->object[2].shape;
    s->object[2] = changed;

    int low = (int)ceil(5 * frames / 12), high = (int)floor(7 * frames / 12);
    p->switch_frame = low + (int)random_below(&layout, (uint64_t)(high - low) + 1);
    p->moment = p->switch_frame - 0.5;
    double lane[LANES];
    lanes_make(lane, size, &layout);
    for (int i = 0; i < 2; i++) {
        s->object[i].angle = 2 * PI * random_unit(&layout);
        s->object[i].spin = sign(&layout) * 2 * PI * random_between(&layout, 0.3, 1) / frames;
    }
    if (kind == PHYSICS_THROUGH)
        wall_make(p, size, frames, &layout);
    else
        passage_make(p, lane, size, frames, &layout);
    other_make(p, lane, size, frames, &layout);
}

void physics_states(SynthState state[SYNTH_OBJECTS], const PhysicsScene *p, int world, int t) {
    const SynthScene *s = &p->scene;
    double since = t - p->moment;
    for (int i = 0; i < SYNTH_OBJECTS; i++) {
        const SynthObject *object = &s->object[i == 1];
        double angle = object->angle + object->spin * t;
        state[i] = (SynthState){.x = p->crossing[world] + p->velocity * since,
                                .y = p->lane[world],
                                .vx = p->velocity,
                                .angle = angle - 2 * PI * floor(angle / (2 * PI))};
    }
    state[1].x = s->object[1].x + s->object[1].velocity * t;
    state[1].y = s->object[1].y;
    state[1].vx = s->object[1].velocity;
    if (p->kind == PHYSICS_THROUGH) { /* towards the wall, then away from it */
        double away = world ? 1 : -1;
        state[0].x = p->crossing[world] + away * p->velocity * fabs(since);
        state[0].vx = since < 0 ? -away * p->velocity : away * p->velocity;
    }
    bool changed = p->kind == PHYSICS_SHAPE && world;
    state[0].absent = changed || (p->kind == PHYSICS_VANISH && !world);
    state[2].absent = !changed;
}
