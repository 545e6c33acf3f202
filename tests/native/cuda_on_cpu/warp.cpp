// The kernel of warp on host memory, for tests/native/test_warp_cuda_on_cpu.py.
#include "warp/warp.h"

#include "cuda_runtime.h"

// sizes: those of WarpShape in its order. steps: of matrices, displacements and colors. numbers:
// fill, scale and offset, four of each.
#define DEFINE(T, SUFFIX)                                                               \
  extern "C" __attribute__((visibility("default"))) void warp_##SUFFIX(                 \
      const uint8_t* images, const double* matrices, const float* displacements,        \
      const float* colors, T* out, const int64_t* sizes, const int64_t* steps,          \
      const float* numbers, int64_t nearest, int64_t antialias) {                       \
    const sightline::warp::WarpShape shape{sizes[0], sizes[1], sizes[2], sizes[3],      \
                                           sizes[4], sizes[5], sizes[6], sizes[7]};     \
    sightline::warp::WarpRules rules{nearest != 0, antialias != 0, {}, {}, {}};         \
    for (int k = 0; k < 4; ++k)                                                         \
      rules.fill[k] = numbers[k], rules.scale[k] = numbers[4 + k],                      \
      rules.offset[k] = numbers[8 + k];                                                 \
    sightline::warp::warp_cuda(images, {matrices, steps[0]}, {displacements, steps[1]}, \
                               {colors, steps[2]}, out, shape, rules, {});              \
  }
DEFINE(uint8_t, uint8)
DEFINE(float, float32)
