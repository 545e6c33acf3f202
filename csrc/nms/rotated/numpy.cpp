#include "nms/rotated/rotated.h"
#include "nms/scored_boxes_numpy.h"

namespace sightline::nms::rotated {
namespace {

template <class T, class S>
Array<int64_t> nms_rotated(const Array<T>& boxes, const Array<S>& scores,
                           const std::optional<Array<int64_t>>& idxs, double iou_threshold,
                           bool degrees) {
  require(boxes.ndim() == 2 && boxes.shape(1) == 5, "boxes must have shape [N, 5]");
  const int64_t n = boxes.shape(0);
  check_scored(boxes, scores, idxs);
  const T* b = boxes.data();
  const S* s = scores.data();
  const int64_t* i = data_of(idxs);
  const AngleUnit unit = degrees ? AngleUnit::kDegrees : AngleUnit::kRadians;
  std::vector<int64_t> keep;
  {
    const py::gil_scoped_release release;
    keep = nms_rotated_cpu(b, s, i, n, T(iou_threshold), unit, OwnThreads());
  }
  return array_of(keep);
}

template <class T, class S>
void add_of(py::module_& m) {
  m.def("nms_rotated", &nms_rotated<T, S>, py::arg("boxes").noconvert(),
        py::arg("scores").noconvert(), py::arg("idxs").noconvert(), py::arg("iou_threshold"),
        py::arg("degrees"));
}

const AddToModule add([](py::module_& m) {
  add_of<float, float>(m);
  add_of<float, double>(m);
  add_of<double, float>(m);
  add_of<double, double>(m);
});

}  // namespace
}  // namespace sightline::nms::rotated
