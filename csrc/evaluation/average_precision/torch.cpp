#include "common/torch.h"

#include <tuple>

#include "evaluation/average_precision/average_precision.h"

namespace sightline::evaluation::average_precision {
namespace {

// Contiguous, and of this type and number of dimensions.
Tensor checked(const Tensor& t, ScalarType type, int64_t dim, const Tensor& like,
               const char* name) {
  STD_TORCH_CHECK(t.scalar_type() == type && t.dim() == dim, name, " has a wrong dtype or shape");
  STD_TORCH_CHECK(t.get_device_index() == like.get_device_index() && t.is_cuda() == like.is_cuda(),
                  name, " is on another device");
  return as_contiguous(t);
}
Tensor checked_length(const Tensor& t, ScalarType type, int64_t length, const Tensor& like,
                      const char* name) {
  STD_TORCH_CHECK(t.dim() == 1 && t.size(0) == length, name, " has a wrong length");
  return checked(t, type, 1, like, name);
}

constexpr auto kDouble = ScalarType::Double;
constexpr auto kLong = ScalarType::Long;

std::tuple<Tensor, Tensor, Tensor> match_detections(
    const Tensor& dt_boxes, const Tensor& dt_order, const Tensor& dt_offsets,
    const Tensor& gt_boxes, const Tensor& gt_area, const Tensor& gt_crowd, const Tensor& gt_ignore,
    const Tensor& gt_offsets, const Tensor& iou_thresholds, const Tensor& area_ranges,
    int64_t max_detections, int64_t rule, bool inclusive, bool return_index) {
  check_boxes(dt_boxes, "dt_boxes");
  check_boxes(gt_boxes, "gt_boxes");
  STD_TORCH_CHECK(area_ranges.dim() == 2 && area_ranges.size(1) == 2,
                  "area_ranges must have shape [A, 2]");
  const DeviceScope scope(dt_boxes);
  const int64_t num_dt = dt_boxes.size(0), num_gt = gt_boxes.size(0);
  const Tensor db = checked(dt_boxes, kDouble, 2, dt_boxes, "dt_boxes");
  const Tensor order = checked_length(dt_order, kLong, num_dt, db, "dt_order");
  const Tensor dto = checked(dt_offsets, kLong, 1, db, "dt_offsets");
  const Tensor gto = checked_length(gt_offsets, kLong, dto.size(0), db, "gt_offsets");
  STD_TORCH_CHECK(dto.size(0) > 0, "dt_offsets must have shape [S + 1]");
  const Tensor gb = checked(gt_boxes, kDouble, 2, db, "gt_boxes");
  const Tensor area = checked_length(gt_area, kDouble, num_gt, db, "gt_area");
  const Tensor crowd = checked_length(gt_crowd, ScalarType::Bool, num_gt, db, "gt_crowd");
  const Tensor ignore = checked_length(gt_ignore, ScalarType::Bool, num_gt, db, "gt_ignore");
  const Tensor thresholds = checked(iou_thresholds, kDouble, 1, db, "iou_thresholds");
  const Tensor ranges = checked(area_ranges, kDouble, 2, db, "area_ranges");
  const int64_t groups = dto.size(0) - 1, num_t = thresholds.size(0), num_a = ranges.size(0);

  Tensor outcome = allocate(db, {num_a, num_t, num_dt}, ScalarType::Char);
  Tensor gt_count = allocate(db, {num_a, groups}, kLong);
  Tensor gt_index = allocate(db, {num_a, num_t, return_index ? num_dt : int64_t(0)}, kLong);
  Tensor taken = torch::stable::fill_(
      allocate(db, {num_a, num_t, num_gt}, ScalarType::Byte, kWorkingMemory), 0);
  const MatchInput in{.dt_boxes = db.const_data_ptr<double>(),
                      .dt_order = order.const_data_ptr<int64_t>(),
                      .dt_offsets = dto.const_data_ptr<int64_t>(),
                      .gt_boxes = gb.const_data_ptr<double>(),
                      .gt_area = area.const_data_ptr<double>(),
                      .gt_crowd = crowd.const_data_ptr<bool>(),
                      .gt_ignore = ignore.const_data_ptr<bool>(),
                      .gt_offsets = gto.const_data_ptr<int64_t>(),
                      .iou_thresholds = thresholds.const_data_ptr<double>(),
                      .area_ranges = ranges.const_data_ptr<double>(),
                      .num_dt = num_dt,
                      .num_gt = num_gt,
                      .num_groups = groups,
                      .num_thresholds = num_t,
                      .num_areas = num_a,
                      .max_detections = max_detections,
                      .rule = checked_enum(rule, MatchRule::kVoc, "rule"),
                      .inclusive = inclusive};
  const MatchOutput out{.outcome = outcome.mutable_data_ptr<int8_t>(),
                        .gt_count = gt_count.mutable_data_ptr<int64_t>(),
                        .gt_index = return_index ? gt_index.mutable_data_ptr<int64_t>() : nullptr,
                        .taken = taken.mutable_data_ptr<uint8_t>()};
  if constexpr (kHasCuda) {
    if (scope.on_cuda()) {
      match_detections_cuda(in, out, scope.stream());
      return {outcome, gt_count, gt_index};
    }
  }
  match_detections_cpu(in, out, TorchThreads());
  return {outcome, gt_count, gt_index};
}

std::tuple<Tensor, Tensor, Tensor> accumulate_precision(
    const Tensor& outcome, const Tensor& dt_scores, const Tensor& dt_order, const Tensor& dt_rank,
    const Tensor& class_offsets, const Tensor& gt_count, const Tensor& max_detections,
    const Tensor& recall_thresholds) {
  const DeviceScope scope(outcome);
  const Tensor oc = checked(outcome, ScalarType::Char, 3, outcome, "outcome");
  const int64_t num_a = oc.size(0), num_t = oc.size(1), num_dt = oc.size(2);
  const Tensor scores = checked_length(dt_scores, kDouble, num_dt, oc, "dt_scores");
  const Tensor order = checked_length(dt_order, kLong, num_dt, oc, "dt_order");
  const Tensor rank = checked_length(dt_rank, kLong, num_dt, oc, "dt_rank");
  const Tensor offsets = checked(class_offsets, kLong, 1, oc, "class_offsets");
  STD_TORCH_CHECK(offsets.size(0) > 0, "class_offsets must have shape [K + 1]");
  const int64_t num_k = offsets.size(0) - 1;
  const Tensor count = checked(gt_count, kLong, 2, oc, "gt_count");
  STD_TORCH_CHECK(count.size(0) == num_a && count.size(1) == num_k,
                  "gt_count must have shape [A, K]");
  const Tensor caps = checked(max_detections, kLong, 1, oc, "max_detections");
  const Tensor grid = checked(recall_thresholds, kDouble, 1, oc, "recall_thresholds");
  const int64_t num_m = caps.size(0), num_r = grid.size(0);

  Tensor precision = allocate(scores, {num_t, num_r, num_k, num_a, num_m}, kDouble);
  Tensor recall = allocate(scores, {num_t, num_k, num_a, num_m}, kDouble);
  Tensor score_at = allocate(scores, {num_t, num_r, num_k, num_a, num_m}, kDouble);
  const AccumulateInput in{.outcome = oc.const_data_ptr<int8_t>(),
                           .dt_scores = scores.const_data_ptr<double>(),
                           .dt_order = order.const_data_ptr<int64_t>(),
                           .dt_rank = rank.const_data_ptr<int64_t>(),
                           .class_offsets = offsets.const_data_ptr<int64_t>(),
                           .gt_count = count.const_data_ptr<int64_t>(),
                           .max_detections = caps.const_data_ptr<int64_t>(),
                           .recall_thresholds = grid.const_data_ptr<double>(),
                           .num_dt = num_dt,
                           .num_classes = num_k,
                           .num_thresholds = num_t,
                           .num_areas = num_a,
                           .num_caps = num_m,
                           .num_recalls = num_r};
  const AccumulateOutput out{.precision = precision.mutable_data_ptr<double>(),
                             .recall = recall.mutable_data_ptr<double>(),
                             .scores = score_at.mutable_data_ptr<double>()};
  if constexpr (kHasCuda) {
    if (scope.on_cuda()) {
      accumulate_precision_cuda(in, out, scope.stream());
      return {precision, recall, score_at};
    }
  }
  accumulate_precision_cpu(in, out, TorchThreads());
  return {precision, recall, score_at};
}

Tensor average_precision(const Tensor& recall, const Tensor& precision, int64_t method) {
  const DeviceScope scope(recall);
  const Tensor r = checked(recall, kDouble, 2, recall, "recall");
  const Tensor p = checked(precision, kDouble, 2, recall, "precision");
  const int64_t curves = r.size(0), points = r.size(1);
  STD_TORCH_CHECK(p.size(0) == curves && p.size(1) == points,
                  "recall and precision must have the same shape");
  Tensor out = allocate(r, {curves}, r.scalar_type());
  const double *x = r.const_data_ptr<double>(), *y = p.const_data_ptr<double>();
  double* o = out.mutable_data_ptr<double>();
  const auto kind = checked_enum(method, ApMethod::kAll, "method");
  if constexpr (kHasCuda) {
    if (scope.on_cuda()) {
      average_precision_cuda(x, y, o, curves, points, kind, scope.stream());
      return out;
    }
  }
  average_precision_cpu(x, y, o, curves, points, kind, TorchThreads());
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "match_detections(Tensor dt_boxes, Tensor dt_order, Tensor dt_offsets, Tensor gt_boxes, "
      "Tensor gt_area, Tensor gt_crowd, Tensor gt_ignore, Tensor gt_offsets, Tensor "
      "iou_thresholds, Tensor area_ranges, int max_detections, int rule, bool inclusive, bool "
      "return_index) -> (Tensor, Tensor, Tensor)");
  m.def(
      "accumulate_precision(Tensor outcome, Tensor dt_scores, Tensor dt_order, Tensor dt_rank, "
      "Tensor class_offsets, Tensor gt_count, Tensor max_detections, Tensor recall_thresholds) -> "
      "(Tensor, Tensor, Tensor)");
  m.def("average_precision(Tensor recall, Tensor precision, int method) -> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("match_detections", TORCH_BOX(&match_detections));
  m.impl("accumulate_precision", TORCH_BOX(&accumulate_precision));
  m.impl("average_precision", TORCH_BOX(&average_precision));
}

}  // namespace sightline::evaluation::average_precision
