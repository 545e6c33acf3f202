#include "evaluation/average_precision/average_precision.h"

#include <cmath>
#include <numeric>

#include "check.h"

namespace sightline::native {

using namespace evaluation::average_precision;
namespace {

const Buffer<int64_t>& ascend(const Buffer<int64_t>& offsets, Random& random, int64_t most) {
  offsets[0] = 0;
  for (int64_t i = 1; i < offsets.size(); ++i) offsets[i] = offsets[i - 1] + random.below(most);
  return offsets;
}

void fill_xywh(const Buffer<double>& boxes, Random& random) {
  const bool whole = random.chance(0.5);  // overlaps tie
  for (int64_t i = 0; i < boxes.size(); ++i)
    boxes[i] = whole ? double(random.below(9)) : random.uniform(0, i % 4 < 2 ? 20 : 30);
}

double overlap(const double* d, const double* g, bool crowd) {
  const double w = std::min(d[0] + d[2], g[0] + g[2]) - std::max(d[0], g[0]);
  const double h = std::min(d[1] + d[3], g[1] + g[3]) - std::max(d[1], g[1]);
  if (w <= 0 || h <= 0) return 0;
  const double all = crowd ? d[2] * d[3] : d[2] * d[3] + g[2] * g[3] - w * h;
  return all > 0 ? w * h / all : 0;
}

// The object that COCO gives a detection at one threshold, or -1: of the objects that count, and
// then of the others, the last of the highest overlap.
int64_t coco_match(const MatchInput& in, int64_t s, const double* box, double threshold,
                   const std::vector<char>& ignored, const std::vector<char>& taken) {
  int64_t best = -1;
  double best_iou = std::min(threshold, 1 - 1e-10);
  for (const bool pass : {false, true}) {
    if (best >= 0) break;
    for (int64_t g = in.gt_offsets[s]; g < in.gt_offsets[s + 1]; ++g) {
      if (bool(ignored[g]) != pass || (taken[g] && !in.gt_crowd[g])) continue;
      const double value = overlap(box, in.gt_boxes + 4 * g, in.gt_crowd[g]);
      if (value >= best_iou) best = g, best_iou = value;
    }
  }
  return best;
}

void check_match(const MatchInput& in, const MatchOutput& out) {
  for (int64_t a = 0; a < in.num_areas; ++a) {
    const double low = in.area_ranges[2 * a], high = in.area_ranges[2 * a + 1];
    std::vector<char> ignored(in.num_gt);
    for (int64_t g = 0; g < in.num_gt; ++g)
      ignored[g] = in.gt_ignore[g] || in.gt_area[g] < low || in.gt_area[g] > high;
    for (int64_t t = 0; t < in.num_thresholds; ++t) {
      std::vector<char> taken(in.num_gt);
      for (int64_t s = 0; s < in.num_groups; ++s) {
        for (int64_t k = in.dt_offsets[s]; k < in.dt_offsets[s + 1]; ++k) {
          const int64_t d = in.dt_order[k], at = (a * in.num_thresholds + t) * in.num_dt + d;
          const double* box = in.dt_boxes + 4 * d;
          int64_t match = -1;
          int8_t outcome = kIgnored;
          if (k - in.dt_offsets[s] < in.max_detections) {
            match = coco_match(in, s, box, in.iou_thresholds[t], ignored, taken);
            const double area = box[2] * box[3];
            outcome = area < low || area > high ? kIgnored : kFalsePositive;
            if (match >= 0) taken[match] = 1, outcome = ignored[match] ? kIgnored : kTruePositive;
          }
          require(out.outcome[at] == outcome, "outcome of detection ", d, ": ",
                  int(out.outcome[at]), ", expected ", int(outcome));
          require(!out.gt_index || out.gt_index[at] == match, "object of detection ", d);
        }
      }
    }
  }
}

void match_case(Random& random) {
  const int64_t groups = random.below(12), areas = 1 + random.below(3),
                levels = 1 + random.below(4);
  const Buffer<int64_t> dt_offsets(groups + 1), gt_offsets(groups + 1);
  const int64_t num_dt = ascend(dt_offsets, random, 20)[groups];
  const int64_t num_gt = ascend(gt_offsets, random, 8)[groups];
  const Buffer<double> dt(4 * num_dt), gt(4 * num_gt), gt_area(num_gt), thresholds(levels);
  const Buffer<double> ranges(2 * areas);
  const Buffer<bool> crowd(num_gt), ignore(num_gt);
  const Buffer<int64_t> order(num_dt), count(areas * groups), index(areas * levels * num_dt);
  const Buffer<int8_t> outcome(areas * levels * num_dt);
  const Buffer<uint8_t> taken(areas * levels * num_gt);
  fill_xywh(dt, random);
  fill_xywh(gt, random);
  fill(gt_area, [&] { return random.uniform(0, 900); });
  fill(thresholds, [&] { return random.below(20) / 20.0; });
  fill(crowd, [&] { return random.chance(0.2); });
  for (int64_t g = 0; g < num_gt; ++g) ignore[g] = crowd[g] || random.chance(0.2);
  fill(taken, [] { return 0; });
  for (int64_t a = 0; a < areas; ++a) {
    ranges[2 * a] = a ? random.uniform(0, 300) : 0;
    ranges[2 * a + 1] = a ? ranges[2 * a] + 300 : 1e10;
  }
  for (int64_t s = 0; s < groups; ++s) {
    int64_t* own = order.data() + dt_offsets[s];
    const int64_t many = dt_offsets[s + 1] - dt_offsets[s];
    std::iota(own, own + many, dt_offsets[s]);
    for (int64_t k = many - 1; k > 0; --k) std::swap(own[k], own[random.below(k + 1)]);
  }
  const MatchInput in{dt.data(),
                      order.data(),
                      dt_offsets.data(),
                      gt.data(),
                      gt_area.data(),
                      crowd.data(),
                      ignore.data(),
                      gt_offsets.data(),
                      thresholds.data(),
                      ranges.data(),
                      num_dt,
                      num_gt,
                      groups,
                      levels,
                      areas,
                      random.pick<int64_t>({1, 5, 100}),
                      MatchRule::kCoco,
                      false};
  const MatchOutput out{outcome.data(), count.data(), random.chance(0.5) ? index.data() : nullptr,
                        taken.data()};
  match_detections_cpu(in, out, Parallel(random));
  check_match(in, out);
}

// Precision as COCO defines it: the highest at that recall or beyond it.
void accumulate_case(Random& random) {
  const int64_t classes = random.below(6), areas = 1 + random.below(3),
                levels = 1 + random.below(3);
  const int64_t recalls = random.pick<int64_t>({1, 11, 101}), caps = 1 + random.below(3);
  const Buffer<int64_t> class_offsets(classes + 1), gt_count(areas * classes), most(caps);
  const int64_t num_dt = ascend(class_offsets, random, 300)[classes];
  const Buffer<int8_t> outcome(areas * levels * num_dt);
  const Buffer<double> scores(num_dt), grid(recalls);
  const Buffer<int64_t> order(num_dt), rank(num_dt);
  const int64_t curves = levels * classes * areas * caps;
  const Buffer<double> precision(curves * recalls), recall(curves), score(curves * recalls);
  fill_scores(scores, random);
  fill(outcome, [&] { return random.below(3) - 1; });
  fill(gt_count, [&] { return random.below(200); });
  fill(rank, [&] { return random.below(120); });
  fill(most, [&] { return 1 + random.below(150); });
  for (int64_t r = 0; r < recalls; ++r)
    grid[r] = double(r) / double(std::max<int64_t>(recalls - 1, 1));
  std::iota(order.data(), order.data() + num_dt, 0);
  const AccumulateInput in{
      outcome.data(),  scores.data(), order.data(), rank.data(), class_offsets.data(),
      gt_count.data(), most.data(),   grid.data(),  num_dt,      classes,
      levels,          areas,         caps,         recalls};
  accumulate_precision_cpu(in, {precision.data(), recall.data(), score.data()}, Parallel(random));

  for (int64_t i = 0; i < curves; ++i) {  // [T, K, A, M]
    const int64_t m = i % caps, a = i / caps % areas, k = i / caps / areas % classes;
    const int64_t t = i / caps / areas / classes, positives = gt_count[a * classes + k];
    double tp = 0, fp = 0;
    std::vector<double> at_recall, at_precision;
    for (int64_t p = class_offsets[k]; p < class_offsets[k + 1]; ++p) {
      if (rank[order[p]] >= most[m]) continue;
      const int8_t what = outcome[(a * levels + t) * num_dt + order[p]];
      tp += what == kTruePositive, fp += what == kFalsePositive;
      at_recall.push_back(tp / double(positives));
      at_precision.push_back(tp / (tp + fp + 0x1p-52));
    }
    const double last = positives == 0 ? -1 : at_recall.empty() ? 0 : at_recall.back();
    require(recall[i] == last, "recall ", recall[i], ", expected ", last);
    for (int64_t r = 0; r < recalls; ++r) {
      double expected = positives == 0 ? -1 : 0;
      for (size_t p = 0; positives && p < at_recall.size(); ++p)
        if (at_recall[p] >= grid[r]) expected = std::max(expected, at_precision[p]);
      const int64_t at = ((t * recalls + r) * classes + k) * areas * caps + a * caps + m;
      require(precision[at] == expected, "precision ", precision[at], ", expected ", expected);
    }
  }
}

void curve_case(Random& random) {
  const int64_t curves = random.below(20), points = random.size();
  const Buffer<double> recall(curves * points), precision(curves * points), out(curves);
  fill(recall, [&] { return random.uniform(0, 1); });
  fill(precision, [&] { return random.uniform(0, 1); });
  for (int64_t b = 0; b < curves; ++b)
    std::sort(recall.data() + b * points, recall.data() + (b + 1) * points);
  const auto method = random.pick({ApMethod::k101Point, ApMethod::k11Point, ApMethod::kAll});
  average_precision_cpu(recall.data(), precision.data(), out.data(), curves, points, method,
                        Parallel(random));
  for (int64_t b = 0; b < curves; ++b) {
    const double *r = recall.data() + b * points, *p = precision.data() + b * points;
    const auto highest_from = [&](double least) {
      double high = 0;
      for (int64_t i = 0; i < points; ++i) high = r[i] >= least ? std::max(high, p[i]) : high;
      return high;
    };
    double expected = 0;
    if (method == ApMethod::kAll) {
      for (int64_t i = 0; i < points; ++i)
        expected += (r[i] - (i ? r[i - 1] : 0)) * highest_from(r[i]);
    } else {
      const int64_t samples = method == ApMethod::k11Point ? 11 : 101;
      for (int64_t k = 0; k < samples; ++k)
        expected += highest_from(double(k) / double(samples - 1)) / double(samples);
    }
    require(std::abs(out[b] - expected) < 1e-12, "curve ", b, ": ", out[b], ", expected ",
            expected);
  }
}

const Check check("average_precision", 300, [](Random& random) {
  match_case(random);
  accumulate_case(random);
  curve_case(random);
});

}  // namespace
}  // namespace sightline::native
