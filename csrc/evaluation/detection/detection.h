// Evaluation of detections over a whole data set: lay out, match, accumulate, resample.
//
// lay_out groups the rows by class and image and sorts each class by score, once. match_masks
// answers all IoU thresholds of a detection and area range at once, as bits. accumulate_masks walks
// each class from its best detection down and keeps only what the curves need. resample_stats does
// the same for images drawn with replacement, where an image counts as often as it was drawn.
//
// The rules are those of evaluation/average_precision/rules.h; results equal the public ops
// match_detections and accumulate_precision bit for bit. Times are linear in rows, but for the
// sort.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/column.h"
#include "common/parallel.h"
#include "evaluation/average_precision/average_precision.h"

namespace sightline::evaluation::detection {

using average_precision::MatchRule;

// Few detections are done before threads have started.
inline ParallelFor worth_threads(int64_t num_detections, ParallelFor given) {
  constexpr int64_t kFew = 1 << 14;
  return num_detections < kFew ? given.serial() : given;
}

// D detections, G objects, I images, K classes.
struct LayoutInput {
  const int64_t* dt_image;  // [D] in [0, I)
  const int64_t* dt_class;  // [D] in [0, K)
  const int64_t* dt_label;  // [D] rows of an image and class go by it, ascending; or null
  const double* dt_scores;  // [D]
  const int64_t* gt_image;  // [G]
  const int64_t* gt_class;  // [G]
  const int64_t* gt_label;  // [G] as dt_label; or null
  int64_t num_dt, num_gt, num_images, num_classes;  // rows fit 32 bits
  int64_t max_detections;  // of a class in an image; the others are left out
};

// A group is a class and image that has a row; groups go by class, then by image. C detections are
// within max_detections. The class order goes by class, then by score, ties by image, label and
// row.
struct Layout {
  Column<int64_t> dt_rows;        // [C] input rows by group, best first
  Column<int32_t> dt_places;      // [C] where each of dt_rows stands in the class order
  Column<int64_t> dt_offsets;     // [S + 1] where each group begins
  Column<int64_t> gt_rows;        // [G] input rows by group, by label, then as given
  Column<int64_t> gt_offsets;     // [S + 1]
  Column<int64_t> class_groups;   // [K + 1] at which group each class begins
  Column<int64_t> class_rows;     // [C] input rows in the class order
  Column<int64_t> class_offsets;  // [K + 1] where each class begins in it
  Column<int32_t> class_ranks;    // [C] place within the group, best 0
  Column<int32_t> class_images;   // [C]
  Column<double> class_scores;    // [C]
};
Layout lay_out(const LayoutInput& in, ParallelFor parallel_for);

// IoU thresholds that one mask holds, and area ranges.
inline constexpr int64_t kMaxThresholds = 16, kMaxAreas = 16;

// A bit for each of n thresholds.
inline uint16_t all_thresholds(int64_t n) { return static_cast<uint16_t>((1u << n) - 1); }

// What becomes of a detection in one area range; bit t is IoU threshold t, neither bit is a false
// positive.
struct OutcomeMasks {
  uint16_t true_positive;
  uint16_t ignored;
};

struct MaskMatchInput {
  const double* dt_boxes;        // [D, 4] xywh, by input row; may be null where overlaps are given
  const double* dt_area;         // [D] or null: w * h
  const double* gt_boxes;        // [G, 4] xywh; may be null where overlaps are given
  const double* gt_area;         // [G]
  const bool* gt_crowd;          // [G]
  const bool* gt_ignore;         // [G]
  const bool* gt_void;           // [G] or null: taken by a match that then does not count
  const double* overlaps;        // group after group, [detections, objects] each; null: box IoU
  const int64_t* class_rows;     // [C] of the layout, as are the next five
  const int64_t* dt_rows;        // [C]
  const int32_t* dt_places;      // [C]
  const int64_t* dt_offsets;     // [S + 1]
  const int64_t* gt_rows;        // [G]
  const int64_t* gt_offsets;     // [S + 1]
  const double* iou_thresholds;  // [T]
  const double* area_ranges;     // [A, 2] low and high, both inside
  int64_t num_dt, num_groups, num_thresholds, num_areas;
  MatchRule rule;
  bool inclusive;  // sides are w + 1 and h + 1
};
void match_masks_cpu(const MaskMatchInput& in,
                     OutcomeMasks* outcome,  // [C, A] in the class order
                     ParallelFor parallel_for);

struct MaskAccumulateInput {
  const OutcomeMasks* outcome;      // [C, A]
  const double* class_scores;       // [C]
  const int32_t* class_ranks;       // [C]
  const int64_t* class_offsets;     // [K + 1]
  const int64_t* gt_count;          // [A, K]
  const int64_t* max_detections;    // [M]
  const double* recall_thresholds;  // [R]
  int64_t num_classes, num_thresholds, num_areas, num_caps, num_recalls;
};
struct MaskAccumulateOutput {
  double* precision;  // [K, A, M, T, R], -1 where gt_count is 0
  double* recall;     // [K, A, M, T]
  double* scores;     // [K, A, M, T, R]
};
void accumulate_masks_cpu(const MaskAccumulateInput& in, const MaskAccumulateOutput& out,
                          ParallelFor parallel_for);

// The cells [t, r, k, area, cap] of thresholds first ... last - 1 that are not -1, in the order of
// [T, R, K]; returns how many. `cells` is laid out as MaskAccumulateOutput's, with R = 1 for
// recall.
int64_t gather_cells(const double* cells, int64_t num_classes, int64_t num_areas, int64_t num_caps,
                     int64_t num_thresholds, int64_t num_recalls, int64_t first, int64_t last,
                     int64_t area, int64_t cap, double* out);

// One number of a resampled evaluation: the mean over thresholds first ... last - 1 and over the
// classes that have objects of average precision, or of final recall.
struct Stat {
  int64_t first, last, area, cap;
  bool recall;
};
struct ResampleInput {
  MaskAccumulateInput evaluation;  // gt_count and class_scores are not read
  const int32_t* class_images;     // [C]
  const int32_t* gt_images;        // [G] by class
  const uint16_t* gt_counted;      // [G] by class: bit a is whether the object counts in area a
  const int64_t* gt_offsets;       // [K + 1]
  const uint16_t* weights;         // [B, I] how often each image was drawn
  std::span<const Stat> stats;
  int64_t num_images, num_replicates;
};
struct ResampleOutput {
  double* stats;     // [B, stats]; NaN where no class has an object
  double* class_ap;  // [B, K] the mean over thresholds in the first area with the last cap, or NaN
};
void resample_stats_cpu(const ResampleInput& in, const ResampleOutput& out,
                        ParallelFor parallel_for);

}  // namespace sightline::evaluation::detection
