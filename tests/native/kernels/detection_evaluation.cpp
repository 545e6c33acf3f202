#include <cmath>
#include <numeric>

#include "check.h"
#include "evaluation/detection/detection.h"

namespace sightline::native {

using namespace evaluation::detection;
namespace {

// Rows of [N, width].
template <class T>
struct Taken : Buffer<T> {
  Taken(const Buffer<T>& values, const Column<int64_t>& rows, int64_t width = 1)
      : Buffer<T>(int64_t(rows.size()) * width) {
    for (size_t i = 0; i < rows.size(); ++i)
      for (int64_t k = 0; k < width; ++k) (*this)[i * width + k] = values[rows[i] * width + k];
  }
};

// A column that ends where its allocation ends.
template <class T>
struct Exact : Buffer<T> {
  explicit Exact(const Column<T>& values) : Buffer<T>(values.size()) {
    std::copy(values.begin(), values.end(), this->data());
  }
};
template <class T>
Exact(const Column<T>&) -> Exact<T>;

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Groups and masks are held to the kernels that keep a code for each threshold.
const Check check("detection_evaluation", 300, [](Random& random) {
  const int64_t num_dt = random.size(), num_gt = random.below(80);
  const int64_t num_images = 1 + random.below(9), num_classes = 1 + random.below(5);
  const int64_t num_t = 1 + random.below(kMaxThresholds), num_a = 1 + random.below(6);
  const int64_t num_m = 1 + random.below(6), num_r = 1 + random.below(101);
  const Parallel parallel(random);
  Buffer<int64_t> dt_image(num_dt), dt_class(num_dt), gt_image(num_gt), gt_class(num_gt);
  Buffer<double> dt_boxes(4 * num_dt), dt_scores(num_dt), gt_boxes(4 * num_gt), gt_area(num_gt);
  Buffer<bool> crowd(num_gt), ignore(num_gt);
  const bool sorted = random.chance(0.5), whole = random.chance(0.5);
  fill(dt_image, [&] { return random.below(num_images); });
  if (sorted) std::sort(dt_image.data(), dt_image.data() + num_dt);
  fill(dt_class, [&] { return random.below(num_classes); });
  fill(gt_image, [&] { return random.below(num_images); });
  fill(gt_class, [&] { return random.below(num_classes); });
  fill(dt_boxes, [&] { return whole ? double(random.below(9)) : random.uniform(0, 20); });
  fill(gt_boxes, [&] { return whole ? double(random.below(9)) : random.uniform(0, 20); });
  fill_scores(dt_scores, random);
  fill(gt_area, [&] { return random.uniform(0, 300); });
  fill(crowd, [&] { return random.chance(0.1); });
  fill(ignore, [&] { return random.chance(0.1); });
  Buffer<double> thresholds(num_t), areas(2 * num_a), recalls(num_r);
  fill(thresholds, [&] { return random.uniform(0.05, 1); });
  for (int64_t a = 0; a < num_a; ++a) {
    areas[2 * a] = random.uniform(0, 100);
    areas[2 * a + 1] = areas[2 * a] + random.uniform(0, 300);
  }
  for (int64_t r = 0; r < num_r; ++r) recalls[r] = double(r) / std::max<int64_t>(1, num_r - 1);
  Buffer<int64_t> caps(num_m);
  fill(caps, [&] { return 1 + random.below(12); });
  std::sort(caps.data(), caps.data() + num_m);
  const auto rule = random.chance(0.7) ? MatchRule::kCoco : MatchRule::kVoc;
  const bool inclusive = random.chance(0.3);

  const Layout layout = lay_out({.dt_image = dt_image.data(),
                                 .dt_class = dt_class.data(),
                                 .dt_label = nullptr,
                                 .dt_scores = dt_scores.data(),
                                 .gt_image = gt_image.data(),
                                 .gt_class = gt_class.data(),
                                 .gt_label = nullptr,
                                 .num_dt = num_dt,
                                 .num_gt = num_gt,
                                 .num_images = num_images,
                                 .num_classes = num_classes,
                                 .max_detections = caps[num_m - 1]},
                                parallel);
  const int64_t num_groups = int64_t(layout.dt_offsets.size()) - 1;
  const int64_t num_kept = layout.dt_rows.size();
  const Exact dt_rows(layout.dt_rows), class_rows(layout.class_rows), gt_rows(layout.gt_rows);
  const Exact dt_offsets(layout.dt_offsets), gt_offsets(layout.gt_offsets);
  const Exact class_offsets(layout.class_offsets);
  const Exact scores(layout.class_scores);
  const Exact places(layout.dt_places), ranks(layout.class_ranks), images(layout.class_images);
  Buffer<OutcomeMasks> masks(num_kept * num_a);
  match_masks_cpu({.dt_boxes = dt_boxes.data(),
                   .dt_area = nullptr,
                   .gt_boxes = gt_boxes.data(),
                   .gt_area = gt_area.data(),
                   .gt_crowd = crowd.data(),
                   .gt_ignore = ignore.data(),
                   .gt_void = nullptr,
                   .overlaps = nullptr,
                   .class_rows = class_rows.data(),
                   .dt_rows = dt_rows.data(),
                   .dt_places = places.data(),
                   .dt_offsets = dt_offsets.data(),
                   .gt_rows = gt_rows.data(),
                   .gt_offsets = gt_offsets.data(),
                   .iou_thresholds = thresholds.data(),
                   .area_ranges = areas.data(),
                   .num_dt = num_dt,
                   .num_groups = num_groups,
                   .num_thresholds = num_t,
                   .num_areas = num_a,
                   .rule = rule,
                   .inclusive = inclusive},
                  masks.data(), parallel);

  // the objects of a group side by side, as match_detections takes them
  const Taken boxes(gt_boxes, layout.gt_rows, 4);
  const Taken area(gt_area, layout.gt_rows);
  const Taken is_crowd(crowd, layout.gt_rows), is_ignored(ignore, layout.gt_rows);
  Buffer<int8_t> outcome(num_a * num_t * num_kept);
  Buffer<int64_t> group_count(num_a * num_groups), ascending(num_kept);
  Buffer<uint8_t> scratch(num_a * num_t * num_gt);
  fill(scratch, [] { return 0; });
  std::iota(ascending.data(), ascending.data() + num_kept, int64_t(0));
  const Taken kept_boxes(dt_boxes, layout.dt_rows, 4);
  evaluation::average_precision::match_detections_cpu({.dt_boxes = kept_boxes.data(),
                                                       .dt_order = ascending.data(),
                                                       .dt_offsets = dt_offsets.data(),
                                                       .gt_boxes = boxes.data(),
                                                       .gt_area = area.data(),
                                                       .gt_crowd = is_crowd.data(),
                                                       .gt_ignore = is_ignored.data(),
                                                       .gt_offsets = gt_offsets.data(),
                                                       .iou_thresholds = thresholds.data(),
                                                       .area_ranges = areas.data(),
                                                       .num_dt = num_kept,
                                                       .num_gt = num_gt,
                                                       .num_groups = num_groups,
                                                       .num_thresholds = num_t,
                                                       .num_areas = num_a,
                                                       .max_detections = caps[num_m - 1],
                                                       .rule = rule,
                                                       .inclusive = inclusive},
                                                      {.outcome = outcome.data(),
                                                       .gt_count = group_count.data(),
                                                       .gt_index = nullptr,
                                                       .taken = scratch.data()},
                                                      parallel);
  for (int64_t a = 0; a < num_a; ++a)
    for (int64_t t = 0; t < num_t; ++t)
      for (int64_t i = 0; i < num_kept; ++i) {
        const auto [hit, ignored] = masks[places[i] * num_a + a];
        const int code = (hit >> t & 1) - (ignored >> t & 1);
        require(code == outcome[(a * num_t + t) * num_kept + i], "detection ", i, ", area ", a,
                ", threshold ", t, ": got ", code);
      }

  Buffer<int64_t> gt_count(num_a * num_classes);
  Buffer<uint16_t> counted(num_gt);
  Buffer<int32_t> gt_images(num_gt);
  fill(gt_count, [] { return 0; });
  fill(counted, [] { return 0; });
  for (int64_t g = 0; g < num_gt; ++g) {
    const int64_t row = gt_rows[g];
    gt_images[g] = int32_t(gt_image[row]);
    for (int64_t a = 0; a < num_a; ++a) {
      const bool counts =
          !is_crowd[g] && !is_ignored[g] && area[g] >= areas[2 * a] && area[g] <= areas[2 * a + 1];
      counted[g] |= uint16_t(counts << a);
      gt_count[a * num_classes + gt_class[row]] += counts;
    }
  }
  const int64_t cells = num_classes * num_a * num_m * num_t;
  Buffer<double> precision(cells * num_r), recall(cells), score_at(cells * num_r);
  const MaskAccumulateInput in{.outcome = masks.data(),
                               .class_scores = scores.data(),
                               .class_ranks = ranks.data(),
                               .class_offsets = class_offsets.data(),
                               .gt_count = gt_count.data(),
                               .max_detections = caps.data(),
                               .recall_thresholds = recalls.data(),
                               .num_classes = num_classes,
                               .num_thresholds = num_t,
                               .num_areas = num_a,
                               .num_caps = num_m,
                               .num_recalls = num_r};
  accumulate_masks_cpu(in, {precision.data(), recall.data(), score_at.data()}, parallel);

  // images counted once are the evaluation itself
  Buffer<uint16_t> weights(2 * num_images);
  fill(weights, [&] { return random.below(3); });
  std::fill_n(weights.data(), num_images, uint16_t(1));
  Buffer<int64_t> gt_class_offsets(num_classes + 1);
  for (int64_t k = 0; k <= num_classes; ++k)
    gt_class_offsets[k] = gt_offsets[layout.class_groups[k]];
  const int64_t a = random.below(num_a), m = random.below(num_m), t = random.below(num_t);
  const Stat wanted[] = {{t, t + 1, a, m, false}, {0, num_t, a, m, true}};
  Buffer<double> stats(2 * 2), class_ap(2 * num_classes);
  resample_stats_cpu({.evaluation = in,
                      .class_images = images.data(),
                      .gt_images = gt_images.data(),
                      .gt_counted = counted.data(),
                      .gt_offsets = gt_class_offsets.data(),
                      .weights = weights.data(),
                      .stats = wanted,
                      .num_images = num_images,
                      .num_replicates = 2},
                     {stats.data(), class_ap.data()}, parallel);
  Buffer<double> present(num_t * num_r * num_classes);
  for (const Stat& stat : wanted) {
    const int64_t samples = stat.recall ? 1 : num_r;
    const int64_t n =
        gather_cells(stat.recall ? recall.data() : precision.data(), num_classes, num_a, num_m,
                     num_t, samples, stat.first, stat.last, a, m, present.data());
    const double mean = std::accumulate(present.data(), present.data() + n, 0.0) / double(n);
    const double got = stats[stat.recall];
    require(same(got, mean) || std::abs(got - mean) < 1e-12, "resampled ", got, " for ", mean);
  }
});

}  // namespace
}  // namespace sightline::native
