/* One scene of video/physics.h before it is drawn. Private to video/physics*.c and their tests. */
#ifndef JEPA_VIDEO_PHYSICS_SCENE_H
#define JEPA_VIDEO_PHYSICS_SCENE_H

#include "video/physics.h"
#include "video/synth_scene.h"
#include <stdbool.h>

/* Where the body is at frame t: crossing[w] + velocity (t - moment) in world w. */
typedef struct PhysicsScene {
    SynthScene scene; /* looks, background, occluder; its own motion is not used. object 0: the
                         body, 1: the other one, 2: the body as world 1 of `shape` has it */
    PhysicsKind kind;
    int number;         /* of the scene within its kind */
    int switch_frame;   /* the first one of the second world in an impossible video */
    bool hidden;        /* the body is behind pillar or screen then */
    bool along;         /* a jump along the way, not across it */
    bool texture;       /* shape: it is the texture that changes */
    double moment;      /* switch_frame - 1/2: when the body is behind the middle of the pillar, or
                           at the wall; frames */
    double velocity;    /* of the body, pixels per frame, > 0 to the right; through: in world 0,
                           before it meets the wall */
    double crossing[2]; /* x of the body at `moment`, in world 0 and 1, pixels */
    double lane[2];     /* y of the body, in world 0 and 1, pixels */
} PhysicsScene;

/* A pure function of its arguments. */
void physics_scene_make(PhysicsScene *scene, PhysicsKind kind, int number, const PhysicsSpec *spec);

/* state[3] of world 0 or 1 at frame t; objects that are not in it are absent. `visible` is not set.
 */
void physics_states(SynthState state[SYNTH_OBJECTS], const PhysicsScene *scene, int world, int t);

/* The columns occluder and what of pairs.csv, for the pair whose possible video is `world`. */
const char *physics_occluder(const PhysicsScene *scene);
const char *physics_what(const PhysicsScene *scene, int world);

#endif
