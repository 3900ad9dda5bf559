/* One synthetic video before it is drawn: who is in it, what they look like, where they are at
 * every frame. Private to video/synth*.c and their tests. The design is explained in synth_scene.c.
 */
#ifndef JEPA_VIDEO_SYNTH_SCENE_H
#define JEPA_VIDEO_SYNTH_SCENE_H

#include "base/random.h"
#include "video/synth.h"
#include <stdint.h>

/* Alphabetical, so that a label is also the number of its folder in sorted order. */
typedef enum SynthClass {
    SYNTH_COLLIDE,
    SYNTH_MOVE_LEFT,
    SYNTH_MOVE_RIGHT,
    SYNTH_PASS,
    SYNTH_RETURN,
    SYNTH_ROTATE_CLOCKWISE,
    SYNTH_ROTATE_COUNTERCLOCKWISE,
    SYNTH_VANISH,
    SYNTH_CLASSES
} SynthClass;

typedef enum SynthShape {
    SYNTH_DISC,
    SYNTH_RING,
    SYNTH_TRIANGLE,
    SYNTH_SQUARE,
    SYNTH_HEXAGON,
    SYNTH_STAR,
    SYNTH_CROSS,
    SYNTH_SHAPES
} SynthShape;

typedef enum SynthTexture {
    SYNTH_STRIPES,
    SYNTH_CHECKS,
    SYNTH_DOTS,
    SYNTH_HALVES,
    SYNTH_WEDGES,
    SYNTH_MARBLE,
    SYNTH_TEXTURES
} SynthTexture;

#define SYNTH_OBJECTS 3 /* two that are seen at any time, and the stand-in of `vanish` */

typedef struct SynthObject {
    SynthShape shape;
    SynthTexture texture;
    double colour[2][3]; /* the two colours of the texture, RGB 0..1 */
    double x, y;         /* centre at frame 0, pixels; x on the circle [0, world) */
    double angle;        /* at frame 0, radians, clockwise as seen on the screen */
    double velocity;     /* pixels per frame, > 0 to the right */
    double spin;         /* radians per frame, > 0 clockwise */
} SynthObject;

typedef struct SynthBackdrop {
    double colour[3][3];   /* blended by noise, RGB 0..1 */
    double drift[2];       /* x, y: pixels per frame */
    double pillar[3];      /* RGB 0..1 */
    double wall[3];        /* RGB 0..1 */
    uint32_t grain;        /* seed of the background's noise */
    uint32_t pillar_grain; /* seed of the pillar's noise */
} SynthBackdrop;

typedef struct SynthScene {
    int label;
    int size;                         /* pixels, height and width */
    double radius;                    /* of the circle that holds any object, pixels */
    double world;                     /* length of the circle that x lives on: size, in pixels */
    double pillar_x;                  /* centre of the occluder, pixels */
    double pillar_width;              /* > 2 radius: it can hide a whole object; 0: there is none */
    double pillar_top, pillar_bottom; /* rows that it covers, pixels: 0 and size, all of them */
    double wall_width; /* of a wall behind it at pillar_x, pixels; 0: there is none */
    int objects;       /* 2, or 3 for `vanish` */
    int mover;         /* return, vanish: the object that moves */
    SynthObject object[SYNTH_OBJECTS];
    SynthBackdrop backdrop;
} SynthScene;

typedef struct SynthState {
    double x, y;    /* centre, pixels */
    double angle;   /* radians in [0, 2 pi) */
    double vx, vy;  /* pixels per frame */
    double visible; /* share of its width inside the frame and not behind the pillar, 0..1 */
    int absent;     /* stays behind the pillar while another is out: not drawn */
} SynthState;

/* The scene of video `number` of class `label`: a pure function of its arguments. */
void synth_scene_make(SynthScene *scene, uint64_t seed, int size, int label, int number);

/* state[scene->objects] at frame t >= 0. */
void synth_scene_states(SynthState state[SYNTH_OBJECTS], const SynthScene *scene, int t);

const char *synth_shape_name(SynthShape shape);
const char *synth_texture_name(SynthTexture texture);

/* The picture of frame t: rgb [size][size][3]. A painter holds what does not change with t. */
typedef struct SynthPainter SynthPainter;
SynthPainter *synth_painter_new(const SynthScene *scene); /* scene must outlive the painter */
void synth_painter_free(SynthPainter *painter);
void synth_paint(uint8_t *rgb, const SynthPainter *painter, int t);
/* The same with objects wherever state[scene->objects] has them. */
void synth_paint_states(uint8_t *rgb, const SynthPainter *painter, const SynthState *state, int t);

/* Parts of a scene: the looks of its objects (each differs from the others in shape, texture and
 * hue), and its background with the colours of what stands in it. */
void synth_looks_make(SynthScene *scene, Random *random);
void synth_backdrop_make(SynthBackdrop *backdrop, int size, Random *random);

#endif
