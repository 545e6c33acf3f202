#include "common/numpy.h"

#include "assign/predictions_numpy.h"
#include "assign/sim_ota/sim_ota.h"

namespace sightline::assign::sim_ota {
namespace {

template <class T>
py::tuple assign_sim_ota(const Array<T>& scores, const Array<T>& boxes, const Array<T>& points,
                         const Array<T>& strides, const Array<T>& gt_boxes,
                         const Array<int64_t>& gt_labels, int64_t top_k, double center_radius,
                         double iou_weight, double class_weight) {
  check_predictions(scores, boxes, points, gt_boxes, gt_labels);
  const int64_t images = scores.shape(0), anchors = scores.shape(1), objects = gt_boxes.shape(1);
  require(strides.ndim() == 1 && strides.shape(0) == anchors, "strides must have shape [A]");
  require(top_k >= 1 && top_k <= kMaxCandidates, "top_k must lie in [1, 512]");
  Array<int64_t> index({images, anchors});
  Array<T> overlap({images, anchors});
  const SimOtaInputs<T> in{scores.data(),   boxes.data(),     points.data(), strides.data(),
                           gt_boxes.data(), gt_labels.data(), images,        anchors,
                           objects,         scores.shape(2)};
  const SimOtaRule<T> rule{T(center_radius), top_k, T(iou_weight), T(class_weight)};
  int64_t* const out = index.mutable_data();
  T* const overlaps = overlap.mutable_data();
  {
    const py::gil_scoped_release release;
    assign_sim_ota_cpu(in, rule, out, overlaps, OwnThreads());
  }
  return py::make_tuple(index, overlap);
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_sim_ota", &assign_sim_ota<T>, py::arg("scores").noconvert(),
        py::arg("boxes").noconvert(), py::arg("points").noconvert(), py::arg("strides").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("gt_labels").noconvert(), py::arg("top_k"),
        py::arg("center_radius"), py::arg("iou_weight"), py::arg("class_weight"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::sim_ota
