/* Synthetic scenes whose class is in the motion and in nothing else.
 *
 * Every video of every class shows the same kind of scene: a background, a pillar in front, and two
 * objects, one in an upper and one in a lower lane that just touch. x lives on a circle as long as
 * the frame is wide: what leaves on one side comes in on the other at the same time.
 *     move_left, move_right       both move, the same way
 *     rotate_clockwise, _counter  both turn on the spot
 *     pass                        both move, opposite ways, and slide along each other when they
 * meet collide                     the same, but when they meet both turn back return one stands
 * still, the other moves and passes behind the pillar vanish                      the same, but it
 * stays behind the pillar, and another object that waited there comes out in its place and goes on
 *
 * Why no frame gives the class away. At every time t, in every class, the picture is drawn from one
 * and the same distribution:
 *   - x of the two objects are independent and uniform on the circle, angles independent and
 * uniform. They are drawn so at t = 0, and each class only adds to them (mod the circle, mod a
 * turn) amounts that do not depend on them, which leaves a uniform law uniform.
 *   - collide is pass with the two x exchanged after every meeting (equal masses exchange their
 *     motion), and the law of two independent, equal x does not change when they are exchanged.
 *     The lanes touch but do not overlap, so meeting looks alike in both.
 *   - Looks are three different shapes, textures and hues in random order, of which two are seen.
 *     In vanish the third replaces the first after every passage; any two of three in random order
 *     have the same law. The pillar is wider than any object, so that an object whose centre is
 * left of the pillar's centre never shows on its right.
 *   - Pillar, background, its drift, lanes and sizes are drawn without looking at the class.
 * Nothing is blurred by motion. So no classifier of single frames, however strong, can beat chance
 * on these 8 classes (in the encoded files: except through what a codec's prediction from
 * neighbouring frames leaves behind).
 *
 * Events come in every window: two meetings, or two passages behind the pillar, lie SYNTH_PERIOD
 * frames apart, so that a clip of 16 frames with step 2 sees at least one. They cannot be put at a
 * fixed time: a frame in mid-clip with an object half behind the pillar would then tell.
 */
#include "video/synth_scene.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI               3.14159265358979323846
#define OBJECT_DIAMETER  0.25 /* of the frame */
#define PILLAR_WIDTH     1.12 /* of an object's diameter */
#define SYNTH_PERIOD_MIN 24.0 /* frames from one meeting or passage to the next */
#define SYNTH_PERIOD_MAX 30.0
#define SYNTH_TURN       1.5 /* periods for one full turn: 8 to 10 degrees per frame */

enum { STREAM_LAYOUT, STREAM_LOOKS, STREAM_BACKDROP }; /* `step` of the random streams */

int synth_classes(void) {
    return SYNTH_CLASSES;
}

const char *synth_class_name(int label) {
    static const char *const names[SYNTH_CLASSES] = {"collide",
                                                     "move_left",
                                                     "move_right",
                                                     "pass",
                                                     "return",
                                                     "rotate_clockwise",
                                                     "rotate_counterclockwise",
                                                     "vanish"};
    JEPA_ASSERT(label >= 0 && label < SYNTH_CLASSES);
    return names[label];
}

const char *synth_shape_name(SynthShape shape) {
    static const char *const names[SYNTH_SHAPES] = {"disc",    "ring", "triangle", "square",
                                                    "hexagon", "star", "cross"};
    JEPA_ASSERT(shape < SYNTH_SHAPES);
    return names[shape];
}

const char *synth_texture_name(SynthTexture texture) {
    static const char *const names[SYNTH_TEXTURES] = {"stripes", "checks", "dots",
                                                      "halves",  "wedges", "marble"};
    JEPA_ASSERT(texture < SYNTH_TEXTURES);
    return names[texture];
}

/* rgb of hue (turns), saturation and value, the latter two 0..1. */
static void colour_from_hsv(double rgb[3], double hue, double saturation, double value) {
    for (int c = 0; c < 3; c++) {
        double turn = hue + (3 - c) / 3.0; /* red peaks at 0, green at 1/3, blue at 2/3 */
        double distance = fabs((turn - floor(turn)) * 6 - 3);
        double pure = fmin(fmax(distance - 1, 0), 1);
        rgb[c] = value * (1 - saturation + saturation * pure);
    }
}

static void shuffled(int *order, int count, Random *random) {
    for (int i = 0; i < count; i++) {
        int j = (int)random_below(random, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Shapes, textures and colours: all three objects different from each other in each. */
void synth_looks_make(SynthScene *scene, Random *random) {
    int shapes[SYNTH_SHAPES], textures[SYNTH_TEXTURES], hues[SYNTH_OBJECTS];
    shuffled(shapes, SYNTH_SHAPES, random);
    shuffled(textures, SYNTH_TEXTURES, random);
    shuffled(hues, SYNTH_OBJECTS, random);
    double first_hue = random_unit(random);
    for (int i = 0; i < SYNTH_OBJECTS; i++) {
        SynthObject *object = &scene->object[i];
        object->shape = (SynthShape)shapes[i];
        object->texture = (SynthTexture)textures[i];
        double hue = first_hue + hues[i] / 3.0 + random_between(random, -0.04, 0.04);
        double saturation = random_between(random, 0.75, 0.95);
        double value = random_between(random, 0.85, 1.0);
        colour_from_hsv(object->colour[0], hue, saturation, value);
        if (random_below(random, 2)) /* a pale or a dark partner of the same hue */
            colour_from_hsv(object->colour[1], hue, 0.15, 1.0);
        else
            colour_from_hsv(object->colour[1], hue, saturation, 0.28);
    }
}

void synth_backdrop_make(SynthBackdrop *backdrop, int size, Random *random) {
    double hue = random_unit(random), spread = random_between(random, 0.06, 0.22);
    double dark = random_between(random, 0.16, 0.34),
           light = dark + random_between(random, 0.2, 0.38);
    for (int i = 0; i < 3; i++) {
        double saturation = random_between(random, 0.25, 0.55);
        colour_from_hsv(backdrop->colour[i], hue + spread * (i - 1), saturation,
                        dark + (light - dark) * i / 2);
    }
    double heading = 2 * PI * random_unit(random);
    double speed = random_below(random, 2) ? size * random_between(random, 0.001, 0.005) : 0;
    backdrop->drift[0] = speed * cos(heading);
    backdrop->drift[1] = speed * sin(heading);
    colour_from_hsv(backdrop->pillar, random_unit(random), random_between(random, 0.05, 0.25),
                    random_between(random, 0.5, 0.85));
    backdrop->grain = random_u32(random);
    backdrop->pillar_grain = random_u32(random);
    colour_from_hsv(backdrop->wall, random_unit(random), random_between(random, 0.5, 0.8),
                    random_between(random, 0.85, 1.0));
}

/* What the class adds to the common scene: velocities and spins. All are drawn for every class, so
 * that the stream of random numbers, too, is the same for all. */
static void motion_make(SynthScene *scene, Random *random) {
    double step = scene->world / random_between(random, SYNTH_PERIOD_MIN, SYNTH_PERIOD_MAX);
    double side = random_below(random, 2) ? 1 : -1;
    scene->mover = (int)random_below(random, 2);
    double spin[2];
    for (int i = 0; i < 2; i++)
        spin[i] = 2 * PI / SYNTH_TURN / random_between(random, SYNTH_PERIOD_MIN, SYNTH_PERIOD_MAX);
    SynthObject *a = &scene->object[0], *b = &scene->object[1];
    switch ((SynthClass)scene->label) {
    case SYNTH_MOVE_LEFT:
        a->velocity = b->velocity = -step / 2;
        break;
    case SYNTH_MOVE_RIGHT:
        a->velocity = b->velocity = step / 2;
        break;
    case SYNTH_COLLIDE:
    case SYNTH_PASS: /* half the speed each: they meet once in a period */
        a->velocity = side * step / 2;
        b->velocity = -side * step / 2;
        break;
    case SYNTH_RETURN:
    case SYNTH_VANISH:
        scene->object[scene->mover].velocity = side * step;
        break;
    case SYNTH_ROTATE_CLOCKWISE:
        a->spin = spin[0];
        b->spin = spin[1];
        break;
    case SYNTH_ROTATE_COUNTERCLOCKWISE:
        a->spin = -spin[0];
        b->spin = -spin[1];
        break;
    case SYNTH_CLASSES:
        break;
    }
}

void synth_scene_make(SynthScene *scene, uint64_t seed, int size, int label, int number) {
    JEPA_ASSERT(label >= 0 && label < SYNTH_CLASSES && number >= 0 && size > 0);
    memset(scene, 0, sizeof *scene);
    scene->label = label;
    scene->size = size;
    scene->radius = OBJECT_DIAMETER / 2 * size;
    scene->world = size;
    scene->pillar_width = PILLAR_WIDTH * 2 * scene->radius;
    scene->pillar_bottom = size;
    scene->objects = label == SYNTH_VANISH ? 3 : 2;

    uint64_t slot = (uint64_t)number * SYNTH_CLASSES + (uint64_t)label;
    Random looks = random_at(seed, RANDOM_SYNTH, STREAM_LOOKS, slot);
    Random backdrop = random_at(seed, RANDOM_SYNTH, STREAM_BACKDROP, slot);
    Random layout = random_at(seed, RANDOM_SYNTH, STREAM_LAYOUT, slot);
    synth_looks_make(scene, &looks);
    synth_backdrop_make(&scene->backdrop, size, &backdrop);

    scene->pillar_x = size * random_between(&layout, 0.25, 0.75);
    double middle = random_between(&layout, 2.2 * scene->radius, size - 2.2 * scene->radius);
    double upper = random_below(&layout, 2) ? 1 : -1;
    for (int i = 0; i < 2; i++) {
        SynthObject *object = &scene->object[i];
        object->x = scene->world * random_unit(&layout);
        object->y = middle + (i == 0 ? -upper : upper) * scene->radius * 1.02;
        object->angle = 2 * PI * random_unit(&layout);
    }
    motion_make(scene, &layout);
    SynthObject *waiting = &scene->object[2]; /* goes where the mover would have gone */
    const SynthObject *mover = &scene->object[scene->mover];
    waiting->x = scene->pillar_x;
    waiting->y = mover->y;
    waiting->velocity = mover->velocity;
    waiting->angle = mover->angle;
}

/* x brought back to [0, world). */
static double around(const SynthScene *scene, double x) {
    double turns = x / scene->world;
    return (turns - floor(turns)) * scene->world;
}

/* How often a distance that starts at `start` and grows by `growth` has passed a multiple of world.
 */
static int64_t crossings(const SynthScene *scene, double start, double growth) {
    double from = start / scene->world, to = (start + growth) / scene->world;
    return llabs((int64_t)floor(to) - (int64_t)floor(from));
}

static double overlap(double low, double high, double from, double to) {
    return fmax(0, fmin(high, to) - fmax(low, from));
}

static double share_visible(const SynthScene *scene, double x) {
    double pillar = scene->pillar_width / 2, seen = 0;
    for (int copy = -1; copy <= 1; copy++) { /* what sticks out on one side shows on the other */
        double low = x - scene->radius + copy * scene->world, high = low + 2 * scene->radius;
        seen += overlap(low, high, 0, scene->pillar_x - pillar) +
                overlap(low, high, scene->pillar_x + pillar, scene->size);
    }
    return fmin(seen / (2 * scene->radius), 1);
}

void synth_scene_states(SynthState state[SYNTH_OBJECTS], const SynthScene *scene, int t) {
    for (int i = 0; i < scene->objects; i++) {
        const SynthObject *object = &scene->object[i];
        double angle = object->angle + object->spin * t;
        state[i] = (SynthState){.x = around(scene, object->x + object->velocity * t),
                                .y = object->y,
                                .angle = angle - 2 * PI * floor(angle / (2 * PI)),
                                .vx = object->velocity};
    }
    if (scene->label == SYNTH_COLLIDE) {
        const SynthObject *a = &scene->object[0], *b = &scene->object[1];
        if (crossings(scene, a->x - b->x, (a->velocity - b->velocity) * t) % 2) {
            SynthState old = state[0]; /* equal masses exchange their motion */
            state[0].x = state[1].x;
            state[0].vx = state[1].vx;
            state[1].x = old.x;
            state[1].vx = old.vx;
        }
    }
    if (scene->label == SYNTH_VANISH) {
        const SynthObject *mover = &scene->object[scene->mover];
        int replaced = (int)(crossings(scene, mover->x - scene->pillar_x, mover->velocity * t) % 2);
        SynthState *out = &state[replaced ? 2 : scene->mover];
        SynthState *hidden = &state[replaced ? scene->mover : 2];
        *out = state[scene->mover];
        *hidden = *out;
        hidden->x = scene->pillar_x;
        hidden->vx = 0;
        hidden->absent = 1;
    }
    for (int i = 0; i < scene->objects; i++)
        state[i].visible = state[i].absent ? 0 : share_visible(scene, state[i].x);
}
