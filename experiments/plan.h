/* What a run would be, for a person: jepa plan, and jepa pretrain --dry-run. */
#ifndef JEPA_EXPERIMENTS_PLAN_H
#define JEPA_EXPERIMENTS_PLAN_H

#include "jepa/recipe.h"
#include "kernels/device.h"

/* The recipe of a file; NULL: the built-in one. `recipe` holds the defaults already. */
int plan_load_recipe(Recipe *recipe, const char *path, Error *error);
/* What of a recipe means something else here than where it comes from, on stderr. */
void plan_say_about(const Recipe *recipe);
/* Sets the device to what the recipe asks for, where it can; says so where it cannot. */
void plan_precision(Device *device, const Recipe *recipe, bool emulate);
/* Sizes, steps, memory and operations, and what other micro-batches take, on stdout; of several
 * ranks memory is that of one, the first. The recipe is checked. ERROR_USAGE for ranks that do not
 * fit. */
int plan_print(const Recipe *recipe, Device *device, int loader_threads, int ranks, Error *error);

/* Opens the device of --device (NULL: the GPU where one works, else the CPU) and says which in one
 * line. place: number of this process among those of a run on this machine; "cuda" gives each of
 * them a GPU in turn. */
int plan_open_device(Device **device, const char *name, int place, int threads, Error *error);

#define OPTION_DEVICE_HELP                                                                         \
    "cuda, cuda:N or cpu; default: the GPU if one works, else the CPU (reference: plain loops, "   \
    "slow)"

#endif
