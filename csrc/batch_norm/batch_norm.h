// Batch norm, an optional residual and an activation in one op:
//
//   y = act(weight * (x - mean) / sqrt(var + eps) + bias + residual)
//
// x is [batch, channels, length], or with channels_last [batch, length, channels]; T is float,
// double, Float16 or BFloat16, and parameters are Compute<T>. Statistics are biased (divided by the
// count m = batch * length), in double, so that the rounding of a large mean is not lost in x -
// mean.
//
// Moments are those of short blocks, shifted by an early value or mean of theirs and merged in
// double (Chan, Golub, LeVeque 1979) in an order that depends on the shape alone: the same bits for
// any number of threads. CPU and CUDA differ in that order, and so in the last bits.
#pragma once

#include <cstdint>

#include "batch_norm/activation.h"
#include "common/cuda_stream.h"
#include "common/half.h"
#include "common/parallel.h"

namespace sightline {

struct BatchNormShape {
  int64_t batch, channels, length;
  bool channels_last;

  int64_t count() const { return batch * length; }  // elements a channel
};

struct BatchNormOptions {
  Activation activation;
  double negative_slope;  // of kLeakyRelu
  double eps;
  bool training;
};

// In training, mean and var are written; in inference they are read.
template <class T>
struct BatchNormForward {
  const T* x;
  const T* residual;         // as x, or null
  const Compute<T>* weight;  // [channels], or null for 1
  const Compute<T>* bias;    // [channels], or null for 0
  double* mean;              // [channels]
  double* var;               // [channels]
  T* y;                      // as x
};

template <class T>
void batch_norm_act_cpu(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                        const BatchNormOptions& options, ParallelFor parallel_for);
template <class T>
void batch_norm_act_cuda(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                         const BatchNormOptions& options, double* workspace, CudaStream stream);

// How many numbers of device memory the *_cuda functions of this shape need as workspace.
int64_t batch_norm_workspace_cuda(const BatchNormShape& shape);

// grad_weight and grad_bias are sums over the batch in inference, too.
template <class T>
struct BatchNormBackward {
  const T* grad;  // as x, of y
  const T* x;
  const T* residual;  // as x; null where there is none, and where the activation is kNone
  const Compute<T>* weight;
  const Compute<T>* bias;
  const double* mean;  // what the forward pass used
  const double* var;
  T* grad_x;
  Compute<T>* grad_weight;
  Compute<T>* grad_bias;
  T* grad_residual;  // as x; null where residual is
};

template <class T>
void batch_norm_act_backward_cpu(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                 const BatchNormOptions& options, ParallelFor parallel_for);
template <class T>
void batch_norm_act_backward_cuda(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                  const BatchNormOptions& options, double* workspace,
                                  CudaStream stream);

// What running statistics take in after a training step over `count` elements a channel:
// running += factor * (batch - running), with the unbiased variance (count >= 2).
template <class S>
struct BatchNormTracking {
  const double* mean;            // [channels]
  const double* var;             // [channels], biased
  S* running_mean;               // [channels]
  S* running_var;                // [channels]
  int64_t* num_batches_tracked;  // one number, incremented; or null
  double momentum;  // the factor; negative: 1 / num_batches_tracked, the cumulative average
  int64_t channels, count;
};

template <class S>
void batch_norm_track_cpu(const BatchNormTracking<S>& tracking);
template <class S>
void batch_norm_track_cuda(const BatchNormTracking<S>& tracking, CudaStream stream);

// Every instance that cpu.cpp and cuda.cu hold.
#define SIGHTLINE_BATCH_NORM_TYPES(X) X(float) X(double) X(Float16) X(BFloat16)

}  // namespace sightline
