// The curves of one class and area range at all IoU thresholds of a mask.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "evaluation/average_precision/rules.h"
#include "evaluation/detection/detection.h"

namespace sightline::evaluation::detection {

using average_precision::kCocoEps;

// Caps on detections that are counted side by side.
inline constexpr int64_t kCapLanes = 4;
using CapCounts = std::array<int32_t, kCapLanes>;

// A detection that is found at some threshold, or whose outcome depends on the threshold. Most are
// false positives, or ignored, at all thresholds alike: those are only counted.
struct CurveEvent {
  int32_t place;  // in the class order
  int32_t rank;   // within its group
  OutcomeMasks outcome;
  CapCounts alike;  // for each cap, so many false positives alike come before it
};

// The events of detections begin ... end - 1 of the class order, for up to kCapLanes caps.
// Branches would be mispredicted: every detection is written, and the events are kept.
inline void collect_events(const MaskAccumulateInput& in, int64_t begin, int64_t end, int64_t area,
                           const CapCounts& caps, Column<CurveEvent>* events) {
  events->resize(end - begin + 1);
  const uint16_t all = all_thresholds(in.num_thresholds);
  const OutcomeMasks* const outcome = in.outcome + area;
  CurveEvent* next = events->data();
  CapCounts alike{};
  for (int64_t i = begin; i < end; ++i) {
    const OutcomeMasks masks = outcome[i * in.num_areas];
    const int32_t rank = in.class_ranks[i];
    *next = {static_cast<int32_t>(i), rank, masks, alike};
    const bool none_found = masks.true_positive == 0;
    next += !(none_found & ((masks.ignored == 0) | (masks.ignored == all)));
    const int32_t counts = none_found & (masks.ignored == 0);
    for (int64_t m = 0; m < kCapLanes; ++m) alike[m] += counts & (rank < caps[m]);
  }
  events->resize(next - events->data());
}

// Where the true positives of one threshold stand. Precision rises only at them, so they hold all
// that the envelope takes.
struct CurvePoint {
  int32_t tp, fp;  // up to and with this detection
  int32_t place;   // in the class order
};

class Curves {
 public:
  Curves(int64_t num_thresholds, int64_t num_recalls)
      : num_thresholds_(num_thresholds),
        num_recalls_(num_recalls),
        all_(all_thresholds(num_thresholds)),
        reached_(num_recalls) {}

  // Counts events of rank below the cap. times(i) is how often event i counts, alike_before(i) how
  // many false positives alike come before it; at most `most_points` events are found at one
  // threshold.
  template <class Times, class AlikeBefore>
  void count(std::span<const CurveEvent> events, int64_t cap, int64_t most_points, Times times,
             AlikeBefore alike_before) {
    capacity_ = most_points;
    points_.resize(num_thresholds_ * capacity_);
    sizes_.fill(0);
    std::array<int32_t, kMaxThresholds> tp{}, fp{};
    for (size_t i = 0; i < events.size(); ++i) {
      const CurveEvent& event = events[i];
      if (event.rank >= cap) continue;
      const int32_t n = times(i);
      if (n == 0) continue;
      const int32_t alike = alike_before(i);
      const unsigned hit = event.outcome.true_positive;
      for (unsigned left = all_ & ~(hit | event.outcome.ignored); left != 0; left &= left - 1)
        fp[std::countr_zero(left)] += n;
      for (unsigned left = hit; left != 0; left &= left - 1) {
        const int t = std::countr_zero(left);
        if (sizes_[t] < capacity_)
          points_[t * capacity_ + sizes_[t]++] = {tp[t] += n, alike + fp[t], event.place};
      }
    }
  }

  // Recall r is reached once reached_[r] of the objects that count are found.
  void set_positives(const double* recall_thresholds, int64_t positives) {
    positives_ = positives;
    const double total = static_cast<double>(positives);
    for (int64_t r = 0; r < num_recalls_; ++r) {
      const double threshold = recall_thresholds[r];
      int64_t found = static_cast<int64_t>(smaller(larger(threshold * total, 0.0), total));
      while (found > 0 && static_cast<double>(found - 1) / total >= threshold) --found;
      while (found <= positives && static_cast<double>(found) / total < threshold) ++found;
      reached_[r] = found;
    }
  }

  double final_recall(int64_t t) const {
    return static_cast<double>(found(t)) / static_cast<double>(positives_);
  }

  // Calls sample(r, precision, place) for the recalls that threshold t reaches, the last first; the
  // place is that of the detection which reaches it. Recall 0 is reached by the first detection,
  // whatever became of it: `first`, -1 for none.
  template <class Sample>
  void samples(int64_t t, int64_t first, Sample sample) const {
    const CurvePoint* const points = points_.data() + t * capacity_;
    int64_t r = num_recalls_ - 1;
    while (r >= 0 && reached_[r] > found(t)) --r;
    double envelope = 0;
    for (int64_t i = sizes_[t] - 1; i >= 0; --i) {
      const double tp = points[i].tp;
      envelope = larger(envelope, tp / (static_cast<double>(points[i].fp) + tp + kCocoEps));
      const int32_t found_before = i > 0 ? points[i - 1].tp : 0;
      for (; r >= 0 && reached_[r] > found_before; --r) sample(r, envelope, points[i].place);
    }
    if (first >= 0)
      for (; r >= 0; --r) sample(r, envelope, first);
  }

 private:
  int32_t found(int64_t t) const {
    return sizes_[t] == 0 ? 0 : points_[t * capacity_ + sizes_[t] - 1].tp;
  }

  int64_t num_thresholds_, num_recalls_, positives_ = 0, capacity_ = 0;
  uint16_t all_;
  std::vector<int64_t> reached_;  // [R]
  Column<CurvePoint> points_;     // [T, capacity]
  std::array<int64_t, kMaxThresholds> sizes_{};
};

}  // namespace sightline::evaluation::detection
