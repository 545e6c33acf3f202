// Matching detections to ground truth, accumulating precision and recall, and average precision.
//
// Groups: the rows of all (class, image) pairs lie one after another; group s owns rows offsets[s]
// to offsets[s + 1]. Detections are visited through an order: its positions offsets[s] to
// offsets[s + 1] name the group's rows, best first. Boxes are xywh in double, as COCO's files hold
// them.
//
// COCO's rule follows pycocotools 2.0.11, VOC's the devkit of PASCAL VOC 2007 to 2012. CPU and CUDA
// give the same bits. Offsets and orders that lie outside the rows are passed over, not followed.
#pragma once

#include <cstdint>

#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::evaluation::average_precision {

enum class MatchRule : int64_t { kCoco = 0, kVoc = 1 };

// What becomes of a detection at one area range and IoU threshold.
inline constexpr int8_t kIgnored = -1, kFalsePositive = 0, kTruePositive = 1;

// A = areas, T = thresholds, D = detections, G = objects, S = groups.
struct MatchInput {
  const double* dt_boxes;        // [D, 4] xywh
  const int64_t* dt_order;       // [D] rows by group, best first
  const int64_t* dt_offsets;     // [S + 1]
  const double* gt_boxes;        // [G, 4] xywh
  const double* gt_area;         // [G]
  const bool* gt_crowd;          // [G]
  const bool* gt_ignore;         // [G]
  const int64_t* gt_offsets;     // [S + 1]
  const double* iou_thresholds;  // [T]
  const double* area_ranges;     // [A, 2] low and high, both inside
  int64_t num_dt, num_gt, num_groups, num_thresholds, num_areas;
  int64_t max_detections;  // a group; the others are ignored
  MatchRule rule;
  bool inclusive;                   // sides are w + 1 and h + 1
  const double* dt_area = nullptr;  // [D], null for w * h
  // Of masks or keypoints, in place of the IoU of boxes: group after group, rows in the order of
  // the group's detections, columns its objects. On the CPU alone.
  const double* overlaps = nullptr;
};
struct MatchOutput {
  int8_t* outcome;    // [A, T, D]
  int64_t* gt_count;  // [A, S] objects that are not ignored
  int64_t* gt_index;  // [A, T, D] row of the object, -1 for none; or null
  uint8_t* taken;     // [A, T, G] scratch, zero
};
void match_detections_cpu(const MatchInput& in, const MatchOutput& out, ParallelFor parallel_for);
void match_detections_cuda(const MatchInput& in, const MatchOutput& out, CudaStream stream);

// K = classes, M = caps on detections a group, R = recall thresholds.
struct AccumulateInput {
  const int8_t* outcome;            // [A, T, D]
  const double* dt_scores;          // [D]
  const int64_t* dt_order;          // [D] rows by class, best first
  const int64_t* dt_rank;           // [D] place of a row within its group, best 0
  const int64_t* class_offsets;     // [K + 1] positions in dt_order
  const int64_t* gt_count;          // [A, K]
  const int64_t* max_detections;    // [M]
  const double* recall_thresholds;  // [R] ascending
  int64_t num_dt, num_classes, num_thresholds, num_areas, num_caps, num_recalls;
};
struct AccumulateOutput {
  double* precision;  // [T, R, K, A, M], -1 where gt_count is 0
  double* recall;     // [T, K, A, M]
  double* scores;     // [T, R, K, A, M]
};
void accumulate_precision_cpu(const AccumulateInput& in, const AccumulateOutput& out,
                              ParallelFor parallel_for);
void accumulate_precision_cuda(const AccumulateInput& in, const AccumulateOutput& out,
                               CudaStream stream);

enum class ApMethod : int64_t { k101Point = 0, k11Point = 1, kAll = 2 };

// out[b] = average precision of the curve in row b, whose recall ascends.
void average_precision_cpu(const double* recall,     // [B, N]
                           const double* precision,  // [B, N]
                           double* out,              // [B]
                           int64_t num_curves, int64_t num_points, ApMethod method,
                           ParallelFor parallel_for);
void average_precision_cuda(const double* recall, const double* precision, double* out,
                            int64_t num_curves, int64_t num_points, ApMethod method,
                            CudaStream stream);

}  // namespace sightline::evaluation::average_precision
