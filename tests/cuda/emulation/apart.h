/* Device memory that the host cannot touch, for tests: with JEPA_EMULATE_APART in the environment
 * what cudaMalloc gives lies in pages without any rights, which whatever happens on the device
 * opens for as long as it lasts. A program that reads or writes it itself ends with a signal there,
 * as on a GPU. What it does not show: host memory that is handed to the device. */
#ifndef JEPA_TESTS_CUDA_APART_H
#define JEPA_TESTS_CUDA_APART_H

#ifdef __cplusplus
extern "C" {
#endif

/* Begins and ends something on the device; may be nested. */
void emulation_device_begin(void);
void emulation_device_end(void);

#ifdef __cplusplus
}
#endif

#endif
