#include <algorithm>
#include <tuple>

#include "nms/scored_boxes_torch.h"
#include "nms/soft/soft.h"

namespace sightline::nms::soft {
namespace {

using KeptBoxes = std::tuple<Tensor, Tensor>;

template <class T>
KeptBoxes keep_on_cpu(const Tensor& boxes, const Tensor& scores, const int64_t* idxs,
                      const SoftNmsSettings<T>& settings) {
  const SoftNmsResult<T> result =
      soft_nms_cpu(boxes.const_data_ptr<T>(), scores.const_data_ptr<T>(), idxs, boxes.size(0),
                   settings, TorchThreads());
  const int64_t count = result.keep.size();
  Tensor kept_scores = allocate(boxes, {count}, boxes.scalar_type());
  std::copy(result.scores.begin(), result.scores.end(), kept_scores.mutable_data_ptr<T>());
  return {tensor_of(result.keep, boxes), kept_scores};
}

template <class T>
KeptBoxes keep_on_cuda(const Tensor& boxes, const Tensor& scores, const int64_t* idxs,
                       const SoftNmsSettings<T>& settings, CudaStream stream) {
  const int64_t n = boxes.size(0);
  Tensor keep = allocate(boxes, {n}, ScalarType::Long);
  Tensor kept_scores = allocate(boxes, {n}, boxes.scalar_type());
  Tensor workspace = allocate_workspace(boxes, soft_nms_workspace_bytes<T>(n));
  const int64_t count = soft_nms_cuda(
      boxes.const_data_ptr<T>(), scores.const_data_ptr<T>(), idxs, keep.mutable_data_ptr<int64_t>(),
      kept_scores.mutable_data_ptr<T>(), n, settings, workspace.mutable_data_ptr(), stream);
  return {torch::stable::narrow(keep, 0, 0, count),
          torch::stable::narrow(kept_scores, 0, 0, count)};
}

KeptBoxes soft_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& idxs,
                   bool gaussian, double iou_threshold, double sigma, double score_threshold,
                   int64_t max_detections) {
  check_boxes(boxes, "boxes");
  check_alike(boxes, scores, "boxes and scores");
  check_scored(boxes, scores, idxs);
  STD_TORCH_CHECK(score_threshold >= 0, "score_threshold must be at least 0");
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const std::optional<Tensor> segments = as_contiguous(idxs);
  const int64_t* const i = data_of(segments);
  KeptBoxes kept;
  dispatch_float(b, [&]<class T>(T) {
    const SoftNmsSettings<T> settings{gaussian, T(iou_threshold), T(sigma), T(score_threshold),
                                      max_detections};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        kept = keep_on_cuda<T>(b, s, i, settings, scope.stream());
        return;
      }
    }
    kept = keep_on_cpu<T>(b, s, i, settings);
  });
  return kept;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "soft_nms(Tensor boxes, Tensor scores, Tensor? idxs, bool gaussian, float iou_threshold, "
      "float sigma, float score_threshold, SymInt max_detections) -> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("soft_nms", TORCH_BOX(&soft_nms)); }

}  // namespace sightline::nms::soft
