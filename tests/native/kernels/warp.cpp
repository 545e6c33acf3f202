#include "check.h"
#include "warp/sample.h"

namespace sightline::native {

using namespace warp;
namespace {

void draw_matrix(double* m, Random& random) {
  const double scale = random.pick({0.05, 0.5, 1.0, 3.0});
  for (int k = 0; k < 9; ++k) m[k] = k % 4 == 0 ? 1.0 : 0.0;
  for (const int k : {0, 1, 3, 4}) m[k] = scale * random.uniform(-1.5, 1.5);
  for (const int k : {2, 5}) m[k] = random.uniform(-20, 40);
  if (random.chance(0.3)) m[6] = random.uniform(-0.02, 0.02), m[7] = random.uniform(-0.02, 0.02);
  if (random.chance(0.1)) m[random.below(9)] = random.pick({0.0, 1e300, -1e9, 0.0 / 0.0});
}

// The lanes against one pixel after the other.
template <class Out, int C>
void check_warp(Random& random) {
  const auto side = [&] { return random.pick<int64_t>({0, 1, 2, 3, 9, 40}); };
  const WarpShape shape{
      1 + random.below(2), side(), side(), C, random.below(9), random.size(), 1 + random.below(5),
      1 + random.below(5)};
  const bool moved = random.chance(0.4), colored = random.chance(0.4);
  const int64_t moves = 2 * shape.grid_height * shape.grid_width, factors = C * (C + 1);
  const int64_t in_size = shape.height * shape.width * C;
  const int64_t plane = shape.out_height * shape.out_width;
  const Buffer<uint8_t> images(shape.images * in_size);
  const Buffer<double> matrices(9 * shape.images);
  const Buffer<float> displacements(moved ? moves : 0), colors(colored ? factors : 0);
  const Buffer<Out> out(shape.images * plane * C);
  for (int64_t k = 0; k < shape.images * in_size; ++k) images[k] = uint8_t(random.below(256));
  for (int64_t k = 0; k < shape.images; ++k) draw_matrix(&matrices[9 * k], random);
  for (int64_t k = 0; moved && k < moves; ++k)
    displacements[k] = random.chance(0.02) ? random.pick({0.0f / 0.0f, 3e38f, -1e9f})
                                           : float(random.uniform(-5, 5));
  for (int64_t k = 0; colored && k < factors; ++k) colors[k] = float(random.uniform(-1, 2));
  const bool nearest = random.chance(0.3);
  WarpRules rules{nearest, !nearest && random.chance(0.7), {}, {}, {}};
  for (int k = 0; k < C; ++k)
    rules.fill[k] = 50.0f, rules.scale[k] = 0.02f, rules.offset[k] = -1.0f;
  const float* const nodes = moved ? displacements.data() : nullptr;
  const float* const map_of_colors = colored ? colors.data() : nullptr;
  warp_cpu(images.data(), {matrices.data(), 9}, {nodes, 0}, {map_of_colors, 0}, out.data(), shape,
           rules, Parallel(random));
  std::vector<Out> expected(shape.images * plane * C);
  for (int64_t image = 0; image < shape.images; ++image) {
    const Map map = inverse_map(&matrices[9 * image], shape.height, shape.width, rules.antialias);
    for (int64_t pixel = 0; pixel < plane; ++pixel) {
      float sums[C] = {}, color[C];
      const int32_t inside =
          add_samples<C>(images.data() + image * in_size, map, nodes, pixel % shape.out_width,
                         pixel / shape.out_width, shape, nearest, sums);
      finish<Out, C>(sums, inside, map.samples_x * map.samples_y, map_of_colors, rules, color);
      for (int k = 0; k < C; ++k) {
        if constexpr (std::is_same_v<Out, float>)
          expected[(image * C + k) * plane + pixel] = color[k];
        else
          expected[(image * plane + pixel) * C + k] = to_byte(color[k]);
      }
    }
  }
  require_equal(out, expected, "value");
}

const Check check("warp", 150, [](Random& random) {
  check_warp<uint8_t, 1>(random);
  check_warp<uint8_t, 3>(random);
  check_warp<uint8_t, 4>(random);
  check_warp<float, 1>(random);
  check_warp<float, 3>(random);
  check_warp<float, 4>(random);
});

}  // namespace
}  // namespace sightline::native
