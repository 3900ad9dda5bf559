/* Folders and lists become an index; the index survives saving, hostile bytes and changed files. */
#include "base/file.h"
#include "video/encode.h"
#include "video/index.h"
#include "video/index_journal.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED JEPA_SOURCE_DIR "/../shared/videos"

typedef struct Fixture {
    char folder[64];
} Fixture;

static int make_folder(void **state) {
    Fixture *fixture = memory_new(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/jepa_index_XXXXXX");
    *state = fixture;
    return mkdtemp(fixture->folder) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about, (void)kind, (void)place;
    return remove(path);
}

static int remove_folder(void **state) {
    Fixture *fixture = *state;
    int result = nftw(fixture->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return result;
}

static char *in(void **state, const char *name) {
    return path_join(((Fixture *)*state)->folder, name);
}

static void make_sub(void **state, const char *name) {
    char *path = in(state, name);
    assert_int_equal(mkdir(path, 0755), 0);
    free(path);
}

static void make_text(void **state, const char *name, const char *text) {
    char *path = in(state, name);
    Error error = {0};
    assert_int_equal(file_write(path, text, strlen(text), &error), 0);
    free(path);
}

/* A small video whose pictures depend on `tone`. */
static void make_video(void **state, const char *name, int frames, int tone) {
    char *path = in(state, name), *temporary = in(state, "making.mp4");
    Error error = {0};
    VideoWriter *writer;
    uint8_t rgb[48 * 64 * 3];
    assert_int_equal(video_writer_open(&writer, temporary, 64, 48, 25, &error), 0);
    for (int f = 0; f < frames; f++) {
        for (size_t i = 0; i < sizeof rgb; i++)
            rgb[i] = (uint8_t)((size_t)(tone + 3 * f) + i / 7);
        assert_int_equal(video_writer_frame(writer, rgb, &error), 0);
    }
    assert_int_equal(video_writer_close(writer, &error), 0);
    assert_int_equal(rename(temporary, path), 0);
    free(path);
    free(temporary);
}

static VideoFile entry(const VideoIndex *index, size_t i) {
    return video_index_file(index, (uint32_t)i);
}

static VideoFile named(const VideoIndex *index, const char *name) {
    for (size_t i = 0; i < index->count; i++)
        if (!strcmp(entry(index, i).name, name))
            return entry(index, i);
    fail_msg("%s is not in the index", name);
    return (VideoFile){0};
}

static void build(VideoIndex *index, void **state, const char *name, int threads) {
    char *path = *name ? in(state, name) : memory_text("%s", ((Fixture *)*state)->folder);
    Error error = {0};
    if (video_index_build(index, path, threads, &error))
        fail_msg("%s", error.text);
    free(path);
}

/* Expects the build to fail with a message that has `words` in it. */
static void build_fails(void **state, const char *name, const char *words) {
    char *path = *name ? in(state, name) : memory_text("%s", ((Fixture *)*state)->folder);
    VideoIndex index;
    Error error = {0};
    assert_int_equal(video_index_build(&index, path, 2, &error), -1);
    if (!strstr(error.text, words))
        fail_msg("'%s' does not say '%s'", error.text, words);
    assert_null(strchr(error.text, '\n'));
    free(path);
}

static void test_folder(void **state) {
    make_sub(state, "b");
    make_sub(state, "a");
    make_sub(state, "a/deep");
    make_sub(state, ".hidden");
    make_video(state, "b/two.MP4", 12, 10);
    make_video(state, "a/deep/\xc3\xa9\xff name.mp4", 9, 50); /* not even UTF-8 */
    make_video(state, "a/x:1.mp4", 7, 90);
    make_video(state, ".hidden/not.mp4", 5, 0);
    make_video(state, "a/.not.mp4", 5, 0);
    make_text(state, "b/notes.txt", "no video");
    make_text(state, "b/thumbnail.jpg", "no picture either");
    make_text(state, "b/zero.avi", "");
    VideoIndex index, again;
    build(&index, state, "", 1);
    assert_int_equal(index.count, 4);
    assert_int_equal(index.usable, 3);
    assert_string_equal(entry(&index, 0).name, "a/deep/\xc3\xa9\xff name.mp4");
    assert_string_equal(entry(&index, 1).name, "a/x:1.mp4");
    assert_string_equal(entry(&index, 2).name, "b/two.MP4");
    assert_string_equal(entry(&index, 3).name, "b/zero.avi");
    assert_non_null(strstr(entry(&index, 3).reason, "0 bytes"));
    assert_int_equal(index.classes, 2);
    assert_string_equal(index.class_names[0], "a");
    assert_int_equal(entry(&index, 0).label, 0);
    assert_int_equal(entry(&index, 2).label, 1);
    assert_int_equal(entry(&index, 1).frames, 7);
    assert_int_equal(entry(&index, 1).width, 64);
    assert_int_equal(entry(&index, 1).height, 48);
    assert_true(entry(&index, 1).fps > 24.9 && entry(&index, 1).fps < 25.1);
    build(&again, state, "", 3);
    assert_true(hash_same(&index.hash, &again.hash)); /* however many workers */
    video_index_free(&again);
    video_index_free(&index);
}

/* A video at the top: then folders are no classes. */
static void test_folder_without_classes(void **state) {
    make_sub(state, "a");
    make_video(state, "a/1.mp4", 5, 1);
    make_video(state, "2.mp4", 5, 1);
    VideoIndex index;
    build(&index, state, "", 2);
    assert_int_equal(index.classes, 0);
    assert_int_equal(entry(&index, 0).label, -1);
    video_index_free(&index);
}

static void link_to(void **state, const char *target, const char *name) {
    char *path = in(state, name);
    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static void test_links(void **state) {
    make_sub(state, "a");
    make_sub(state, "z");
    make_video(state, "z/1.mp4", 5, 1);
    link_to(state, "..", "a/up");      /* a loop */
    link_to(state, "../z", "a/aside"); /* reached under its own name already */
    link_to(state, "../a", "z/back");
    link_to(state, "z/1.mp4", "file.mp4");
    link_to(state, "nowhere", "gone.mp4");
    VideoIndex index;
    build(&index, state, "", 2);
    assert_int_equal(index.count, 3);
    assert_string_equal(named(&index, "gone.mp4").reason, "missing");
    assert_null(named(&index, "file.mp4").reason);
    assert_null(named(&index, "z/1.mp4").reason);
    video_index_free(&index);
}

/* A folder that is elsewhere and only linked to is followed. */
static void test_link_elsewhere(void **state) {
    make_sub(state, "data");
    make_sub(state, "store");
    make_video(state, "store/1.mp4", 5, 1);
    link_to(state, "../store", "data/a");
    link_to(state, "../store", "data/b");
    VideoIndex index;
    build(&index, state, "data", 1);
    assert_int_equal(index.count, 1);
    assert_string_equal(entry(&index, 0).name, "a/1.mp4");
    video_index_free(&index);
}

static void test_nothing_there(void **state) {
    build_fails(state, "absent", "no such");
    build_fails(state, "", "no videos");
    make_text(state, "a.txt", "text");
    build_fails(state, "", "other kinds");
    make_text(state, "b.mp4", "this is text and no video at all, in spite of its name\n");
    build_fails(state, "", "b.mp4");
    make_text(state, "empty.csv", "# nothing\r\n\r\n");
    build_fails(state, "empty.csv", "no videos");
    build_fails(state, "a.txt", "text");
}

static void test_list(void **state) {
    make_sub(state, "v");
    make_video(state, "v/one.mp4", 5, 1);
    make_video(state, "v/with space.mp4", 6, 2);
    make_video(state, "v/with \"quote\".mp4", 7, 3);
    make_video(state, "v/a,b.mp4", 8, 4);
    char *absolute = in(state, "v/one.mp4");
    char *text = memory_text("\xef\xbb\xbf# path label\r\n"
                             "v/one.mp4 10\r\n"
                             "\r\n"
                             "\"v/with space.mp4\" 9\n"
                             "v/with space.mp4\t2\n"
                             "\"v/with \"\"quote\"\".mp4\",2\n"
                             "v/a,b.mp4::9\n"
                             "v/gone.mp4 2\n"
                             "  %s , 10",
                             absolute);
    make_text(state, "list.csv", text);
    VideoIndex index;
    build(&index, state, "list.csv", 2);
    assert_int_equal(index.count, 7);
    assert_int_equal(index.usable, 6);
    assert_int_equal(index.classes, 3); /* by value: 2, 9, 10 */
    assert_string_equal(index.class_names[0], "2");
    assert_string_equal(index.class_names[1], "9");
    assert_string_equal(index.class_names[2], "10");
    assert_int_equal(named(&index, "v/one.mp4").label, 2);
    assert_int_equal(named(&index, absolute).label, 2);
    assert_int_equal(named(&index, "v/a,b.mp4").label, 1);
    assert_int_equal(named(&index, "v/with \"quote\".mp4").label, 0);
    assert_int_equal(named(&index, "v/with \"quote\".mp4").frames, 7);
    assert_string_equal(named(&index, "v/gone.mp4").reason, "missing");
    video_index_free(&index);
    free(absolute);
    free(text);
}

static void test_list_of_words(void **state) {
    make_video(state, "a.mp4", 5, 1);
    make_video(state, "b c.mp4", 5, 2);
    make_text(state, "words.txt", "a.mp4,riding a bike\nb c.mp4,10 pins\na.mp4 2\nb c.mp4\n");
    VideoIndex index;
    build(&index, state, "words.txt", 2);
    assert_int_equal(index.count, 4);
    assert_int_equal(index.usable, 4);
    assert_int_equal(index.classes, 3);
    assert_string_equal(index.class_names[0], "2");
    assert_string_equal(index.class_names[1], "10 pins");
    assert_string_equal(index.class_names[2], "riding a bike");
    assert_int_equal(entry(&index, 0).label, 0); /* a.mp4: by name, then by label */
    assert_int_equal(entry(&index, 1).label, 2);
    assert_int_equal(entry(&index, 2).label, -1);
    assert_int_equal(entry(&index, 3).label, 1);
    video_index_free(&index);
    char *line = memory_new(10000, 1);
    memset(line, 'x', 9999);
    make_text(state, "long.txt", line);
    build_fails(state, "long.txt", "long.txt:1");
    free(line);
}

static void assert_same_file(const VideoFile *a, const VideoFile *b) {
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->label, b->label);
    assert_int_equal(!a->reason, !b->reason);
    if (a->reason)
        assert_string_equal(a->reason, b->reason);
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->key_count, b->key_count);
    assert_int_equal(a->timed, b->timed);
    for (int64_t i = 0; a->timed && i < a->frames; i++)
        assert_int_equal(video_file_pts(a, i), video_file_pts(b, i));
    for (size_t i = 0; i < a->key_count; i++) {
        assert_int_equal(a->key_pts[i], b->key_pts[i]);
        assert_int_equal(a->key_dts[i], b->key_dts[i]);
        assert_int_equal(a->key_frame[i], b->key_frame[i]);
    }
    assert_true(hash_same(&a->hash, &b->hash));
    assert_true(a->fps == b->fps);
}

static void test_save_and_load(void **state) {
    make_sub(state, "a");
    make_video(state, "a/1.mp4", 30, 1);
    make_video(state, "a/2.mp4", 12, 2);
    make_text(state, "a/3.mp4", "");
    VideoIndex index, loaded;
    Error error = {0};
    build(&index, state, "", 2);
    char *path = in(state, "index.bin"), *broken = in(state, "broken.bin");
    assert_int_equal(video_index_save(&index, path, &error), 0);
    assert_int_equal(video_index_load(&loaded, path, &error), 0);
    assert_int_equal(loaded.count, 3);
    assert_int_equal(loaded.usable, 2);
    assert_int_equal(loaded.classes, 1);
    assert_string_equal(loaded.class_names[0], "a");
    assert_true(hash_same(&index.hash, &loaded.hash));
    for (size_t i = 0; i < 3; i++) {
        VideoFile a = entry(&index, i), b = entry(&loaded, i);
        assert_same_file(&a, &b);
    }
    video_index_free(&loaded);

    /* Hostile bytes: cut anywhere, and with any byte changed: an error or an index, never a crash.
     */
    uint8_t *bytes;
    size_t count;
    assert_int_equal(file_read(&bytes, &count, path, 1 << 20, &error), 0);
    for (size_t cut = 0; cut < count; cut += cut < 64 || count - cut < 64 ? 1 : 13) {
        assert_int_equal(file_write(broken, bytes, cut, &error), 0);
        assert_int_equal(video_index_load(&loaded, broken, &error), -1);
    }
    unsigned values[] = {0x00, 0x80, 0xc0, 0xdd, 0xff};
    for (size_t at = 0; at < count; at += 3) {
        uint8_t kept = bytes[at];
        bytes[at] = (uint8_t)values[at % 5];
        assert_int_equal(file_write(broken, bytes, count, &error), 0);
        if (!video_index_load(&loaded, broken, &error))
            video_index_free(&loaded);
        bytes[at] = kept;
    }
    free(bytes);
    free(path);
    free(broken);
    video_index_free(&index);
}

static void test_verify(void **state) {
    make_video(state, "1.mp4", 5, 1);
    make_video(state, "2.mp4", 5, 2);
    VideoIndex index;
    Error error = {0};
    build(&index, state, "", 1);
    assert_int_equal(video_index_verify(&index, &error), 0);
    char *path = in(state, "2.mp4");
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(video_index_verify(&index, &error), 0); /* touched, same bytes */
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    int last = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_true(fputc(last ^ 1, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(video_index_verify(&index, &error), -1);
    assert_non_null(strstr(error.text, "2.mp4"));
    assert_non_null(strstr(error.text, "changed"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(video_index_verify(&index, &error), -1);
    assert_non_null(strstr(error.text, "2.mp4"));
    free(path);
    video_index_free(&index);
}

static int make_kept(VideoIndex *index, void **state, const char *kept, VideoCheck check) {
    char *source = in(state, "data");
    IndexSettings settings = {
        .sources = {source}, .sources_count = 1, .threads = 2, .scan = {.check = check}};
    Error error = {0};
    settings.kept = kept;
    int result = video_index_make(index, &settings, &error);
    if (result)
        print_message("%s\n", error.text);
    free(source);
    return result;
}

/* Writes a kept index of what is known, with a mark in the codec's name that no scan would give. */
static void mark_index(const VideoIndex *index, const char *kept) {
    VideoFile files[8];
    VideoIndex marked;
    Error error = {0};
    for (size_t i = 0; i < index->count; i++) {
        files[i] = entry(index, i);
        strcpy(files[i].codec, "marked");
    }
    assert_int_equal(video_index_of_files(&marked, files, index->count, NULL, 0, &error), 0);
    assert_int_equal(video_index_save(&marked, kept, &error), 0);
    video_index_free(&marked);
}

/* Only what has changed is read again. */
static void test_refresh(void **state) {
    make_sub(state, "data");
    make_video(state, "data/1.mp4", 5, 1);
    make_video(state, "data/2.mp4", 6, 2);
    make_text(state, "data/3.mp4", "");
    char *kept = in(state, "kept.index"), *second = in(state, "data/2.mp4");
    VideoIndex index;
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    mark_index(&index, kept);
    video_index_free(&index);
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, second, times, 0), 0);
    make_video(state, "data/0.mp4", 4, 3);
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    assert_int_equal(index.count, 4);
    assert_string_equal(named(&index, "1.mp4").codec, "marked"); /* taken over */
    assert_string_not_equal(named(&index, "2.mp4").codec, "marked");
    assert_string_not_equal(named(&index, "0.mp4").codec, "marked");
    assert_int_equal(named(&index, "2.mp4").frames, 6);
    assert_non_null(named(&index, "3.mp4").reason);
    Hash hash = index.hash;
    video_index_free(&index);
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    assert_true(hash_same(&hash, &index.hash));
    video_index_free(&index);
    /* another way of looking: nothing is taken over */
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_PACKETS), 0);
    assert_string_not_equal(named(&index, "1.mp4").codec, "marked");
    video_index_free(&index);
    /* what is no index is not overwritten; a damaged one is made anew */
    Error error = {0};
    assert_int_equal(file_write(kept, "rubbish", 7, &error), 0);
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), -1);
    assert_int_equal(file_write(kept, "jepacol\nrubbish", 15, &error), 0);
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    assert_int_equal(index.usable, 3);
    video_index_free(&index);
    /* and can itself be given as the videos, until one of them changes */
    assert_int_equal(video_index_build(&index, kept, 1, &error), 0);
    assert_int_equal(index.usable, 3);
    video_index_free(&index);
    assert_int_equal(unlink(second), 0);
    assert_int_equal(video_index_build(&index, kept, 1, &error), -1);
    assert_non_null(strstr(error.text, "2.mp4"));
    free(kept);
    free(second);
}

/* A build that was killed goes on: what its journal holds is not read again. */
static void test_journal(void **state) {
    make_sub(state, "data");
    make_video(state, "data/1.mp4", 5, 1);
    make_video(state, "data/2.mp4", 6, 2);
    char *kept = in(state, "kept.index"), *path = in(state, "data/1.mp4");
    char *left = memory_text("%s.journal", kept);
    VideoFile file = {0};
    video_file_scan(&file, path, NULL);
    file.name = memory_text("1.mp4");
    strcpy(file.codec, "marked");
    Journal journal;
    Error error = {0};
    assert_int_equal(journal_open(&journal, kept, VIDEO_CHECK_DECODE, 0, &error), 0);
    journal_add(&journal, &file);
    journal_add(&journal, &file);
    journal_close(&journal, false);
    assert_true(file_exists(left));
    struct stat about;
    assert_int_equal(stat(left, &about), 0);
    assert_int_equal(truncate(left, about.st_size - 10), 0); /* killed in the middle of a record */
    VideoIndex index;
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    assert_string_equal(named(&index, "1.mp4").codec, "marked");
    assert_string_not_equal(named(&index, "2.mp4").codec, "marked");
    assert_false(file_exists(left)); /* done with */
    assert_true(file_exists(kept));
    video_index_free(&index);
    video_file_free(&file);
    free(kept);
    free(path);
    free(left);
}

/* A journal that was torn more than once still goes on where it was. */
static void test_torn_twice(void **state) {
    make_sub(state, "data");
    make_video(state, "data/1.mp4", 5, 1);
    make_video(state, "data/2.mp4", 6, 2);
    char *kept = in(state, "kept.index");
    char *left = memory_text("%s.journal", kept);
    Error error = {0};
    for (int i = 1; i <= 2; i++) {
        char *name = memory_text("data/%d.mp4", i), *path = in(state, name);
        VideoFile *known, file = {0};
        size_t count;
        long whole = journal_read(&known, &count, kept, VIDEO_CHECK_DECODE);
        assert_int_equal(count, i - 1);
        journal_free_files(known, count);
        video_file_scan(&file, path, NULL);
        file.name = memory_text("%s", name);
        strcpy(file.codec, "marked");
        Journal journal;
        assert_int_equal(journal_open(&journal, kept, VIDEO_CHECK_DECODE, whole, &error), 0);
        journal_add(&journal, &file);
        fwrite("torn", 1, 4, journal.file);
        journal_close(&journal, false);
        video_file_free(&file);
        free(name);
        free(path);
    }
    VideoIndex index;
    assert_int_equal(make_kept(&index, state, kept, VIDEO_CHECK_DECODE), 0);
    assert_string_equal(named(&index, "1.mp4").codec, "marked");
    assert_string_equal(named(&index, "2.mp4").codec, "marked");
    assert_false(file_exists(left));
    video_index_free(&index);
    free(kept);
    free(left);
}

/* Odd files are a matter of their own: huge steps of time, and the folder named otherwise. */
static void test_odd(void **state) {
    make_sub(state, "data");
    make_video(state, "data/1.mp4", 5, 1);
    /* far apart in a fine time base: kept as a list */
    const int64_t far[3] = {0, INT64_C(300000000000), INT64_C(600000000000)};
    VideoFile odd = {.label = -1,
                     .width = 64,
                     .height = 48,
                     .frames = 3,
                     .timed = true,
                     .pts = far,
                     .time_base = {1, 1000000000}};
    VideoIndex paper;
    Error error = {0};
    assert_int_equal(video_index_of_files(&paper, &odd, 1, NULL, 0, &error), 0);
    VideoFile view = entry(&paper, 0);
    assert_true(fabs(video_file_seconds(&view, 2) - 600) < 1e-6);
    video_index_free(&paper);
    VideoIndex index, again;
    build(&index, state, "data", 1);
    /* from another folder by a relative path: the entries open wherever one stands */
    char *here = getcwd(NULL, 0);
    assert_int_equal(chdir(((Fixture *)*state)->folder), 0);
    assert_int_equal(video_index_build(&again, "data", 1, &error), 0);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(entry(&again, 0).path[0], '/');
    assert_int_equal(video_index_verify(&again, &error), 0);
    assert_true(hash_same(&index.hash, &again.hash));
    video_index_free(&again);
    video_index_free(&index);
    free(here);
}

/* From packets alone the same frames, times and keys as from decoding. */
static void test_packets(void **state) {
    make_video(state, "long.mp4", 150, 1);
    char *path = in(state, "long.mp4");
    VideoFile decoded = {0}, read = {0};
    ScanSettings packets = {.check = VIDEO_CHECK_PACKETS};
    video_file_scan(&decoded, path, NULL);
    video_file_scan(&read, path, &packets);
    decoded.name = memory_text("x");
    read.name = memory_text("x");
    assert_same_file(&decoded, &read);
    video_file_free(&decoded);
    video_file_free(&read);
    free(path);
    const char *folders[] = {SHARED "/containers", SHARED "/edge_cases"};
    for (int f = 0; f < 2; f++) {
        struct dirent **names;
        int count = scandir(folders[f], &names, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            char *file = path_join(folders[f], names[i]->d_name);
            if (names[i]->d_name[0] != '.' && strncmp(names[i]->d_name, "LICENSE", 7)) {
                video_file_scan(&decoded, file, NULL);
                video_file_scan(&read, file, &packets);
                assert_int_equal(!decoded.reason, !read.reason);
                if (!read.reason && (decoded.frames != read.frames || decoded.timed != read.timed))
                    fail_msg("%s: %lld frames by decoding, %lld by packets", file,
                             (long long)decoded.frames, (long long)read.frames);
                for (int64_t n = 0; !read.reason && read.timed && n < read.frames; n++)
                    assert_int_equal(video_file_pts(&decoded, n), video_file_pts(&read, n));
                video_file_free(&decoded);
                video_file_free(&read);
            }
            free(file);
            free(names[i]);
        }
        if (count >= 0)
            free(names);
    }
}

/* A file may be given up by time, and is tried again the next time. */
static void test_timeout(void **state) {
    make_sub(state, "data");
    make_video(state, "data/1.mp4", 5, 1);
    char *path = in(state, "data/1.mp4");
    VideoFile file = {0};
    ScanSettings settings = {.timeout = 1e-9};
    video_file_scan(&file, path, &settings);
    assert_non_null(file.reason);
    assert_non_null(strstr(file.reason, "given up"));
    video_file_free(&file);
    free(path);
}

/* Cut in the middle, where the container's head is at the front and most frames can be decoded. */
static void test_cut_short(void **state) {
    make_video(state, "whole.mp4", 200, 1);
    char *path = in(state, "whole.mp4"), *cut = in(state, "cut.mp4");
    uint8_t *bytes;
    size_t count;
    Error error = {0};
    assert_int_equal(file_read(&bytes, &count, path, 1 << 24, &error), 0);
    for (int tenths = 1; tenths < 10; tenths++) {
        assert_int_equal(file_write(cut, bytes, count * (size_t)tenths / 10, &error), 0);
        VideoFile file = {0};
        video_file_scan(&file, cut, NULL);
        assert_non_null(file.reason);
        if (!strstr(file.reason, "cut short"))
            fail_msg("%d tenths: %s", tenths, file.reason);
        video_file_free(&file);
    }
    free(bytes);
    free(path);
    free(cut);
}

/* What the collection of damaged files must be judged as. */
static void test_damaged(void **state) {
    (void)state;
    const struct {
        const char *name, *words;
    } cases[] = {{"empty.mp4", "0 bytes"},           {"text.mp4", "text"},
                 {"playlist.mp4", "playlist"},       {"h264_trunc1k.mp4", "cut short"},
                 {"h264_trunc50.mp4", "cut short"},  {"av1_trunc50.mp4", "cut short"},
                 {"avi_trunc50.avi", "cut short"},   {"vp9_trunc50.webm", "cut short"},
                 {"h264_flip0.0001.mp4", "damaged"}, {"avi_flip0.0001.avi", "damaged"},
                 {"av1_flip0.001.mp4", "damaged"},   {"hevc_flip0.001.mp4", "damaged"},
                 {"hevc_zero10pct.mp4", "damaged"}};
    if (!folder_exists(SHARED "/damaged")) {
        print_message("no " SHARED "/damaged here: skipped\n");
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = path_join(SHARED "/damaged", cases[i].name);
        VideoFile file = {0};
        video_file_scan(&file, path, NULL);
        if (!file.reason || !strstr(file.reason, cases[i].words))
            fail_msg("%s: expected '%s', found '%s'", cases[i].name, cases[i].words,
                     file.reason ? file.reason : "usable");
        assert_null(strchr(file.reason, '\n'));
        video_file_free(&file);
        free(path);
    }
    VideoFile file = {0};
    video_file_scan(&file, SHARED "/containers/audio_only.mp4", NULL);
    assert_non_null(file.reason);
    assert_non_null(strstr(file.reason, "no video stream"));
    video_file_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_folder_without_classes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_links, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_link_elsewhere, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_nothing_there, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_list, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_list_of_words, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_save_and_load, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_verify, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refresh, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_journal, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_torn_twice, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_odd, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_packets, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_timeout, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cut_short, make_folder, remove_folder),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
