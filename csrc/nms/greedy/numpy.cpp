#include "common/numpy.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "nms/greedy/greedy.h"

namespace sightline::nms::greedy {
namespace {

Array<int64_t> array_of(const std::vector<int64_t>& values) {
  Array<int64_t> out(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

template <class T, class S>
void check_scored_boxes(const Array<T>& boxes, const Array<S>& scores) {
  check_boxes(boxes, "boxes");
  require(scores.ndim() == 1 && scores.shape(0) == boxes.shape(0),
          "scores must have one number for each of boxes");
}

template <class T>
void check_idxs(const Array<int64_t>& idxs, const Array<T>& boxes) {
  require(idxs.ndim() == 1 && idxs.shape(0) == boxes.shape(0),
          "idxs must have one integer for each of boxes");
}

template <class T, class S>
Array<int64_t> suppress_segments(const Array<T>& boxes, const Array<S>& scores, const int64_t* idxs,
                                 double iou_threshold) {
  const int64_t n = boxes.shape(0);
  const T* b = boxes.data();
  const S* s = scores.data();
  std::vector<int64_t> keep;
  {
    const py::gil_scoped_release release;
    keep = nms_cpu(b, s, idxs, n, T(iou_threshold), OwnThreads());
  }
  return array_of(keep);
}

template <class T, class S>
Array<int64_t> nms(const Array<T>& boxes, const Array<S>& scores, double iou_threshold) {
  check_scored_boxes(boxes, scores);
  return suppress_segments(boxes, scores, nullptr, iou_threshold);
}

template <class T, class S>
Array<int64_t> batched_nms(const Array<T>& boxes, const Array<S>& scores,
                           const Array<int64_t>& idxs, double iou_threshold) {
  check_scored_boxes(boxes, scores);
  check_idxs(idxs, boxes);
  return suppress_segments(boxes, scores, idxs.data(), iou_threshold);
}

template <class T, class S>
std::tuple<Array<int64_t>, Array<int64_t>> nms_suppressed_by(
    const Array<T>& boxes, const Array<S>& scores, const std::optional<Array<int64_t>>& idxs,
    double iou_threshold) {
  check_scored_boxes(boxes, scores);
  if (idxs) check_idxs(*idxs, boxes);
  const int64_t n = boxes.shape(0);
  Array<int64_t> suppressed_by(n);
  const T* b = boxes.data();
  const S* s = scores.data();
  const int64_t* i = idxs ? idxs->data() : nullptr;
  int64_t* by = suppressed_by.mutable_data();
  std::vector<int64_t> keep;
  {
    const py::gil_scoped_release release;
    keep = nms_suppressed_by_cpu(b, s, i, by, n, T(iou_threshold), OwnThreads());
  }
  return {array_of(keep), suppressed_by};
}

template <class T, class S>
void add_of(py::module_& m) {
  const auto boxes = py::arg("boxes").noconvert(), scores = py::arg("scores").noconvert();
  const auto idxs = py::arg("idxs").noconvert();
  const auto threshold = py::arg("iou_threshold");
  m.def("nms", &nms<T, S>, boxes, scores, threshold);
  m.def("batched_nms", &batched_nms<T, S>, boxes, scores, idxs, threshold);
  m.def("nms_suppressed_by", &nms_suppressed_by<T, S>, boxes, scores, idxs, threshold);
}

const AddToModule add([](py::module_& m) {
  add_of<float, float>(m);
  add_of<float, double>(m);
  add_of<double, float>(m);
  add_of<double, double>(m);
});

}  // namespace
}  // namespace sightline::nms::greedy
