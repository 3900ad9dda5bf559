/* How much scratch the CUDA operations need. See kernels/device.h. */
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/eights.h"
#include "kernels/device.h"

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

size_t cuda_scratch(const Device *device, const ScratchNeeds *needs) {
    (void)device;
    int64_t rows = 2 * CUDA_PARTIALS * most(needs->width, 1024) * (int64_t)sizeof(float);
    int64_t sums = (needs->elements / CUDA_SUM_TILE + 2) * (int64_t)sizeof(double);
    int64_t attention = needs->rows * needs->heads * (int64_t)sizeof(float);
    int64_t eights = (int64_t)eights_room(needs->fp8_rows, needs->fp8_width);
    return (size_t)most(most(rows, eights), most(sums, attention));
}
