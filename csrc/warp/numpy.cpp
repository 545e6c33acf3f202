#include "common/numpy.h"

#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "warp/arguments.h"

namespace sightline::warp {
namespace {

template <class T>
OfImages<T> per_image(const Array<T>& array, int64_t images, const char* what) {
  require(array.shape(0) == images || array.shape(0) == 1, what);
  return of_images(array.data(), array.shape(0), array.size());
}

py::object warp(const Array<uint8_t>& images, const Array<double>& matrices, int64_t height,
                int64_t width, const std::optional<Array<float>>& displacements,
                const std::optional<Array<float>>& colors, const std::vector<double>& fill,
                const std::vector<double>& scale, const std::vector<double>& offset, bool nearest,
                bool antialias) {
  require(images.ndim() == 4, "images must have shape [B, H, W, C]");
  WarpShape shape{
      images.shape(0), images.shape(1), images.shape(2), images.shape(3), height, width, 0, 0};
  require(matrices.ndim() == 3 && matrices.shape(1) == 3 && matrices.shape(2) == 3,
          "matrices must have shape [B, 3, 3]");
  const OfImages<double> maps =
      per_image(matrices, shape.images, "matrices must be one per image, or one");
  OfImages<float> moves{nullptr, 0}, factors{nullptr, 0};
  if (displacements) {
    require(displacements->ndim() == 4 && displacements->shape(3) == 2,
            "displacements must have shape [B, h, w, 2]");
    moves = per_image(*displacements, shape.images, "displacements must be one per image, or one");
    shape.grid_height = displacements->shape(1), shape.grid_width = displacements->shape(2);
  }
  if (colors) {
    require(colors->ndim() == 3 && colors->shape(1) == shape.channels &&
                colors->shape(2) == shape.channels + 1,
            "colors must have shape [B, C, C + 1]");
    factors = per_image(*colors, shape.images, "colors must be one per image, or one");
  }
  check_shape(shape, displacements.has_value());
  const WarpRules rules = rules_of(shape.channels, fill, scale, offset, nearest, antialias);
  const uint8_t* const pixels = images.data();
  const auto run = [&]<class Out>(Array<Out> out) -> py::object {
    Out* const written = out.mutable_data();
    {
      const py::gil_scoped_release release;
      warp_cpu(pixels, maps, moves, factors, written, shape, rules, OwnThreads());
    }
    return out;
  };
  if (scale.empty()) return run(Array<uint8_t>({shape.images, height, width, shape.channels}));
  return run(Array<float>({shape.images, shape.channels, height, width}));
}

int64_t first_of(const Array<double>& matrices) {
  require(matrices.ndim() == 3 && matrices.shape(1) == 3 && matrices.shape(2) == 3,
          "matrices must have shape [B, 3, 3]");
  return first_without_inverse(matrices.data(), matrices.shape(0));
}

const AddToModule add([](py::module_& m) {
  m.def("warp", &warp, py::arg("images").noconvert(), py::arg("matrices").noconvert(),
        py::arg("height"), py::arg("width"), py::arg("displacements").noconvert(),
        py::arg("colors").noconvert(), py::arg("fill"), py::arg("scale"), py::arg("offset"),
        py::arg("nearest"), py::arg("antialias"));
  m.def("first_without_inverse", &first_of, py::arg("matrices").noconvert());
});

}  // namespace
}  // namespace sightline::warp
