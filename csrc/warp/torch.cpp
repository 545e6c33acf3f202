#include "common/torch.h"

#include <optional>
#include <vector>

#include "warp/arguments.h"

namespace sightline::warp {
namespace {

// images, or one that all share.
void check_first(const Tensor& t, int64_t images, const Tensor& like, ScalarType dtype,
                 const char* name) {
  STD_TORCH_CHECK(t.scalar_type() == dtype && t.get_device_index() == like.get_device_index(), name,
                  " must be on the device of images, and have its dtype");
  STD_TORCH_CHECK(t.size(0) == images || t.size(0) == 1, name, " must be one per image, or one");
}

Tensor warp(const Tensor& images, const Tensor& matrices, int64_t height, int64_t width,
            const std::optional<Tensor>& displacements, const std::optional<Tensor>& colors,
            std::vector<double> fill, std::vector<double> scale, std::vector<double> offset,
            bool nearest, bool antialias) {
  STD_TORCH_CHECK(images.dim() == 4 && images.scalar_type() == ScalarType::Byte,
                  "images must be uint8 [B, H, W, C]");
  WarpShape shape{
      images.size(0), images.size(1), images.size(2), images.size(3), height, width, 0, 0};
  STD_TORCH_CHECK(matrices.dim() == 3 && matrices.size(1) == 3 && matrices.size(2) == 3,
                  "matrices must have shape [B, 3, 3]");
  check_first(matrices, shape.images, images, ScalarType::Double, "matrices");
  if (displacements) {
    STD_TORCH_CHECK(displacements->dim() == 4 && displacements->size(3) == 2,
                    "displacements must have shape [B, h, w, 2]");
    check_first(*displacements, shape.images, images, ScalarType::Float, "displacements");
    shape.grid_height = displacements->size(1), shape.grid_width = displacements->size(2);
  }
  if (colors) {
    STD_TORCH_CHECK(colors->dim() == 3 && colors->size(1) == shape.channels &&
                        colors->size(2) == shape.channels + 1,
                    "colors must have shape [B, C, C + 1]");
    check_first(*colors, shape.images, images, ScalarType::Float, "colors");
  }
  check_shape(shape, displacements.has_value());
  const WarpRules rules = rules_of(shape.channels, fill, scale, offset, nearest, antialias);
  const DeviceScope scope(images);
  const Tensor pictures = as_contiguous(images), maps = as_contiguous(matrices);
  const Tensor moves = displacements ? as_contiguous(*displacements) : Tensor();
  const Tensor factors = colors ? as_contiguous(*colors) : Tensor();
  const auto given = [&](const Tensor& t, bool is_given) {
    return is_given ? of_images(t.const_data_ptr<float>(), t.size(0), t.numel())
                    : OfImages<float>{nullptr, 0};
  };
  const auto run = [&]<class Out>(Out* out) {
    const auto call = [&](auto kernel, auto... last) {
      kernel(pictures.const_data_ptr<uint8_t>(),
             of_images(maps.const_data_ptr<double>(), maps.size(0), maps.numel()),
             given(moves, displacements.has_value()), given(factors, colors.has_value()), out,
             shape, rules, last...);
    };
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return call(&warp_cuda<Out>, scope.stream());
    }
    TorchThreads threads;
    call(&warp_cpu<Out>, ParallelFor(threads));
  };
  if (scale.empty()) {
    Tensor out =
        allocate(pictures, {shape.images, height, width, shape.channels}, ScalarType::Byte);
    run(out.mutable_data_ptr<uint8_t>());
    return out;
  }
  Tensor out = allocate(pictures, {shape.images, shape.channels, height, width}, ScalarType::Float);
  run(out.mutable_data_ptr<float>());
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "warp(Tensor images, Tensor matrices, int height, int width, Tensor? displacements, Tensor? "
      "colors, float[] fill, float[] scale, float[] offset, bool nearest, bool antialias) -> "
      "Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("warp", TORCH_BOX(&warp)); }

}  // namespace sightline::warp
