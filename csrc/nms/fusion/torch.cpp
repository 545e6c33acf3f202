#include "common/torch.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <vector>

#include "nms/fusion/fusion.h"

namespace sightline::nms::fusion {
namespace {

using Fused = std::tuple<Tensor, Tensor, Tensor>;

bool is_column(const Tensor& t, const Tensor& boxes) {
  return t.dim() == 1 && t.size(0) == boxes.size(0) &&
         t.get_device_index() == boxes.get_device_index();
}

template <class T>
Fused fuse_on_cpu(const Tensor& boxes, const Tensor& scores, const Tensor& labels,
                  const Tensor& models, const std::vector<double>& weights,
                  const FusionSettings<T>& settings) {
  const int64_t n = boxes.size(0);
  const int64_t* const m = models.const_data_ptr<int64_t>();
  STD_TORCH_CHECK(
      std::all_of(m, m + n,
                  [&](int64_t model) { return 0 <= model && model < settings.num_models; }),
      "models must index weights");
  const FusedBoxes<T> fused = weighted_boxes_fusion_cpu(
      boxes.const_data_ptr<T>(), scores.const_data_ptr<T>(), labels.const_data_ptr<int64_t>(), m,
      weights.data(), n, settings, TorchThreads());
  const int64_t count = fused.scores.size();
  Tensor out_boxes = allocate(boxes, {count, 4}, boxes.scalar_type());
  Tensor out_scores = allocate(scores, {count}, scores.scalar_type());
  Tensor out_labels = allocate(labels, {count}, labels.scalar_type());
  std::copy(fused.boxes.begin(), fused.boxes.end(), out_boxes.mutable_data_ptr<T>());
  std::copy(fused.scores.begin(), fused.scores.end(), out_scores.mutable_data_ptr<T>());
  std::copy(fused.labels.begin(), fused.labels.end(), out_labels.mutable_data_ptr<int64_t>());
  return {out_boxes, out_scores, out_labels};
}

// Models out of range are passed over by the kernel, which cannot raise.
template <class T>
Fused fuse_on_cuda(const Tensor& boxes, const Tensor& scores, const Tensor& labels,
                   const Tensor& models, const std::vector<double>& weights,
                   const FusionSettings<T>& settings, CudaStream stream) {
  const int64_t n = boxes.size(0);
  Tensor out_boxes = allocate(boxes, {n, 4}, boxes.scalar_type());
  Tensor out_scores = allocate(scores, {n}, scores.scalar_type());
  Tensor out_labels = allocate(labels, {n}, labels.scalar_type());
  Tensor workspace =
      allocate_workspace(boxes, weighted_boxes_fusion_workspace_bytes<T>(n, settings.num_models));
  const int64_t count = weighted_boxes_fusion_cuda(
      boxes.const_data_ptr<T>(), scores.const_data_ptr<T>(), labels.const_data_ptr<int64_t>(),
      models.const_data_ptr<int64_t>(), weights.data(), out_boxes.mutable_data_ptr<T>(),
      out_scores.mutable_data_ptr<T>(), out_labels.mutable_data_ptr<int64_t>(), n, settings,
      workspace.mutable_data_ptr(), stream);
  return {torch::stable::narrow(out_boxes, 0, 0, count),
          torch::stable::narrow(out_scores, 0, 0, count),
          torch::stable::narrow(out_labels, 0, 0, count)};
}

Fused weighted_boxes_fusion(const Tensor& boxes, const Tensor& scores, const Tensor& labels,
                            const Tensor& models, std::vector<double> weights, double iou_threshold,
                            double score_threshold, int64_t score, bool allows_overflow) {
  check_boxes(boxes, "boxes");
  check_alike(boxes, scores, "boxes and scores");
  check_alike(labels, models, "labels and models");
  STD_TORCH_CHECK(is_column(scores, boxes) && is_column(labels, boxes) && is_column(models, boxes),
                  "scores, labels and models must have one number for each of boxes");
  STD_TORCH_CHECK(labels.scalar_type() == ScalarType::Long, "labels and models must be int64");
  STD_TORCH_CHECK(!weights.empty(), "weights must not be empty");
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const Tensor l = as_contiguous(labels), m = as_contiguous(models);
  Fused fused;
  dispatch_float(b, [&]<class T>(T) {
    const FusionSettings<T> settings{
        T(iou_threshold),
        T(score_threshold),
        checked_enum(score, FusedScore::kAbsentModelAwareMean, "score"),
        allows_overflow,
        static_cast<int64_t>(weights.size()),
        std::accumulate(weights.begin(), weights.end(), 0.0),
        *std::max_element(weights.begin(), weights.end())};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        fused = fuse_on_cuda<T>(b, s, l, m, weights, settings, scope.stream());
        return;
      }
    }
    fused = fuse_on_cpu<T>(b, s, l, m, weights, settings);
  });
  return fused;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "weighted_boxes_fusion(Tensor boxes, Tensor scores, Tensor labels, Tensor models, "
      "float[] weights, float iou_threshold, float score_threshold, int score, "
      "bool allows_overflow) -> (Tensor, Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("weighted_boxes_fusion", TORCH_BOX(&weighted_boxes_fusion)); }

}  // namespace sightline::nms::fusion
