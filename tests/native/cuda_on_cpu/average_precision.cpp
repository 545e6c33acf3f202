// The kernels of matching, accumulation and average precision on host memory, for
// tests/native/test_average_precision_cuda_on_cpu.py.
#include "evaluation/average_precision/average_precision.h"

#include "cuda_runtime.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

// sizes: D, G, S, T, A, cap, rule, inclusive.
EXPORT void match_detections(const double* dt_boxes, const int64_t* dt_order,
                             const int64_t* dt_offsets, const double* gt_boxes,
                             const double* gt_area, const bool* gt_crowd, const bool* gt_ignore,
                             const int64_t* gt_offsets, const double* iou_thresholds,
                             const double* area_ranges, const int64_t* sizes, int8_t* outcome,
                             int64_t* gt_count, int64_t* gt_index, uint8_t* taken) {
  sightline::evaluation::average_precision::MatchInput in{};
  in.dt_boxes = dt_boxes;
  in.dt_order = dt_order;
  in.dt_offsets = dt_offsets;
  in.gt_boxes = gt_boxes;
  in.gt_area = gt_area;
  in.gt_crowd = gt_crowd;
  in.gt_ignore = gt_ignore;
  in.gt_offsets = gt_offsets;
  in.iou_thresholds = iou_thresholds;
  in.area_ranges = area_ranges;
  in.num_dt = sizes[0];
  in.num_gt = sizes[1];
  in.num_groups = sizes[2];
  in.num_thresholds = sizes[3];
  in.num_areas = sizes[4];
  in.max_detections = sizes[5];
  in.rule = static_cast<sightline::evaluation::average_precision::MatchRule>(sizes[6]);
  in.inclusive = sizes[7] != 0;
  sightline::evaluation::average_precision::match_detections_cuda(
      in, {outcome, gt_count, gt_index, taken}, {});
}

// sizes: D, K, T, A, M, R.
EXPORT void accumulate_precision(const int8_t* outcome, const double* dt_scores,
                                 const int64_t* dt_order, const int64_t* dt_rank,
                                 const int64_t* class_offsets, const int64_t* gt_count,
                                 const int64_t* max_detections, const double* recall_thresholds,
                                 const int64_t* sizes, double* precision, double* recall,
                                 double* scores) {
  const sightline::evaluation::average_precision::AccumulateInput in{
      .outcome = outcome,
      .dt_scores = dt_scores,
      .dt_order = dt_order,
      .dt_rank = dt_rank,
      .class_offsets = class_offsets,
      .gt_count = gt_count,
      .max_detections = max_detections,
      .recall_thresholds = recall_thresholds,
      .num_dt = sizes[0],
      .num_classes = sizes[1],
      .num_thresholds = sizes[2],
      .num_areas = sizes[3],
      .num_caps = sizes[4],
      .num_recalls = sizes[5]};
  sightline::evaluation::average_precision::accumulate_precision_cuda(
      in, {precision, recall, scores}, {});
}

EXPORT void average_precision(const double* recall, const double* precision, double* out,
                              int64_t num_curves, int64_t num_points, int64_t method) {
  sightline::evaluation::average_precision::average_precision_cuda(
      recall, precision, out, num_curves, num_points,
      static_cast<sightline::evaluation::average_precision::ApMethod>(method), {});
}
