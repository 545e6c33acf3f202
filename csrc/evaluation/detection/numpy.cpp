#include "common/numpy.h"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <vector>

#include "common/groups_numpy.h"
#include "evaluation/detection/detection.h"

namespace sightline::evaluation::detection {
namespace {

using Doubles = Array<double>;
using Longs = Array<int64_t>;
using Ints = Array<int32_t>;
using Bools = Array<bool>;

template <class T>
void check_length(const Array<T>& array, int64_t length, const char* name) {
  if (array.ndim() != 1 || array.size() != length)
    throw std::invalid_argument(std::string(name) + " must have shape [" + std::to_string(length) +
                                "]");
}
template <class T>
void check_below(const Array<T>& array, int64_t limit, const char* name) {
  const T* const values = array.data();
  bool good = true;
  for (int64_t i = 0; i < array.size(); ++i) good &= values[i] >= 0 && values[i] < limit;
  if (!good) throw std::invalid_argument(std::string(name) + " has a value out of range");
}
void check_offsets(const Longs& offsets, int64_t size, const char* name) {
  const int64_t* const values = offsets.data();
  bool good = offsets.ndim() == 1 && offsets.size() > 0;
  for (int64_t i = 0; good && i + 1 < offsets.size(); ++i) good = values[i] <= values[i + 1];
  if (!good || values[0] != 0 || values[offsets.size() - 1] != size)
    throw std::invalid_argument(std::string(name) + " must ascend from 0 to " +
                                std::to_string(size));
}

// An array that owns a vector.
template <class T>
Array<T> as_array(Column<T>&& values) {
  auto owner = std::make_unique<Column<T>>(std::move(values));
  const py::capsule capsule(owner.get(), [](void* p) { delete static_cast<Column<T>*>(p); });
  Column<T>& kept = *owner.release();
  return Array<T>({static_cast<py::ssize_t>(kept.size())}, kept.data(), capsule);
}

// A field of a record of metrics/detection/rows.py, an array of exactly T.
template <class T>
Array<T> field(const py::handle& record, const char* name) {
  const py::object value = record.attr(name);
  if (!py::isinstance<Array<T>>(value))
    throw py::type_error(std::string(name) + " must be a contiguous array of " +
                         py::str(py::dtype::of<T>()).template cast<std::string>());
  return py::reinterpret_borrow<Array<T>>(value);
}
// The same where the record may hold None.
template <class T>
std::optional<Array<T>> optional_field(const py::handle& record, const char* name) {
  if (record.attr(name).is_none()) return std::nullopt;
  return field<T>(record, name);
}

template <class T>
const T* data_or_null(const std::optional<Array<T>>& array) {
  return array ? array->data() : nullptr;
}

// The part of a Layout that groups rows, checked for so many detections and objects.
struct GroupedRows {
  Longs class_rows, dt_rows, dt_offsets, gt_rows, gt_offsets;
  Ints dt_places;

  GroupedRows(const py::handle& layout, int64_t num_dt, int64_t num_gt)
      : class_rows(field<int64_t>(layout, "class_rows")),
        dt_rows(field<int64_t>(layout, "dt_rows")),
        dt_offsets(field<int64_t>(layout, "dt_offsets")),
        gt_rows(field<int64_t>(layout, "gt_rows")),
        gt_offsets(field<int64_t>(layout, "gt_offsets")),
        dt_places(field<int32_t>(layout, "dt_places")) {
    check_offsets(dt_offsets, count(), "dt_offsets");
    check_groups(dt_rows, dt_offsets, groups(), num_dt);
    check_groups(gt_rows, gt_offsets, groups(), num_gt);
    check_length(class_rows, count(), "class_rows");
    check_below(class_rows, num_dt, "class_rows");
    check_length(dt_places, count(), "dt_places");
    check_below(dt_places, count(), "dt_places");
  }
  int64_t count() const { return dt_rows.size(); }
  int64_t groups() const { return dt_offsets.size() - 1; }
};

py::tuple lay_out_detections(const Longs& dt_image, const Longs& dt_class,
                             const std::optional<Longs>& dt_label, const Doubles& dt_scores,
                             const Longs& gt_image, const Longs& gt_class,
                             const std::optional<Longs>& gt_label, int64_t num_images,
                             int64_t num_classes, int64_t max_detections) {
  const int64_t num_dt = dt_scores.size(), num_gt = gt_image.size();
  require(num_dt <= INT32_MAX && num_gt <= INT32_MAX && num_images <= INT32_MAX &&
              num_classes <= INT32_MAX,
          "rows, images and classes must fit 32 bits");
  require(num_images >= 0 && num_classes >= 0 && max_detections > 0, "sizes must be positive");
  check_length(dt_image, num_dt, "dt_image");
  check_length(dt_class, num_dt, "dt_class");
  if (dt_label) check_length(*dt_label, num_dt, "dt_label");
  check_length(gt_class, num_gt, "gt_class");
  if (gt_label) check_length(*gt_label, num_gt, "gt_label");
  check_below(dt_image, num_images, "dt_image");
  check_below(gt_image, num_images, "gt_image");
  check_below(dt_class, num_classes, "dt_class");
  check_below(gt_class, num_classes, "gt_class");
  const LayoutInput in{.dt_image = dt_image.data(),
                       .dt_class = dt_class.data(),
                       .dt_label = dt_label ? dt_label->data() : nullptr,
                       .dt_scores = dt_scores.data(),
                       .gt_image = gt_image.data(),
                       .gt_class = gt_class.data(),
                       .gt_label = gt_label ? gt_label->data() : nullptr,
                       .num_dt = num_dt,
                       .num_gt = num_gt,
                       .num_images = num_images,
                       .num_classes = num_classes,
                       .max_detections = max_detections};
  Layout out;
  {
    const py::gil_scoped_release release;
    out = lay_out(in, OwnThreads());
  }
  return py::make_tuple(as_array(std::move(out.dt_rows)), as_array(std::move(out.dt_places)),
                        as_array(std::move(out.dt_offsets)), as_array(std::move(out.gt_rows)),
                        as_array(std::move(out.gt_offsets)), as_array(std::move(out.class_groups)),
                        as_array(std::move(out.class_rows)), as_array(std::move(out.class_offsets)),
                        as_array(std::move(out.class_ranks)), as_array(std::move(out.class_images)),
                        as_array(std::move(out.class_scores)));
}

// [C, A, 2] of uint16, the bits of true positives and of ignored detections. dt, gt and layout are
// records of metrics/detection/rows.py: FlatDetections, FlatTargets and Layout.
Array<uint16_t> match_masks(const py::object& dt, const py::object& gt, const py::object& layout,
                            const Doubles& iou_thresholds, const Doubles& area_ranges, int64_t rule,
                            bool inclusive, const std::optional<Doubles>& overlaps) {
  const Doubles dt_boxes = field<double>(dt, "boxes_xywh"),
                gt_boxes = field<double>(gt, "boxes_xywh");
  const Doubles gt_area = field<double>(gt, "area");
  const Bools gt_crowd = field<bool>(gt, "crowd"), gt_ignore = field<bool>(gt, "ignore");
  const std::optional<Doubles> dt_area = optional_field<double>(dt, "area");
  const std::optional<Bools> gt_void = optional_field<bool>(gt, "void");
  check_boxes(dt_boxes, "dt.boxes_xywh");
  check_boxes(gt_boxes, "gt.boxes_xywh");
  const int64_t num_dt = dt_boxes.shape(0), num_gt = gt_area.size();
  const int64_t num_t = iou_thresholds.size();
  require(num_t <= kMaxThresholds, "at most 16 IoU thresholds at once");
  require(gt_boxes.shape(0) == num_gt, "gt.boxes_xywh and gt.area must have the same length");
  if (dt_area) check_length(*dt_area, num_dt, "dt.area");
  check_length(gt_crowd, num_gt, "gt.crowd");
  check_length(gt_ignore, num_gt, "gt.ignore");
  if (gt_void) check_length(*gt_void, num_gt, "gt.void");
  const GroupedRows rows(layout, num_dt, num_gt);
  require(area_ranges.ndim() == 2 && area_ranges.shape(1) == 2 && area_ranges.shape(0) <= kMaxAreas,
          "area_ranges must have shape [A, 2] with at most 16 rows");
  if (overlaps) check_length(*overlaps, count_cells(rows.dt_offsets, rows.gt_offsets), "overlaps");
  const int64_t num_a = area_ranges.shape(0);
  static_assert(sizeof(OutcomeMasks) == 2 * sizeof(uint16_t));
  Array<uint16_t> outcome({rows.count(), num_a, int64_t(2)});
  const MaskMatchInput in{.dt_boxes = dt_boxes.data(),
                          .dt_area = data_or_null(dt_area),
                          .gt_boxes = gt_boxes.data(),
                          .gt_area = gt_area.data(),
                          .gt_crowd = gt_crowd.data(),
                          .gt_ignore = gt_ignore.data(),
                          .gt_void = data_or_null(gt_void),
                          .overlaps = data_or_null(overlaps),
                          .class_rows = rows.class_rows.data(),
                          .dt_rows = rows.dt_rows.data(),
                          .dt_places = rows.dt_places.data(),
                          .dt_offsets = rows.dt_offsets.data(),
                          .gt_rows = rows.gt_rows.data(),
                          .gt_offsets = rows.gt_offsets.data(),
                          .iou_thresholds = iou_thresholds.data(),
                          .area_ranges = area_ranges.data(),
                          .num_dt = num_dt,
                          .num_groups = rows.groups(),
                          .num_thresholds = num_t,
                          .num_areas = num_a,
                          .rule = checked_enum(rule, MatchRule::kVoc, "rule"),
                          .inclusive = inclusive};
  auto* const out = reinterpret_cast<OutcomeMasks*>(outcome.mutable_data());
  const py::gil_scoped_release release;
  match_masks_cpu(in, out, OwnThreads());
  return outcome;
}

MaskAccumulateInput accumulate_input(const Array<uint16_t>& outcome, const Ints& class_ranks,
                                     const Longs& class_offsets, const Longs& max_detections,
                                     const Doubles& recall_thresholds, int64_t num_thresholds) {
  require(outcome.ndim() == 3 && outcome.shape(2) == 2, "outcome must have shape [C, A, 2]");
  require(num_thresholds > 0 && num_thresholds <= kMaxThresholds,
          "num_thresholds must lie in 1 ... 16");
  check_length(class_ranks, outcome.shape(0), "class_ranks");
  check_offsets(class_offsets, outcome.shape(0), "class_offsets");
  return {.outcome = reinterpret_cast<const OutcomeMasks*>(outcome.data()),
          .class_scores = nullptr,
          .class_ranks = class_ranks.data(),
          .class_offsets = class_offsets.data(),
          .gt_count = nullptr,
          .max_detections = max_detections.data(),
          .recall_thresholds = recall_thresholds.data(),
          .num_classes = class_offsets.size() - 1,
          .num_thresholds = num_thresholds,
          .num_areas = outcome.shape(1),
          .num_caps = max_detections.size(),
          .num_recalls = recall_thresholds.size()};
}

// precision [K, A, M, T, R], recall [K, A, M, T], scores [K, A, M, T, R]
py::tuple accumulate_masks(const Array<uint16_t>& outcome, const py::object& layout,
                           const Longs& gt_count, const Longs& max_detections,
                           const Doubles& recall_thresholds, int64_t num_thresholds) {
  const Ints class_ranks = field<int32_t>(layout, "class_ranks");
  const Longs class_offsets = field<int64_t>(layout, "class_offsets");
  MaskAccumulateInput in = accumulate_input(outcome, class_ranks, class_offsets, max_detections,
                                            recall_thresholds, num_thresholds);
  const Doubles class_scores = field<double>(layout, "class_scores");
  check_length(class_scores, outcome.shape(0), "class_scores");
  require(gt_count.ndim() == 2 && gt_count.shape(0) == in.num_areas &&
              gt_count.shape(1) == in.num_classes,
          "gt_count must have shape [A, K]");
  in.class_scores = class_scores.data();
  in.gt_count = gt_count.data();
  const std::vector<int64_t> curves{in.num_classes, in.num_areas, in.num_caps, num_thresholds};
  std::vector<int64_t> sampled = curves;
  sampled.push_back(in.num_recalls);
  Doubles precision(sampled), scores(sampled), recall(curves);
  const MaskAccumulateOutput out{.precision = precision.mutable_data(),
                                 .recall = recall.mutable_data(),
                                 .scores = scores.mutable_data()};
  {
    const py::gil_scoped_release release;
    accumulate_masks_cpu(in, out, OwnThreads());
  }
  return py::make_tuple(precision, recall, scores);
}

Doubles gather(const Doubles& cells, int64_t first, int64_t last, int64_t area, int64_t cap) {
  require(cells.ndim() == 4 || cells.ndim() == 5, "cells must have shape [K, A, M, T] or with R");
  const auto num_k = cells.shape(0), num_a = cells.shape(1), num_m = cells.shape(2);
  const auto num_t = cells.shape(3), num_r = cells.ndim() == 5 ? cells.shape(4) : 1;
  require(0 <= first && first <= last && last <= num_t && 0 <= area && area < num_a && 0 <= cap &&
              cap < num_m,
          "first, last, area or cap is out of range");
  Column<double> out((last - first) * num_r * num_k);
  out.resize(gather_cells(cells.data(), num_k, num_a, num_m, num_t, num_r, first, last, area, cap,
                          out.data()));
  return as_array(std::move(out));
}

// stats: rows of first, last, area, cap, recall
py::tuple resample_stats(const Array<uint16_t>& outcome, const py::object& layout,
                         const Ints& gt_images, const Array<uint16_t>& gt_counted,
                         const Longs& gt_offsets, const Array<uint16_t>& weights,
                         const Longs& max_detections, const Doubles& recall_thresholds,
                         int64_t num_thresholds, const Longs& stats) {
  const Ints class_ranks = field<int32_t>(layout, "class_ranks");
  const Longs class_offsets = field<int64_t>(layout, "class_offsets");
  const MaskAccumulateInput evaluation = accumulate_input(
      outcome, class_ranks, class_offsets, max_detections, recall_thresholds, num_thresholds);
  const Ints class_images = field<int32_t>(layout, "class_images");
  require(evaluation.num_areas >= 1 && evaluation.num_areas <= kMaxAreas, "1 to 16 area ranges");
  require(evaluation.num_caps >= 1, "max_detections is empty");
  require(weights.ndim() == 2, "weights must have shape [B, I]");
  check_length(class_images, outcome.shape(0), "class_images");
  check_below(class_images, weights.shape(1), "class_images");
  check_length(gt_counted, gt_images.size(), "gt_counted");
  check_below(gt_images, weights.shape(1), "gt_images");
  check_length(gt_offsets, evaluation.num_classes + 1, "gt_offsets");
  check_offsets(gt_offsets, gt_images.size(), "gt_offsets");
  require(stats.ndim() == 2 && stats.shape(1) == 5, "stats must have shape [N, 5]");
  std::vector<Stat> wanted;
  for (int64_t j = 0; j < stats.shape(0); ++j) {
    const int64_t* const row = stats.data(j, 0);
    require(0 <= row[0] && row[0] < row[1] && row[1] <= num_thresholds && 0 <= row[2] &&
                row[2] < evaluation.num_areas && 0 <= row[3] && row[3] < evaluation.num_caps,
            "a row of stats is out of range");
    wanted.push_back({row[0], row[1], row[2], row[3], row[4] != 0});
  }
  const int64_t num_replicates = weights.shape(0);
  Doubles values({num_replicates, int64_t(wanted.size())});
  Doubles class_ap({num_replicates, evaluation.num_classes});
  const ResampleInput in{.evaluation = evaluation,
                         .class_images = class_images.data(),
                         .gt_images = gt_images.data(),
                         .gt_counted = gt_counted.data(),
                         .gt_offsets = gt_offsets.data(),
                         .weights = weights.data(),
                         .stats = wanted,
                         .num_images = weights.shape(1),
                         .num_replicates = num_replicates};
  const ResampleOutput out{.stats = values.mutable_data(), .class_ap = class_ap.mutable_data()};
  {
    const py::gil_scoped_release release;
    resample_stats_cpu(in, out, OwnThreads());
  }
  return py::make_tuple(values, class_ap);
}

py::arg array(const char* name) { return py::arg(name).noconvert(); }

const AddToModule add([](py::module_& m) {
  m.def("lay_out_detections", &lay_out_detections, array("dt_image"), array("dt_class"),
        array("dt_label"), array("dt_scores"), array("gt_image"), array("gt_class"),
        array("gt_label"), py::arg("num_images"), py::arg("num_classes"),
        py::arg("max_detections"));
  m.def("match_masks", &match_masks, py::arg("dt"), py::arg("gt"), py::arg("layout"),
        array("iou_thresholds"), array("area_ranges"), py::arg("rule"), py::arg("inclusive"),
        array("overlaps"));
  m.def("accumulate_masks", &accumulate_masks, array("outcome"), py::arg("layout"),
        array("gt_count"), array("max_detections"), array("recall_thresholds"),
        py::arg("num_thresholds"));
  m.def("gather_cells", &gather, array("cells"), py::arg("first"), py::arg("last"), py::arg("area"),
        py::arg("cap"));
  m.def("resample_stats", &resample_stats, array("outcome"), py::arg("layout"), array("gt_images"),
        array("gt_counted"), array("gt_offsets"), array("weights"), array("max_detections"),
        array("recall_thresholds"), py::arg("num_thresholds"), array("stats"));
});

}  // namespace
}  // namespace sightline::evaluation::detection
