/* Videos that are kept from training. See video/hold_out.h. */
#include "video/hold_out.h"
#include "base/random.h"
#include <stdlib.h>
#include <string.h>

#define ORDER 1 /* key of the permutation; 0 is that of the clips that are looked at */

static int by_hash(const void *a, const void *b) {
    return memcmp(a, b, sizeof(Hash));
}

bool *hold_out(const VideoIndex *index, uint64_t seed, int count) {
    if (!count)
        return NULL;
    bool *held = memory_new(index->count, sizeof *held);
    Hash *hashes = memory_new((size_t)count, sizeof *hashes);
    size_t found = 0;
    for (size_t i = 0; i < index->usable && found < (size_t)count; i++) {
        uint64_t at = random_permute(seed, RANDOM_DIAGNOSTIC, ORDER, i, index->usable);
        hashes[found++] = video_index_file(index, index->usable_files[at]).hash;
    }
    qsort(hashes, found, sizeof *hashes, by_hash);
    for (size_t i = 0; i < index->usable; i++) {
        uint32_t number = index->usable_files[i];
        VideoFile file = video_index_file(index, number);
        held[number] = bsearch(&file.hash, hashes, found, sizeof *hashes, by_hash) != NULL;
    }
    free(hashes);
    return held;
}
