/* Pairs of videos, one possible and one impossible, for measuring surprise: the same pictures up to
 * an event, others from then on.
 *
 * A scene has two worlds, 0 and 1. Each is a history that obeys the physics of these scenes (bodies
 * keep their speed, their turning and their looks; a wall throws back what meets it) and that can
 * be shown from its first frame to its last. The worlds differ in one body alone. An impossible
 * video shows one world before its switch frame and the other from it on:
 *
 *     pair 2n      possible: world 0    impossible: world 0, then world 1
 *     pair 2n + 1  possible: world 1    impossible: world 1, then world 0
 *
 *     kind     world 0                    world 1                      in the impossible the body
 *
 *     jump     a body goes its way        as 0, at another place       is elsewhere at once
 *     shape    a body passes a pillar     as 0, of another shape or    changes behind it
 *                                         texture
 *     through  a body comes from the      the mirror image: from the   comes out on the other side
 *              left, meets a wall behind  right, and back              of the wall
 *              a screen and goes back
 *     vanish   nothing passes the pillar  a body does                  appears or vanishes
 *                                                                      behind it
 *
 * Half of the jumps happen in the open, along the way or across it; the others behind a pillar,
 * which the body leaves in another lane. In every other kind the switch is behind a pillar or a
 * screen that hides the body in the frames before and after it. Another body goes its own way in
 * all of them. Sides, lanes, looks and times are drawn; what alternates does so from scene to
 * scene.
 *
 * Why nothing but the event tells. The four videos of a scene are made of two beginnings and two
 * endings, and each beginning and each ending stands, pixel by pixel, once in a possible and once
 * in an impossible video:
 *   - what is judged by the frames before the switch alone is equal within a pair: it says nothing;
 *   - what is judged by the frames from the switch on alone (a body is there at the end or is
 *     not; how much moves; where it comes out) is right in one pair where it is wrong in the
 *     other: such a score, or a sum of scores of frames or of stretches that lie on one side of
 *     the switch, is right in exactly half of the pairs;
 *   - every picture is coded by itself (video/encode.h), so that this holds for the decoded files
 *     too, and the four files have the same number of bytes.
 * What is left are the pictures on both sides of the switch together. Of those, a jump in the open
 * shows in two of them (more changes from one picture to the next than ever in a possible video);
 * all others need what was seen before the pillar hid it. For through that is the side that the
 * body came from, and that the wall, which shows above and below the screen, lets nothing pass.
 * What has gone through it comes out when a body thrown back on that side would: a little sooner
 * than the way through takes. */
#ifndef JEPA_VIDEO_PHYSICS_H
#define JEPA_VIDEO_PHYSICS_H

#include "base/error.h"
#include <stdint.h>

/* Alphabetical. */
typedef enum PhysicsKind {
    PHYSICS_JUMP,
    PHYSICS_SHAPE,
    PHYSICS_THROUGH,
    PHYSICS_VANISH,
    PHYSICS_KINDS
} PhysicsKind;

#define PHYSICS_PAIRS_MAX  100000 /* file names have five digits */
#define PHYSICS_SIZE_MIN   64     /* below, bodies stick out of what should hide them */
#define PHYSICS_FRAMES_MIN 32
#define PHYSICS_FRAMES_MAX 1000 /* a file is brought to its size in memory */

typedef struct PhysicsSpec {
    int pairs; /* of each kind, even: a scene gives two */
    uint64_t seed;
    int size;   /* height and width in pixels, even */
    int frames; /* frames per video; the switch lies in their middle sixth */
    int fps;
    int threads;
} PhysicsSpec;

const char *physics_kind_name(PhysicsKind kind);

/* Writes, into a folder that is new or empty,
 *     OUT/<kind>/<kind>_NNNNN_possible.mp4, OUT/<kind>/<kind>_NNNNN_impossible.mp4
 *     OUT/pairs.csv, last, with paths relative to OUT and these columns:
 *         kind,pair,possible,impossible,event_frame,switch_frame,occluder,what,scene
 *
 * event_frame: the first frame (from 0) in which the two videos of the pair differ, found by
 * comparing their pictures before they are coded; switch_frame: the one from which the impossible
 * video shows the other world (the same, unless something hides the body); occluder: none, pillar
 * or screen; what: along or across (a jump), shape or texture, left or right (where the body comes
 * from), appears or vanishes; scene: the two pairs of a scene exchange their endings and belong
 * together when errors are estimated.
 *
 * Same spec, same bytes, whatever the number of threads; a thread holds one scene's pictures of one
 * frame, or one file. Errors: OUT in use, a disk that is full; then nothing is left. Shows
 * progress. */
int physics_write(const char *out, const PhysicsSpec *spec, Error *error);

#endif
