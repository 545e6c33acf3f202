#include "common/torch.h"

#include "assign/max_iou/max_iou.h"

namespace sightline::assign::max_iou {
namespace {

std::tuple<Tensor, Tensor, Tensor> match_anchors(const Tensor& anchors, const Tensor& gt_boxes,
                                                 const Tensor& ignore_boxes, double high_threshold,
                                                 double low_threshold, double min_positive_iou,
                                                 double ignore_threshold, bool allow_low_quality,
                                                 bool first_anchor_only, bool zero_matches,
                                                 bool takes_that_object, bool with_iou,
                                                 bool with_best_anchor) {
  check_boxes(anchors, "anchors");
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  STD_TORCH_CHECK(ignore_boxes.dim() == 3 && ignore_boxes.size(2) == 4 &&
                      ignore_boxes.size(0) == gt_boxes.size(0),
                  "ignore_boxes must have shape [B, R, 4], with B that of gt_boxes");
  check_alike(anchors, gt_boxes, "anchors and gt_boxes");
  check_alike(anchors, ignore_boxes, "anchors and ignore_boxes");
  const MatchShape shape{anchors.size(0), gt_boxes.size(0), gt_boxes.size(1), ignore_boxes.size(1)};
  STD_TORCH_CHECK(
      shape.anchors <= INT32_MAX && shape.objects <= INT32_MAX && shape.regions <= INT32_MAX,
      "anchors and boxes of an image must be fewer than 2^31");
  const DeviceScope scope(anchors);
  const Tensor a = as_contiguous(anchors), g = as_contiguous(gt_boxes);
  const Tensor r = as_contiguous(ignore_boxes);
  const int64_t images = shape.images;
  Tensor index = allocate(a, {images, shape.anchors}, ScalarType::Long);
  Tensor iou = allocate(a, {images, with_iou ? shape.anchors : 0}, a.scalar_type());
  Tensor best_anchor =
      allocate(a, {images, with_best_anchor ? shape.objects : 0}, ScalarType::Long);
  dispatch_float(a, [&]<class T>(T) {
    const MatchInput<T> in{a.const_data_ptr<T>(), g.const_data_ptr<T>(), r.const_data_ptr<T>()};
    const MatchOutput<T> out{index.mutable_data_ptr<int64_t>(),
                             with_iou ? iou.mutable_data_ptr<T>() : nullptr,
                             with_best_anchor ? best_anchor.mutable_data_ptr<int64_t>() : nullptr};
    const MatchRule<T> rule{T(high_threshold),   T(low_threshold),  T(min_positive_iou),
                            T(ignore_threshold), allow_low_quality, first_anchor_only,
                            zero_matches,        takes_that_object};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(a, match_anchors_workspace_bytes<T>(shape));
        return match_anchors_cuda(in, out, shape, rule, workspace.mutable_data_ptr(),
                                  scope.stream());
      }
    }
    match_anchors_cpu(in, out, shape, rule, TorchThreads());
  });
  return {index, iou, best_anchor};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "match_anchors(Tensor anchors, Tensor gt_boxes, Tensor ignore_boxes, float high_threshold, "
      "float low_threshold, float min_positive_iou, float ignore_threshold, "
      "bool allow_low_quality, bool first_anchor_only, bool zero_matches, bool takes_that_object, "
      "bool with_iou, bool with_best_anchor) -> (Tensor, Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("match_anchors", TORCH_BOX(&match_anchors)); }

}  // namespace sightline::assign::max_iou
