/* Feature stores that are stopped or damaged: a stopped extraction goes on to the same bytes;
 * damage is found in every part; headers of strangers are bounded. Their videos: synth_write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/random.h"
#include "eval/store_header.h"
#include "tests/eval/store_fixture.h"
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

/* What a kill may leave: so many whole shards, pieces of the next, tensors without an index. */
static void goes_on_behind_whole_shards(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "whole", &about, 2, &error), 0);
    int shards = (int)report.shards;
    for (int k = 0; k <= shards; k += k < 2 || k == shards - 1 ? 1 : (shards - 1) / 2 - 1) {
        fixture_run(f, "rm -rf part && cp -r whole part && rm part/store.msgpack && "
                       "printf rubbish >part/store.msgpack.partial");
        for (int i = k; i < shards; i++)
            fixture_run(f, "rm part/shard-%05d.msgpack", i);
        if (k < shards)
            fixture_run(
                f, "printf rubbish >part/shard-%05d.bin && printf x >part/shard-%05d.bin.partial",
                k, k);
        fixture_refused(f, "part", false, ERROR_RUN, "is not complete");
        if (fixture_write(&report, f, "part", &about, 2, &error))
            fail_msg("%s", error.text);
        assert_int_equal(report.resumed, k == shards ? VIDEOS * CLIPS : k * SAMPLES);
        fixture_run(f, "rm -f part/*.partial");
        fixture_same(f, "whole", "part");
    }
    /* a damaged index is no whole shard, nor are damaged bytes in the last one */
    fixture_run(
        f, "rm part/store.msgpack part/shard-00004.msgpack && printf x >>part/shard-00002.msgpack");
    assert_int_equal(fixture_write(&report, f, "part", &about, 2, &error), 0);
    assert_int_equal(report.resumed, 2 * SAMPLES);
    fixture_same(f, "whole", "part");
    fixture_run(
        f,
        "rm part/store.msgpack part/shard-00004.msgpack && printf x | dd of=part/shard-00003.bin "
        "bs=1 seek=9 conv=notrunc 2>/dev/null");
    assert_int_equal(fixture_write(&report, f, "part", &about, 2, &error), 0);
    assert_int_equal(report.resumed, 3 * SAMPLES);
    fixture_same(f, "whole", "part");
    store_about_free(&about);
}

/* Another process extracts, and is killed at a random moment, again and again. */
static void kills_change_nothing(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "whole", &about, 2, &error), 0);
    int kills = 0, status = 1;
    char *header = path_join(f->folder, "killed/store.msgpack");
    Random random = random_at(7, RANDOM_TEST, 0, 0);
    /* The first is killed before it can have done anything; then longer and longer, so that it
     * comes to an end on any machine, busy or not. */
    for (double most = 0.002; most < 600 && !file_exists(header); most *= 1.2) {
        pid_t child = fork();
        if (!child) {
            execl("/proc/self/exe", "test_store", f->folder, (char *)NULL);
            _exit(127);
        }
        assert_true(child > 0);
        usleep((useconds_t)(1e6 * most * (0.5 + random_unit(&random))));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status))
            kills++;
        else
            assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_true(file_exists(header) && kills > 0);
    print_message("%d kills\n", kills);
    fixture_run(f, "rm -f killed/*.partial");
    fixture_same(f, "whole", "killed");
    free(header);
    store_about_free(&about);
}

/* The child of the test above. */
static int extract_again(const char *folder) {
    Fixture f = {0};
    Error error = {0};
    StoreReport report;
    fixture_videos(&f, folder, VIDEOS);
    fixture_model(&f, 0, 1);
    StoreAbout about = fixture_about(&f, false, STORE_FLOAT16);
    int result = fixture_write(&report, &f, "killed", &about, 1, &error);
    if (result)
        fprintf(stderr, "%s\n", error.text);
    store_about_free(&about);
    fixture_free(&f);
    return result ? 1 : 0;
}

/* One byte changed anywhere, a byte more, a byte less, a file gone: found with `verify`, and at
 * once in the headers and in every length. */
static void damage_is_found(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "store", &about, 2, &error), 0);
    const char *const names[] = {"store.msgpack", "shard-00001.msgpack", "shard-00001.bin"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        size_t count;
        uint8_t *bytes = fixture_read(&count, f, "store", names[n]);
        char *path = memory_text("%s/store/%s", f->folder, names[n]);
        for (size_t i = 0; i<count; i += count> 400 ? count / 37 : 1) {
            bytes[i] ^= 0x11;
            assert_int_equal(file_write(path, bytes, count, &error), 0);
            fixture_refused(f, "store", n == 2, ERROR_RUN, names[n]);
            bytes[i] ^= 0x11;
        }
        assert_int_equal(file_write(path, bytes, count - 1, &error), 0);
        fixture_refused(f, "store", false, ERROR_RUN, names[n]);
        bytes = memory_grow(bytes, count + 1, 1);
        bytes[count] = 0;
        assert_int_equal(file_write(path, bytes, count + 1, &error), 0);
        fixture_refused(f, "store", false, ERROR_RUN, names[n]);
        assert_int_equal(unlink(path), 0);
        fixture_refused(f, "store", false, ERROR_RUN, n ? names[n] : "not complete");
        assert_int_equal(file_write(path, bytes, count, &error), 0);
        free(path);
        free(bytes);
    }
    Store store;
    fixture_open(&store, f, "store");
    store_close(&store);
    /* whole, but of another place */
    fixture_run(f, "cp store/shard-00002.msgpack store/shard-00001.msgpack");
    fixture_refused(f, "store", false, ERROR_RUN, "shard-00001.msgpack");
    fixture_refused(f, "videos", false, ERROR_RUN, "is no feature store");
    fixture_refused(f, "nothing", false, ERROR_RUN, "is no feature store");
    store_about_free(&about);
}

/* What a header that passed for whole would be: an error, or a sound one. */
static void unpack(const uint8_t *header, size_t count, bool must_fail) {
    Error error = {0};
    Store store = {0};
    Record record;
    if (record_read(&record, header, count, "a header", &error))
        return;
    int result = store_header_unpack(&store, record.root, "a header", &error);
    if (result)
        assert_false(strchr(error.text, '\n'));
    else
        assert_false(must_fail);
    record_free(&record);
    store_close(&store);
}

/* Headers that claim too much, and headers with some bytes changed, under a hash that is right. */
static void strangers_are_bounded(void **state) {
    Fixture *f = *state;
    Error error = {0};
    StoreReport report;
    StoreAbout about = fixture_about(f, false, STORE_FLOAT16);
    assert_int_equal(fixture_write(&report, f, "store", &about, 2, &error), 0);
    Store store;
    fixture_open(&store, f, "store");
    for (int k = 0; k < 14; k++) {
        Store claim = store;
        StoreAbout *a = &claim.about;
        int labels[VIDEOS] = {k == 10 ? 99 : k == 11 ? -2 : 0};
        if (k >= 10)
            claim.labels = labels;
        switch (k) {
        case 0:
            a->rows = INT32_MAX;
            break;
        case 1:
            a->width = INT32_MAX;
            break;
        case 2:
            a->rows = 1 << 24, a->width = 1 << 20, a->grid[0] = 1 << 8;
            break;
        case 3:
            a->segments = 4096, a->views = 4096;
            break;
        case 4:
            a->segments = 0;
            break;
        case 5:
            a->layers = MODEL_LAYERS_MAX, a->layer[3] = -1;
            break;
        case 6:
            claim.shard_clips = 0;
            break;
        case 7:
            claim.shard_clips = INT64_MAX;
            break;
        case 8:
            claim.shard_count--;
            break;
        case 9:
            claim.videos--;
            break;
        case 12:
            a->grid[1] = 0;
            break;
        case 13:
            a->clip_frames = CLIP_FRAMES_MAX + 1;
            break;
        default:
            break;
        }
        RecordWriter writer;
        record_writer_start(&writer);
        store_header_pack(&writer, &claim);
        unpack((const uint8_t *)writer.buffer.data, writer.buffer.size, true);
        record_writer_free(&writer);
    }
    RecordWriter writer;
    record_writer_start(&writer);
    store_header_pack(&writer, &store);
    Random random = random_at(11, RANDOM_TEST, 0, 0);
    size_t count = writer.buffer.size;
    for (int i = 0; i < 3000; i++) {
        uint8_t *bytes = memory_new(count, 1);
        memcpy(bytes, writer.buffer.data, count);
        for (int k = 0; k < 1 + i % 3; k++)
            bytes[random_below(&random, count)] = (uint8_t)random_below(&random, 256);
        unpack(bytes, count, false);
        free(bytes);
    }
    unpack((const uint8_t *)writer.buffer.data, count, false);
    record_writer_free(&writer);
    store_close(&store);
    store_about_free(&about);
}

int main(int argc, char **argv) {
    if (argc > 1)
        return extract_again(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_on_behind_whole_shards, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(kills_change_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damage_is_found, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(strangers_are_bounded, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
