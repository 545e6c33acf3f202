#include <algorithm>
#include <numeric>
#include <utility>

#include "evaluation/detection/curve.h"

namespace sightline::evaluation::detection {
namespace {

// Curves of the largest classes first, so that none of them is left for the end.
std::vector<int64_t> classes_by_size(const int64_t* offsets, int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [=](int64_t a, int64_t b) {
    return offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b];
  });
  return order;
}

}  // namespace

void accumulate_masks_cpu(const MaskAccumulateInput& in, const MaskAccumulateOutput& out,
                          ParallelFor given) {
  const ParallelFor parallel_for = worth_threads(in.class_offsets[in.num_classes], given);
  const int64_t num_t = in.num_thresholds, num_r = in.num_recalls, sampled = num_t * num_r;
  const std::vector<int64_t> order = classes_by_size(in.class_offsets, in.num_classes);
  dynamic_for(parallel_for, in.num_classes * in.num_areas, [&](int64_t i) {
    const int64_t k = order[i / in.num_areas], a = i % in.num_areas;
    const int64_t begin = in.class_offsets[k], end = in.class_offsets[k + 1];
    const int64_t positives = in.gt_count[a * in.num_classes + k];
    const int64_t first_cell = (k * in.num_areas + a) * in.num_caps;
    const double blank = positives == 0 ? -1 : 0;
    std::fill_n(out.precision + first_cell * sampled, in.num_caps * sampled, blank);
    std::fill_n(out.scores + first_cell * sampled, in.num_caps * sampled, blank);
    std::fill_n(out.recall + first_cell * num_t, in.num_caps * num_t, blank);
    if (positives == 0 || begin == end) return;
    const int64_t most = 1 + *std::max_element(in.class_ranks + begin, in.class_ranks + end);
    Column<CurveEvent> events;
    Curves curves(num_t, num_r);
    curves.set_positives(in.recall_thresholds, positives);
    int64_t counted = 0;  // the cap that the curves stand for
    for (int64_t m = 0; m < in.num_caps; ++m) {
      const auto cap_at = [&](int64_t c) {
        return c < in.num_caps ? std::min(in.max_detections[c], most) : 0;
      };
      const int64_t lane = m % kCapLanes;
      if (lane == 0) {
        CapCounts caps;
        for (int64_t c = 0; c < kCapLanes; ++c) caps[c] = static_cast<int32_t>(cap_at(m + c));
        collect_events(in, begin, end, a, caps, &events);
      }
      // caps that no group reaches have the same curves
      if (const int64_t cap = cap_at(m); cap != std::exchange(counted, cap)) {
        curves.count(
            events, cap, positives, [](size_t) { return 1; },
            [&](size_t e) { return events[e].alike[lane]; });
      }
      double *precision = out.precision + (first_cell + m) * sampled,
             *scores = out.scores + (first_cell + m) * sampled;
      for (int64_t t = 0; t < num_t; ++t) {
        out.recall[(first_cell + m) * num_t + t] = curves.final_recall(t);
        curves.samples(t, begin, [&](int64_t r, double value, int64_t place) {
          precision[t * num_r + r] = value;
          scores[t * num_r + r] = in.class_scores[place];
        });
      }
    }
  });
}

int64_t gather_cells(const double* cells, int64_t num_classes, int64_t num_areas, int64_t num_caps,
                     int64_t num_thresholds, int64_t num_recalls, int64_t first, int64_t last,
                     int64_t area, int64_t cap, double* out) {
  const int64_t stride = num_thresholds * num_recalls;
  std::vector<const double*> present;  // rows of the classes that have objects
  for (int64_t k = 0; k < num_classes; ++k) {
    const double* row = cells + ((k * num_areas + area) * num_caps + cap) * stride;
    if (stride > 0 && row[0] > -1) present.push_back(row);
  }
  // a class is blank in all of its cells or in none
  const int64_t n = present.size();
  for (int64_t t = first; t < last; ++t) {
    double* const block = out + (t - first) * num_recalls * n;
    for (int64_t k = 0; k < n; ++k)
      for (int64_t r = 0; r < num_recalls; ++r) block[r * n + k] = present[k][t * num_recalls + r];
  }
  return (last - first) * num_recalls * n;
}

}  // namespace sightline::evaluation::detection
