/* TEMPORARY: the operations that are not written yet. Made by a script. */
#include "kernels/device.h"
#include <stdio.h>
#include <stdlib.h>
#pragma GCC diagnostic ignored "-Wattribute-alias"

void missing_cuda_square_sum(void);
void missing_cuda_square_sum(void) {
    fprintf(stderr, "cuda_square_sum is not written yet\n");
    abort();
}
extern __typeof__(SquareSum) cuda_square_sum __attribute__((alias("missing_cuda_square_sum")));
void missing_cuda_adamw_ema(void);
void missing_cuda_adamw_ema(void) {
    fprintf(stderr, "cuda_adamw_ema is not written yet\n");
    abort();
}
extern __typeof__(AdamwEma) cuda_adamw_ema __attribute__((alias("missing_cuda_adamw_ema")));
void missing_cuda_attention_forward(void);
void missing_cuda_attention_forward(void) {
    fprintf(stderr, "cuda_attention_forward is not written yet\n");
    abort();
}
extern __typeof__(AttentionForward) cuda_attention_forward
    __attribute__((alias("missing_cuda_attention_forward")));
void missing_cuda_attention_backward(void);
void missing_cuda_attention_backward(void) {
    fprintf(stderr, "cuda_attention_backward is not written yet\n");
    abort();
}
extern __typeof__(AttentionBackward) cuda_attention_backward
    __attribute__((alias("missing_cuda_attention_backward")));
void missing_cuda_batchnorm_forward(void);
void missing_cuda_batchnorm_forward(void) {
    fprintf(stderr, "cuda_batchnorm_forward is not written yet\n");
    abort();
}
extern __typeof__(BatchnormForward) cuda_batchnorm_forward
    __attribute__((alias("missing_cuda_batchnorm_forward")));
void missing_cuda_batchnorm_backward(void);
void missing_cuda_batchnorm_backward(void) {
    fprintf(stderr, "cuda_batchnorm_backward is not written yet\n");
    abort();
}
extern __typeof__(BatchnormBackward) cuda_batchnorm_backward
    __attribute__((alias("missing_cuda_batchnorm_backward")));
void missing_cuda_invariance_forward(void);
void missing_cuda_invariance_forward(void) {
    fprintf(stderr, "cuda_invariance_forward is not written yet\n");
    abort();
}
extern __typeof__(InvarianceForward) cuda_invariance_forward
    __attribute__((alias("missing_cuda_invariance_forward")));
void missing_cuda_invariance_backward(void);
void missing_cuda_invariance_backward(void) {
    fprintf(stderr, "cuda_invariance_backward is not written yet\n");
    abort();
}
extern __typeof__(InvarianceBackward) cuda_invariance_backward
    __attribute__((alias("missing_cuda_invariance_backward")));
void missing_cuda_layernorm_forward(void);
void missing_cuda_layernorm_forward(void) {
    fprintf(stderr, "cuda_layernorm_forward is not written yet\n");
    abort();
}
extern __typeof__(LayernormForward) cuda_layernorm_forward
    __attribute__((alias("missing_cuda_layernorm_forward")));
void missing_cuda_layernorm_values(void);
void missing_cuda_layernorm_values(void) {
    fprintf(stderr, "cuda_layernorm_values is not written yet\n");
    abort();
}
extern __typeof__(LayernormValues) cuda_layernorm_values
    __attribute__((alias("missing_cuda_layernorm_values")));
void missing_cuda_layernorm_again(void);
void missing_cuda_layernorm_again(void) {
    fprintf(stderr, "cuda_layernorm_again is not written yet\n");
    abort();
}
extern __typeof__(LayernormAgain) cuda_layernorm_again
    __attribute__((alias("missing_cuda_layernorm_again")));
void missing_cuda_layernorm_backward(void);
void missing_cuda_layernorm_backward(void) {
    fprintf(stderr, "cuda_layernorm_backward is not written yet\n");
    abort();
}
extern __typeof__(LayernormBackward) cuda_layernorm_backward
    __attribute__((alias("missing_cuda_layernorm_backward")));
void missing_cuda_linear_forward(void);
void missing_cuda_linear_forward(void) {
    fprintf(stderr, "cuda_linear_forward is not written yet\n");
    abort();
}
extern __typeof__(LinearForward) cuda_linear_forward
    __attribute__((alias("missing_cuda_linear_forward")));
void missing_cuda_linear_residual_forward(void);
void missing_cuda_linear_residual_forward(void) {
    fprintf(stderr, "cuda_linear_residual_forward is not written yet\n");
    abort();
}
extern __typeof__(LinearResidualForward) cuda_linear_residual_forward
    __attribute__((alias("missing_cuda_linear_residual_forward")));
void missing_cuda_linear_gelu_forward(void);
void missing_cuda_linear_gelu_forward(void) {
    fprintf(stderr, "cuda_linear_gelu_forward is not written yet\n");
    abort();
}
extern __typeof__(LinearGeluForward) cuda_linear_gelu_forward
    __attribute__((alias("missing_cuda_linear_gelu_forward")));
void missing_cuda_linear_backward_input(void);
void missing_cuda_linear_backward_input(void) {
    fprintf(stderr, "cuda_linear_backward_input is not written yet\n");
    abort();
}
extern __typeof__(LinearBackwardInput) cuda_linear_backward_input
    __attribute__((alias("missing_cuda_linear_backward_input")));
void missing_cuda_linear_gelu_backward_input(void);
void missing_cuda_linear_gelu_backward_input(void) {
    fprintf(stderr, "cuda_linear_gelu_backward_input is not written yet\n");
    abort();
}
extern __typeof__(LinearGeluBackwardInput) cuda_linear_gelu_backward_input
    __attribute__((alias("missing_cuda_linear_gelu_backward_input")));
void missing_cuda_linear_backward_weight(void);
void missing_cuda_linear_backward_weight(void) {
    fprintf(stderr, "cuda_linear_backward_weight is not written yet\n");
    abort();
}
extern __typeof__(LinearBackwardWeight) cuda_linear_backward_weight
    __attribute__((alias("missing_cuda_linear_backward_weight")));
void missing_cuda_linear_weights_bytes(void);
void missing_cuda_linear_weights_bytes(void) {
    fprintf(stderr, "cuda_linear_weights_bytes is not written yet\n");
    abort();
}
extern __typeof__(LinearWeightsBytes) cuda_linear_weights_bytes
    __attribute__((alias("missing_cuda_linear_weights_bytes")));
void missing_cuda_linear_weights_add(void);
void missing_cuda_linear_weights_add(void) {
    fprintf(stderr, "cuda_linear_weights_add is not written yet\n");
    abort();
}
extern __typeof__(LinearWeightsAdd) cuda_linear_weights_add
    __attribute__((alias("missing_cuda_linear_weights_add")));
void missing_cuda_linear_weights_changed(void);
void missing_cuda_linear_weights_changed(void) {
    fprintf(stderr, "cuda_linear_weights_changed is not written yet\n");
    abort();
}
extern __typeof__(LinearWeightsChanged) cuda_linear_weights_changed
    __attribute__((alias("missing_cuda_linear_weights_changed")));
void missing_cuda_linear_weights_remove(void);
void missing_cuda_linear_weights_remove(void) {
    fprintf(stderr, "cuda_linear_weights_remove is not written yet\n");
    abort();
}
extern __typeof__(LinearWeightsChanged) cuda_linear_weights_remove
    __attribute__((alias("missing_cuda_linear_weights_remove")));
void missing_cuda_loss_forward(void);
void missing_cuda_loss_forward(void) {
    fprintf(stderr, "cuda_loss_forward is not written yet\n");
    abort();
}
extern __typeof__(LossForward) cuda_loss_forward
    __attribute__((alias("missing_cuda_loss_forward")));
void missing_cuda_loss_total(void);
void missing_cuda_loss_total(void) {
    fprintf(stderr, "cuda_loss_total is not written yet\n");
    abort();
}
extern __typeof__(LossTotal) cuda_loss_total __attribute__((alias("missing_cuda_loss_total")));
void missing_cuda_loss_backward(void);
void missing_cuda_loss_backward(void) {
    fprintf(stderr, "cuda_loss_backward is not written yet\n");
    abort();
}
extern __typeof__(LossBackward) cuda_loss_backward
    __attribute__((alias("missing_cuda_loss_backward")));
void missing_cuda_spread_forward(void);
void missing_cuda_spread_forward(void) {
    fprintf(stderr, "cuda_spread_forward is not written yet\n");
    abort();
}
extern __typeof__(SpreadForward) cuda_spread_forward
    __attribute__((alias("missing_cuda_spread_forward")));
void missing_cuda_spread_backward(void);
void missing_cuda_spread_backward(void) {
    fprintf(stderr, "cuda_spread_backward is not written yet\n");
    abort();
}
extern __typeof__(SpreadBackward) cuda_spread_backward
    __attribute__((alias("missing_cuda_spread_backward")));
void missing_cuda_patches_cut(void);
void missing_cuda_patches_cut(void) {
    fprintf(stderr, "cuda_patches_cut is not written yet\n");
    abort();
}
extern __typeof__(PatchesCut) cuda_patches_cut __attribute__((alias("missing_cuda_patches_cut")));
void missing_cuda_rope_forward(void);
void missing_cuda_rope_forward(void) {
    fprintf(stderr, "cuda_rope_forward is not written yet\n");
    abort();
}
extern __typeof__(RopeForward) cuda_rope_forward
    __attribute__((alias("missing_cuda_rope_forward")));
void missing_cuda_rope_backward(void);
void missing_cuda_rope_backward(void) {
    fprintf(stderr, "cuda_rope_backward is not written yet\n");
    abort();
}
extern __typeof__(RopeBackward) cuda_rope_backward
    __attribute__((alias("missing_cuda_rope_backward")));
void missing_cuda_rows_gather(void);
void missing_cuda_rows_gather(void) {
    fprintf(stderr, "cuda_rows_gather is not written yet\n");
    abort();
}
extern __typeof__(RowsGather) cuda_rows_gather __attribute__((alias("missing_cuda_rows_gather")));
void missing_cuda_rows_scatter_add(void);
void missing_cuda_rows_scatter_add(void) {
    fprintf(stderr, "cuda_rows_scatter_add is not written yet\n");
    abort();
}
extern __typeof__(RowsScatterAdd) cuda_rows_scatter_add
    __attribute__((alias("missing_cuda_rows_scatter_add")));
void missing_cuda_rows_sum(void);
void missing_cuda_rows_sum(void) {
    fprintf(stderr, "cuda_rows_sum is not written yet\n");
    abort();
}
extern __typeof__(RowsSum) cuda_rows_sum __attribute__((alias("missing_cuda_rows_sum")));
void missing_cuda_rows_mean(void);
void missing_cuda_rows_mean(void) {
    fprintf(stderr, "cuda_rows_mean is not written yet\n");
    abort();
}
extern __typeof__(RowsMean) cuda_rows_mean __attribute__((alias("missing_cuda_rows_mean")));
void missing_cuda_rows_blend(void);
void missing_cuda_rows_blend(void) {
    fprintf(stderr, "cuda_rows_blend is not written yet\n");
    abort();
}
extern __typeof__(RowsBlend) cuda_rows_blend __attribute__((alias("missing_cuda_rows_blend")));
void missing_cuda_rows_columns(void);
void missing_cuda_rows_columns(void) {
    fprintf(stderr, "cuda_rows_columns is not written yet\n");
    abort();
}
extern __typeof__(RowsColumns) cuda_rows_columns
    __attribute__((alias("missing_cuda_rows_columns")));
void missing_cuda_rows_add(void);
void missing_cuda_rows_add(void) {
    fprintf(stderr, "cuda_rows_add is not written yet\n");
    abort();
}
extern __typeof__(RowsAdd) cuda_rows_add __attribute__((alias("missing_cuda_rows_add")));
void missing_cuda_rows_narrow(void);
void missing_cuda_rows_narrow(void) {
    fprintf(stderr, "cuda_rows_narrow is not written yet\n");
    abort();
}
extern __typeof__(RowsNarrow) cuda_rows_narrow __attribute__((alias("missing_cuda_rows_narrow")));
void missing_cuda_sigreg_forward(void);
void missing_cuda_sigreg_forward(void) {
    fprintf(stderr, "cuda_sigreg_forward is not written yet\n");
    abort();
}
extern __typeof__(SigregForward) cuda_sigreg_forward
    __attribute__((alias("missing_cuda_sigreg_forward")));
void missing_cuda_sigreg_backward(void);
void missing_cuda_sigreg_backward(void) {
    fprintf(stderr, "cuda_sigreg_backward is not written yet\n");
    abort();
}
extern __typeof__(SigregBackward) cuda_sigreg_backward
    __attribute__((alias("missing_cuda_sigreg_backward")));
void missing_cuda_swiglu_forward(void);
void missing_cuda_swiglu_forward(void) {
    fprintf(stderr, "cuda_swiglu_forward is not written yet\n");
    abort();
}
extern __typeof__(SwigluForward) cuda_swiglu_forward
    __attribute__((alias("missing_cuda_swiglu_forward")));
void missing_cuda_swiglu_backward(void);
void missing_cuda_swiglu_backward(void) {
    fprintf(stderr, "cuda_swiglu_backward is not written yet\n");
    abort();
}
extern __typeof__(SwigluBackward) cuda_swiglu_backward
    __attribute__((alias("missing_cuda_swiglu_backward")));
