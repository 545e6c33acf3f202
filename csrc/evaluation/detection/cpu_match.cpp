#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "common/isa.h"
#include "common/sort.h"
#include "evaluation/average_precision/rules.h"
#include "evaluation/detection/detection.h"

namespace sightline::evaluation::detection {
namespace {

using average_precision::kHighestCocoThreshold;
using average_precision::load_xywh;
using average_precision::overlap;

using Mask = uint16_t;

constexpr int64_t kDetectionsPerTask = 1 << 12;
constexpr size_t kGroupsPerTask = 256;

bool is_outside(const MaskMatchInput& in, int64_t a, double area) {
  return area < in.area_ranges[2 * a] || area > in.area_ranges[2 * a + 1];
}

// Boxes one array per field, so that consecutive ones fill the lanes of a vector.
constexpr int64_t kWidth = 64;
struct BoxColumns {
  double x1[kWidth], y1[kWidth], x2[kWidth], y2[kWidth], area[kWidth];
  double crowd[kWidth];  // 1 or 0, as wide as a lane

  void set(int64_t i, const Box<double>& box, bool is_crowd) {
    x1[i] = box.x1, y1[i] = box.y1, x2[i] = box.x2, y2[i] = box.y2, area[i] = box.area;
    crowd[i] = is_crowd ? 1 : 0;
  }
  SIGHTLINE_INLINE Box<double> operator[](int64_t i) const {
    return {x1[i], y1[i], x2[i], y2[i], area[i], 0};
  }
};

struct OverlapBlock {
  SIGHTLINE_INLINE static void run(const BoxColumns* dt, int64_t num_dt, const BoxColumns* gt,
                                   int64_t num_gt, double pixel, double* out, int64_t stride) {
    for (int64_t d = 0; d < num_dt; ++d) {
      const Box<double> box = (*dt)[d];
      double* const line = out + d * stride;
      SIGHTLINE_INDEPENDENT
      for (int64_t g = 0; g < num_gt; ++g)
        line[g] = overlap(box, (*gt)[g], gt->crowd[g] > 0, pixel);
    }
  }
};

struct Candidate {
  double overlap;
  int64_t gt;      // within the group
  uint16_t areas;  // the area ranges in which the object is ignored
  Mask passed;     // the thresholds that the overlap reaches
  bool crowd, counts;
};

// Matches the groups of one task by find_coco and find_voc of average_precision/rules.h, written
// for all thresholds at once. Its vectors keep their memory from group to group.
class Matcher {
 public:
  Matcher(const MaskMatchInput& in, const uint16_t* outside, OutcomeMasks* outcome,
          ParallelFor parallel_for)
      : in_(in), outside_(outside), outcome_(outcome), parallel_for_(parallel_for) {
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
    rows_ = in_.gt_rows + in_.gt_offsets[s];
    size_ = in_.gt_offsets[s + 1] - in_.gt_offsets[s];
    load_objects();
    for (int64_t first = begin; first < end; first += kWidth) {
      if (first > begin) parallel_for_.throw_if_stopped();
      const int64_t n = std::min(kWidth, end - first);
      const double* block = overlaps ? overlaps + (first - begin) * size_ : box_overlaps(first, n);
      for (int64_t i = 0; i < n; ++i) match_detection(first + i, block + i * size_);
    }
  }

 private:
  double pixel() const { return in_.inclusive ? 1 : 0; }

  void load_objects() {
    taken_.assign(size_ * in_.num_areas, 0);
    ignored_.resize(size_);
    for (int64_t g = 0; g < size_; ++g) {
      const int64_t row = rows_[g];
      const bool always = in_.gt_ignore[row] || in_.gt_crowd[row];
      unsigned bits = 0;
      for (int64_t a = 0; a < in_.num_areas; ++a)
        bits |= unsigned(always || is_outside(in_, a, in_.gt_area[row])) << a;
      ignored_[g] = static_cast<uint16_t>(bits);
    }
    if (in_.overlaps != nullptr) return;
    objects_.resize((size_ + kWidth - 1) / kWidth);
    for (int64_t g = 0; g < size_; ++g)
      objects_[g / kWidth].set(g % kWidth, load_xywh(in_.gt_boxes + 4 * rows_[g], pixel()),
                               in_.rule == MatchRule::kCoco && in_.gt_crowd[rows_[g]]);
  }

  // [n, size] of the detections first ... first + n - 1.
  const double* box_overlaps(int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      detections_.set(i, load_xywh(in_.dt_boxes + 4 * in_.dt_rows[first + i], pixel()), false);
    overlaps_.resize(n * size_);
    for (int64_t g = 0; g < size_; g += kWidth)
      run_for_isa<OverlapBlock>(static_cast<const BoxColumns*>(&detections_), n,
                                static_cast<const BoxColumns*>(&objects_[g / kWidth]),
                                std::min(kWidth, size_ - g), pixel(), overlaps_.data() + g, size_);
    return overlaps_.data();
  }

  void match_detection(int64_t i, const double* overlaps) {
    find_candidates(overlaps);
    if (candidates_.empty()) return;
    OutcomeMasks* const out = outcome_ + in_.dt_places[i] * in_.num_areas;
    const unsigned outside = outside_[in_.dt_rows[i]];
    for (int64_t a = 0; a < in_.num_areas; ++a) out[a] = match_next(a, outside >> a & 1);
  }

  // COCO: what reaches the lowest threshold, the best first and the later of equals. VOC: the first
  // of the largest overlaps alone.
  void find_candidates(const double* overlaps) {
    candidates_.clear();
    if (in_.rule == MatchRule::kVoc) {
      const int64_t best = std::max_element(overlaps, overlaps + size_) - overlaps;
      if (overlaps[best] > 0) candidates_.push_back(candidate(best, overlaps[best]));
      return;
    }
    for (int64_t g = 0; g < size_; ++g) {
      if (!(overlaps[g] >= lowest_)) continue;
      size_t place = candidates_.size();
      candidates_.emplace_back();
      for (; place > 0 && candidates_[place - 1].overlap <= overlaps[g]; --place)
        candidates_[place] = candidates_[place - 1];
      candidates_[place] = candidate(g, overlaps[g]);
    }
  }

  Candidate candidate(int64_t g, double overlap) const {
    Mask passed = 0;
    for (int64_t t = 0; t < in_.num_thresholds; ++t)
      passed |= static_cast<Mask>((overlap >= thresholds_[t]) << t);
    return {overlap,
            g,
            ignored_[g],
            passed,
            in_.gt_crowd[rows_[g]],
            in_.gt_void == nullptr || !in_.gt_void[rows_[g]]};
  }

  // At each threshold the first candidate that is free takes the detection, those that count before
  // the ignored ones.
  OutcomeMasks match_next(int64_t a, bool dt_outside) {
    Mask open = all_, hit = 0, ignored = 0;
    const auto take = [&](const Candidate& candidate) {
      const bool is_ignored = candidate.areas >> a & 1;
      Mask& taken = taken_[candidate.gt * in_.num_areas + a];
      const bool again = in_.rule == MatchRule::kVoc ? is_ignored : candidate.crowd;
      const Mask match = candidate.passed & open & (again ? all_ : static_cast<Mask>(~taken));
      taken |= match;
      open &= static_cast<Mask>(~match);
      if (is_ignored || (!candidate.counts && dt_outside))
        ignored |= match;
      else if (candidate.counts)
        hit |= match;
    };
    if (candidates_.size() == 1) {
      take(candidates_.front());
    } else {
      for (const unsigned of_ignored : {0u, 1u})
        for (const Candidate& candidate : candidates_)
          if ((candidate.areas >> a & 1) == of_ignored) take(candidate);
    }
    if (dt_outside) ignored |= open;
    return {hit, ignored};
  }

  const MaskMatchInput& in_;
  const uint16_t* outside_;  // [D]
  OutcomeMasks* outcome_;
  ParallelFor parallel_for_;
  std::array<double, kMaxThresholds> thresholds_{};
  double lowest_ = std::numeric_limits<double>::infinity();
  Mask all_;
  const int64_t* rows_ = nullptr;  // of the group's objects
  int64_t size_ = 0;
  std::vector<BoxColumns> objects_;  // kWidth each
  BoxColumns detections_;
  Column<double> overlaps_;
  std::vector<Mask> taken_;        // [size, A]
  std::vector<uint16_t> ignored_;  // [size] bit a: in area range a
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

void match_masks_cpu(const MaskMatchInput& in, OutcomeMasks* outcome, ParallelFor given) {
  if (in.num_groups == 0) return;
  const ParallelFor parallel_for = worth_threads(in.num_dt, given);
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
    Matcher matcher(in, outside.data(), outcome, parallel_for);
    const auto tasks = std::span(groups).subspan(i * kGroupsPerTask);
    for (const Group& group : tasks.first(std::min(tasks.size(), kGroupsPerTask)))
      matcher.match_group(group.index,
                          in.overlaps ? in.overlaps + first_overlap[group.index] : nullptr);
  });
}

}  // namespace sightline::evaluation::detection
