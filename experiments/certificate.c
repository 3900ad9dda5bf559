/* Parity certificates. See experiments/certificate.h. */
#include "experiments/certificate.h"
#include "base/file.h"
#include "experiments/json.h"
#include "kernels/cpu/gemm.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

struct Certificate {
    json_t *how, *files, *rows;
    int count, within;
};

Certificate *certificate_new(void) {
    Certificate *c = memory_new(1, sizeof *c);
    c->how = json_object();
    c->files = json_array();
    c->rows = json_array();
    return c;
}

void certificate_free(Certificate *c) {
    if (!c)
        return;
    json_decref(c->how);
    json_decref(c->files);
    json_decref(c->rows);
    free(c);
}

void certificate_text(Certificate *c, const char *key, const char *value) {
    json_object_set_new(c->how, key, json_text(value));
}

void certificate_hash(Certificate *c, const char *name, const Hash *hash) {
    char hex[HASH_TEXT];
    hash_text(hex, hash);
    json_array_append_new(c->files,
                          json_pack("{s:o, s:s}", "name", json_text(name), "blake2b_256", hex));
}

int certificate_file(Certificate *c, const char *path, Error *error) {
    Hash hash;
    if (hash_file(&hash, path, error))
        return -1;
    certificate_hash(c, path_name(path), &hash);
    return 0;
}

void certificate_row(Certificate *c, const char *stage, double error, double limit) {
    bool ok = error <= limit;
    /* JSON has no number for what is none */
    json_t *value = isfinite(error) ? json_real(error) : json_string("not finite");
    json_array_append_new(c->rows, json_pack("{s:s, s:o, s:f, s:b}", "stage", stage, "error", value,
                                             "limit", limit, "within", ok));
    c->count++;
    c->within += ok;
}

int certificate_write(const Certificate *c, const char *path, Error *error) {
    struct utsname machine;
    char date[32], hex[HASH_TEXT] = "";
    time_t now = time(NULL);
    struct tm utc;
    Hash own;
    Error ignored = {0};
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (!hash_file(&own, "/proc/self/exe", &ignored))
        hash_text(hex, &own);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:O, s:i, s:i, s:O}",
                             "certificate", "parity of jepa.c with reference values", "version",
                             JEPA_VERSION, "program_blake2b_256", hex, "date", date, "system",
                             uname(&machine) ? "" : machine.release, "blas", gemm_name(), "how",
                             c->how, "files", c->files, "compared", c->count, "within_limits",
                             c->within, "rows", c->rows);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    int result = text ? file_write(path, text, strlen(text), error)
                      : error_set(error, ERROR_RUN, "%s: the certificate cannot be written as JSON",
                                  path);
    free(text);
    json_decref(root);
    return result;
}
