#include "common/numpy.h"

#include "assign/max_iou/max_iou.h"

namespace sightline::assign::max_iou {
namespace {

template <class T>
py::tuple match_anchors(const Array<T>& anchors, const Array<T>& gt_boxes,
                        const Array<T>& ignore_boxes, double high_threshold, double low_threshold,
                        double min_positive_iou, double ignore_threshold, bool allow_low_quality,
                        bool first_anchor_only, bool zero_matches, bool takes_that_object,
                        bool with_iou, bool with_best_anchor) {
  check_boxes(anchors, "anchors");
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(2) == 4, "gt_boxes must have shape [B, G, 4]");
  require(ignore_boxes.ndim() == 3 && ignore_boxes.shape(2) == 4 &&
              ignore_boxes.shape(0) == gt_boxes.shape(0),
          "ignore_boxes must have shape [B, R, 4], with B that of gt_boxes");
  const MatchShape shape{anchors.shape(0), gt_boxes.shape(0), gt_boxes.shape(1),
                         ignore_boxes.shape(1)};
  require(shape.anchors <= INT32_MAX && shape.objects <= INT32_MAX && shape.regions <= INT32_MAX,
          "anchors and boxes of an image must be fewer than 2^31");
  const int64_t images = shape.images;
  Array<int64_t> index({images, shape.anchors});
  Array<T> iou({images, with_iou ? shape.anchors : 0});
  Array<int64_t> best_anchor({images, with_best_anchor ? shape.objects : 0});
  const MatchInput<T> in{anchors.data(), gt_boxes.data(), ignore_boxes.data()};
  const MatchOutput<T> out{index.mutable_data(), with_iou ? iou.mutable_data() : nullptr,
                           with_best_anchor ? best_anchor.mutable_data() : nullptr};
  const MatchRule<T> rule{T(high_threshold),   T(low_threshold),  T(min_positive_iou),
                          T(ignore_threshold), allow_low_quality, first_anchor_only,
                          zero_matches,        takes_that_object};
  {
    const py::gil_scoped_release release;
    match_anchors_cpu(in, out, shape, rule, OwnThreads());
  }
  return py::make_tuple(index, iou, best_anchor);
}

template <class T>
void add_of(py::module_& m) {
  m.def("match_anchors", &match_anchors<T>, py::arg("anchors").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("ignore_boxes").noconvert(),
        py::arg("high_threshold"), py::arg("low_threshold"), py::arg("min_positive_iou"),
        py::arg("ignore_threshold"), py::arg("allow_low_quality"), py::arg("first_anchor_only"),
        py::arg("zero_matches"), py::arg("takes_that_object"), py::arg("with_iou"),
        py::arg("with_best_anchor"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::max_iou
