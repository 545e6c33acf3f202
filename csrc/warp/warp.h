// Sampling of pictures under a map of the plane, in one pass with a change of colours and the
// normalisation. `sightline.reference.warp` is the specification; every ISA level and CUDA give its
// bits, since all that is not exact is IEEE + - x / and sqrt in one order.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::warp {

inline constexpr int64_t kMaxSide = int64_t(1) << 22;  // positions of 1/256 pixel fit 32 bits
inline constexpr int64_t kMaxChannels = 4;

struct WarpShape {
  int64_t images, height, width, channels;
  int64_t out_height, out_width;
  int64_t grid_height, grid_width;  // of the displacements; unused without
};

struct WarpRules {
  bool nearest;
  bool antialias;             // of bilinear samples
  float fill[kMaxChannels];   // in 0 ... 255
  float scale[kMaxChannels];  // of float32 output: value * scale + offset
  float offset[kMaxChannels];
};

// What each image takes: its own, or with a step of 0 that which all share.
template <class T>
struct OfImages {
  const T* data;  // may be null
  int64_t step;   // numbers from one image to the next
};

// Out is uint8_t, [images, out_height, out_width, channels], or float, [images, channels,
// out_height, out_width].
template <class Out>
void warp_cpu(const uint8_t* images,          // [images, height, width, channels]
              OfImages<double> matrices,      // [3, 3] each
              OfImages<float> displacements,  // [grid_height, grid_width, 2] each, or none
              OfImages<float> colors,         // [channels, channels + 1] each, or none
              Out* out, const WarpShape& shape, const WarpRules& rules, ParallelFor parallel_for);
template <class Out>
void warp_cuda(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
               OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
               CudaStream stream);

// The first of `count` matrices [3, 3] that has no finite inverse, or -1.
int64_t first_without_inverse(const double* matrices, int64_t count);

}  // namespace sightline::warp
