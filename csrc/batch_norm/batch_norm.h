// Batch norm, an optional residual and an activation in one op:
//
//   y = act(u),  u = weight * (x - mean) / sqrt(var + eps) + bias + residual
//
// x is [batch, channels, length], or with channels_last [batch, length, channels]; T is float,
// double, Float16 or BFloat16, and parameters are Compute<T>. Statistics are biased (divided by the
// count m = batch * length), in double, so that the rounding of a large mean is not lost in x -
// mean.
//
// Moments are those of short blocks, shifted by an estimate of their mean and merged in double
// (Chan, Golub, LeVeque 1979; on CUDA about one element of each channel) in an order that depends
// on the shape and the type alone: the same bits for any number of threads. CPU and CUDA differ in
// that order, and so in the last bits.
#pragma once

#include <cstdint>
#include <numeric>

#include "batch_norm/activation.h"
#include "common/cuda_stream.h"
#include "common/half.h"
#include "common/parallel.h"

namespace sightline::batch_norm {

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

// Fewer channels-last channels than this share their bytes of a mask between positions.
inline constexpr int64_t kNarrowRow = 64;

// Bytes of a mask: one bit per element, u > 0 or NaN; a plane, or a row of channels, begins at a
// byte. The same formula is in python/sightline/ops/batch_norm_torch.py.
inline int64_t batch_norm_mask_bytes(const BatchNormShape& s) {
  const auto bytes = [](int64_t bits) { return (bits + 7) / 8; };
  if (!s.channels_last) return s.channels * s.batch * bytes(s.length);
  return s.channels < kNarrowRow ? bytes(s.count() * s.channels) : s.count() * bytes(s.channels);
}

// mean and m2 (the sum of squared differences from it), [channels], of x.
template <class T>
void batch_norm_moments_cpu(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                            ParallelFor parallel_for);
template <class T>
void batch_norm_moments_cuda(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                             double* workspace, CudaStream stream);

// In training, mean and var are written; otherwise they are read.
template <class T>
struct BatchNormForward {
  const T* x;
  const T* residual;         // as x, or null
  const Compute<T>* weight;  // [channels], or null for 1
  const Compute<T>* bias;    // [channels], or null for 0
  double* mean;              // [channels]
  double* var;               // [channels]
  T* y;                      // as x
  uint8_t* mask;             // [batch_norm_mask_bytes], or null
};

template <class T>
void batch_norm_act_cpu(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                        const BatchNormOptions& options, ParallelFor parallel_for);
template <class T>
void batch_norm_act_cuda(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                         const BatchNormOptions& options, double* workspace, CudaStream stream);

// How many numbers of device memory the *_cuda functions of this shape need as workspace.
int64_t batch_norm_workspace_cuda(const BatchNormShape& shape);

// With g = grad * act'(u): sum of g and of g * (x - mean), a channel each; and
//   grad_x = weight * invstd * (g - sum / m - (x - mean) * invstd^2 * dot / m)
// in training, weight * invstd * g otherwise.
enum class BatchNormPasses {
  kBoth,   // sum and dot are not used
  kSums,   // sum and dot are written, and nothing else
  kInput,  // sum and dot, divided by m, are read in training; grad_weight and grad_bias are not
           // written
};

// What was kept: x, and where u is not a function of x alone, residual or mask; or only y.
// In training y must lead back to x: the activation is kNone, or kLeakyRelu with a slope above 0.
// A channel whose weight is too small for that (batch_norm_invertible) gets NaN. Otherwise y gives
// no more than the sign of u: the activation has a kink and a slope >= 0, and grad_weight is null.
template <class T>
struct BatchNormBackward {
  const T* grad;      // as x, of y
  const T* x;         // or null
  const T* y;         // or null; as x
  const T* residual;  // or null; as x; of kSilu
  const uint8_t* mask;
  const Compute<T>* weight;
  const Compute<T>* bias;
  const double* mean;  // what the forward pass used
  const double* var;
  double *sum, *dot;        // [channels]
  T* grad_x;                // as x
  T* grad_residual;         // as x, or null: g
  Compute<T>* grad_weight;  // null where no gradients of parameters are wanted, in inference
  Compute<T>* grad_bias;
};

template <class T>
void batch_norm_act_backward_cpu(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                 const BatchNormOptions& options, BatchNormPasses passes,
                                 ParallelFor parallel_for);
template <class T>
void batch_norm_act_backward_cuda(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                  const BatchNormOptions& options, BatchNormPasses passes,
                                  double* workspace, CudaStream stream);

// Whether (x - mean) / deviation can be recomputed from y in T: y has a relative error, which
// becomes one of |bias / weight| in it, and must not be so small that it loses digits.
template <class T>
SIGHTLINE_HD bool batch_norm_invertible(double weight, double bias) {
  constexpr double kLeast = std::is_same_v<T, double>    ? 0x1p-20
                            : std::is_same_v<T, Float16> ? 0x1p-6
                                                         : 0x1p-12;
  constexpr double kRatio = std::is_same_v<T, double>    ? 0x1p20
                            : std::is_same_v<T, float>   ? 0x1p12
                            : std::is_same_v<T, Float16> ? 0x1p4
                                                         : 0x1p3;
  const double size = weight < 0 ? -weight : weight, shift = bias < 0 ? -bias : bias;
  return size >= kLeast && size * kRatio >= shift;
}

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

// Every instance that cpu_*.cpp and cuda.cu hold.
#define SIGHTLINE_BATCH_NORM_TYPES(X) X(float) X(double) X(Float16) X(BFloat16)

}  // namespace sightline::batch_norm
