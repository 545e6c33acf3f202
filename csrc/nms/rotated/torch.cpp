#include "common/torch.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "nms/rotated/rotated.h"

namespace sightline::nms::rotated {
namespace {

template <class T, class S>
Tensor suppress_on_cpu(const Tensor& boxes, const Tensor& scores, const int64_t* idxs, T threshold,
                       AngleUnit unit) {
  const std::vector<int64_t> keep =
      nms_rotated_cpu(boxes.const_data_ptr<T>(), scores.const_data_ptr<S>(), idxs, boxes.size(0),
                      threshold, unit, TorchThreads());
  Tensor out = allocate(boxes, {static_cast<int64_t>(keep.size())}, ScalarType::Long);
  std::copy(keep.begin(), keep.end(), out.mutable_data_ptr<int64_t>());
  return out;
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
  STD_TORCH_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0) &&
                      scores.get_device_index() == boxes.get_device_index(),
                  "scores must have one number for each of boxes, on their device");
  std::optional<Tensor> i;
  if (idxs) {
    STD_TORCH_CHECK(idxs->dim() == 1 && idxs->size(0) == boxes.size(0) &&
                        idxs->scalar_type() == ScalarType::Long &&
                        idxs->get_device_index() == boxes.get_device_index(),
                    "idxs must have one int64 for each of boxes, on their device");
    i = as_contiguous(*idxs);
  }
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const int64_t* const segments = i ? i->const_data_ptr<int64_t>() : nullptr;
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
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated)); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated)); }
#endif

}  // namespace sightline::nms::rotated
