#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "average_precision/rules.h"
#include "common/isa.h"
#include "common/sort.h"
#include "detection_evaluation/detection_evaluation.h"

namespace sightline {
namespace {

using Mask = uint16_t;

constexpr int64_t kDetectionsPerTask = 1 << 12;
constexpr size_t kGroupsPerTask = 256;

bool is_outside(const MaskMatchInput& in, int64_t a, double area) {
  return area < in.area_ranges[2 * a] || area > in.area_ranges[2 * a + 1];
}

struct Candidate {
  double overlap;
  int64_t gt;   // within the group
  Mask passed;  // the thresholds that the overlap reaches
};

// Matches the groups of one task by find_coco and find_voc of average_precision/rules.h, written
// for all thresholds at once. Its vectors keep their memory from group to group.
class Matcher {
 public:
  Matcher(const MaskMatchInput& in, const uint16_t* outside, OutcomeMasks* outcome)
      : in_(in), outside_(outside), outcome_(outcome) {
    all_ = all_thresholds(in.num_thresholds);
    for (int64_t t = 0; t < in.num_thresholds; ++t) {
      thresholds_[t] = in.rule == MatchRule::kCoco
                           ? smaller(in.iou_thresholds[t], kHighestCocoThreshold)
                           : in.iou_thresholds[t];
      lowest_ = smaller(lowest_, thresholds_[t]);
    }
  }

  // For a group that has objects. `overlaps` are the group's, or null.
  void match_group(int64_t s, const double* overlaps) {
    const int64_t begin = in_.dt_offsets[s], end = in_.dt_offsets[s + 1];
    load_objects(s);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = in_.dt_rows[i];
      if (overlaps != nullptr) {
        const double* line = overlaps + (i - begin) * size_;
        find_candidates([=](int64_t g) { return line[g]; });
      } else {
        const Box<double> box = load_xywh(in_.dt_boxes + 4 * row, pixel());
        const bool region = in_.rule == MatchRule::kCoco;
        find_candidates([&](int64_t g) {
          return overlap(box, boxes_[g], region && in_.gt_crowd[rows_[g]], pixel());
        });
      }
      if (candidates_.empty()) continue;
      OutcomeMasks* const out = outcome_ + in_.dt_places[i] * in_.num_areas;
      for (int64_t a = 0; a < in_.num_areas; ++a) out[a] = match_next(a, outside_[row] >> a & 1);
    }
  }

 private:
  double pixel() const { return in_.inclusive ? 1 : 0; }
  void load_objects(int64_t s) {
    rows_ = in_.gt_rows + in_.gt_offsets[s];
    size_ = in_.gt_offsets[s + 1] - in_.gt_offsets[s];
    if (size_ == 0) return;
    taken_.assign(in_.num_areas * size_, 0);
    ignored_.resize(in_.num_areas * size_);
    for (int64_t g = 0; g < size_; ++g) {
      const int64_t row = rows_[g];
      for (int64_t a = 0; a < in_.num_areas; ++a)
        ignored_[a * size_ + g] =
            in_.gt_ignore[row] || in_.gt_crowd[row] || is_outside(in_, a, in_.gt_area[row]);
    }
    if (in_.overlaps != nullptr) return;
    boxes_.resize(size_);
    for (int64_t g = 0; g < size_; ++g) boxes_[g] = load_xywh(in_.gt_boxes + 4 * rows_[g], pixel());
  }

  // COCO: what reaches the lowest threshold, the best first and the later of equals. VOC: the first
  // of the largest overlaps alone.
  template <class OverlapWith>
  void find_candidates(OverlapWith overlap_with) {
    candidates_.clear();
    if (in_.rule == MatchRule::kVoc) {
      Candidate best{0, -1, 0};
      for (int64_t g = 0; g < size_; ++g)
        if (const double value = overlap_with(g); value > best.overlap) best = {value, g, 0};
      if (best.gt < 0) return;
      best.passed = passed(best.overlap);
      candidates_.push_back(best);
      return;
    }
    for (int64_t g = 0; g < size_; ++g) {
      const double value = overlap_with(g);
      if (!(value >= lowest_)) continue;
      const Candidate candidate{value, g, passed(value)};
      size_t place = candidates_.size();
      candidates_.push_back(candidate);
      for (; place > 0 && candidates_[place - 1].overlap <= value; --place)
        candidates_[place] = candidates_[place - 1];
      candidates_[place] = candidate;
    }
  }

  Mask passed(double value) const {
    Mask mask = 0;
    for (int64_t t = 0; t < in_.num_thresholds; ++t)
      mask |= static_cast<Mask>((value >= thresholds_[t]) << t);
    return mask;
  }

  // At each threshold the first candidate that is free takes the detection, those that count before
  // the ignored ones.
  OutcomeMasks match_next(int64_t a, bool dt_outside) {
    Mask open = all_, hit = 0, ignored = 0;
    for (int pass = 0; pass < 2 && !candidates_.empty(); ++pass) {
      for (const Candidate& candidate : candidates_) {
        const int64_t g = candidate.gt;
        if (ignored_[a * size_ + g] != (pass == 1)) continue;
        Mask& taken = taken_[a * size_ + g];
        const bool again = in_.rule == MatchRule::kVoc ? pass == 1 : in_.gt_crowd[rows_[g]];
        const Mask match = candidate.passed & open & (again ? all_ : static_cast<Mask>(~taken));
        taken |= match;
        open &= static_cast<Mask>(~match);
        if (pass == 1)
          ignored |= match;
        else if (in_.gt_void == nullptr || !in_.gt_void[rows_[g]])
          hit |= match;
        else if (dt_outside)
          ignored |= match;
      }
    }
    if (dt_outside) ignored |= open;
    return {hit, ignored};
  }

  const MaskMatchInput& in_;
  const uint16_t* outside_;  // [D]
  OutcomeMasks* outcome_;
  std::array<double, kMaxThresholds> thresholds_{};
  double lowest_ = std::numeric_limits<double>::infinity();
  Mask all_;
  const int64_t* rows_ = nullptr;  // of the group's objects
  int64_t size_ = 0;
  std::vector<Box<double>> boxes_;  // [size]
  std::vector<Mask> taken_;         // [A, size]
  std::vector<uint8_t> ignored_;    // [A, size]
  std::vector<Candidate> candidates_;
};

// Groups that have detections and objects, in the order of their first rows: boxes of a class lie
// far apart in memory, those of an image close together.
using Group = Keyed<uint32_t, int64_t>;

std::vector<Group> groups_to_match(const MaskMatchInput& in) {
  std::vector<Group> groups;
  for (int64_t s = 0; s < in.num_groups; ++s)
    if (in.dt_offsets[s] < in.dt_offsets[s + 1] && in.gt_offsets[s] < in.gt_offsets[s + 1])
      groups.push_back({static_cast<uint32_t>(in.dt_rows[in.dt_offsets[s]]), s});
  std::vector<Group> scratch(groups.size());
  sort_keyed(groups.data(), scratch.data(), groups.size());
  return groups;
}

struct OutsideAreas {
  SIGHTLINE_INLINE static void run(const double* area, const double* ranges, int64_t num_areas,
                                   uint16_t* bits, int64_t n) {
    for (int64_t a = 0; a < num_areas; ++a) {
      const double low = ranges[2 * a], high = ranges[2 * a + 1];
      for (int64_t d = 0; d < n; ++d)
        bits[d] |= static_cast<uint16_t>(((area[d] < low) | (area[d] > high)) << a);
    }
  }
};

// Of each detection [D], bit a: lies outside area range a.
std::vector<uint16_t> outside_areas(const MaskMatchInput& in, ParallelFor parallel_for) {
  std::vector<uint16_t> outside(in.num_dt);
  parallel_for(in.num_dt, kDetectionsPerTask, [&](int64_t begin, int64_t end) {
    std::array<double, 512> area;
    for (int64_t first = begin; first < end; first += area.size()) {
      const int64_t n = std::min<int64_t>(area.size(), end - first);
      for (int64_t d = 0; d < n; ++d) {
        const int64_t row = first + d;
        area[d] =
            in.dt_area ? in.dt_area[row] : in.dt_boxes[4 * row + 2] * in.dt_boxes[4 * row + 3];
      }
      run_for_isa<OutsideAreas>(static_cast<const double*>(area.data()), in.area_ranges,
                                in.num_areas, outside.data() + first, n);
    }
  });
  return outside;
}

// Writes the outcomes of detections that no object overlaps, in the order of places.
void fill_unmatched(const MaskMatchInput& in, const std::vector<uint16_t>& outside,
                    OutcomeMasks* outcome, ParallelFor parallel_for) {
  const Mask all = all_thresholds(in.num_thresholds);
  // the outcomes of four areas for each of their bits: four are COCO's
  constexpr int64_t kAreas = 4;
  std::array<std::array<OutcomeMasks, kAreas>, 1 << kAreas> patterns;
  for (unsigned bits = 0; bits < patterns.size(); ++bits)
    for (int64_t a = 0; a < kAreas; ++a) patterns[bits][a] = {0, bits >> a & 1 ? all : Mask(0)};
  const int64_t num_a = in.num_areas, whole = num_a / kAreas * kAreas;
  parallel_for(in.dt_offsets[in.num_groups], kDetectionsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t place = begin; place < end; ++place) {
      const unsigned bits = outside[in.class_rows[place]];
      OutcomeMasks* const out = outcome + place * num_a;
      for (int64_t a = 0; a < whole; a += kAreas)
        memcpy(out + a, patterns[bits >> a & (patterns.size() - 1)].data(), sizeof(patterns[0]));
      for (int64_t a = whole; a < num_a; ++a) out[a] = {0, bits >> a & 1 ? all : Mask(0)};
    }
  });
}

}  // namespace

void match_masks_cpu(const MaskMatchInput& in, OutcomeMasks* outcome, ParallelFor parallel_for) {
  if (in.num_groups == 0) return;
  std::vector<int64_t> first_overlap;
  if (in.overlaps != nullptr) {
    first_overlap.resize(in.num_groups + 1);
    for (int64_t s = 0; s < in.num_groups; ++s)
      first_overlap[s + 1] = first_overlap[s] + (in.dt_offsets[s + 1] - in.dt_offsets[s]) *
                                                    (in.gt_offsets[s + 1] - in.gt_offsets[s]);
  }
  const std::vector<uint16_t> outside = outside_areas(in, parallel_for);
  fill_unmatched(in, outside, outcome, parallel_for);
  const std::vector<Group> groups = groups_to_match(in);
  dynamic_for(parallel_for, groups.size() / kGroupsPerTask + 1, [&](int64_t i) {
    Matcher matcher(in, outside.data(), outcome);
    const auto tasks = std::span(groups).subspan(i * kGroupsPerTask);
    for (const Group& group : tasks.first(std::min(tasks.size(), kGroupsPerTask)))
      matcher.match_group(group.index,
                          in.overlaps ? in.overlaps + first_overlap[group.index] : nullptr);
  });
}

}  // namespace sightline
