#include "common/numpy.h"

#include "iou/rotated/rotated.h"

namespace sightline::iou::rotated {
namespace {

AngleUnit unit_of(bool degrees) { return degrees ? AngleUnit::kDegrees : AngleUnit::kRadians; }

template <class T>
void check_pair(const Array<T>& boxes1, const Array<T>& boxes2) {
  require(boxes1.ndim() == 2 && boxes1.shape(1) == 5 && boxes2.ndim() == 2 && boxes2.shape(1) == 5,
          "boxes1 and boxes2 must have shape [N, 5]");
}

template <class T>
void fill(const Array<T>& boxes1, const Array<T>& boxes2, bool degrees, Array<T>& out) {
  check_pair(boxes1, boxes2);
  const int64_t n = boxes1.shape(0), m = boxes2.shape(0);
  require(out.ndim() == 2 && out.shape(0) == n && out.shape(1) == m, "out must have shape [N, M]");
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  check_apart(o, out.nbytes(), p, boxes1.nbytes(), "boxes1");
  check_apart(o, out.nbytes(), q, boxes2.nbytes(), "boxes2");
  const py::gil_scoped_release release;
  box_iou_rotated_cpu(p, q, o, n, m, unit_of(degrees), OwnThreads());
}

template <class T>
void fill_aligned(const Array<T>& boxes1, const Array<T>& boxes2, bool degrees, Array<T>& out) {
  check_pair(boxes1, boxes2);
  const int64_t n = boxes1.shape(0);
  require(boxes2.shape(0) == n, "boxes1 and boxes2 must have the same length");
  require(out.ndim() == 1 && out.shape(0) == n, "out must have shape [N]");
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  check_apart(o, out.nbytes(), p, boxes1.nbytes(), "boxes1");
  check_apart(o, out.nbytes(), q, boxes2.nbytes(), "boxes2");
  const py::gil_scoped_release release;
  aligned_box_iou_rotated_cpu(p, q, o, n, unit_of(degrees), OwnThreads());
}

template <class T>
void add_of(py::module_& m) {
  const auto boxes1 = py::arg("boxes1").noconvert(), boxes2 = py::arg("boxes2").noconvert();
  const auto degrees = py::arg("degrees"), out = py::arg("out").noconvert();
  m.def(
      "box_iou_rotated",
      [](const Array<T>& a, const Array<T>& b, bool d) {
        check_pair(a, b);
        Array<T> o({a.shape(0), b.shape(0)});
        fill(a, b, d, o);
        return o;
      },
      boxes1, boxes2, degrees);
  m.def("box_iou_rotated_out", &fill<T>, boxes1, boxes2, degrees, out);
  m.def(
      "aligned_box_iou_rotated",
      [](const Array<T>& a, const Array<T>& b, bool d) {
        check_pair(a, b);
        Array<T> o(a.shape(0));
        fill_aligned(a, b, d, o);
        return o;
      },
      boxes1, boxes2, degrees);
  m.def("aligned_box_iou_rotated_out", &fill_aligned<T>, boxes1, boxes2, degrees, out);
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::iou::rotated
