/* Loading cuBLASLt. See kernels/cuda/cublaslt_library.h. */
#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/library.h"

#define VERSION_LEAST 120000 /* 12.0.0, as cublasLtGetVersion counts */

/* The library stays loaded until the process ends: loading it takes long, and the driver holds
 * state of its own for it. */
int cublaslt_open(CublasLt *lt, Error *error) {
    static const char *const files[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
#define SYMBOL(name) {"cublasLt" #name, &lt->name},
    const LibrarySymbol symbols[] = {CUBLASLT_FUNCTIONS(SYMBOL)};
#undef SYMBOL
    if (library_open(&lt->library, "cuBLASLt, which multiplies matrices on GPUs,", files, symbols,
                     sizeof symbols / sizeof *symbols, error))
        return -1;
    if (lt->GetVersion() < VERSION_LEAST)
        return error_set(error, ERROR_RUN, "cuBLASLt is version %zu: 12 or 13 is needed",
                         lt->GetVersion());
    return 0;
}
