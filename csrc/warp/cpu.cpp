#include "common/isa.h"
#include "warp/sample.h"

namespace sightline::warp {
namespace {

constexpr int64_t kPixelsPerTask = 1 << 14;

struct WarpRow {
  template <class Out, int C>
  SIGHTLINE_INLINE static void run(const uint8_t* image, const Map* map, const float* nodes,
                                   const float* colors, Out* out, int64_t j, const WarpShape* shape,
                                   const WarpRules* rules) {
    const int64_t plane = shape->out_height * shape->out_width;
    for (int64_t i = 0; i < shape->out_width; ++i) {
      float sums[C] = {}, color[C];
      const int32_t inside = add_samples<C>(image, *map, nodes, i, j, *shape, rules->nearest, sums);
      finish<Out, C>(sums, inside, map->samples_x * map->samples_y, colors, *rules, color);
      for (int k = 0; k < C; ++k) {
        if constexpr (std::is_same_v<Out, float>)
          out[k * plane + j * shape->out_width + i] = color[k];
        else
          out[(j * shape->out_width + i) * C + k] = to_byte(color[k]);
      }
    }
  }
};

template <class Out, int C>
void warp_rows(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
               OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
               ParallelFor parallel_for) {
  const int64_t in_size = shape.height * shape.width * C;
  const int64_t out_size = shape.out_height * shape.out_width * C;
  const int64_t grain = kPixelsPerTask / (shape.out_width + 1) + 1;
  parallel_for(shape.images * shape.out_height, grain, [&](int64_t first, int64_t last) {
    Map map;
    for (int64_t row = first, of = -1; row < last; ++row) {
      const int64_t image = row / shape.out_height;
      if (image != of)
        map = inverse_map(matrices.data + image * matrices.step, shape.height, shape.width,
                          rules.antialias);
      of = image;
      const float* nodes = displacements.data;
      const float* factors = colors.data;
      if (nodes != nullptr) nodes += image * displacements.step;
      if (factors != nullptr) factors += image * colors.step;
      WarpRow::run<Out, C>(images + image * in_size, &map, nodes, factors, out + image * out_size,
                           row - image * shape.out_height, &shape, &rules);
    }
  });
}

}  // namespace

template <class Out>
void warp_cpu(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
              OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
              ParallelFor parallel_for) {
  const auto run = [&]<int C>(std::integral_constant<int, C>) {
    warp_rows<Out, C>(images, matrices, displacements, colors, out, shape, rules, parallel_for);
  };
  if (shape.channels == 1) return run(std::integral_constant<int, 1>{});
  if (shape.channels == 3) return run(std::integral_constant<int, 3>{});
  run(std::integral_constant<int, 4>{});
}

template void warp_cpu(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>, uint8_t*,
                       const WarpShape&, const WarpRules&, ParallelFor);
template void warp_cpu(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>, float*,
                       const WarpShape&, const WarpRules&, ParallelFor);

int64_t first_without_inverse(const double* matrices, int64_t count) {
  for (int64_t k = 0; k < count; ++k)
    if (!inverse_map(matrices + 9 * k, 1, 1, false).valid) return k;
  return -1;
}

}  // namespace sightline::warp
