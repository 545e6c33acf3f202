#include "common/torch.h"

#include <tuple>

#include "nms/multiclass/multiclass.h"

namespace sightline::nms::multiclass {
namespace {

MulticlassShape shape_of(const Tensor& boxes, const Tensor& scores, int64_t max_detections,
                         int64_t pre_top_k, bool agnostic) {
  STD_TORCH_CHECK(scores.dim() == 3, "scores must have shape [B, A, C]");
  STD_TORCH_CHECK((boxes.dim() == 3 || boxes.dim() == 4) && boxes.size(boxes.dim() - 1) == 4 &&
                      boxes.size(0) == scores.size(0) && boxes.size(1) == scores.size(1) &&
                      (boxes.dim() == 3 || boxes.size(2) == scores.size(2)),
                  "boxes must have shape [B, A, 4] or [B, A, C, 4]");
  STD_TORCH_CHECK(scores.get_device_index() == boxes.get_device_index(),
                  "boxes and scores must be on one device");
  STD_TORCH_CHECK(max_detections >= 0 && pre_top_k >= 1,
                  "max_detections must be at least 0 and pre_top_k at least 1");
  return {scores.size(0), scores.size(1), scores.size(2), boxes.dim() == 4,
          max_detections, pre_top_k,      agnostic};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> multiclass_nms(const Tensor& boxes, const Tensor& scores,
                                                          double score_threshold,
                                                          double iou_threshold,
                                                          int64_t max_detections, int64_t pre_top_k,
                                                          bool agnostic) {
  const MulticlassShape shape = shape_of(boxes, scores, max_detections, pre_top_k, agnostic);
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  Tensor out_boxes = allocate(b, {shape.images, max_detections, 4}, b.scalar_type());
  Tensor out_scores = allocate(s, {shape.images, max_detections}, s.scalar_type());
  Tensor labels = allocate(b, {shape.images, max_detections}, ScalarType::Long);
  Tensor counts = allocate(b, {shape.images}, ScalarType::Long);
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      const T* const p = b.const_data_ptr<T>();
      const S* const q = s.const_data_ptr<S>();
      T* const ob = out_boxes.mutable_data_ptr<T>();
      S* const os = out_scores.mutable_data_ptr<S>();
      int64_t* const l = labels.mutable_data_ptr<int64_t>();
      int64_t* const c = counts.mutable_data_ptr<int64_t>();
      const S above(score_threshold);
      const T overlap(iou_threshold);
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          Tensor workspace = allocate_workspace(b, multiclass_nms_workspace_bytes<S>(shape));
          return multiclass_nms_cuda(p, q, ob, os, l, c, shape, above, overlap,
                                     workspace.mutable_data_ptr(), scope.stream());
        }
      }
      multiclass_nms_cpu(p, q, ob, os, l, c, shape, above, overlap, TorchThreads());
    });
  });
  return {out_boxes, out_scores, labels, counts};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "multiclass_nms(Tensor boxes, Tensor scores, float score_threshold, float iou_threshold, "
      "SymInt max_detections, SymInt pre_top_k, bool agnostic) -> (Tensor, Tensor, Tensor, "
      "Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("multiclass_nms", TORCH_BOX(&multiclass_nms)); }

}  // namespace sightline::nms::multiclass
