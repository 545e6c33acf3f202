#include "common/numpy.h"

#include <pybind11/stl.h>

#include <vector>

#include "assign/yolo/yolo.h"

namespace sightline::assign::yolo {
namespace {

using Integers = std::vector<int64_t>;

// rule: 2, 3 or 5.
template <class T>
Array<int64_t> assign_yolo(const Array<T>& gt_boxes, const Array<T>& shapes,
                           const Integers& level_shapes, const Integers& heights,
                           const Integers& widths, const std::vector<double>& strides, int64_t rule,
                           double ratio) {
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(2) == 4, "gt_boxes must have shape [B, G, 4]");
  require(shapes.ndim() == 2 && shapes.shape(1) == 2, "shapes must have shape [S, 2]");
  const size_t count = level_shapes.size();
  require(count <= size_t{kMaxYoloLevels} && heights.size() == count && widths.size() == count &&
              strides.size() == count,
          "level_shapes, heights, widths and strides must have one entry per level");
  const YoloRule version = yolo_rule(rule);
  YoloLevels levels{};
  for (size_t l = 0; l < count; ++l) levels.add(level_shapes[l], heights[l], widths[l], strides[l]);
  require(levels.shapes() == shapes.shape(0), "level_shapes must sum to those of shapes");
  const int64_t images = gt_boxes.shape(0), objects = gt_boxes.shape(1);
  Array<int64_t> index({images, levels.anchors()});
  const YoloAssigner<T> assigner{levels, shapes.data(), version, T(ratio)};
  const T* const boxes = gt_boxes.data();
  int64_t* const out = index.mutable_data();
  const py::gil_scoped_release release;
  assign_yolo_cpu(boxes, out, images, objects, assigner, OwnThreads());
  return index;
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_yolo", &assign_yolo<T>, py::arg("gt_boxes").noconvert(),
        py::arg("shapes").noconvert(), py::arg("level_shapes"), py::arg("heights"),
        py::arg("widths"), py::arg("strides"), py::arg("rule"), py::arg("ratio"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::yolo
