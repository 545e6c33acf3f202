#include "common/torch.h"

#include <optional>
#include <tuple>

#include "nms/padded/padded.h"

namespace sightline::nms::padded {
namespace {

PaddedShape shape_of(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& idxs,
                     int64_t max_detections) {
  STD_TORCH_CHECK(boxes.dim() == 3 && boxes.size(2) == 4, "boxes must have shape [B, N, 4]");
  STD_TORCH_CHECK(scores.dim() == 2 && scores.size(0) == boxes.size(0) &&
                      scores.size(1) == boxes.size(1) &&
                      scores.get_device_index() == boxes.get_device_index(),
                  "scores must have one number for each of boxes, on their device");
  STD_TORCH_CHECK(
      !idxs || (idxs->dim() == 2 && idxs->size(0) == boxes.size(0) &&
                idxs->size(1) == boxes.size(1) && idxs->scalar_type() == ScalarType::Long &&
                idxs->get_device_index() == boxes.get_device_index()),
      "idxs must have one int64 for each of boxes, on their device");
  STD_TORCH_CHECK(max_detections >= 0, "max_detections must be at least 0");
  return {boxes.size(0), boxes.size(1), max_detections};
}

std::tuple<Tensor, Tensor> nms_padded(const Tensor& boxes, const Tensor& scores,
                                      const std::optional<Tensor>& idxs, double iou_threshold,
                                      int64_t max_detections,
                                      std::optional<double> score_threshold) {
  const PaddedShape shape = shape_of(boxes, scores, idxs, max_detections);
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const Tensor i = idxs ? as_contiguous(*idxs) : Tensor();
  const int64_t* const segments = idxs ? i.const_data_ptr<int64_t>() : nullptr;
  Tensor indices = allocate(b, {shape.images, max_detections}, ScalarType::Long);
  Tensor counts = allocate(b, {shape.images}, ScalarType::Long);
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      const T* const p = b.const_data_ptr<T>();
      const S* const q = s.const_data_ptr<S>();
      int64_t* const out = indices.mutable_data_ptr<int64_t>();
      int64_t* const c = counts.mutable_data_ptr<int64_t>();
      const T overlap(iou_threshold);
      const std::optional<S> above =
          score_threshold ? std::optional(S(*score_threshold)) : std::nullopt;
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          Tensor workspace = allocate_workspace(b, nms_padded_workspace_bytes<S>(shape));
          return nms_padded_cuda(p, q, segments, out, c, shape, overlap, above,
                                 workspace.mutable_data_ptr(), scope.stream());
        }
      }
      nms_padded_cpu(p, q, segments, out, c, shape, overlap, above, TorchThreads());
    });
  });
  return {indices, counts};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "nms_padded(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold, "
      "SymInt max_detections, float? score_threshold) -> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("nms_padded", TORCH_BOX(&nms_padded)); }

}  // namespace sightline::nms::padded
