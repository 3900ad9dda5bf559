/* The operations of a device by name, for its table: OPERATIONS(cpu) names cpu_linear_forward and
 * so on. What each does is said in its own header. */
#ifndef JEPA_KERNELS_OPERATIONS_H
#define JEPA_KERNELS_OPERATIONS_H

#define OPERATIONS(device)                                                                         \
    .linear_forward = device##_linear_forward,                                                     \
    .linear_residual_forward = device##_linear_residual_forward,                                   \
    .linear_gelu_forward = device##_linear_gelu_forward,                                           \
    .linear_gelu_backward_input = device##_linear_gelu_backward_input,                             \
    .linear_weights_bytes = device##_linear_weights_bytes,                                         \
    .linear_weights_add = device##_linear_weights_add,                                             \
    .linear_weights_changed = device##_linear_weights_changed,                                     \
    .linear_weights_remove = device##_linear_weights_remove,                                       \
    .layernorm_values = device##_layernorm_values, .layernorm_again = device##_layernorm_again,    \
    .rows_narrow = device##_rows_narrow, .rows_add = device##_rows_add,                            \
    .linear_backward_input = device##_linear_backward_input,                                       \
    .linear_backward_weight = device##_linear_backward_weight,                                     \
    .layernorm_forward = device##_layernorm_forward,                                               \
    .layernorm_backward = device##_layernorm_backward, .gelu_forward = device##_gelu_forward,      \
    .gelu_backward = device##_gelu_backward, .swiglu_forward = device##_swiglu_forward,            \
    .swiglu_backward = device##_swiglu_backward, .rope_forward = device##_rope_forward,            \
    .rope_backward = device##_rope_backward, .rows_blend = device##_rows_blend,                    \
    .rows_columns = device##_rows_columns, .attention_forward = device##_attention_forward,        \
    .attention_backward = device##_attention_backward, .patches_cut = device##_patches_cut,        \
    .rows_gather = device##_rows_gather, .rows_scatter_add = device##_rows_scatter_add,            \
    .rows_sum = device##_rows_sum, .rows_mean = device##_rows_mean,                                \
    .loss_forward = device##_loss_forward, .loss_backward = device##_loss_backward,                \
    .loss_total = device##_loss_total, .spread_forward = device##_spread_forward,                  \
    .spread_backward = device##_spread_backward, .square_sums = device##_square_sums,              \
    .sums_add = device##_sums_add, .rows_widen = device##_rows_widen, .add = device##_add,         \
    .adamw_ema = device##_adamw_ema, .batchnorm_forward = device##_batchnorm_forward,              \
    .batchnorm_backward = device##_batchnorm_backward,                                             \
    .invariance_forward = device##_invariance_forward,                                             \
    .invariance_backward = device##_invariance_backward,                                           \
    .sigreg_forward = device##_sigreg_forward, .sigreg_backward = device##_sigreg_backward

#endif
