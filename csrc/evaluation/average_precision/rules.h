// The rules of matching, accumulation and averaging, one copy for host and device. Only the choice
// of an object stands once more, for many thresholds at once as bit masks, in
// evaluation/detection/cpu_match.cpp; tests/metrics/detection/test_evaluate.py holds the two equal.
#pragma once

#include <cstdint>
#include <limits>

#include "common/box.h"
#include "evaluation/average_precision/average_precision.h"

namespace sightline::evaluation::average_precision {

// COCO compares with min(threshold, this), so that a perfect overlap passes a threshold of 1.
inline constexpr double kHighestCocoThreshold = 1 - 1e-10;
// COCO adds numpy.spacing(1) to a count of detections; it is felt where the count is 0 or 1.
inline constexpr double kCocoEps = std::numeric_limits<double>::epsilon();
inline constexpr int kMaxApSamples = 101;

// An offset as a position that can be followed safely.
SIGHTLINE_HD int64_t clamped(int64_t offset, int64_t size) {
  return offset < 0 ? 0 : (offset > size ? size : offset);
}
SIGHTLINE_HD bool inside(int64_t index, int64_t size) { return index >= 0 && index < size; }

// x2 = x + w as COCO adds it; the area is that of the sides w + pixel and h + pixel. A box that is
// not finite lies nowhere, as in common/box.h.
SIGHTLINE_HD Box<double> load_xywh(const double* p, double pixel) {
  const double corners[4] = {p[0], p[1], p[2] + p[0], p[3] + p[1]};
  Box<double> box = load_box(corners);
  box.area = (p[2] + pixel) * (p[3] + pixel);
  return box;
}

// The IoU of pycocotools, which differs from that of box.h in the last bit: sides are `pixel`
// longer, areas come from xywh, and for a crowd it is the intersection as a share of the detection.
// Without branches, so that a loop over objects is vectorised.
SIGHTLINE_HD double overlap(const Box<double>& dt, const Box<double>& gt, bool crowd,
                            double pixel) {
  const double w = smaller(dt.x2, gt.x2) - larger(dt.x1, gt.x1) + pixel;
  const double h = smaller(dt.y2, gt.y2) - larger(dt.y1, gt.y1) + pixel;
  const double inter = w * h;
  const double both = crowd ? dt.area : dt.area + gt.area - inter;
  const bool some = (w > 0) & (h > 0) & (both > 0) & (both <= std::numeric_limits<double>::max());
  return some ? inter / both : 0;
}

// The objects of one group as one area range sees them.
struct GroupTruth {
  const double* area;  // [size]
  const bool* crowd;   // [size]
  const bool* ignore;  // [size]
  int64_t size;
  double low, high;  // of the area range

  SIGHTLINE_HD bool outside(double value) const { return value < low || value > high; }
  SIGHTLINE_HD bool ignored(int64_t g) const { return ignore[g] || crowd[g] || outside(area[g]); }
};

// Objects that count come before ignored ones, only a crowd is taken twice, and of equal overlaps
// the later object wins. overlap_with(g) is the overlap with object g. Returns -1 for none.
template <class OverlapWith>
SIGHTLINE_HD int64_t find_coco(const GroupTruth& gt, const uint8_t* taken, double threshold,
                               OverlapWith overlap_with) {
  double best_overlap = smaller(threshold, kHighestCocoThreshold);
  int64_t best = -1;
  for (int ignored = 0; ignored < 2 && best < 0; ++ignored) {
    for (int64_t g = 0; g < gt.size; ++g) {
      if (gt.ignored(g) != (ignored == 1) || (taken[g] && !gt.crowd[g])) continue;
      const double value = overlap_with(g);
      if (value < best_overlap) continue;
      best_overlap = value;
      best = g;
    }
  }
  return best;
}

// Only the object of largest overlap is tried, the first of equal ones, taken or not.
template <class OverlapWith>
SIGHTLINE_HD int64_t find_voc(const GroupTruth& gt, const uint8_t* taken, double threshold,
                              OverlapWith overlap_with) {
  double best_overlap = 0;
  int64_t best = -1;
  for (int64_t g = 0; g < gt.size; ++g) {
    const double value = overlap_with(g);
    if (!(value > best_overlap)) continue;
    best_overlap = value;
    best = g;
  }
  if (best < 0 || best_overlap < threshold || (taken[best] && !gt.ignored(best))) return -1;
  return best;
}

struct Match {
  int64_t gt;  // within the group, -1 for none
  int8_t outcome;
};

// Matches the next detection of a group and marks what it takes.
template <class OverlapWith>
SIGHTLINE_HD Match match_next(const GroupTruth& gt, MatchRule rule, double threshold,
                              double dt_area, uint8_t* taken, OverlapWith overlap_with) {
  const int64_t g = rule == MatchRule::kVoc ? find_voc(gt, taken, threshold, overlap_with)
                                            : find_coco(gt, taken, threshold, overlap_with);
  if (g < 0) return {-1, gt.outside(dt_area) ? kIgnored : kFalsePositive};
  taken[g] = 1;
  return {g, gt.ignored(g) ? kIgnored : kTruePositive};
}

// Which curve: class k, area a, cap m, threshold t of AccumulateInput.
struct CurveIndex {
  int64_t t, k, a, m;
};

// Neighbouring items share a class, and so its detections.
SIGHTLINE_HD CurveIndex curve_index(const AccumulateInput& in, int64_t item) {
  const int64_t t = item % in.num_thresholds, rest = item / in.num_thresholds;
  const int64_t m = rest % in.num_caps, area_class = rest / in.num_caps;
  return {t, area_class / in.num_areas, area_class % in.num_areas, m};
}

// Fills one curve: counts all, then walks from the worst detection to the best with the largest
// precision so far, so that no curve is stored.
SIGHTLINE_HD void accumulate_curve(const AccumulateInput& in, const AccumulateOutput& out,
                                   const CurveIndex& at) {
  const int64_t stride = in.num_classes * in.num_areas * in.num_caps;
  const int64_t cell = (at.k * in.num_areas + at.a) * in.num_caps + at.m;
  double* precision = out.precision + at.t * in.num_recalls * stride + cell;
  double* scores = out.scores + at.t * in.num_recalls * stride + cell;
  const int64_t positives = in.gt_count[at.a * in.num_classes + at.k];
  const double blank = positives == 0 ? -1 : 0;
  for (int64_t r = 0; r < in.num_recalls; ++r) precision[r * stride] = scores[r * stride] = blank;
  out.recall[at.t * stride + cell] = blank;
  if (positives == 0) return;

  const int8_t* outcome = in.outcome + (at.a * in.num_thresholds + at.t) * in.num_dt;
  const int64_t begin = clamped(in.class_offsets[at.k], in.num_dt);
  const int64_t end = clamped(in.class_offsets[at.k + 1], in.num_dt);
  const int64_t cap = in.max_detections[at.m];
  int64_t tp = 0, fp = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t d = in.dt_order[i];
    if (!inside(d, in.num_dt) || in.dt_rank[d] >= cap) continue;
    tp += outcome[d] == kTruePositive;
    fp += outcome[d] == kFalsePositive;
  }
  const double total = static_cast<double>(positives);
  const double final_recall = static_cast<double>(tp) / total;
  out.recall[at.t * stride + cell] = final_recall;

  int64_t r = in.num_recalls - 1;
  while (r >= 0 && in.recall_thresholds[r] > final_recall) --r;
  double envelope = 0, score = 0;
  bool any = false;
  for (int64_t i = end - 1; i >= begin && r >= 0; --i) {
    const int64_t d = in.dt_order[i];
    if (!inside(d, in.num_dt) || in.dt_rank[d] >= cap) continue;
    any = true;
    score = in.dt_scores[d];
    const double hits = static_cast<double>(tp);
    envelope = larger(envelope, hits / (static_cast<double>(fp) + hits + kCocoEps));
    tp -= outcome[d] == kTruePositive;
    fp -= outcome[d] == kFalsePositive;
    // the recalls that this detection is the first to reach
    const double recall_before = static_cast<double>(tp) / total;
    for (; r >= 0 && in.recall_thresholds[r] > recall_before; --r) {
      precision[r * stride] = envelope;
      scores[r * stride] = score;
    }
  }
  // recall 0 is reached by the best detection, whatever became of it
  for (; any && r >= 0; --r) {
    precision[r * stride] = envelope;
    scores[r * stride] = score;
  }
}

// Sum of samples[0 .. n) in NumPy's order for 8 <= n <= 128: eight running sums, then the rest.
SIGHTLINE_HD double numpy_sum(const double* samples, int n) {
  double sums[8];
  for (int j = 0; j < 8; ++j) sums[j] = samples[j];
  int i = 8;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; ++j) sums[j] += samples[i + j];
  double sum =
      ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  for (; i < n; ++i) sum += samples[i];
  return sum;
}

// Area under the precision envelope, added from the last point to the first.
SIGHTLINE_HD double area_under_curve(const double* recall, const double* precision, int64_t n) {
  double envelope = 0, area = 0;
  for (int64_t i = n - 1; i >= 0; --i) {
    envelope = larger(envelope, precision[i]);
    area += (recall[i] - (i > 0 ? recall[i - 1] : 0)) * envelope;
  }
  return area;
}

SIGHTLINE_HD double average_curve(const double* recall,     // [n] ascending
                                  const double* precision,  // [n]
                                  int64_t n, ApMethod method) {
  if (method == ApMethod::kAll) return area_under_curve(recall, precision, n);
  const int count = method == ApMethod::k11Point ? 11 : kMaxApSamples;
  const double step = 1.0 / (count - 1);  // numpy.linspace: j * step, and 1 at the end
  double samples[kMaxApSamples];
  double envelope = 0;
  int64_t i = n - 1;
  for (int j = count - 1; j >= 0; --j) {
    const double sample_recall = j == count - 1 ? 1.0 : j * step;
    for (; i >= 0 && recall[i] >= sample_recall; --i) envelope = larger(envelope, precision[i]);
    samples[j] = envelope;
  }
  if (method == ApMethod::k101Point) return numpy_sum(samples, count) / count;
  double sum = 0;
  for (int j = 0; j < count; ++j) sum += samples[j] / count;  // the devkit divides each
  return sum;
}

}  // namespace sightline::evaluation::average_precision
