/* NCCL's exchange with one rank: every operation runs, and gives back what one rank has. On the
 * emulated GPU, and (gpu_test_nccl) on a real one. Several ranks: test_program.sh. */
#include "kernels/cuda/exchange_nccl.h"
#include "kernels/exchange.h"
#include "tests/kernels/under_test.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 5 };

static float *values(double scale) {
    float *x = shared_new((size_t)BLOCKS * SHARD_BLOCK * sizeof *x);
    for (int64_t i = 0; i < BLOCKS * SHARD_BLOCK; i++)
        x[i] = (float)(scale * (double)(i % 1009 - 500));
    return x;
}

static void one_rank(void **state) {
    (void)state;
    Device *device;
    Exchange *exchange;
    Error error = {0};
    assert_int_equal(under_test_open(&device, 0, &error), 0);
    assert_int_equal(exchange_open(&exchange, &error), 0);
    exchange->timeout = 60;
    if (exchange_nccl_use(exchange, device, &error))
        fail_msg("%s", error.text);
    assert_string_equal(exchange->name, "nccl");
    size_t bytes = (size_t)BLOCKS * SHARD_BLOCK * sizeof(float);
    for (int fast = 0; fast < 2; fast++) {
        float *flat = values(0.25), *pieces = values(0), *whole = values(0);
        ExchangeSum sum = {flat, pieces, BLOCKS, fast};
        exchange->sum_start(&sum, 3, BLOCKS, device, exchange); /* the last layer first */
        exchange->sum_start(&sum, 1, 3, device, exchange);
        exchange->progress(exchange);
        exchange->sum_start(&sum, 0, 1, device, exchange);
        exchange->sum_finish(&sum, device, exchange);
        exchange->gather(whole, pieces, 0, BLOCKS, sizeof *whole, device, exchange);
        under_test_settle();
        assert_memory_equal(pieces, flat, bytes);
        assert_memory_equal(whole, flat, bytes);
        const ExchangePart part = {.bytes = 4096, .stride = 8192, .count = 7};
        exchange->share(whole, &part, device, exchange);
        under_test_settle();
        assert_memory_equal(whole, flat, bytes);
        shared_free(flat), shared_free(pieces), shared_free(whole);
    }
    exchange_close(exchange, true);
    device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_rank)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
