/* PyTorch checkpoints: the published ones bit for bit, small ones written here, and every lie. */
#include "base/file.h"
#include "base/torch_file.h"
#include "tests/base/zip_bytes.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define REFERENCE JEPA_SOURCE_DIR "/../shared/reference"

typedef struct Place {
    char folder[32];
    char *path;
} Place;

static int make_place(void **state) {
    Place *place = memory_new(1, sizeof *place);
    strcpy(place->folder, "/tmp/jepa-test-XXXXXX");
    *state = place;
    if (!mkdtemp(place->folder))
        return -1;
    place->path = path_join(place->folder, "x.pt");
    return 0;
}

static int drop_place(void **state) {
    Place *place = *state;
    int result = folder_remove(place->folder, NULL);
    free(place->path);
    free(place);
    return result;
}

/* The storages of every file here: six float32, four float16, four bfloat16, two float64. */
static const float floats[6] = {0, 1, 2, 3, 4, -5.5f};
static const uint16_t halves[4] = {0x3c00, 0xc000, 0x0001, 0x7c01}; /* 1, -2, 2^-24, NaN */
static const uint16_t brains[4] = {0x3f80, 0xc049, 0x7f80, 0x0001}; /* 1, -3.140625, inf, 2^-133 */
static const double doubles[2] = {0.1, -7};

static ZipBytes build(const void *pickle, size_t bytes, const char *order) {
    const ZipPart parts[] = {{"x/data.pkl", pickle, bytes},
                             {"x/byteorder", order, strlen(order)},
                             {"x/data/0", floats, sizeof floats},
                             {"x/data/1", halves, sizeof halves},
                             {"x/data/2", brains, sizeof brains},
                             {"x/data/3", doubles, sizeof doubles},
                             {"x/version", "3\n", 2}};
    return zip_build(parts, sizeof parts / sizeof *parts, true);
}

static void write_bytes(const Place *place, const void *bytes, size_t count) {
    FILE *out = fopen(place->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, count, out), count);
    assert_int_equal(fclose(out), 0);
}

static int open_pickle(TorchFile *file, const Place *place, const void *pickle, size_t bytes,
                       Error *error) {
    ZipBytes zip = build(pickle, bytes, "little");
    write_bytes(place, zip.data, zip.count);
    free(zip.data);
    return torch_file_open(file, place->path, error);
}

/* Pieces of pickles. Numbers are one instruction each, such as "K\2". */
#define PROTO2 "\x80\2"
#define STORAGE(class, key, elements)                                                              \
    "(X\7\0\0\0storagec" class "\nX\1\0\0\0" key "X\3\0\0\0cpu" elements "tQ"
#define TENSOR(storage, offset, shape, strides)                                                    \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset shape strides "\x89"                     \
    "ccollections\nOrderedDict\n)RtR"
#define FLOATS     STORAGE("torch\nFloatStorage", "0", "K\6")
#define WHOLE      TENSOR(FLOATS, "K\0", "K\2K\3\x86", "K\3K\1\x86")
#define KEY(c)     "X\1\0\0\0" c
#define DICT(body) PROTO2 "}(" body "u."

/* {"a": [ {"w": float32 [2,3], "t": its transpose, "h": float16 [4]}, {...} ], ...} */
static const char sample[] = DICT(
    KEY("a") "](" /* a list of an OrderedDict with a state, and of a dictionary */
             "ccollections\nOrderedDict\n)R(" KEY("w") WHOLE KEY("t") TENSOR(
                 FLOATS, "K\0", "K\3K\2\x86",
                 "K\1K\3\x86") "u"
                               "}X\11\0\0\0_metadata}sb"
                               "}(" KEY("h") TENSOR(
                                   STORAGE("torch\nHalfStorage", "1", "K\4"), "K\0", "K\4\x85",
                                   "K\1\x85") KEY("b") TENSOR(STORAGE("torch\nBFloat16Storage", "2",
                                                                      "K\4"),
                                                              "K\0", "K\4\x85", "K\1\x85") KEY("d")
                                   TENSOR(
                                       STORAGE("torch\nDoubleStorage", "3", "K\2"), "K\1", ")",
                                       ")") "u"
                                            "e" KEY(
                                                "p") "ctorch._utils\n_rebuild_"
                                                     "parameter\n" TENSOR(
                                                         FLOATS,
                                                         "K\2",
                                                         "K\2\x85",
                                                         "K\3\x85") "\x88"
                                                                    "ccollections\nOrderedDict"
                                                                    "\n)R\x87R" KEY("r") TENSOR(
                                                                        FLOATS,
                                                                        "K\5",
                                                                        "ctorch\nSize\nK\2K\3"
                                                                        "\x86\x85R",
                                                                        "K\0K\0\x86") KEY("e")
                                                                        TENSOR(
                                                                            FLOATS,
                                                                            "K\6",
                                                                            "K\0K\3\x86",
                                                                            "K\3K\1\x86") "K\7"
                                                                                          "N" KEY("i") "J\xfe\xff\xff\xff" KEY("j") "\x8a\6\0\0\0\0\0\x80" KEY("l") "\x8a\11\1\2\3\4\5\6\7\10\11" KEY("f") "G\x3f\xe0\0\0\0\0\0\0" KEY(
                                                                                              "s") "X\3\0\0\0h\303\251" KEY("y") "\x88" KEY("x") "ctorch\nfloat32\n" KEY("n") "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\2\0\0\0f8\x89\x88\x87R(K\3X\1\0\0\0<NN"
                                                                                                                                                                              "NJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbc_codecs\nencode\nX\1\0\0\0?X\6\0\0\0latin1"
                                                                                                                                                                              "\x86R\x86R" KEY(
                                                                                                                                                                                  "u") "(K\1K\2t");

static void expect_floats(const TorchFile *file, const char *path, const float *expected,
                          size_t count) {
    float out[8];
    Error error = {0};
    const TorchTensor *tensor = torch_file_find(file, path);
    if (!tensor)
        fail_msg("no %s", path);
    assert_int_equal(tensor->count, count);
    assert_true(count <= 8);
    assert_int_equal(torch_tensor_floats(out, tensor, &error), 0);
    for (size_t i = 0; i < count; i++)
        if (!(out[i] == expected[i] || (isnan(out[i]) && isnan(expected[i]))))
            fail_msg("%s[%zu]: %g, expected %g", path, i, (double)out[i], (double)expected[i]);
}

static void test_sample(void **state) {
    TorchFile file;
    Error error = {0};
    if (open_pickle(&file, *state, sample, sizeof sample - 1, &error))
        fail_msg("%s", error.text);
    assert_int_equal(file.count, 8);
    expect_floats(&file, "a.0.w", floats, 6);
    expect_floats(&file, "a.0.t", (float[]){0, 3, 1, 4, 2, -5.5f}, 6);
    expect_floats(&file, "a.1.h", (float[]){1, -2, 0x1p-24f, NAN}, 4);
    expect_floats(&file, "a.1.b", (float[]){1, -3.140625f, INFINITY, 0x1p-133f}, 4);
    expect_floats(&file, "a.1.d", (float[]){-7}, 1);
    expect_floats(&file, "p", (float[]){2, -5.5f}, 2);
    expect_floats(&file, "r", (float[]){-5.5f, -5.5f, -5.5f, -5.5f, -5.5f, -5.5f}, 6);
    expect_floats(&file, "e", NULL, 0);
    const TorchTensor *w = torch_file_find(&file, "a.0.w"), *t = torch_file_find(&file, "a.0.t");
    assert_ptr_equal(w->data, t->data); /* one storage */
    assert_true(w->type == TENSOR_F32 && w->dims == 2 && w->shape[0] == 2 && w->shape[1] == 3);
    assert_true(t->strides[0] == 1 && t->strides[1] == 3 && t->shape[0] == 3);
    assert_int_equal(torch_file_find(&file, "a.1.d")->dims, 0);
    assert_null(torch_file_find(&file, "a"));
    static const struct {
        const char *path;
        TorchScalarType type;
        int64_t integer;
        double number;
        const char *text;
    } scalars[] = {{"7", TORCH_NONE, 0, 0, NULL},
                   {"i", TORCH_INT, -2, 0, NULL},
                   {"j", TORCH_INT, -(INT64_C(1) << 47), 0, NULL},
                   {"l", TORCH_OPAQUE, 0, 0, "long integer"},
                   {"f", TORCH_FLOAT, 0, 0.5, NULL},
                   {"s", TORCH_TEXT, 0, 0, "h\303\251"},
                   {"y", TORCH_BOOL, 1, 0, NULL},
                   {"x", TORCH_OPAQUE, 0, 0, "torch.float32"},
                   {"n", TORCH_OPAQUE, 0, 0, "numpy.core.multiarray.scalar"},
                   {"u.0", TORCH_INT, 1, 0, NULL},
                   {"u.1", TORCH_INT, 2, 0, NULL}};
    assert_int_equal(file.scalar_count, sizeof scalars / sizeof *scalars);
    for (size_t i = 0; i < file.scalar_count; i++) {
        const TorchScalar *s = &file.scalars[i]; /* in the order of the pickle */
        assert_string_equal(s->path, scalars[i].path);
        assert_ptr_equal(torch_file_scalar(&file, s->path), s);
        assert_int_equal(s->type, scalars[i].type);
        assert_int_equal(s->integer, scalars[i].integer);
        assert_true(s->number == scalars[i].number);
        assert_int_equal(!s->text, !scalars[i].text);
        if (s->text)
            assert_string_equal(s->text, scalars[i].text);
    }
    assert_null(torch_file_scalar(&file, "nobody"));
    torch_file_close(&file);
    torch_file_close(&file);
}

/* Protocol 4: frames, short texts, numbered memo, classes by texts on the stack. */
static void test_protocol_4(void **state) {
    static const char pickle[] =
        "\x80\4\x95\1\0\0\0\0\0\0\0}\x94(\x8c\1w\x94\x8c\14torch._utils\x8c\22_rebuild_tensor_v2"
        "\x93((\x8c\7storage\x8c\5torch\x8c\13LongStorage\x93\x8c\1"
        "3\x8c\3cpuK\2tQK\0K\2\x85K\1"
        "\x85\x89}tR\x8d\1\0\0\0\0\0\0\0zh\1u.";
    TorchFile file;
    Error error = {0};
    if (open_pickle(&file, *state, pickle, sizeof pickle - 1, &error))
        fail_msg("%s", error.text);
    const TorchTensor *w = torch_file_find(&file, "w");
    assert_non_null(w);
    assert_int_equal(w->type, TENSOR_I64);
    assert_memory_equal(w->data, doubles, sizeof doubles);
    assert_string_equal(torch_file_scalar(&file, "z")->text, "w");
    float out[2];
    assert_int_equal(torch_tensor_floats(out, w, &error), -1);
    assert_non_null(strstr(error.text, "w is I64"));
    torch_file_close(&file);
}

#define CASE(word, pickle)                                                                         \
    { word, pickle, sizeof(pickle) - 1 }
#define BAD_TENSOR(word, storage, offset, shape, strides)                                          \
    CASE(word, DICT(KEY("w") TENSOR(storage, offset, shape, strides)))
#define HUGE "\x8a\10\377\377\377\377\377\377\377\177" /* 2^63 - 1 */

static void test_refused_pickles(void **state) {
    static const struct {
        const char *word;
        const char *pickle;
        size_t bytes;
    } cases[] = {
        /* classes */
        CASE("data.pkl at byte 2: the class os.system is not one that a checkpoint needs: refused",
             PROTO2 "cos\nsystem\nX\2\0\0\0ls\x85R."),
        CASE("at byte 14: the class os.system", "\x80\4\x8c\2os\x8c\6system\x93\x8c\2ls\x85R."),
        CASE("builtins.eval", PROTO2 "cbuiltins\neval\n."),
        CASE("torch.", PROTO2 "ctorch\n\n."),
        CASE("the class .", PROTO2 "c\n\n."),
        CASE("torch._utils._rebuild_tensor_v3", PROTO2 "ctorch._utils\n_rebuild_tensor_v3\n."),
        CASE("name is no text", "\x80\4K\1K\2\x93."),
        CASE("within an instruction", PROTO2 "ctorch\nSize"),
        /* calls and states */
        CASE("torch.FloatStorage is never called", PROTO2 "ctorch\nFloatStorage\n)R."),
        CASE("OrderedDict is never called with", PROTO2 "ccollections\nOrderedDict\nN\x85R."),
        CASE("no class", PROTO2 "N)R."),
        CASE("without a tuple", PROTO2 "ctorch\nSize\nNR."),
        CASE("(a plain value) is set", PROTO2 "}}b."),
        CASE("(torch.Size) is set", PROTO2 "ctorch\nSize\n)R}b."),
        CASE("(torch.float32) is set", PROTO2 "ctorch\nfloat32\n}b."),
        CASE("torch.Size with too few", PROTO2 "ctorch\nSize\n)R."),
        CASE("_rebuild_parameter with too few", PROTO2 "ctorch._utils\n_rebuild_parameter\n)R."),
        /* beginning, end and stack */
        CASE("no pickle of protocol 2", ""),
        CASE("no pickle of protocol 2", "N."),
        CASE("pickle protocol 5", "\x80\5N."),
        CASE("pickle protocol 1", "\x80\1N."),
        CASE("no pickle of protocol 2", "\x80"),
        CASE("without STOP", PROTO2 "N"),
        CASE("1 bytes after its end", PROTO2 "N.N"),
        CASE("ends with 0 values", PROTO2 "."),
        CASE("ends with 2 values", PROTO2 "NN."),
        CASE("ends with 1 values", PROTO2 "N(."),
        CASE("fewer values", PROTO2 "R."),
        CASE("fewer values", PROTO2 "N(\x85."), /* never below a mark */
        CASE("fewer values", PROTO2 "(a."),
        CASE("fewer values", PROTO2 "Q."),
        CASE("no mark", PROTO2 "Nt."),
        CASE("no mark", PROTO2 "]e."),
        CASE("no list", PROTO2 "}Na."),
        CASE("no dictionary", PROTO2 "]NNs."),
        CASE("without a value", PROTO2 "}(NNNu."),
        CASE("fewer values", PROTO2 "(Ne."), /* values, but no list below the mark */
        /* lengths */
        CASE("within an instruction", PROTO2 "X\377\377\377\377."),
        CASE("within an instruction", "\x80\4\x8d\377\377\377\377\377\377\377\177."),
        CASE("within an instruction", "\x80\4\x8e\377\377\377\377\377\377\377\377."),
        CASE("within an instruction", PROTO2 "\x8b\377\377\377\377."),
        CASE("within an instruction", PROTO2 "G\0\0\0."),
        CASE("frame longer", "\x80\4\x95\377\377\377\377\377\377\377\377."),
        CASE("frame longer", "\x80\4\x95\3\0\0\0\0\0\0\0N."),
        CASE("place 4294967295 of a memo", PROTO2 "Nr\377\377\377\377."),
        CASE("nothing at place 1", PROTO2 "Nq\0h\1."),
        CASE("nothing at place 4294967295", PROTO2 "j\377\377\377\377."),
        CASE("fewer values", PROTO2 "q\0."),
        /* keys */
        CASE("neither text nor an integer", DICT("NN")),
        CASE("neither text nor an integer", DICT(")N")),
        CASE("empty or holds a zero", DICT("X\0\0\0\0N")),
        CASE("empty or holds a zero", DICT("X\1\0\0\0\0N")),
        CASE("two values have the path a", DICT(KEY("a") "N" KEY("a") "N")),
        CASE("two values have the path a", DICT(KEY("a") "}" KEY("a") "N")),
        CASE("two values have the path a.b", DICT("X\3\0\0\0a.bN" KEY("a") "}" KEY("b") "Ns")),
        CASE("two values have the path 1", DICT("K\1N" KEY("1") "N")),
        CASE("within itself", PROTO2 "]q\0h\0a."),
        /* storages */
        CASE("x/data/9 is not in the file",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "9", "K\6"), "K\0", ")", ")"))),
        CASE("has 24 bytes, expected 5 elements",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "0", "K\5"), "K\0", ")", ")"))),
        CASE("has 24 bytes, expected 7 elements",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "0", "K\7"), "K\0", ")", ")"))),
        CASE("has 24 bytes, expected -1 elements",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "0", "J\377\377\377\377"), "K\0",
                                  ")", ")"))),
        CASE("has 24 bytes, expected 9223372036854775807",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "0", HUGE), "K\0", ")", ")"))),
        /* 2^62 + 6 elements of 4 bytes wrap to 24 */
        CASE("has 24 bytes, expected 4611686018427387910",
             DICT(KEY("w") TENSOR(STORAGE("torch\nFloatStorage", "0", "\x8a\10\6\0\0\0\0\0\0\x40"),
                                  "K\0", ")", ")"))),
        CASE("UntypedStorage holds no known type",
             DICT(KEY("w") TENSOR(STORAGE("torch.storage\nUntypedStorage", "0", "K\6"), "K\0", ")",
                                  ")"))),
        BAD_TENSOR("not told as", "N", "K\0", ")", ")"),
        BAD_TENSOR("not told as", ")Q", "K\0", ")", ")"),
        BAD_TENSOR("not told as", "(NNNNNtQ", "K\0", ")", ")"),
        BAD_TENSOR("key is empty", "(X\7\0\0\0storagectorch\nFloatStorage\nX\0\0\0\0NK\6tQ", "K\0",
                   ")", ")"),
        /* tensors inside their storage */
        BAD_TENSOR("starts outside", FLOATS, "K\7", ")", ")"),
        BAD_TENSOR("starts outside", FLOATS, "J\377\377\377\377", ")", ")"),
        BAD_TENSOR("starts outside", FLOATS, "N", ")", ")"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\6", ")", ")"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\1", "K\2K\3\x86", "K\3K\1\x86"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\0", "K\7\x85", "K\1\x85"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\0", "K\2\x85", "K\6\x85"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\0", HUGE "\x85", HUGE "\x85"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\0", HUGE HUGE "\x86", "K\0K\0\x86"),
        BAD_TENSOR("beyond its storage of 6", FLOATS, "K\6", "K\2" HUGE "\x86", HUGE "K\2\x86"),
        BAD_TENSOR("more than the file has bytes", FLOATS, "K\0", HUGE "\x85", "K\0\x85"),
        BAD_TENSOR("more than the file has bytes", FLOATS, "K\0", "J\0\0\0\1\x85", "K\0\x85"),
        BAD_TENSOR("negative or no integer", FLOATS, "K\0", "J\377\377\377\377\x85", "K\1\x85"),
        BAD_TENSOR("negative or no integer", FLOATS, "K\0", "K\2\x85", "J\377\377\377\377\x85"),
        BAD_TENSOR("negative or no integer", FLOATS, "K\0", "\x88\x85", "K\1\x85"),
        BAD_TENSOR("no tuple", FLOATS, "K\0", "N", "K\1\x85"),
        BAD_TENSOR("no tuple", FLOATS, "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", ")"),
        BAD_TENSOR("1 strides for 2 dimensions", FLOATS, "K\0", "K\2K\3\x86", "K\1\x85"),
    };
    Place *place = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TorchFile file;
        Error error = {0};
        if (!open_pickle(&file, place, cases[i].pickle, cases[i].bytes, &error))
            fail_msg("case %zu: opened, expected \"%s\"", i, cases[i].word);
        if (!strstr(error.text, cases[i].word) || !strstr(error.text, place->path))
            fail_msg("case %zu: expected \"%s\" in \"%s\"", i, cases[i].word, error.text);
        torch_file_close(&file); /* allowed after a failure */
    }
}

/* Each of the 256 codes on its own: whatever is not known is refused by name or number. */
static void test_every_instruction(void **state) {
    static const char known[] = "(.NJKMGXTUBC)t]ae}suc"
                                "RbQhjqr\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95";
    static const struct {
        char code;
        const char *name;
    } named[] = {{'i', "INST"}, {'o', "OBJ"}, {'\x81', "NEWOBJ"}, {'\x82', "EXT1"}, {'0', "POP"}};
    TorchFile file;
    for (int code = 0; code < 256; code++) {
        const char pickle[] = {'\x80', 2, 'N', (char)code, '.'};
        Error error = {0};
        int result = open_pickle(&file, *state, pickle, sizeof pickle, &error);
        bool foreign = strstr(error.text, "that a checkpoint needs") ||
                       strstr(error.text, "no instruction has the code");
        assert_int_equal(foreign, !(code && strchr(known, code)));
        assert_true(!foreign || result);
        torch_file_close(&file);
        for (size_t i = 0; i < sizeof named / sizeof *named; i++)
            if (named[i].code == (char)code) {
                char word[64];
                snprintf(word, sizeof word, "at byte 3: the instruction %s is", named[i].name);
                assert_non_null(strstr(error.text, word));
            }
    }
}

/* Depth and unfolding: sizes that the pickle's own size does not show. */
static void test_bounds(void **state) {
    Place *place = *state;
    TorchFile file;
    Error error = {0};
    for (int depth = 60; depth < 100000; depth += 49000) { /* lists within lists */
        ZipBytes pickle = {0};
        zip_put(&pickle, PROTO2, 2);
        for (int i = 0; i < depth; i++)
            zip_put(&pickle, "]", 1);
        zip_put(&pickle, "N", 1);
        for (int i = 0; i < depth; i++)
            zip_put(&pickle, "a", 1);
        zip_put(&pickle, ".", 1);
        int result = open_pickle(&file, place, pickle.data, pickle.count, &error);
        assert_int_equal(result, depth <= 64 ? 0 : -1);
        torch_file_close(&file);
        free(pickle.data);
    }
    assert_non_null(strstr(error.text, "nested deeper than 64"));
    /* list i+1 holds list i twice: 2^50 leaves out of 400 bytes */
    ZipBytes laughs = {0};
    zip_put(&laughs, PROTO2 "(]q\0Na", 7);
    for (uint8_t i = 0; i < 50; i++) {
        const uint8_t list[] = {']', '(', 'h', i, 'h', i, 'e', 'q', (uint8_t)(i + 1)};
        zip_put(&laughs, list, sizeof list);
    }
    zip_put(&laughs, "t", 1);
    zip_put(&laughs, ".", 1);
    assert_int_equal(open_pickle(&file, place, laughs.data, laughs.count, &error), -1);
    assert_non_null(strstr(error.text, "unfold into far more"));
    free(laughs.data);
    /* a path of over 1,024 bytes */
    ZipBytes longer = {0};
    zip_put(&longer, PROTO2 "}X\0\4\0\0", 8);
    for (int i = 0; i < 1024; i++)
        zip_put(&longer, "k", 1);
    size_t key = longer.count;
    zip_put(&longer, "Ns.", 3);
    assert_int_equal(open_pickle(&file, place, longer.data, longer.count, &error), 0);
    torch_file_close(&file);
    longer.count = key;
    zip_put(&longer, ")s.", 3);
    assert_int_equal(open_pickle(&file, place, longer.data, longer.count, &error), 0);
    torch_file_close(&file);
    longer.count = key;
    zip_put(&longer, "]Nas.", 5);
    assert_int_equal(open_pickle(&file, place, longer.data, longer.count, &error), -1);
    assert_non_null(strstr(error.text, "path of more than 1024 bytes"));
    free(longer.data);
}

static void test_other_files(void **state) {
    Place *place = *state;
    TorchFile file;
    Error error = {0};
    ZipBytes zip = build(sample, sizeof sample - 1, "big");
    write_bytes(place, zip.data, zip.count);
    free(zip.data);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "byte order is big, expected little"));
    const ZipPart none[] = {{"x/data", "", 0}},
                  two[] = {{"x/data.pkl", "", 0}, {"y/data.pkl", "", 0}};
    zip = zip_build(none, 1, true);
    write_bytes(place, zip.data, zip.count);
    free(zip.data);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "no data.pkl in it"));
    zip = zip_build(two, 2, true);
    write_bytes(place, zip.data, zip.count);
    free(zip.data);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "holds two checkpoints"));
    static const uint8_t magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                    0x20, 0x6a, 0xa8, 0x50, 0x19, '.',  0x80, 0x02, 'M'};
    write_bytes(place, magic, sizeof magic);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "before PyTorch 1.6: load it and save it again"));
    uint8_t tar[1024] = {0};
    memcpy(tar + 257, "ustar", 5);
    write_bytes(place, tar, sizeof tar);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "before PyTorch 1.6"));
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(torch_file_open(&file, place->path, &error), -1);
    assert_non_null(strstr(error.text, "No such file"));
    torch_file_close(&file);
}

/* Reads all that a file offers, so that a pointer outside the map is noticed. */
static void look_at(TorchFile *file) {
    for (size_t i = 0; i < file->count; i++) {
        const TorchTensor *tensor = &file->tensors[i];
        float *out = memory_new(tensor->count, sizeof *out);
        torch_tensor_floats(out, tensor, NULL);
        free(out);
    }
}

/* Cut anywhere: refused. Any byte of the pickle changed: refused, or safe to look at. */
static void test_damage(void **state) {
    Place *place = *state;
    TorchFile file;
    ZipBytes zip = build(sample, sizeof sample - 1, "little");
    for (size_t count = 0; count < zip.count; count++) {
        write_bytes(place, zip.data, count);
        assert_int_equal(torch_file_open(&file, place->path, NULL), -1);
    }
    free(zip.data);
    uint8_t pickle[sizeof sample - 1];
    memcpy(pickle, sample, sizeof pickle);
    for (size_t count = 0; count < sizeof pickle; count++)
        assert_int_equal(open_pickle(&file, place, pickle, count, NULL), -1);
    const uint8_t values[] = {0, 7, '(', ')', 'R', '}', 'N', 0x87, 0xff};
    for (size_t at = 0; at < sizeof pickle * sizeof values; at++) {
        uint8_t *byte = &pickle[at / sizeof values], kept = *byte;
        *byte = values[at % sizeof values];
        if (!open_pickle(&file, place, pickle, sizeof pickle, NULL))
            look_at(&file);
        torch_file_close(&file);
        *byte = kept;
    }
}

/* The published code's own checkpoints hold the same bits as the weights beside them. */
static void test_published_files(void **state) {
    (void)state;
    static const struct {
        const char *folder, *name;
        int64_t epoch;
    } files[] = {{REFERENCE "/vjepa1_tiny", "checkpoint.pth.tar", 7},
                 {REFERENCE "/vjepa2_tiny", "checkpoint.pt", 3}};
    for (int i = 0; i < 2; i++) {
        TorchFile file;
        Safetensors weights;
        Error error = {0};
        char *path = path_join(files[i].folder, files[i].name),
             *beside = path_join(files[i].folder, "weights.safetensors");
        if (!file_exists(path)) {
            free(path);
            free(beside);
            print_message("no reference files beside the sources: skipped\n");
            skip();
        }
        if (torch_file_open(&file, path, &error) || safetensors_open(&weights, beside, &error))
            fail_msg("%s", error.text);
        assert_true(file.count > 80);
        assert_int_equal(file.count, weights.count);
        for (size_t t = 0; t < weights.count; t++) {
            const TensorInfo *theirs = &weights.tensors[t];
            const char *dot = strchr(theirs->name, '.');
            char *name = memory_text("%.*s.module.backbone%s", (int)(dot - theirs->name),
                                     theirs->name, dot);
            const TorchTensor *ours = torch_file_find(&file, name);
            if (!ours)
                fail_msg("no %s", name);
            assert_int_equal(ours->type, theirs->type);
            assert_int_equal(ours->dims, theirs->dims);
            assert_memory_equal(ours->shape, theirs->shape, sizeof ours->shape);
            assert_int_equal(ours->count * sizeof(float), theirs->bytes);
            float *out = memory_new(ours->count, sizeof *out);
            assert_int_equal(torch_tensor_floats(out, ours, &error), 0);
            assert_int_equal(memcmp(out, theirs->data, theirs->bytes), 0);
            free(out);
            free(name);
        }
        assert_int_equal(torch_file_scalar(&file, "epoch")->integer, files[i].epoch);
        assert_true(torch_file_scalar(&file, "loss")->number == 0.5);
        assert_int_equal(torch_file_scalar(&file, "opt")->type, TORCH_NONE);
        torch_file_close(&file);
        safetensors_close(&weights);
        free(path);
        free(beside);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sample, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_protocol_4, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_refused_pickles, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_every_instruction, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_bounds, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_other_files, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_damage, make_place, drop_place),
        cmocka_unit_test(test_published_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
