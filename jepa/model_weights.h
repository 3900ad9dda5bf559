/* The weights of a model that its linear layers read: what the device keeps of them in its own form
 * (kernels/linear.h). */
#ifndef JEPA_JEPA_MODEL_WEIGHTS_H
#define JEPA_JEPA_MODEL_WEIGHTS_H

#include "jepa/model.h"

/* Bytes that the device will take; 0 for a model beside another. */
size_t model_weights_bytes(const Model *model);
int model_weights_register(Model *model, Error *error);
void model_weights_release(Model *model);

#endif
