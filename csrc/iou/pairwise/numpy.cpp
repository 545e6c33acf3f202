#include "common/numpy.h"

#include <algorithm>
#include <vector>

#include "common/memory.h"
#include "iou/pairwise/pairwise.h"

namespace sightline::iou::pairwise {
namespace {

// Boxes of a matrix: [N, 4], or a batch of them where a batch of 1 serves every element.
template <class T>
PairShape pair_shape(const Array<T>& boxes1, const Array<T>& boxes2) {
  const auto valid = [](const Array<T>& t) {
    return (t.ndim() == 2 || t.ndim() == 3) && t.shape(t.ndim() - 1) == 4;
  };
  require(valid(boxes1) && valid(boxes2), "boxes must have shape [N, 4] or [B, N, 4]");
  const int64_t batch1 = boxes1.ndim() == 3 ? boxes1.shape(0) : 1;
  const int64_t batch2 = boxes2.ndim() == 3 ? boxes2.shape(0) : 1;
  require(batch1 == batch2 || batch1 == 1 || batch2 == 1,
          "boxes1 and boxes2 must have one batch size");
  return {batch1 == 1 ? batch2 : batch1, boxes1.shape(boxes1.ndim() - 2),
          boxes2.shape(boxes2.ndim() - 2), batch1 == 1, batch2 == 1};
}

template <class Form, class T>
void fill(const Array<T>& boxes1, const Array<T>& boxes2, double eps, Array<T>& out, bool fresh) {
  const PairShape shape = pair_shape(boxes1, boxes2);
  require(out.ndim() == std::max(boxes1.ndim(), boxes2.ndim()) &&
              (out.ndim() == 2 || out.shape(0) == shape.batch) &&
              out.shape(out.ndim() - 2) == shape.n && out.shape(out.ndim() - 1) == shape.m,
          "out must have shape [N, M] or [B, N, M]");
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  if (!fresh) {
    check_apart(o, out.nbytes(), p, boxes1.nbytes(), "boxes1");
    check_apart(o, out.nbytes(), q, boxes2.nbytes(), "boxes2");
  }
  const py::gil_scoped_release release;
  if (fresh) advise_huge_pages(o, shape.batch * shape.n * shape.m * int64_t(sizeof(T)));
  pairwise_cpu<Form>(p, q, o, shape, T(eps), fresh, OwnThreads());
}

template <class Form, class T>
Array<T> pairwise_eps(const Array<T>& boxes1, const Array<T>& boxes2, double eps) {
  const PairShape shape = pair_shape(boxes1, boxes2);
  std::vector<py::ssize_t> dims = {shape.n, shape.m};
  if (std::max(boxes1.ndim(), boxes2.ndim()) == 3) dims.insert(dims.begin(), shape.batch);
  Array<T> out(dims);
  fill<Form>(boxes1, boxes2, eps, out, true);
  return out;
}

template <class Form, class T>
Array<T> aligned_eps(const Array<T>& boxes1, const Array<T>& boxes2, double eps) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  require(boxes1.shape(0) == boxes2.shape(0), "boxes1 and boxes2 must have the same length");
  const int64_t n = boxes1.shape(0);
  Array<T> out(n);
  const T *p = boxes1.data(), *q = boxes2.data();
  T* o = out.mutable_data();
  const py::gil_scoped_release release;
  aligned_cpu<Form>(p, q, o, n, T(eps), OwnThreads());
  return out;
}

const auto kBoxes1 = py::arg("boxes1").noconvert();
const auto kBoxes2 = py::arg("boxes2").noconvert();
const auto kOut = py::arg("out").noconvert();

template <class Form, class T>
void add_matrix_of(py::module_& m, const char* name, const char* name_out,
                   const char* name_aligned) {
  m.def(
      name, [](const Array<T>& a, const Array<T>& b) { return pairwise_eps<Form>(a, b, 0); },
      kBoxes1, kBoxes2);
  m.def(
      name_out,
      [](const Array<T>& a, const Array<T>& b, Array<T>& out) { fill<Form>(a, b, 0, out, false); },
      kBoxes1, kBoxes2, kOut);
  m.def(
      name_aligned, [](const Array<T>& a, const Array<T>& b) { return aligned_eps<Form>(a, b, 0); },
      kBoxes1, kBoxes2);
}
template <class Form>
void add_matrix(py::module_& m, const char* name, const char* name_out, const char* name_aligned) {
  add_matrix_of<Form, float>(m, name, name_out, name_aligned);
  add_matrix_of<Form, double>(m, name, name_out, name_aligned);
}

template <class Form, class T>
void add_matrix_eps_of(py::module_& m, const char* name, const char* name_out,
                       const char* name_aligned) {
  m.def(name, &pairwise_eps<Form, T>, kBoxes1, kBoxes2, py::arg("eps"));
  m.def(
      name_out,
      [](const Array<T>& a, const Array<T>& b, double eps, Array<T>& out) {
        fill<Form>(a, b, eps, out, false);
      },
      kBoxes1, kBoxes2, py::arg("eps"), kOut);
  m.def(name_aligned, &aligned_eps<Form, T>, kBoxes1, kBoxes2, py::arg("eps"));
}
template <class Form>
void add_matrix_eps(py::module_& m, const char* name, const char* name_out,
                    const char* name_aligned) {
  add_matrix_eps_of<Form, float>(m, name, name_out, name_aligned);
  add_matrix_eps_of<Form, double>(m, name, name_out, name_aligned);
}

template <class Form>
void add_loss(py::module_& m, const char* name) {
  m.def(name, &aligned_eps<Form, float>, kBoxes1, kBoxes2, py::arg("eps"));
  m.def(name, &aligned_eps<Form, double>, kBoxes1, kBoxes2, py::arg("eps"));
}

const AddToModule add([](py::module_& m) {
  add_matrix<BoxIou>(m, "box_iou", "box_iou_out", "box_iou_aligned");
  add_matrix<BoxIoa>(m, "box_ioa", "box_ioa_out", "box_ioa_aligned");
  add_matrix<GeneralizedBoxIou>(m, "generalized_box_iou", "generalized_box_iou_out",
                                "generalized_box_iou_aligned");
  add_matrix_eps<DistanceBoxIou>(m, "distance_box_iou", "distance_box_iou_out",
                                 "distance_box_iou_aligned");
  add_matrix_eps<CompleteBoxIou>(m, "complete_box_iou", "complete_box_iou_out",
                                 "complete_box_iou_aligned");
  add_loss<GeneralizedBoxIouLoss>(m, "generalized_box_iou_loss");
  add_loss<DistanceBoxIouLoss>(m, "distance_box_iou_loss");
  add_loss<CompleteBoxIouLoss>(m, "complete_box_iou_loss");
});

}  // namespace
}  // namespace sightline::iou::pairwise
