#include <optional>
#include <tuple>

#include "nms/greedy/greedy.h"
#include "nms/scored_boxes_torch.h"

namespace sightline::nms::greedy {
namespace {

// suppressed_by: [n] or null, where it is not asked for.
template <class T, class S>
Tensor suppress_on_cpu(const Tensor& boxes, const Tensor& scores, const int64_t* idxs,
                       int64_t* suppressed_by, T threshold) {
  const T* const b = boxes.const_data_ptr<T>();
  const S* const s = scores.const_data_ptr<S>();
  const int64_t n = boxes.size(0);
  return tensor_of(suppressed_by == nullptr ? nms_cpu(b, s, idxs, n, threshold, TorchThreads())
                                            : nms_suppressed_by_cpu(b, s, idxs, suppressed_by, n,
                                                                    threshold, TorchThreads()),
                   boxes);
}

template <class T, class S>
Tensor suppress_on_cuda(const Tensor& boxes, const Tensor& scores, const int64_t* idxs,
                        int64_t* suppressed_by, T threshold, CudaStream stream) {
  const int64_t n = boxes.size(0);
  Tensor keep = allocate(boxes, {n}, ScalarType::Long);
  Tensor workspace = allocate_workspace(boxes, nms_workspace_bytes<T, S>(n));
  const T* const b = boxes.const_data_ptr<T>();
  const S* const s = scores.const_data_ptr<S>();
  int64_t* const k = keep.mutable_data_ptr<int64_t>();
  void* const w = workspace.mutable_data_ptr();
  const int64_t kept =
      suppressed_by == nullptr
          ? nms_cuda(b, s, idxs, k, n, threshold, w, stream)
          : nms_suppressed_by_cuda(b, s, idxs, k, suppressed_by, n, threshold, w, stream);
  return torch::stable::narrow(keep, 0, 0, kept);
}

Tensor suppress_segments(const Tensor& boxes, const Tensor& scores,
                         const std::optional<Tensor>& idxs, double iou_threshold,
                         int64_t* by = nullptr) {
  check_boxes(boxes, "boxes");
  check_scored(boxes, scores, idxs);
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const std::optional<Tensor> segments = as_contiguous(idxs);
  const int64_t* const i = data_of(segments);
  Tensor keep;
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      const T threshold(iou_threshold);
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          keep = suppress_on_cuda<T, S>(b, s, i, by, threshold, scope.stream());
          return;
        }
      }
      keep = suppress_on_cpu<T, S>(b, s, i, by, threshold);
    });
  });
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return suppress_segments(boxes, scores, std::nullopt, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs,
                   double iou_threshold) {
  return suppress_segments(boxes, scores, idxs, iou_threshold);
}

std::tuple<Tensor, Tensor> nms_suppressed_by(const Tensor& boxes, const Tensor& scores,
                                             const std::optional<Tensor>& idxs,
                                             double iou_threshold) {
  check_boxes(boxes, "boxes");
  Tensor by = allocate(boxes, {boxes.size(0)}, ScalarType::Long);
  Tensor keep =
      suppress_segments(boxes, scores, idxs, iou_threshold, by.mutable_data_ptr<int64_t>());
  return {keep, by};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
  m.def(
      "nms_suppressed_by(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold) "
      "-> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
  m.impl("nms_suppressed_by", TORCH_BOX(&nms_suppressed_by));
}

}  // namespace sightline::nms::greedy
