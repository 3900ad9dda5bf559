/* Philox 4x32-10 and what is drawn from it. See base/random.h. */
#include "base/random.h"
#include "base/error.h"
#include <math.h>

#define ROUNDS         10
#define FEISTEL_ROUNDS 8

void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    /* multipliers and Weyl constants of the paper's table 2 and section 2.3 */
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t next0 = (uint32_t)(b >> 32) ^ c1 ^ k0, next2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = next0;
        c2 = next2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

Random random_at(uint64_t seed, RandomPurpose purpose, uint64_t step, uint64_t slot) {
    JEPA_ASSERT(step >> 48 == 0 && slot >> 32 == 0);
    Random random = {.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                     .counter = {0, (uint32_t)slot, (uint32_t)step,
                                 (uint32_t)purpose << 16 | (uint32_t)(step >> 32)},
                     .used = 4};
    return random;
}

uint32_t random_u32(Random *random) {
    if (random->used == 4) {
        philox4x32(random->block, random->counter, random->key);
        random->counter[0]++;
        random->used = 0;
    }
    return random->block[random->used++];
}

static uint64_t random_u64(Random *random) {
    uint64_t high = random_u32(random);
    return high << 32 | random_u32(random);
}

uint64_t random_branch(uint64_t seed, uint64_t branch) {
    Random random = random_at(seed, RANDOM_BRANCH, branch, 0);
    return branch ? random_u64(&random) : seed;
}

double random_unit(Random *random) {
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

double random_between(Random *random, double low, double high) {
    double value = low + (high - low) * random_unit(random);
    return value < high ? value : low; /* rounding may reach `high` */
}

uint64_t random_below(Random *random, uint64_t n) {
    JEPA_ASSERT(n >= 1);
    /* Values from the last, incomplete run of n are drawn again, so that all are equally likely. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, value;
    do
        value = random_u64(random);
    while (value >= limit);
    return value % n;
}

double random_normal(Random *random) {
    double u = 1 - random_unit(random), v = random_unit(random);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

uint64_t random_permute(uint64_t seed, RandomPurpose purpose, uint64_t epoch, uint64_t i,
                        uint64_t n) {
    JEPA_ASSERT(i < n && epoch >> 48 == 0);
    int half = 1; /* bits in each half of the network */
    while (half < 32 && (1ull << (2 * half)) < n)
        half++;
    uint64_t mask = (1ull << half) - 1;
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    /* Walk the cycle of the permutation of 0..4^half-1 until it comes back below n. */
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
            uint32_t counter[4] = {(uint32_t)right, round, (uint32_t)epoch,
                                   (uint32_t)purpose << 16 | (uint32_t)(epoch >> 32)};
            uint32_t out[4];
            philox4x32(out, counter, key);
            uint64_t mixed = left ^ (out[0] & mask);
            left = right;
            right = mixed;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
