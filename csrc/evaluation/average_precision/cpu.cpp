#include <algorithm>
#include <vector>

#include "evaluation/average_precision/rules.h"

namespace sightline::evaluation::average_precision {
namespace {

// At least this many steps per task (overlap tests, or detections walked): about 200 us.
constexpr int64_t kStepsPerTask = 1 << 17;

// Matches all detections of group s; boxes and scratch are the group's parts of them. `given` are
// its overlaps, or null.
void match_group(const MatchInput& in, const MatchOutput& out, int64_t s, Box<double>* boxes,
                 double* scratch, const double* given, ParallelFor parallel_for) {
  constexpr int64_t kBetweenLooks = 64;
  const double pixel = in.inclusive ? 1 : 0;
  const bool crowd_is_region = in.rule == MatchRule::kCoco;
  const int64_t first_gt = clamped(in.gt_offsets[s], in.num_gt);
  const int64_t last_gt = std::max(first_gt, clamped(in.gt_offsets[s + 1], in.num_gt));
  GroupTruth gt{in.gt_area + first_gt,
                in.gt_crowd + first_gt,
                in.gt_ignore + first_gt,
                last_gt - first_gt,
                0,
                0};
  const auto select_area = [&](int64_t a) {
    gt.low = in.area_ranges[2 * a];
    gt.high = in.area_ranges[2 * a + 1];
  };
  for (int64_t a = 0; a < in.num_areas; ++a) {
    select_area(a);
    int64_t count = 0;
    for (int64_t g = 0; g < gt.size; ++g) count += !gt.ignored(g);
    out.gt_count[a * in.num_groups + s] = count;
  }
  for (int64_t g = 0; g < gt.size; ++g)
    boxes[g] = load_xywh(in.gt_boxes + 4 * (first_gt + g), pixel);

  const int64_t begin = clamped(in.dt_offsets[s], in.num_dt);
  const int64_t end = clamped(in.dt_offsets[s + 1], in.num_dt);
  for (int64_t i = begin; i < end && i - begin < in.max_detections; ++i) {
    if ((i - begin) % kBetweenLooks == kBetweenLooks - 1) parallel_for.throw_if_stopped();
    const int64_t d = in.dt_order[i];
    if (!inside(d, in.num_dt)) continue;
    const double* const xywh = in.dt_boxes + 4 * d;
    const Box<double> dt = load_xywh(xywh, pixel);
    const double dt_area = in.dt_area != nullptr ? in.dt_area[d] : xywh[2] * xywh[3];
    const double* overlaps = given != nullptr ? given + (i - begin) * gt.size : scratch;
    for (int64_t g = 0; given == nullptr && g < gt.size; ++g)
      scratch[g] = overlap(dt, boxes[g], crowd_is_region && gt.crowd[g], pixel);
    for (int64_t a = 0; a < in.num_areas; ++a) {
      select_area(a);
      for (int64_t t = 0; t < in.num_thresholds; ++t) {
        const int64_t row = a * in.num_thresholds + t;
        const Match match = match_next(gt, in.rule, in.iou_thresholds[t], dt_area,
                                       out.taken + row * in.num_gt + first_gt,
                                       [&](int64_t g) { return overlaps[g]; });
        out.outcome[row * in.num_dt + d] = match.outcome;
        if (out.gt_index != nullptr && match.gt >= 0)
          out.gt_index[row * in.num_dt + d] = first_gt + match.gt;
      }
    }
  }
}

}  // namespace

void match_detections_cpu(const MatchInput& in, const MatchOutput& out, ParallelFor parallel_for) {
  const int64_t rows = in.num_areas * in.num_thresholds;
  std::fill_n(out.outcome, rows * in.num_dt, kIgnored);
  if (out.gt_index != nullptr) std::fill_n(out.gt_index, rows * in.num_dt, int64_t(-1));
  if (in.num_groups == 0) return;
  // One entry per object: groups have objects of their own, so tasks do not meet.
  std::vector<Box<double>> boxes(in.num_gt);
  std::vector<double> scratch(in.num_gt);
  std::vector<int64_t> cells(in.num_groups + 1, 0);  // where a group's overlaps begin
  for (int64_t s = 0; in.overlaps != nullptr && s < in.num_groups; ++s)
    cells[s + 1] = cells[s] + (in.dt_offsets[s + 1] - in.dt_offsets[s]) *
                                  (in.gt_offsets[s + 1] - in.gt_offsets[s]);
  const int64_t steps_per_group =
      (in.num_dt / in.num_groups + 1) * (in.num_gt / in.num_groups + 1) * (rows + 1);
  parallel_for(in.num_groups, kStepsPerTask / steps_per_group + 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first_gt = clamped(in.gt_offsets[s], in.num_gt);
      match_group(in, out, s, boxes.data() + first_gt, scratch.data() + first_gt,
                  in.overlaps != nullptr ? in.overlaps + cells[s] : nullptr, parallel_for);
    }
  });
}

void accumulate_precision_cpu(const AccumulateInput& in, const AccumulateOutput& out,
                              ParallelFor parallel_for) {
  const int64_t curves = in.num_classes * in.num_areas * in.num_caps * in.num_thresholds;
  if (curves == 0) return;
  const int64_t steps_per_curve = 2 * (in.num_dt / in.num_classes) + in.num_recalls + 1;
  parallel_for(curves, kStepsPerTask / steps_per_curve + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) accumulate_curve(in, out, curve_index(in, i));
  });
}

void average_precision_cpu(const double* recall, const double* precision, double* out,
                           int64_t num_curves, int64_t num_points, ApMethod method,
                           ParallelFor parallel_for) {
  const int64_t grain = kStepsPerTask / (num_points + kMaxApSamples) + 1;
  parallel_for(num_curves, grain, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      out[b] =
          average_curve(recall + b * num_points, precision + b * num_points, num_points, method);
  });
}

}  // namespace sightline::evaluation::average_precision
