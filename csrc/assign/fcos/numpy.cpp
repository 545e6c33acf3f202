#include "common/numpy.h"

#include "assign/fcos/fcos.h"

namespace sightline::assign::fcos {
namespace {

template <class T>
Array<int64_t> assign_fcos(const Array<T>& points, const Array<T>& gt_boxes, double radius,
                           double low, double high) {
  require(points.ndim() == 2 && points.shape(1) == 2, "points must have shape [A, 2]");
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(2) == 4, "gt_boxes must have shape [B, G, 4]");
  const int64_t n = points.shape(0), images = gt_boxes.shape(0), objects = gt_boxes.shape(1);
  Array<int64_t> index({images, n});
  const T *xy = points.data(), *boxes = gt_boxes.data();
  int64_t* const out = index.mutable_data();
  const FcosLevel<T> level{T(radius), T(low), T(high)};
  const py::gil_scoped_release release;
  assign_fcos_cpu(xy, boxes, out, n, images, objects, level, OwnThreads());
  return index;
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_fcos", &assign_fcos<T>, py::arg("points").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("radius"), py::arg("low"), py::arg("high"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::fcos
