#include "common/numpy.h"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>

#include "nms/padded/padded.h"

namespace sightline::nms::padded {
namespace {

template <class T, class S>
auto nms_padded(const Array<T>& boxes, const Array<S>& scores,
                const std::optional<Array<int64_t>>& idxs, double iou_threshold,
                int64_t max_detections, std::optional<double> score_threshold) {
  require(boxes.ndim() == 3 && boxes.shape(2) == 4, "boxes must have shape [B, N, 4]");
  const auto matches = [&](const auto& array) {
    return array.ndim() == 2 && array.shape(0) == boxes.shape(0) &&
           array.shape(1) == boxes.shape(1);
  };
  require(matches(scores), "scores must have one number for each of boxes");
  require(!idxs || matches(*idxs), "idxs must have one integer for each of boxes");
  require(max_detections >= 0, "max_detections must be at least 0");
  const PaddedShape shape{boxes.shape(0), boxes.shape(1), max_detections};
  Array<int64_t> indices({shape.images, max_detections}), counts(shape.images);
  const T* b = boxes.data();
  const S* s = scores.data();
  const int64_t* i = idxs ? idxs->data() : nullptr;
  int64_t *out = indices.mutable_data(), *c = counts.mutable_data();
  {
    const py::gil_scoped_release release;
    nms_padded_cpu(b, s, i, out, c, shape, T(iou_threshold),
                   score_threshold ? std::optional(S(*score_threshold)) : std::nullopt,
                   OwnThreads());
  }
  return std::make_tuple(indices, counts);
}

template <class T, class S>
void add_of(py::module_& m) {
  m.def("nms_padded", &nms_padded<T, S>, py::arg("boxes").noconvert(),
        py::arg("scores").noconvert(), py::arg("idxs").noconvert(), py::arg("iou_threshold"),
        py::arg("max_detections"), py::arg("score_threshold"));
}

const AddToModule add([](py::module_& m) {
  add_of<float, float>(m);
  add_of<float, double>(m);
  add_of<double, float>(m);
  add_of<double, double>(m);
});

}  // namespace
}  // namespace sightline::nms::padded
