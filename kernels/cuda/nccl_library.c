/* Loading NCCL. See kernels/cuda/nccl_library.h. */
#include "kernels/cuda/nccl_library.h"
#include "kernels/cuda/library.h"

int nccl_library_open(NcclLibrary *l, Error *error) {
    static const char *const files[] = {"libnccl.so.2", NULL};
    const LibrarySymbol symbols[] = {{"ncclGetErrorString", &l->error_string},
                                     {"ncclGetVersion", &l->version},
                                     {"ncclGetUniqueId", &l->unique_id},
                                     {"ncclCommInitRank", &l->open},
                                     {"ncclCommDestroy", &l->destroy},
                                     {"ncclCommAbort", &l->abort},
                                     {"ncclCommGetAsyncError", &l->async_error},
                                     {"ncclGroupStart", &l->group_start},
                                     {"ncclGroupEnd", &l->group_end},
                                     {"ncclSend", &l->send},
                                     {"ncclRecv", &l->receive},
                                     {"ncclBroadcast", &l->broadcast},
                                     {"ncclAllGather", &l->all_gather},
                                     {"ncclReduce", &l->reduce},
                                     {"ncclReduceScatter", &l->reduce_scatter}};
    return library_open(&l->library, "NCCL, which GPUs exchange gradients through,", files, symbols,
                        sizeof symbols / sizeof *symbols, error);
}
