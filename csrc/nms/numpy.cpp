#include "common/numpy.h"

#include <algorithm>
#include <vector>

#include "nms/nms.h"

namespace sightline {
namespace {

template <class T, class S>
Array<int64_t> suppress_segments(const Array<T>& boxes, const Array<S>& scores, const int64_t* idxs,
                                 double iou_threshold) {
  check_boxes(boxes, "boxes");
  const int64_t n = boxes.shape(0);
  require(scores.ndim() == 1 && scores.shape(0) == n,
          "scores must have one number for each of boxes");
  const T* b = boxes.data();
  const S* s = scores.data();
  std::vector<int64_t> keep;
  {
    const py::gil_scoped_release release;
    keep = nms_cpu(b, s, idxs, n, T(iou_threshold), threads_parallel_for);
  }
  Array<int64_t> out(static_cast<py::ssize_t>(keep.size()));
  std::copy(keep.begin(), keep.end(), out.mutable_data());
  return out;
}

template <class T, class S>
void add_of(py::module_& m) {
  const auto boxes = py::arg("boxes").noconvert(), scores = py::arg("scores").noconvert();
  const auto threshold = py::arg("iou_threshold");
  m.def(
      "nms",
      [](const Array<T>& b, const Array<S>& s, double t) {
        return suppress_segments(b, s, nullptr, t);
      },
      boxes, scores, threshold);
  m.def(
      "batched_nms",
      [](const Array<T>& b, const Array<S>& s, const Array<int64_t>& idxs, double t) {
        require(idxs.ndim() == 1 && b.ndim() == 2 && idxs.shape(0) == b.shape(0),
                "idxs must have one integer for each of boxes");
        return suppress_segments(b, s, idxs.data(), t);
      },
      boxes, scores, py::arg("idxs").noconvert(), threshold);
}

const AddToModule add([](py::module_& m) {
  add_of<float, float>(m);
  add_of<float, double>(m);
  add_of<double, float>(m);
  add_of<double, double>(m);
});

}  // namespace
}  // namespace sightline
