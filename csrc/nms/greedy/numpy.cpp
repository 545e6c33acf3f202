#include <tuple>

#include "nms/greedy/greedy.h"
#include "nms/scored_boxes_numpy.h"

namespace sightline::nms::greedy {
namespace {

// by: [n], or null where it is not asked for.
template <class T, class S>
Array<int64_t> suppress_segments(const Array<T>& boxes, const Array<S>& scores,
                                 const std::optional<Array<int64_t>>& idxs, double iou_threshold,
                                 int64_t* by = nullptr) {
  check_boxes(boxes, "boxes");
  check_scored(boxes, scores, idxs);
  const int64_t n = boxes.shape(0);
  const T threshold(iou_threshold);
  const T* const b = boxes.data();
  const S* const s = scores.data();
  const int64_t* const i = data_of(idxs);
  std::vector<int64_t> keep;
  {
    const py::gil_scoped_release release;
    keep = by == nullptr ? nms_cpu(b, s, i, n, threshold, OwnThreads())
                         : nms_suppressed_by_cpu(b, s, i, by, n, threshold, OwnThreads());
  }
  return array_of(keep);
}

template <class T, class S>
Array<int64_t> nms(const Array<T>& boxes, const Array<S>& scores, double iou_threshold) {
  return suppress_segments(boxes, scores, std::nullopt, iou_threshold);
}

template <class T, class S>
Array<int64_t> batched_nms(const Array<T>& boxes, const Array<S>& scores,
                           const Array<int64_t>& idxs, double iou_threshold) {
  return suppress_segments<T, S>(boxes, scores, idxs, iou_threshold);
}

template <class T, class S>
std::tuple<Array<int64_t>, Array<int64_t>> nms_suppressed_by(
    const Array<T>& boxes, const Array<S>& scores, const std::optional<Array<int64_t>>& idxs,
    double iou_threshold) {
  check_boxes(boxes, "boxes");
  Array<int64_t> by(boxes.shape(0));
  Array<int64_t> keep = suppress_segments(boxes, scores, idxs, iou_threshold, by.mutable_data());
  return {keep, by};
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
