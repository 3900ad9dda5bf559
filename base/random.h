/* Counter-based random numbers: every random choice is a pure function.
 *
 * Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a
 * 64-bit key and a 128-bit counter to 128 random bits. The key is the run's seed. The counter is
 *     word 0: number of the block drawn so far from this stream
 *     word 1: slot   (sample within the step, tensor number, video number ...)
 *     word 2: step, low 32 bits
 *     word 3: purpose (high 16 bits) | step, bits 32..47 (low 16 bits)
 * so anyone can recompute any choice of any step, and there is no generator state to save.
 */
#ifndef JEPA_BASE_RANDOM_H
#define JEPA_BASE_RANDOM_H

#include <stdint.h>

/* What a stream is for. The numbers are part of the file format of a run: never renumber. */
typedef enum RandomPurpose {
    RANDOM_WEIGHTS = 1,     /* initial weights; slot = tensor number */
    RANDOM_ORDER = 2,       /* order of an epoch; step = epoch */
    RANDOM_FRAMES = 3,      /* which frames of the video */
    RANDOM_CROP = 4,        /* random resized crop */
    RANDOM_FLIP = 5,        /* horizontal flip */
    RANDOM_MASK_SIZE = 6,   /* block size, shared by a group; slot = group * 64 + mask setting */
    RANDOM_MASK_PLACE = 7,  /* block positions; slot = slot * 64 + mask setting (I-JEPA's contexts:
                               + 32 + context) */
    RANDOM_REDRAW = 8,      /* which video replaces an unreadable one */
    RANDOM_SPLIT = 9,       /* train / validation split */
    RANDOM_SYNTH = 10,      /* synthetic videos; slot = video */
    RANDOM_PROBE = 11,      /* probe training */
    RANDOM_DIAGNOSTIC = 12, /* sub-samples for measures */
    RANDOM_TEST = 13,
    RANDOM_MIX = 14,        /* which data set of a mix; step = block of samples */
    RANDOM_AUGMENT = 15,    /* colour jitter, RandAugment, erasing */
    RANDOM_DROP = 16,       /* which tokens an encoder sees */
    RANDOM_DROP_PATH = 20,  /* stochastic depth; slot = group */
    RANDOM_DIRECTIONS = 21, /* SIGReg's unit directions; slot = direction */
    RANDOM_BRANCH = 24,     /* the seed of a branch; step = branch */
    RANDOM_BOOTSTRAP = 25,  /* which groups an interval's draw holds; step = draw */
    RANDOM_LOW_SHOT = 26,   /* which labels a probe may see; step = draw, slot = class */
    RANDOM_BANK = 30        /* which tokens of a clip a bank keeps; step = clip */
} RandomPurpose;

typedef struct Random {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4]; /* the current block of 4 words */
    int used;          /* words of `block` already handed out, 4 = none left */
} Random;

/* One block of the generator: out = Philox4x32-10(key, counter). */
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* The stream for one choice. `step` < 2^48, `slot` < 2^32. */
Random random_at(uint64_t seed, RandomPurpose purpose, uint64_t step, uint64_t slot);

/* The seed of a branch of a run: the run's own for branch 0, another for every other one. A run
 * that went back and goes on in a new branch so makes all its choices anew. */
uint64_t random_branch(uint64_t seed, uint64_t branch);

uint32_t random_u32(Random *random);
double random_unit(Random *random);                             /* uniform in [0, 1), 53 bits */
double random_between(Random *random, double low, double high); /* uniform in [low, high) */
uint64_t random_below(Random *random, uint64_t n); /* uniform in 0..n-1, unbiased; n >= 1 */
double random_normal(Random *random);              /* mean 0, variance 1 (Box-Muller) */

/* Position `i` of a keyed permutation of 0..n-1: a Feistel network over the next even power of two
 * with cycle walking. The order of an epoch is computed, not stored. Requires i < n. */
uint64_t random_permute(uint64_t seed, RandomPurpose purpose, uint64_t epoch, uint64_t i,
                        uint64_t n);

#endif
