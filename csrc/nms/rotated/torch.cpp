#include <optional>

#include "nms/rotated/rotated.h"
#include "nms/scored_boxes_torch.h"

namespace sightline::nms::rotated {
namespace {

template <class T, class S>
Tensor suppress_on_cpu(const Tensor& boxes, const Tensor& scores, const int64_t* idxs, T threshold,
                       AngleUnit unit) {
  return tensor_of(nms_rotated_cpu(boxes.const_data_ptr<T>(), scores.const_data_ptr<S>(), idxs,
                                   boxes.size(0), threshold, unit, TorchThreads()),
                   boxes);
}

template <class T, class S>
Tensor suppress_on_cuda(const Tensor& boxes, const Tensor& scores, const int64_t* idxs, T threshold,
                        AngleUnit unit, CudaStream stream) {
  const int64_t n = boxes.size(0);
  Tensor keep = allocate(boxes, {n}, ScalarType::Long);
  Tensor workspace = allocate_workspace(boxes, nms_rotated_workspace_bytes<T, S>(n));
  const int64_t kept = nms_rotated_cuda(boxes.const_data_ptr<T>(), scores.const_data_ptr<S>(), idxs,
                                        keep.mutable_data_ptr<int64_t>(), n, threshold, unit,
                                        workspace.mutable_data_ptr(), stream);
  return torch::stable::narrow(keep, 0, 0, kept);
}

Tensor nms_rotated(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& idxs,
                   double iou_threshold, bool degrees) {
  STD_TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 5, "boxes must have shape [N, 5]");
  check_scored(boxes, scores, idxs);
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const std::optional<Tensor> i = as_contiguous(idxs);
  const int64_t* const segments = data_of(i);
  const AngleUnit unit = degrees ? AngleUnit::kDegrees : AngleUnit::kRadians;
  Tensor keep;
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      const T threshold(iou_threshold);
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          keep = suppress_on_cuda<T, S>(b, s, segments, threshold, unit, scope.stream());
          return;
        }
      }
      keep = suppress_on_cpu<T, S>(b, s, segments, threshold, unit);
    });
  });
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "nms_rotated(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold, bool degrees) "
      "-> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated)); }

}  // namespace sightline::nms::rotated
