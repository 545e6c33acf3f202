#include "nms/scored_boxes_numpy.h"
#include "nms/soft/soft.h"

namespace sightline::nms::soft {
namespace {

template <class T>
py::tuple soft_nms(const Array<T>& boxes, const Array<T>& scores,
                   const std::optional<Array<int64_t>>& idxs, bool gaussian, double iou_threshold,
                   double sigma, double score_threshold, int64_t max_detections) {
  check_boxes(boxes, "boxes");
  const int64_t n = boxes.shape(0);
  check_scored(boxes, scores, idxs);
  require(score_threshold >= 0, "score_threshold must be at least 0");
  const SoftNmsSettings<T> settings{gaussian, T(iou_threshold), T(sigma), T(score_threshold),
                                    max_detections};
  const T *const b = boxes.data(), *const s = scores.data();
  const int64_t* const i = data_of(idxs);
  SoftNmsResult<T> result;
  {
    const py::gil_scoped_release release;
    result = soft_nms_cpu(b, s, i, n, settings, OwnThreads());
  }
  return py::make_tuple(array_of(result.keep), array_of(result.scores));
}

template <class T>
void add_of(py::module_& m) {
  m.def("soft_nms", &soft_nms<T>, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
        py::arg("idxs").noconvert().none(true), py::arg("gaussian"), py::arg("iou_threshold"),
        py::arg("sigma"), py::arg("score_threshold"), py::arg("max_detections"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::nms::soft
