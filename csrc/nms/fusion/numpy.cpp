#include "common/numpy.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>

#include "nms/fusion/fusion.h"

namespace sightline::nms::fusion {
namespace {

template <class T>
py::tuple weighted_boxes_fusion(const Array<T>& boxes, const Array<T>& scores,
                                const Array<int64_t>& labels, const Array<int64_t>& models,
                                const std::vector<double>& weights, double iou_threshold,
                                double score_threshold, int64_t score, bool allows_overflow) {
  check_boxes(boxes, "boxes");
  const int64_t n = boxes.shape(0), num_models = weights.size();
  require(scores.ndim() == 1 && scores.shape(0) == n && labels.ndim() == 1 &&
              labels.shape(0) == n && models.ndim() == 1 && models.shape(0) == n,
          "scores, labels and models must have one number for each of boxes");
  require(num_models > 0, "weights must not be empty");
  const int64_t* const m = models.data();
  require(std::all_of(m, m + n, [&](int64_t model) { return 0 <= model && model < num_models; }),
          "models must index weights");
  const FusionSettings<T> settings{T(iou_threshold),
                                   T(score_threshold),
                                   checked_enum(score, FusedScore::kAbsentModelAwareMean, "score"),
                                   allows_overflow,
                                   num_models,
                                   std::accumulate(weights.begin(), weights.end(), 0.0),
                                   *std::max_element(weights.begin(), weights.end())};
  const T *const b = boxes.data(), *const s = scores.data();
  const int64_t* const l = labels.data();
  FusedBoxes<T> fused;
  {
    const py::gil_scoped_release release;
    fused = weighted_boxes_fusion_cpu(b, s, l, m, weights.data(), n, settings, OwnThreads());
  }
  const py::ssize_t count = fused.scores.size();
  Array<T> out_boxes({count, py::ssize_t{4}}), out_scores(count);
  Array<int64_t> out_labels(count);
  std::copy(fused.boxes.begin(), fused.boxes.end(), out_boxes.mutable_data());
  std::copy(fused.scores.begin(), fused.scores.end(), out_scores.mutable_data());
  std::copy(fused.labels.begin(), fused.labels.end(), out_labels.mutable_data());
  return py::make_tuple(out_boxes, out_scores, out_labels);
}

template <class T>
void add_of(py::module_& m) {
  m.def("weighted_boxes_fusion", &weighted_boxes_fusion<T>, py::arg("boxes").noconvert(),
        py::arg("scores").noconvert(), py::arg("labels").noconvert(), py::arg("models").noconvert(),
        py::arg("weights"), py::arg("iou_threshold"), py::arg("score_threshold"), py::arg("score"),
        py::arg("allows_overflow"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::nms::fusion
