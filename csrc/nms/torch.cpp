#include "common/torch.h"

#include <algorithm>
#include <vector>

#include "nms/nms.h"

namespace sightline {
namespace {

void check_scored_boxes(const Tensor& boxes, const Tensor& scores) {
  check_boxes(boxes, "boxes");
  STD_TORCH_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0),
                  "scores must have one number for each of boxes");
  STD_TORCH_CHECK(scores.get_device_index() == boxes.get_device_index(),
                  "boxes and scores must be on one device");
}

template <class T, class S>
Tensor suppress_on_cpu(const Tensor& boxes, const Tensor& scores, const int64_t* idxs,
                       T threshold) {
  const std::vector<int64_t> keep = nms_cpu(boxes.const_data_ptr<T>(), scores.const_data_ptr<S>(),
                                            idxs, boxes.size(0), threshold, torch_parallel_for);
  Tensor out = allocate(boxes, {static_cast<int64_t>(keep.size())}, ScalarType::Long);
  std::copy(keep.begin(), keep.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

template <class T, class S>
Tensor suppress_on_cuda(const Tensor& boxes, const Tensor& scores, const int64_t* idxs, T threshold,
                        CudaStream stream) {
  const int64_t n = boxes.size(0);
  Tensor keep = torch::stable::new_empty(boxes, {n}, ScalarType::Long);
  Tensor workspace =
      torch::stable::new_empty(boxes, {nms_workspace_bytes<T, S>(n)}, ScalarType::Byte);
  const int64_t kept = nms_cuda(boxes.const_data_ptr<T>(), scores.const_data_ptr<S>(), idxs,
                                keep.mutable_data_ptr<int64_t>(), n, threshold,
                                workspace.mutable_data_ptr(), stream);
  return torch::stable::narrow(keep, 0, 0, kept);
}

Tensor suppress_segments(const Tensor& boxes, const Tensor& scores, const Tensor* idxs,
                         double iou_threshold) {
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const int64_t* const i = idxs == nullptr ? nullptr : idxs->const_data_ptr<int64_t>();
  Tensor keep;
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      const T threshold(iou_threshold);
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          keep = suppress_on_cuda<T, S>(b, s, i, threshold, scope.stream());
          return;
        }
      }
      keep = suppress_on_cpu<T, S>(b, s, i, threshold);
    });
  });
  return keep;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  check_scored_boxes(boxes, scores);
  return suppress_segments(boxes, scores, nullptr, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs,
                   double iou_threshold) {
  check_scored_boxes(boxes, scores);
  STD_TORCH_CHECK(idxs.dim() == 1 && idxs.size(0) == boxes.size(0) &&
                      idxs.scalar_type() == ScalarType::Long &&
                      idxs.get_device_index() == boxes.get_device_index(),
                  "idxs must have one int64 for each of boxes, on their device");
  const Tensor i = as_contiguous(idxs);
  return suppress_segments(boxes, scores, &i, iou_threshold);
}

void add_kernels(torch::stable::detail::StableLibrary& m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { add_kernels(m); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { add_kernels(m); }
#endif

}  // namespace sightline
