#include "common/torch.h"

#include "matching/matching.h"

namespace sightline {
namespace {

// CUDA offsets are not read back: their kernels clamp them instead.
void check_offsets(const Tensor& offsets, int64_t total) {
  if (offsets.is_cuda()) return;
  const int64_t* o = offsets.const_data_ptr<int64_t>();
  const int64_t images = offsets.size(0) - 1;
  bool ascending = o[0] == 0 && o[images] == total;
  for (int64_t i = 0; i < images; ++i) ascending = ascending && o[i] <= o[i + 1];
  STD_TORCH_CHECK(ascending, "offsets must ascend from 0 to the number of gt_boxes");
}

Tensor match_anchors(const Tensor& anchors, const Tensor& gt_boxes, const Tensor& offsets,
                     double high_threshold, double low_threshold, bool allow_low_quality,
                     bool zero_matches) {
  check_boxes(anchors, "anchors");
  check_boxes(gt_boxes, "gt_boxes");
  check_alike(anchors, gt_boxes, "anchors and gt_boxes");
  STD_TORCH_CHECK(anchors.size(0) <= INT32_MAX && gt_boxes.size(0) <= INT32_MAX,
                  "anchors and gt_boxes must hold fewer than 2^31 boxes");
  STD_TORCH_CHECK(offsets.dim() == 1 && offsets.size(0) >= 1 &&
                      offsets.scalar_type() == ScalarType::Long &&
                      offsets.get_device_index() == anchors.get_device_index(),
                  "offsets must be int64 [B + 1] on the device of anchors");
  const DeviceScope scope(anchors);
  const Tensor a = torch::stable::contiguous(anchors), g = torch::stable::contiguous(gt_boxes);
  const Tensor o = torch::stable::contiguous(offsets);
  check_offsets(o, g.size(0));
  const int64_t n = a.size(0), images = o.size(0) - 1;
  Tensor matches = torch::stable::new_empty(a, {images, n}, ScalarType::Long);
  dispatch_float(a, [&]<class T>(T) {
    const MatchRule<T> rule{T(high_threshold), T(low_threshold), allow_low_quality, zero_matches};
    const T *p = a.const_data_ptr<T>(), *q = g.const_data_ptr<T>();
    const int64_t* const starts = o.const_data_ptr<int64_t>();
    int64_t* const m = matches.mutable_data_ptr<int64_t>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = torch::stable::new_empty(
            a, {match_anchors_workspace_bytes<T>(n, g.size(0), images)}, ScalarType::Byte);
        return match_anchors_cuda(p, q, starts, m, n, g.size(0), images, rule,
                                  workspace.mutable_data_ptr(), scope.stream());
      }
    }
    match_anchors_cpu(p, q, starts, m, n, images, rule, torch_parallel_for);
  });
  return matches;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "match_anchors(Tensor anchors, Tensor gt_boxes, Tensor offsets, float high_threshold, "
      "float low_threshold, bool allow_low_quality, bool zero_matches) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { m.impl("match_anchors", TORCH_BOX(&match_anchors)); }

}  // namespace sightline
