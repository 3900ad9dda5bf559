/* jepa doctor: what this build and this machine can do, for people and for bug reports. */
#include "experiments/commands.h"
#include "experiments/options.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cuda_device.h"
#include "kernels/device.h"
#include "video/encode.h"
#include "video/ffmpeg.h"
#include "video/hardware.h"
#include <jansson.h>
#include <png.h> /* libpng; eval/png.h is ours */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <yaml.h>

static void print_cpu(void) {
    char line[256], model[200] = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            snprintf(model, sizeof model, "%s", strchr(line, ':') + 2);
            model[strcspn(model, "\n")] = 0;
            break;
        }
    if (file)
        fclose(file);
    printf("processor        %s\n", model);
    printf("instructions    ");
#if defined(__x86_64__)
    __builtin_cpu_init();
    printf("%s%s%s%s%s", __builtin_cpu_supports("avx2") ? " avx2" : "",
           __builtin_cpu_supports("fma") ? " fma" : "",
           __builtin_cpu_supports("avx512f") ? " avx512f" : "",
           __builtin_cpu_supports("avx512vnni") ? " avx512vnni" : "",
           __builtin_cpu_supports("avx512bf16") ? " avx512bf16" : "");
#endif
    printf("\n");
}

static void print_writers(const char *decoders) {
    static const char *const kinds[] = {".mp4", ".webm", ".apng", ".gif"};
    printf("decoders         %s\nencoder          %s\nfilms           ", decoders,
           video_writer_codec());
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(video_writer_codec_of(kinds[i]), "none") != 0)
            printf(" %s", kinds[i] + 1);
    printf("\n");
}

static void print_codecs(void) {
    char *decoders = ffmpeg_decoders();
    Error error = {0};
    if (ffmpeg_needed(&error))
        printf("videos           %s\n", error.text);
    else
        print_writers(decoders);
    free(decoders);
    if (error.code)
        return;
    VideoHardware *hardware;
    char *codecs = video_hardware_codecs();
    if (video_hardware_open(&hardware, NULL, &error))
        printf("decoding on GPU  none: %s\n", error.text);
    else
        printf("decoding on GPU  %s, as far as this GPU's decoder has them (data.decoder: cuda)\n",
               codecs);
    video_hardware_close(hardware);
    free(codecs);
}

/* What the CPU device computes with. */
static void print_arithmetic(void) {
    Device *device;
    Error error = {0};
    if (device_open(&device, "cpu", 1, &error)) {
        printf("arithmetic       %s\n", error.text);
        return;
    }
    printf("matrix products  %s\n", gemm_name());
    printf("attention        own kernels, %s\n", device->attention->name);
    printf("bfloat16         %s\n",
           gemm_has_bfloat16(device->gemm)
               ? "in hardware"
               : "no instructions: recipes of that type are computed in float32");
    device_close(device);
}

static void print_devices(void) {
    Error why = {0};
    int count = cuda_device_count(&why);
    printf("devices          cpu, reference%s%s%s\n", count ? "" : " (", count ? "" : why.text,
           count ? "" : ")");
    for (int i = 0; i < count; i++) {
        char name[24];
        Device *device;
        snprintf(name, sizeof name, "cuda:%d", i);
        if (device_open(&device, name, 1, &why)) {
            printf("%-16s %s\n", name, why.text);
            continue;
        }
        printf("%-16s %s\n", name, device->what);
        device_close(device);
    }
}

int command_doctor(int argc, char **argv) {
    const CommandHelp help = {"jepa doctor",
                              "Prints what this build and this machine can do. Paste it "
                              "into bug reports."};
    TextList rest = {0};
    Error error = {0};
    int parsed = options_parse(argc, argv, &help, NULL, 0, &rest, &error);
    free(rest.items);
    if (parsed < 0) {
        fprintf(stderr, "jepa doctor: %s\n", error.text);
        return error.code;
    }
    if (parsed > 0)
        return 0;
    struct utsname system;
    uname(&system);
    double gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    double free_gib = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    printf("jepa             %s, %s, C%ld\n", JEPA_VERSION,
#if defined(__clang__)
           "clang " __clang_version__,
#else
           "gcc " __VERSION__,
#endif
           __STDC_VERSION__ / 100 % 100);
    printf("system           %s %s %s\n", system.sysname, system.release, system.machine);
    print_cpu();
    printf("threads          %d may be used, %ld cores in the machine\n",
           device_threads_available(), sysconf(_SC_NPROCESSORS_ONLN));
    printf("memory           %.1f GiB, %.1f GiB free\n", gib, free_gib);
    print_devices();
    print_arithmetic();
    const char *ffmpeg = ffmpeg_version();
    printf("libraries        %s%s, libpng %s, libyaml %s, jansson %s, libsodium %s\n",
           ffmpeg ? "FFmpeg " : "no FFmpeg", ffmpeg ? ffmpeg : "", png_get_libpng_ver(NULL),
           yaml_get_version_string(), JANSSON_VERSION, sodium_version_string());
    print_codecs();
    const char *blas[] = {"OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS",
                          "OMP_WAIT_POLICY"};
    for (size_t i = 0; i < sizeof blas / sizeof *blas; i++)
        if (getenv(blas[i]))
            printf("environment      %s=%s\n", blas[i], getenv(blas[i]));
    return 0;
}
