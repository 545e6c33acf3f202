#include "common/numpy.h"

#include "iou/iou.h"

namespace sightline {
namespace {

template <class Form, class T>
void fill(const Array<T>& boxes1, const Array<T>& boxes2, double eps, Array<T>& out) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  const int64_t n = boxes1.shape(0), m = boxes2.shape(0);
  require(out.ndim() == 2 && out.shape(0) == n && out.shape(1) == m, "out must have shape [N, M]");
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  const py::gil_scoped_release release;
  pairwise_cpu<Form>(p, q, o, n, m, T(eps), threads_parallel_for);
}

template <class Form, class T>
Array<T> pairwise_eps(const Array<T>& boxes1, const Array<T>& boxes2, double eps) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  Array<T> out({boxes1.shape(0), boxes2.shape(0)});
  fill<Form>(boxes1, boxes2, eps, out);
  return out;
}

template <class Form, class T>
Array<T> aligned_loss(const Array<T>& boxes1, const Array<T>& boxes2, double eps) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  require(boxes1.shape(0) == boxes2.shape(0), "boxes1 and boxes2 must have the same length");
  const int64_t n = boxes1.shape(0);
  Array<T> out(n);
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  const py::gil_scoped_release release;
  aligned_loss_cpu<Form>(p, q, o, n, T(eps), threads_parallel_for);
  return out;
}

const auto kBoxes1 = py::arg("boxes1").noconvert();
const auto kBoxes2 = py::arg("boxes2").noconvert();
const auto kOut = py::arg("out").noconvert();

template <class Form, class T>
void add_matrix_of(py::module_& m, const char* name, const char* name_out) {
  m.def(
      name, [](const Array<T>& a, const Array<T>& b) { return pairwise_eps<Form>(a, b, 0); },
      kBoxes1, kBoxes2);
  m.def(
      name_out,
      [](const Array<T>& a, const Array<T>& b, Array<T>& out) { fill<Form>(a, b, 0, out); },
      kBoxes1, kBoxes2, kOut);
}
template <class Form>
void add_matrix(py::module_& m, const char* name, const char* name_out) {
  add_matrix_of<Form, float>(m, name, name_out);
  add_matrix_of<Form, double>(m, name, name_out);
}

template <class Form, class T>
void add_matrix_eps_of(py::module_& m, const char* name, const char* name_out) {
  m.def(name, &pairwise_eps<Form, T>, kBoxes1, kBoxes2, py::arg("eps"));
  m.def(
      name_out,
      [](const Array<T>& a, const Array<T>& b, double eps, Array<T>& out) {
        fill<Form>(a, b, eps, out);
      },
      kBoxes1, kBoxes2, py::arg("eps"), kOut);
}
template <class Form>
void add_matrix_eps(py::module_& m, const char* name, const char* name_out) {
  add_matrix_eps_of<Form, float>(m, name, name_out);
  add_matrix_eps_of<Form, double>(m, name, name_out);
}

template <class Form>
void add_loss(py::module_& m, const char* name) {
  m.def(name, &aligned_loss<Form, float>, kBoxes1, kBoxes2, py::arg("eps"));
  m.def(name, &aligned_loss<Form, double>, kBoxes1, kBoxes2, py::arg("eps"));
}

const AddToModule add([](py::module_& m) {
  add_matrix<BoxIou>(m, "box_iou", "box_iou_out");
  add_matrix<BoxIoa>(m, "box_ioa", "box_ioa_out");
  add_matrix<GeneralizedBoxIou>(m, "generalized_box_iou", "generalized_box_iou_out");
  add_matrix_eps<DistanceBoxIou>(m, "distance_box_iou", "distance_box_iou_out");
  add_matrix_eps<CompleteBoxIou>(m, "complete_box_iou", "complete_box_iou_out");
  add_loss<GeneralizedBoxIouLoss>(m, "generalized_box_iou_loss");
  add_loss<DistanceBoxIouLoss>(m, "distance_box_iou_loss");
  add_loss<CompleteBoxIouLoss>(m, "complete_box_iou_loss");
});

}  // namespace
}  // namespace sightline
