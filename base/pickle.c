/* Reading pickles as data. See base/pickle.h. */
#include "base/pickle.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL_FIRST 2
#define PROTOCOL_LAST  4

/* Instructions, under the names of Python's pickletools. */
enum {
    MARK = '(',
    STOP = '.',
    NONE = 'N',
    BININT = 'J',
    BININT1 = 'K',
    BININT2 = 'M',
    BINFLOAT = 'G',
    BINUNICODE = 'X',
    BINSTRING = 'T',
    SHORT_BINSTRING = 'U',
    BINBYTES = 'B',
    SHORT_BINBYTES = 'C',
    EMPTY_TUPLE = ')',
    TUPLE = 't',
    EMPTY_LIST = ']',
    APPEND = 'a',
    APPENDS = 'e',
    EMPTY_DICT = '}',
    SETITEM = 's',
    SETITEMS = 'u',
    GLOBAL = 'c',
    REDUCE = 'R',
    BUILD = 'b',
    BINPERSID = 'Q',
    BINGET = 'h',
    LONG_BINGET = 'j',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    PROTO = 0x80,
    TUPLE1 = 0x85,
    TUPLE2,
    TUPLE3,
    NEWTRUE,
    NEWFALSE,
    LONG1,
    LONG4,
    SHORT_BINUNICODE = 0x8c,
    BINUNICODE8,
    BINBYTES8,
    STACK_GLOBAL = 0x93,
    MEMOIZE,
    FRAME
};

/* Those that are refused. */
static const char *const refused[256] = {['0'] = "POP",          ['1'] = "POP_MARK",
                                         ['2'] = "DUP",          ['F'] = "FLOAT",
                                         ['I'] = "INT",          ['L'] = "LONG",
                                         ['P'] = "PERSID",       ['S'] = "STRING",
                                         ['V'] = "UNICODE",      ['d'] = "DICT",
                                         ['g'] = "GET",          ['i'] = "INST",
                                         ['l'] = "LIST",         ['o'] = "OBJ",
                                         ['p'] = "PUT",          [0x81] = "NEWOBJ",
                                         [0x82] = "EXT1",        [0x83] = "EXT2",
                                         [0x84] = "EXT4",        [0x8f] = "EMPTY_SET",
                                         [0x90] = "ADDITEMS",    [0x91] = "FROZENSET",
                                         [0x92] = "NEWOBJ_EX",   [0x96] = "BYTEARRAY8",
                                         [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER"};

typedef struct Machine {
    const uint8_t *bytes;
    size_t count, next, at; /* bytes; the next one; where the instruction started */
    PickleValue **stack;
    size_t height, stack_room;
    size_t *marks; /* heights of the stack */
    size_t mark_count, mark_room;
    PickleValue **memo; /* NULL where nothing was put */
    size_t memo_count;
    const PickleClass *classes;
    size_t class_count;
    Pickle *pickle;
    const char *name;
    Error *error;
} Machine;

#define bad(m, format, ...)                                                                        \
    error_set((m)->error, ERROR_RUN, "%s at byte %zu: " format, (m)->name, (m)->at, ##__VA_ARGS__)

/* The smallest power of two, from 8 on, that holds one more than `count`, when `room` does not. */
static size_t more_room(size_t count, size_t room) {
    return count < room ? room : room ? 2 * room : 8;
}

static PickleValue *value_new(Machine *m, PickleKind kind) {
    PickleValue *value = memory_new(1, sizeof *value);
    value->kind = kind;
    value->at = m->at;
    value->older = m->pickle->newest;
    m->pickle->newest = value;
    return value;
}

static int push(Machine *m, PickleValue *value) {
    size_t room = more_room(m->height, m->stack_room);
    if (room != m->stack_room)
        m->stack = memory_grow(m->stack, m->stack_room = room, sizeof(PickleValue *));
    m->stack[m->height++] = value;
    return 0;
}

/* How many values lie above the last mark. */
static size_t above(const Machine *m) {
    return m->height - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

static int need(Machine *m, size_t count) {
    return above(m) >= count ? 0 : bad(m, "the stack has fewer values than are taken: refused");
}

static int need_mark(Machine *m) {
    return m->mark_count ? 0 : bad(m, "no mark to go back to: refused");
}

static void append(PickleValue *list, PickleValue *const *values, size_t count) {
    if (list->count + count > list->room) {
        list->room = list->count + count > 2 * list->room ? list->count + count : 2 * list->room;
        list->items = memory_grow(list->items, list->room, sizeof(PickleValue *));
    }
    if (count)
        memcpy(list->items + list->count, values, count * sizeof(PickleValue *));
    list->count += count;
}

/* Takes the upper `count` values into a new one of this kind, which it pushes. */
static int gather(Machine *m, PickleKind kind, size_t count, const PickleClass *class) {
    PickleValue *value = value_new(m, kind);
    m->height -= count;
    append(value, count ? m->stack + m->height : NULL, count);
    value->class = class;
    return push(m, value);
}

/* The next `count` bytes of the pickle. */
static int take(Machine *m, const uint8_t **out, uint64_t count) {
    if (count > m->count - m->next)
        return bad(m, "it ends within an instruction: refused");
    *out = m->bytes + m->next;
    m->next += (size_t)count;
    return 0;
}

/* A little-endian number of `width` bytes, at most 8. */
static int take_number(Machine *m, uint64_t *out, int width) {
    const uint8_t *at;
    *out = 0;
    if (take(m, &at, (uint64_t)width))
        return -1;
    for (int i = width - 1; i >= 0; i--)
        *out = *out << 8 | at[i];
    return 0;
}

static int push_integer(Machine *m, PickleKind kind, int64_t integer) {
    PickleValue *value = value_new(m, kind);
    value->integer = integer;
    return push(m, value);
}

/* Text or bytes behind a length of `width` bytes. */
static int push_text(Machine *m, PickleKind kind, int width) {
    uint64_t length;
    const uint8_t *at;
    if (take_number(m, &length, width) || take(m, &at, length))
        return -1;
    PickleValue *value = value_new(m, kind);
    value->text = (const char *)at;
    value->length = (size_t)length;
    return push(m, value);
}

static int push_float(Machine *m) {
    const uint8_t *at;
    if (take(m, &at, 8))
        return -1;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) /* big-endian, unlike all the rest */
        bits = bits << 8 | at[i];
    PickleValue *value = value_new(m, PICKLE_FLOAT);
    memcpy(&value->number, &bits, sizeof bits);
    return push(m, value);
}

/* A two's complement number of any length. */
static int push_long(Machine *m, int width) {
    uint64_t length, bits = 0;
    const uint8_t *at;
    if (take_number(m, &length, width) || take(m, &at, length))
        return -1;
    if (length > 8) {
        PickleValue *value = value_new(m, PICKLE_LONG);
        value->length = (size_t)length;
        return push(m, value);
    }
    for (size_t i = 0; i < length; i++)
        bits |= (uint64_t)at[i] << (8 * i);
    if (length && length < 8 && at[length - 1] & 0x80)
        bits |= ~UINT64_C(0) << (8 * length);
    int64_t integer;
    memcpy(&integer, &bits, sizeof bits);
    return push_integer(m, PICKLE_INT, integer);
}

/* Pushes the class `module`.`name` if it is one of the list. */
static int push_class(Machine *m, const char *module, size_t module_length, const char *name,
                      size_t name_length) {
    for (size_t i = 0; i < m->class_count; i++) {
        const char *known = m->classes[i].name;
        if (strlen(known) == module_length + 1 + name_length &&
            !memcmp(known, module, module_length) && known[module_length] == '.' &&
            !memcmp(known + module_length + 1, name, name_length)) {
            PickleValue *value = value_new(m, PICKLE_CLASS);
            value->class = &m->classes[i];
            return push(m, value);
        }
    }
    return bad(m, "the class %.*s.%.*s is not one that a checkpoint needs: refused",
               (int)(module_length < 200 ? module_length : 200), module,
               (int)(name_length < 200 ? name_length : 200), name);
}

static int push_global(Machine *m) {
    const char *at = (const char *)m->bytes + m->next;
    size_t rest = m->count - m->next;
    const char *first = memchr(at, '\n', rest);
    const char *second = first ? memchr(first + 1, '\n', rest - (size_t)(first + 1 - at)) : NULL;
    if (!second)
        return bad(m, "it ends within an instruction: refused");
    m->next += (size_t)(second + 1 - at);
    return push_class(m, at, (size_t)(first - at), first + 1, (size_t)(second - first - 1));
}

static int push_stack_global(Machine *m) {
    if (need(m, 2))
        return -1;
    const PickleValue *module = m->stack[m->height - 2], *name = m->stack[m->height - 1];
    if (module->kind != PICKLE_TEXT || name->kind != PICKLE_TEXT)
        return bad(m, "a class whose name is no text: refused");
    m->height -= 2;
    return push_class(m, module->text, module->length, name->text, name->length);
}

/* class, arguments -> call */
static int reduce(Machine *m) {
    if (need(m, 2))
        return -1;
    const PickleValue *callee = m->stack[m->height - 2];
    PickleValue *arguments = m->stack[m->height - 1];
    if (callee->kind != PICKLE_CLASS || arguments->kind != PICKLE_TUPLE)
        return bad(m, "a call of something that is no class, or without a tuple: refused");
    const PickleClass *class = callee->class;
    if (class->role == PICKLE_NAMED || (class->role == PICKLE_DICT && arguments->count))
        return bad(m, "%s is never called %sin a checkpoint: refused", class->name,
                   class->role == PICKLE_DICT ? "with arguments " : "");
    m->height -= 2;
    if (class->role == PICKLE_DICT)
        return gather(m, PICKLE_DICTIONARY, 0, class);
    m->stack[m->height++] = arguments;
    return gather(m, PICKLE_CALL, 1, class);
}

/* object, state -> object */
static int build(Machine *m) {
    if (need(m, 2))
        return -1;
    const PickleValue *object = m->stack[m->height - 2];
    if (!object->class || object->kind == PICKLE_CLASS || object->class->role == PICKLE_CALLED)
        return bad(m, "the state of something that has none (%s) is set: refused",
                   object->class ? object->class->name : "a plain value");
    m->height--;
    return 0;
}

/* container, values -> container, with the upper `count` values */
static int extend(Machine *m, PickleKind kind, size_t count) {
    if (need(m, count + 1))
        return -1;
    PickleValue *container = m->stack[m->height - count - 1];
    if (container->kind != kind)
        return bad(m, "values are put into something that is no %s: refused",
                   kind == PICKLE_LIST ? "list" : "dictionary");
    if (kind == PICKLE_DICTIONARY && count % 2)
        return bad(m, "a key without a value: refused");
    append(container, m->stack + m->height - count, count);
    m->height -= count;
    return 0;
}

/* The same with all values above the last mark, which goes. */
static int extend_marked(Machine *m, PickleKind kind) {
    if (need_mark(m))
        return -1;
    size_t count = above(m);
    m->mark_count--;
    return extend(m, kind, count);
}

static int memo_put(Machine *m, uint64_t place) {
    if (need(m, 1))
        return -1;
    if (place >= m->count) /* each put takes a byte at least, and writers count from 0 */
        return bad(m, "place %llu of a memo of at most %zu: refused", (unsigned long long)place,
                   m->count);
    if (place >= m->memo_count) {
        size_t grown = m->memo_count ? 2 * m->memo_count : 64;
        grown = grown > place ? grown : (size_t)place + 1;
        m->memo = memory_grow(m->memo, grown, sizeof(PickleValue *));
        memset(m->memo + m->memo_count, 0, (grown - m->memo_count) * sizeof(PickleValue *));
        m->memo_count = grown;
    }
    m->memo[place] = m->stack[m->height - 1];
    return 0;
}

static int memo_get(Machine *m, uint64_t place) {
    if (place >= m->memo_count || !m->memo[place])
        return bad(m, "nothing at place %llu of the memo: refused", (unsigned long long)place);
    return push(m, m->memo[place]);
}

/* One instruction other than PROTO, STOP, MEMOIZE. */
static int step(Machine *m, uint8_t code) {
    uint64_t n;
    switch (code) {
    case MARK:
        if (m->mark_count == m->mark_room) {
            m->mark_room = more_room(m->mark_count, m->mark_room);
            m->marks = memory_grow(m->marks, m->mark_room, sizeof *m->marks);
        }
        m->marks[m->mark_count++] = m->height;
        return 0;
    case NONE:
        return push(m, value_new(m, PICKLE_NONE));
    case NEWTRUE:
    case NEWFALSE:
        return push_integer(m, PICKLE_BOOL, code == NEWTRUE);
    case BININT:
        return take_number(m, &n, 4) || push_integer(m, PICKLE_INT, (int32_t)(uint32_t)n);
    case BININT1:
        return take_number(m, &n, 1) || push_integer(m, PICKLE_INT, (int64_t)n);
    case BININT2:
        return take_number(m, &n, 2) || push_integer(m, PICKLE_INT, (int64_t)n);
    case LONG1:
        return push_long(m, 1);
    case LONG4:
        return push_long(m, 4);
    case BINFLOAT:
        return push_float(m);
    case BINUNICODE:
    case BINSTRING:
        return push_text(m, PICKLE_TEXT, 4);
    case SHORT_BINUNICODE:
    case SHORT_BINSTRING:
        return push_text(m, PICKLE_TEXT, 1);
    case BINUNICODE8:
        return push_text(m, PICKLE_TEXT, 8);
    case BINBYTES:
        return push_text(m, PICKLE_BYTES, 4);
    case SHORT_BINBYTES:
        return push_text(m, PICKLE_BYTES, 1);
    case BINBYTES8:
        return push_text(m, PICKLE_BYTES, 8);
    case EMPTY_TUPLE:
        return gather(m, PICKLE_TUPLE, 0, NULL);
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
        n = (uint64_t)(code - TUPLE1 + 1);
        return need(m, (size_t)n) || gather(m, PICKLE_TUPLE, (size_t)n, NULL);
    case TUPLE:
        if (need_mark(m))
            return -1;
        n = above(m);
        m->mark_count--;
        return gather(m, PICKLE_TUPLE, (size_t)n, NULL);
    case EMPTY_LIST:
        return gather(m, PICKLE_LIST, 0, NULL);
    case EMPTY_DICT:
        return gather(m, PICKLE_DICTIONARY, 0, NULL);
    case APPEND:
        return extend(m, PICKLE_LIST, 1);
    case APPENDS:
        return extend_marked(m, PICKLE_LIST);
    case SETITEM:
        return extend(m, PICKLE_DICTIONARY, 2);
    case SETITEMS:
        return extend_marked(m, PICKLE_DICTIONARY);
    case GLOBAL:
        return push_global(m);
    case STACK_GLOBAL:
        return push_stack_global(m);
    case REDUCE:
        return reduce(m);
    case BUILD:
        return build(m);
    case BINPERSID:
        return need(m, 1) || gather(m, PICKLE_PERSISTENT, 1, NULL);
    case BINPUT:
        return take_number(m, &n, 1) || memo_put(m, n);
    case LONG_BINPUT:
        return take_number(m, &n, 4) || memo_put(m, n);
    case BINGET:
        return take_number(m, &n, 1) || memo_get(m, n);
    case LONG_BINGET:
        return take_number(m, &n, 4) || memo_get(m, n);
    case FRAME:
        if (take_number(m, &n, 8))
            return -1;
        return n > m->count - m->next ? bad(m, "a frame longer than the pickle: refused") : 0;
    default:
        if (refused[code])
            return bad(m, "the instruction %s is not one that a checkpoint needs: refused",
                       refused[code]);
        return bad(m, "no instruction has the code 0x%02x: refused", code);
    }
}

static int run(Machine *m) {
    uint64_t protocol;
    if (!m->count || m->bytes[m->next++] != PROTO || take_number(m, &protocol, 1))
        return bad(m, "no pickle of protocol 2 or later starts here: refused");
    if (protocol < PROTOCOL_FIRST || protocol > PROTOCOL_LAST)
        return bad(m, "pickle protocol %d, expected 2 to 4: refused", (int)protocol);
    for (uint64_t memoized = 0;;) {
        m->at = m->next;
        if (m->next == m->count)
            return bad(m, "it ends without STOP: refused");
        uint8_t code = m->bytes[m->next++];
        if (code == STOP)
            break;
        if (code == MEMOIZE ? memo_put(m, memoized++) : step(m, code))
            return -1;
    }
    if (m->mark_count || m->height != 1)
        return bad(m, "it ends with %zu values, expected one: refused", m->height);
    if (m->next != m->count)
        return bad(m, "%zu bytes after its end: refused", m->count - m->next);
    m->pickle->root = m->stack[0];
    return 0;
}

int pickle_read(Pickle *pickle, const uint8_t *bytes, size_t count, const PickleClass *classes,
                size_t class_count, const char *name, Error *error) {
    *pickle = (Pickle){0};
    if (count > PICKLE_LIMIT)
        return error_set(error, ERROR_RUN, "%s has %zu bytes, more than the %zu allowed", name,
                         count, PICKLE_LIMIT);
    Machine machine = {.bytes = bytes,
                       .count = count,
                       .classes = classes,
                       .class_count = class_count,
                       .pickle = pickle,
                       .name = name,
                       .error = error};
    int result = run(&machine) ? -1 : 0;
    free(machine.stack);
    free(machine.marks);
    free(machine.memo);
    if (result)
        pickle_free(pickle);
    return result;
}

void pickle_free(Pickle *pickle) {
    for (PickleValue *value = pickle->newest; value;) {
        PickleValue *older = value->older;
        if (value->kind >= PICKLE_TUPLE && value->kind != PICKLE_CLASS)
            free(value->items);
        free(value);
        value = older;
    }
    *pickle = (Pickle){0};
}
