#include <algorithm>

#include "common/cuda.h"
#include "warp/sample.h"

namespace sightline::warp {
namespace {

inline constexpr unsigned kMaxLayers = 65535;  // of a grid's third dimension

// One thread per output pixel of one image, with all its channels; blockIdx.z counts the images.
// Threads of a warp write consecutive pixels, of float32 output one channel after the other.
template <class Out, int C>
__global__ void __launch_bounds__(kThreads)
    warp_kernel(const uint8_t* __restrict__ images, OfImages<double> matrices,
                OfImages<float> displacements, OfImages<float> colors, Out* __restrict__ out,
                WarpShape shape, WarpRules rules) {
  __shared__ Map map;
  const int64_t plane = shape.out_height * shape.out_width;
  for (int64_t image = blockIdx.z; image < shape.images; image += gridDim.z) {
    __syncthreads();  // the last map has been read by all
    if (threadIdx.x == 0)
      map = inverse_map(matrices.data + image * matrices.step, shape.height, shape.width,
                        rules.antialias);
    __syncthreads();
    const float* const nodes =
        displacements.data == nullptr ? nullptr : displacements.data + image * displacements.step;
    const float* const factors =
        colors.data == nullptr ? nullptr : colors.data + image * colors.step;
    const uint8_t* const pixels = images + image * shape.height * shape.width * C;
    Out* const written = out + image * plane * C;
    for (int64_t pixel = first_item(); pixel < plane; pixel += item_stride()) {
      const int64_t j = pixel / shape.out_width, i = pixel - j * shape.out_width;
      float sums[C] = {}, color[C];
      const int32_t inside = add_samples<C>(pixels, map, nodes, i, j, shape, rules.nearest, sums);
      finish<Out, C>(sums, inside, map.samples_x * map.samples_y, factors, rules, color);
      if constexpr (std::is_same_v<Out, float>) {
        for (int k = 0; k < C; ++k) written[k * plane + pixel] = color[k];
      } else {
        for (int k = 0; k < C; ++k) written[pixel * C + k] = to_byte(color[k]);
      }
    }
  }
}

}  // namespace

template <class Out>
void warp_cuda(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
               OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
               CudaStream stream) {
  const int64_t plane = shape.out_height * shape.out_width;
  if (shape.images == 0 || plane == 0) return;
  const unsigned layers = static_cast<unsigned>(std::min<int64_t>(shape.images, kMaxLayers));
  const dim3 grid(blocks_for(plane), 1, layers);
  const cudaStream_t on = native(stream);
  if (shape.channels == 1)
    warp_kernel<Out, 1>
        <<<grid, kThreads, 0, on>>>(images, matrices, displacements, colors, out, shape, rules);
  else if (shape.channels == 3)
    warp_kernel<Out, 3>
        <<<grid, kThreads, 0, on>>>(images, matrices, displacements, colors, out, shape, rules);
  else
    warp_kernel<Out, 4>
        <<<grid, kThreads, 0, on>>>(images, matrices, displacements, colors, out, shape, rules);
  check_launch("warp");
}

template void warp_cuda(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>,
                        uint8_t*, const WarpShape&, const WarpRules&, CudaStream);
template void warp_cuda(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>, float*,
                        const WarpShape&, const WarpRules&, CudaStream);

}  // namespace sightline::warp
