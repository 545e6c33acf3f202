#include "common/numpy.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "evaluation/average_precision/average_precision.h"

namespace sightline::evaluation::average_precision {
namespace {

using Doubles = Array<double>;
using Longs = Array<int64_t>;
using Bools = Array<bool>;
using Chars = Array<int8_t>;

template <class T>
void check_shape(const Array<T>& array, std::initializer_list<int64_t> shape, const char* name) {
  bool same = array.ndim() == static_cast<int64_t>(shape.size());
  int64_t axis = 0;
  for (const int64_t size : shape) same = same && array.shape(axis++) == size;
  if (!same) throw std::invalid_argument(std::string(name) + " has a wrong shape");
}

py::tuple match_detections(const Doubles& dt_boxes, const Longs& dt_order, const Longs& dt_offsets,
                           const Doubles& gt_boxes, const Doubles& gt_area, const Bools& gt_crowd,
                           const Bools& gt_ignore, const Longs& gt_offsets,
                           const Doubles& iou_thresholds, const Doubles& area_ranges,
                           int64_t max_detections, int64_t rule, bool inclusive, bool return_index,
                           const std::optional<Doubles>& dt_area,
                           const std::optional<Doubles>& overlaps) {
  check_boxes(dt_boxes, "dt_boxes");
  check_boxes(gt_boxes, "gt_boxes");
  const int64_t num_dt = dt_boxes.shape(0), num_gt = gt_boxes.shape(0);
  const int64_t groups = dt_offsets.size() - 1, num_t = iou_thresholds.size();
  const int64_t num_a = area_ranges.size() / 2;
  require(groups >= 0, "dt_offsets must have shape [S + 1]");
  check_shape(dt_order, {num_dt}, "dt_order");
  check_shape(dt_offsets, {groups + 1}, "dt_offsets");
  check_shape(gt_offsets, {groups + 1}, "gt_offsets");
  check_shape(gt_area, {num_gt}, "gt_area");
  check_shape(gt_crowd, {num_gt}, "gt_crowd");
  check_shape(gt_ignore, {num_gt}, "gt_ignore");
  check_shape(iou_thresholds, {num_t}, "iou_thresholds");
  check_shape(area_ranges, {num_a, 2}, "area_ranges");
  if (dt_area) check_shape(*dt_area, {num_dt}, "dt_area");
  if (overlaps) {
    int64_t cells = 0;
    for (int64_t s = 0; s < groups; ++s) {
      const int64_t dt = dt_offsets.data()[s + 1] - dt_offsets.data()[s];
      const int64_t gt = gt_offsets.data()[s + 1] - gt_offsets.data()[s];
      require(dt >= 0 && gt >= 0, "offsets must ascend");
      cells += dt * gt;
    }
    require(dt_offsets.data()[0] == 0 && dt_offsets.data()[groups] == num_dt &&
                gt_offsets.data()[0] == 0 && gt_offsets.data()[groups] == num_gt,
            "offsets must go from 0 to the number of rows");
    check_shape(*overlaps, {cells}, "overlaps");
  }

  Chars outcome({num_a, num_t, num_dt});
  Longs gt_count({num_a, groups});
  Longs gt_index({num_a, num_t, return_index ? num_dt : int64_t(0)});
  const MatchInput in{.dt_boxes = dt_boxes.data(),
                      .dt_order = dt_order.data(),
                      .dt_offsets = dt_offsets.data(),
                      .gt_boxes = gt_boxes.data(),
                      .gt_area = gt_area.data(),
                      .gt_crowd = gt_crowd.data(),
                      .gt_ignore = gt_ignore.data(),
                      .gt_offsets = gt_offsets.data(),
                      .iou_thresholds = iou_thresholds.data(),
                      .area_ranges = area_ranges.data(),
                      .num_dt = num_dt,
                      .num_gt = num_gt,
                      .num_groups = groups,
                      .num_thresholds = num_t,
                      .num_areas = num_a,
                      .max_detections = max_detections,
                      .rule = checked_enum(rule, MatchRule::kVoc, "rule"),
                      .inclusive = inclusive,
                      .dt_area = dt_area ? dt_area->data() : nullptr,
                      .overlaps = overlaps ? overlaps->data() : nullptr};
  MatchOutput out{.outcome = outcome.mutable_data(),
                  .gt_count = gt_count.mutable_data(),
                  .gt_index = return_index ? gt_index.mutable_data() : nullptr,
                  .taken = nullptr};
  {
    const py::gil_scoped_release release;
    std::vector<uint8_t> taken(num_a * num_t * num_gt);
    out.taken = taken.data();
    match_detections_cpu(in, out, OwnThreads());
  }
  return py::make_tuple(outcome, gt_count, gt_index);
}

py::tuple accumulate_precision(const Chars& outcome, const Doubles& dt_scores,
                               const Longs& dt_order, const Longs& dt_rank,
                               const Longs& class_offsets, const Longs& gt_count,
                               const Longs& max_detections, const Doubles& recall_thresholds) {
  require(outcome.ndim() == 3, "outcome must have shape [A, T, D]");
  const int64_t num_a = outcome.shape(0), num_t = outcome.shape(1), num_dt = outcome.shape(2);
  const int64_t num_k = class_offsets.size() - 1, num_m = max_detections.size();
  const int64_t num_r = recall_thresholds.size();
  require(num_k >= 0, "class_offsets must have shape [K + 1]");
  check_shape(dt_scores, {num_dt}, "dt_scores");
  check_shape(dt_order, {num_dt}, "dt_order");
  check_shape(dt_rank, {num_dt}, "dt_rank");
  check_shape(class_offsets, {num_k + 1}, "class_offsets");
  check_shape(gt_count, {num_a, num_k}, "gt_count");
  check_shape(max_detections, {num_m}, "max_detections");
  check_shape(recall_thresholds, {num_r}, "recall_thresholds");

  Doubles precision({num_t, num_r, num_k, num_a, num_m});
  Doubles recall({num_t, num_k, num_a, num_m});
  Doubles scores({num_t, num_r, num_k, num_a, num_m});
  const AccumulateInput in{.outcome = outcome.data(),
                           .dt_scores = dt_scores.data(),
                           .dt_order = dt_order.data(),
                           .dt_rank = dt_rank.data(),
                           .class_offsets = class_offsets.data(),
                           .gt_count = gt_count.data(),
                           .max_detections = max_detections.data(),
                           .recall_thresholds = recall_thresholds.data(),
                           .num_dt = num_dt,
                           .num_classes = num_k,
                           .num_thresholds = num_t,
                           .num_areas = num_a,
                           .num_caps = num_m,
                           .num_recalls = num_r};
  const AccumulateOutput out{.precision = precision.mutable_data(),
                             .recall = recall.mutable_data(),
                             .scores = scores.mutable_data()};
  {
    const py::gil_scoped_release release;
    accumulate_precision_cpu(in, out, OwnThreads());
  }
  return py::make_tuple(precision, recall, scores);
}

Doubles average_precision(const Doubles& recall, const Doubles& precision, int64_t method) {
  require(recall.ndim() == 2, "recall must have shape [B, N]");
  const int64_t curves = recall.shape(0), points = recall.shape(1);
  check_shape(precision, {curves, points}, "precision");
  const ApMethod kind = checked_enum(method, ApMethod::kAll, "method");
  Doubles out(curves);
  const double *x = recall.data(), *y = precision.data();
  double* o = out.mutable_data();
  const py::gil_scoped_release release;
  average_precision_cpu(x, y, o, curves, points, kind, OwnThreads());
  return out;
}

py::arg array(const char* name) { return py::arg(name).noconvert(); }

const AddToModule add([](py::module_& m) {
  m.def("match_detections", &match_detections, array("dt_boxes"), array("dt_order"),
        array("dt_offsets"), array("gt_boxes"), array("gt_area"), array("gt_crowd"),
        array("gt_ignore"), array("gt_offsets"), array("iou_thresholds"), array("area_ranges"),
        py::arg("max_detections"), py::arg("rule"), py::arg("inclusive"), py::arg("return_index"),
        py::arg("dt_area").noconvert() = py::none(), py::arg("overlaps").noconvert() = py::none());
  m.def("accumulate_precision", &accumulate_precision, array("outcome"), array("dt_scores"),
        array("dt_order"), array("dt_rank"), array("class_offsets"), array("gt_count"),
        array("max_detections"), array("recall_thresholds"));
  m.def("average_precision", &average_precision, array("recall"), array("precision"),
        py::arg("method"));
});

}  // namespace
}  // namespace sightline::evaluation::average_precision
