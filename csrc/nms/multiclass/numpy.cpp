#include "common/numpy.h"

#include <tuple>

#include "nms/multiclass/multiclass.h"

namespace sightline::nms::multiclass {
namespace {

template <class T, class S>
MulticlassShape shape_of(const Array<T>& boxes, const Array<S>& scores, int64_t max_detections,
                         int64_t pre_top_k, bool agnostic) {
  require(scores.ndim() == 3, "scores must have shape [B, A, C]");
  require((boxes.ndim() == 3 || boxes.ndim() == 4) && boxes.shape(boxes.ndim() - 1) == 4 &&
              boxes.shape(0) == scores.shape(0) && boxes.shape(1) == scores.shape(1) &&
              (boxes.ndim() == 3 || boxes.shape(2) == scores.shape(2)),
          "boxes must have shape [B, A, 4] or [B, A, C, 4]");
  require(max_detections >= 0 && pre_top_k >= 1,
          "max_detections must be at least 0 and pre_top_k at least 1");
  return {scores.shape(0), scores.shape(1), scores.shape(2), boxes.ndim() == 4,
          max_detections,  pre_top_k,       agnostic};
}

template <class T, class S>
auto multiclass_nms(const Array<T>& boxes, const Array<S>& scores, double score_threshold,
                    double iou_threshold, int64_t max_detections, int64_t pre_top_k,
                    bool agnostic) {
  const MulticlassShape shape = shape_of(boxes, scores, max_detections, pre_top_k, agnostic);
  Array<T> out_boxes({shape.images, max_detections, int64_t(4)});
  Array<S> out_scores({shape.images, max_detections});
  Array<int64_t> labels({shape.images, max_detections}), counts(shape.images);
  const T* b = boxes.data();
  const S* s = scores.data();
  T* ob = out_boxes.mutable_data();
  S* os = out_scores.mutable_data();
  int64_t *l = labels.mutable_data(), *c = counts.mutable_data();
  {
    const py::gil_scoped_release release;
    multiclass_nms_cpu(b, s, ob, os, l, c, shape, S(score_threshold), T(iou_threshold),
                       OwnThreads());
  }
  return std::make_tuple(out_boxes, out_scores, labels, counts);
}

template <class T, class S>
void add_of(py::module_& m) {
  m.def("multiclass_nms", &multiclass_nms<T, S>, py::arg("boxes").noconvert(),
        py::arg("scores").noconvert(), py::arg("score_threshold"), py::arg("iou_threshold"),
        py::arg("max_detections"), py::arg("pre_top_k"), py::arg("agnostic"));
}

const AddToModule add([](py::module_& m) {
  add_of<float, float>(m);
  add_of<float, double>(m);
  add_of<double, float>(m);
  add_of<double, double>(m);
});

}  // namespace
}  // namespace sightline::nms::multiclass
