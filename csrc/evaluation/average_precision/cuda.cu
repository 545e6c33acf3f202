#include "common/cuda.h"
#include "evaluation/average_precision/rules.h"

namespace sightline::evaluation::average_precision {
namespace {

// One thread per (group, area, threshold): it walks the group's detections, best first, and owns
// their outcomes and its part of taken. Neighbouring threads share the group.
__global__ void match_kernel(MatchInput in, MatchOutput out) {
  const double pixel = in.inclusive ? 1 : 0;
  const bool crowd_is_region = in.rule == MatchRule::kCoco;
  const int64_t rows = in.num_areas * in.num_thresholds;
  for (int64_t item = first_item(); item < in.num_groups * rows; item += item_stride()) {
    const int64_t s = item / rows, row = item % rows;
    const int64_t a = row / in.num_thresholds, t = row % in.num_thresholds;
    const int64_t first_gt = clamped(in.gt_offsets[s], in.num_gt);
    const int64_t last_gt = larger(first_gt, clamped(in.gt_offsets[s + 1], in.num_gt));
    const GroupTruth gt{in.gt_area + first_gt, in.gt_crowd + first_gt, in.gt_ignore + first_gt,
                        last_gt - first_gt,    in.area_ranges[2 * a],  in.area_ranges[2 * a + 1]};
    if (t == 0) {
      int64_t count = 0;
      for (int64_t g = 0; g < gt.size; ++g) count += !gt.ignored(g);
      out.gt_count[a * in.num_groups + s] = count;
    }
    const int64_t begin = clamped(in.dt_offsets[s], in.num_dt);
    const int64_t end = clamped(in.dt_offsets[s + 1], in.num_dt);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t d = in.dt_order[i];
      if (!inside(d, in.num_dt)) continue;
      Match match{-1, kIgnored};
      if (i - begin < in.max_detections) {
        const double* xywh = in.dt_boxes + 4 * d;
        const Box<double> dt = load_xywh(xywh, pixel);
        match = match_next(gt, in.rule, in.iou_thresholds[t], xywh[2] * xywh[3],
                           out.taken + row * in.num_gt + first_gt, [&](int64_t g) {
                             const Box<double> box =
                                 load_xywh(in.gt_boxes + 4 * (first_gt + g), pixel);
                             return overlap(dt, box, crowd_is_region && gt.crowd[g], pixel);
                           });
      }
      out.outcome[row * in.num_dt + d] = match.outcome;
      if (out.gt_index != nullptr)
        out.gt_index[row * in.num_dt + d] = match.gt < 0 ? -1 : first_gt + match.gt;
    }
  }
}

// One thread per curve: a (class, area, cap, threshold).
__global__ void accumulate_kernel(AccumulateInput in, AccumulateOutput out, int64_t curves) {
  for (int64_t i = first_item(); i < curves; i += item_stride())
    accumulate_curve(in, out, curve_index(in, i));
}

// One thread per curve.
__global__ void average_precision_kernel(const double* __restrict__ recall,     // [B, N]
                                         const double* __restrict__ precision,  // [B, N]
                                         double* __restrict__ out,              // [B]
                                         int64_t num_curves, int64_t num_points, ApMethod method) {
  for (int64_t b = first_item(); b < num_curves; b += item_stride())
    out[b] = average_curve(recall + b * num_points, precision + b * num_points, num_points, method);
}

}  // namespace

void match_detections_cuda(const MatchInput& in, const MatchOutput& out, CudaStream stream) {
  const int64_t items = in.num_groups * in.num_areas * in.num_thresholds;
  if (items == 0) return;
  match_kernel<<<blocks_for(items), kThreads, 0, native(stream)>>>(in, out);
  check_launch("match_kernel");
}

void accumulate_precision_cuda(const AccumulateInput& in, const AccumulateOutput& out,
                               CudaStream stream) {
  const int64_t curves = in.num_classes * in.num_areas * in.num_caps * in.num_thresholds;
  if (curves == 0) return;
  accumulate_kernel<<<blocks_for(curves), kThreads, 0, native(stream)>>>(in, out, curves);
  check_launch("accumulate_kernel");
}

void average_precision_cuda(const double* recall, const double* precision, double* out,
                            int64_t num_curves, int64_t num_points, ApMethod method,
                            CudaStream stream) {
  if (num_curves == 0) return;
  average_precision_kernel<<<blocks_for(num_curves), kThreads, 0, native(stream)>>>(
      recall, precision, out, num_curves, num_points, method);
  check_launch("average_precision_kernel");
}

}  // namespace sightline::evaluation::average_precision
