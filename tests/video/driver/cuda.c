/* libcuda.so.1 of the stand-in driver. See driver.h. */
#include "driver.h"
#include <ffnvcodec/dynlink_cuda.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static DriverState state;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

DriverStateOf driver_state;
DriverState *driver_state(void) {
    return &state;
}

DriverFails driver_fails;
bool driver_fails(long *after) {
    pthread_mutex_lock(&lock);
    bool fails = *after == 1;
    *after -= *after > 0;
    pthread_mutex_unlock(&lock);
    return fails;
}

static void count(long *counter, long by) {
    pthread_mutex_lock(&lock);
    *counter += by;
    pthread_mutex_unlock(&lock);
}

/* ---- what FFmpeg calls to decode and to fetch ---- */

/* A program that is no test of its own says by DRIVER_DEVICES how many GPUs there are. */
tcuInit cuInit;
CUresult cuInit(unsigned int flags) {
    const char *devices = getenv("DRIVER_DEVICES");
    (void)flags;
    if (devices)
        state.devices = atoi(devices);
    return CUDA_SUCCESS;
}

tcuDeviceGet cuDeviceGet;
CUresult cuDeviceGet(CUdevice *device, int number) {
    *device = number;
    return number < state.devices ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

tcuDeviceGetAttribute cuDeviceGetAttribute;
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice device) {
    (void)device;
    *value = which == CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT ? 512 : 0;
    return CUDA_SUCCESS;
}

tcuCtxCreate_v2 cuCtxCreate_v2;
CUresult cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device) {
    (void)flags, (void)device;
    *context = malloc(1);
    count(&state.contexts, 1);
    return CUDA_SUCCESS;
}

tcuCtxDestroy_v2 cuCtxDestroy_v2;
CUresult cuCtxDestroy_v2(CUcontext context) {
    free(context);
    count(&state.contexts, -1);
    return CUDA_SUCCESS;
}

tcuCtxPushCurrent_v2 cuCtxPushCurrent_v2;
CUresult cuCtxPushCurrent_v2(CUcontext context) {
    return context ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

tcuCtxPopCurrent_v2 cuCtxPopCurrent_v2;
CUresult cuCtxPopCurrent_v2(CUcontext *context) {
    *context = NULL;
    return CUDA_SUCCESS;
}

tcuMemAlloc_v2 cuMemAlloc_v2;
CUresult cuMemAlloc_v2(CUdeviceptr *memory, size_t bytes) {
    *memory = (CUdeviceptr)(uintptr_t)malloc(bytes);
    count(&state.memory, 1);
    return CUDA_SUCCESS;
}

tcuMemFree_v2 cuMemFree_v2;
CUresult cuMemFree_v2(CUdeviceptr memory) {
    free((void *)(uintptr_t)memory);
    count(&state.memory, -1);
    return CUDA_SUCCESS;
}

tcuMemcpy2DAsync_v2 cuMemcpy2DAsync_v2;
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) {
    bool up = copy->srcMemoryType == CU_MEMORYTYPE_HOST;
    bool down = copy->dstMemoryType == CU_MEMORYTYPE_HOST;
    const char *in = up ? copy->srcHost : (const char *)(uintptr_t)copy->srcDevice;
    char *out = down ? copy->dstHost : (char *)(uintptr_t)copy->dstDevice;
    (void)stream;
    if (driver_fails(&state.fail_copy) || copy->WidthInBytes > copy->srcPitch ||
        copy->WidthInBytes > copy->dstPitch)
        return CUDA_ERROR_UNKNOWN;
    in += copy->srcY * copy->srcPitch + copy->srcXInBytes;
    out += copy->dstY * copy->dstPitch + copy->dstXInBytes;
    for (size_t y = 0; y < copy->Height; y++)
        memcpy(out + y * copy->dstPitch, in + y * copy->srcPitch, copy->WidthInBytes);
    count(&state.copied, 1);
    return CUDA_SUCCESS;
}

tcuMemcpy2D_v2 cuMemcpy2D_v2;
CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy) {
    return cuMemcpy2DAsync_v2(copy, NULL);
}

tcuStreamSynchronize cuStreamSynchronize;
CUresult cuStreamSynchronize(CUstream stream) {
    (void)stream;
    return CUDA_SUCCESS;
}

tcuGetErrorName cuGetErrorName;
CUresult cuGetErrorName(CUresult error, const char **text) {
    (void)error;
    *text = "error of the stand-in driver";
    return CUDA_SUCCESS;
}

tcuGetErrorString cuGetErrorString;
CUresult cuGetErrorString(CUresult error, const char **text) {
    return cuGetErrorName(error, text);
}

/* ---- what must be there to be loaded, and is not called ---- */

#define UNUSED(name)                                                                               \
    CUresult name(void);                                                                           \
    CUresult name(void) {                                                                          \
        return CUDA_ERROR_UNKNOWN;                                                                 \
    }
UNUSED(cuDriverGetVersion)
UNUSED(cuDeviceGetCount)
UNUSED(cuDeviceGetName)
UNUSED(cuDeviceComputeCapability)
UNUSED(cuCtxSetLimit)
UNUSED(cuCtxGetCurrent)
UNUSED(cuCtxGetDevice)
UNUSED(cuDevicePrimaryCtxRetain)
UNUSED(cuDevicePrimaryCtxRelease)
UNUSED(cuDevicePrimaryCtxSetFlags)
UNUSED(cuDevicePrimaryCtxGetState)
UNUSED(cuDevicePrimaryCtxReset)
UNUSED(cuMemAllocPitch_v2)
UNUSED(cuMemAllocManaged)
UNUSED(cuMemsetD8Async)
UNUSED(cuMemcpy)
UNUSED(cuMemcpyAsync)
UNUSED(cuMemcpyHtoD_v2)
UNUSED(cuMemcpyHtoDAsync_v2)
UNUSED(cuMemcpyDtoH_v2)
UNUSED(cuMemcpyDtoHAsync_v2)
UNUSED(cuMemcpyDtoD_v2)
UNUSED(cuMemcpyDtoDAsync_v2)
UNUSED(cuStreamCreate)
UNUSED(cuStreamQuery)
UNUSED(cuStreamDestroy_v2)
UNUSED(cuStreamWaitEvent)
UNUSED(cuStreamAddCallback)
UNUSED(cuEventCreate)
UNUSED(cuEventDestroy_v2)
UNUSED(cuEventSynchronize)
UNUSED(cuEventQuery)
UNUSED(cuEventRecord)
UNUSED(cuLaunchKernel)
UNUSED(cuLinkCreate)
UNUSED(cuLinkAddData)
UNUSED(cuLinkComplete)
UNUSED(cuLinkDestroy)
UNUSED(cuModuleLoadData)
UNUSED(cuModuleUnload)
UNUSED(cuModuleGetFunction)
UNUSED(cuModuleGetGlobal)
UNUSED(cuTexObjectCreate)
UNUSED(cuTexObjectDestroy)
UNUSED(cuGLGetDevices_v2)
UNUSED(cuGraphicsGLRegisterImage)
UNUSED(cuGraphicsUnregisterResource)
UNUSED(cuGraphicsMapResources)
UNUSED(cuGraphicsUnmapResources)
UNUSED(cuGraphicsSubResourceGetMappedArray)
UNUSED(cuGraphicsResourceGetMappedPointer_v2)
UNUSED(cuArrayCreate_v2)
UNUSED(cuArray3DCreate_v2)
UNUSED(cuArrayDestroy)
