/* A pickle read as data. Python's unpickler is a stack machine whose programs may call anything;
 * this one knows the instructions that protocols 2 to 4 need for numbers, texts, tuples, lists and
 * dictionaries, and calls nothing. A class is a name out of the caller's list; "calling" one only
 * writes down the class and its arguments. Every other class or instruction is refused by name.
 *
 *   value := None | bool | integer | float | text | bytes | tuple | list | dictionary
 *          | class                      a name, e.g. torch.FloatStorage
 *          | call of a class            the class and a tuple of arguments
 *          | persistent                 a reference to something outside the pickle, by its key
 *
 * Values are shared where the pickle shares them (its memo), so the result is a graph, and a list
 * may even hold itself: whoever walks it bounds depth and work. Each instruction makes at most one
 * value: memory is at most about a hundred bytes per byte of pickle, and a pickle has at most
 * PICKLE_LIMIT bytes.
 * Source: Python's documentation of pickletools, and PEP 307 (protocol 2), PEP 3154 (protocol 4).
 */
#ifndef JEPA_BASE_PICKLE_H
#define JEPA_BASE_PICKLE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define PICKLE_LIMIT ((size_t)8 << 20) /* bytes; a tensor needs about 150 */

/* What a pickle may do with a class of the list. */
typedef enum PickleRole {
    PICKLE_NAMED,  /* nothing but name it: storage classes, data types */
    PICKLE_CALLED, /* call it with arguments */
    PICKLE_STATED, /* the same, and then set its state, which is dropped */
    PICKLE_DICT    /* call it without arguments: an empty dictionary; its state is dropped */
} PickleRole;

typedef struct PickleClass {
    const char *name; /* "module.name" */
    PickleRole role;
} PickleClass;

typedef enum PickleKind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_LONG, /* an integer of more than 64 bits: only its size is kept */
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_BYTES,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICTIONARY,
    PICKLE_CLASS,
    PICKLE_CALL,
    PICKLE_PERSISTENT
} PickleKind;

typedef struct PickleValue PickleValue;
struct PickleValue {
    PickleKind kind;
    size_t at;                /* the byte of the pickle whose instruction made it */
    const PickleClass *class; /* CLASS, CALL; a DICTIONARY's, NULL for a plain one */
    PickleValue *older;       /* the value made before it */
    union {                   /* by kind */
        int64_t integer;      /* BOOL (0, 1), INT */
        double number;        /* FLOAT */
        struct {
            const char *text; /* TEXT, BYTES: inside the pickle, not zero-terminated */
            size_t length;    /* ... its bytes; LONG: bytes of the number */
        };
        struct {
            PickleValue **items; /* TUPLE, LIST; DICTIONARY: key, value, key, value; CALL: one, the
                                    tuple of arguments; PERSISTENT: one, its key */
            size_t count, room;  /* values in `items`; places allocated */
        };
    };
};

typedef struct Pickle {
    PickleValue *root;
    PickleValue *newest; /* all values, chained by `older` */
} Pickle;

/* Reads `bytes`, which must outlive the result. `name` (the file, "x.pt: data.pkl") opens every
 * message; `classes` [class_count] are the only ones known, and outlive the result too. On failure
 * nothing needs freeing (it may be). */
int pickle_read(Pickle *pickle, const uint8_t *bytes, size_t count, const PickleClass *classes,
                size_t class_count, const char *name, Error *error);
void pickle_free(Pickle *pickle);

#endif
