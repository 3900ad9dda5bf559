/* CUDA graphs on the CPU: while a stream is captured, launches, copies and the libraries' calls are
 * kept, with the values of their arguments, and not done; a launch of the graph does them in order.
 * What a capture does not allow (a wait, an upload, memory taken or given back) is refused and
 * invalidates it, as the runtime does. Captures are thread-local: other threads go on. */
#ifndef JEPA_TESTS_CUDA_EMULATION_CAPTURE_H
#define JEPA_TESTS_CUDA_EMULATION_CAPTURE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#ifdef __cplusplus
#include <functional>
void emulation_record(std::function<void()> run);
extern "C" {
#endif

/* Is this stream captured? NULL: the one that arithmetic goes to. */
bool emulation_captures(cudaStream_t stream);
/* Something that a capture does not allow: true, and it is invalid from now on; false: there is no
 * capture. */
bool emulation_refuses(void);
/* run(own), whenever the graph is launched; release(own) at its end. */
void emulation_record_call(void (*run)(void *own), void (*release)(void *own), void *own);

#ifdef __cplusplus
}
#endif

#endif
