#include "common/torch.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "nms/greedy/greedy.h"

namespace sightline::nms::greedy {
namespace {

void check_scored_boxes(const Tensor& boxes, const Tensor& scores) {
  check_boxes(boxes, "boxes");
  STD_TORCH_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0),
                  "scores must have one number for each of boxes");
  STD_TORCH_CHECK(scores.get_device_index() == boxes.get_device_index(),
                  "boxes and scores must be on one device");
}

Tensor tensor_of(const std::vector<int64_t>& values, const Tensor& like) {
  Tensor out = allocate(like, {static_cast<int64_t>(values.size())}, ScalarType::Long);
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

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

Tensor suppress_segments(const Tensor& boxes, const Tensor& scores, const Tensor* idxs,
                         double iou_threshold, Tensor* suppressed_by = nullptr) {
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const int64_t* const i = idxs == nullptr ? nullptr : idxs->const_data_ptr<int64_t>();
  int64_t* const by =
      suppressed_by == nullptr ? nullptr : suppressed_by->mutable_data_ptr<int64_t>();
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
  check_scored_boxes(boxes, scores);
  return suppress_segments(boxes, scores, nullptr, iou_threshold);
}

void check_idxs(const Tensor& idxs, const Tensor& boxes) {
  STD_TORCH_CHECK(idxs.dim() == 1 && idxs.size(0) == boxes.size(0) &&
                      idxs.scalar_type() == ScalarType::Long &&
                      idxs.get_device_index() == boxes.get_device_index(),
                  "idxs must have one int64 for each of boxes, on their device");
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& idxs,
                   double iou_threshold) {
  check_scored_boxes(boxes, scores);
  check_idxs(idxs, boxes);
  const Tensor i = as_contiguous(idxs);
  return suppress_segments(boxes, scores, &i, iou_threshold);
}

std::tuple<Tensor, Tensor> nms_suppressed_by(const Tensor& boxes, const Tensor& scores,
                                             const std::optional<Tensor>& idxs,
                                             double iou_threshold) {
  check_scored_boxes(boxes, scores);
  std::optional<Tensor> i;
  if (idxs) {
    check_idxs(*idxs, boxes);
    i = as_contiguous(*idxs);
  }
  Tensor by = allocate(boxes, {boxes.size(0)}, ScalarType::Long);
  Tensor keep = suppress_segments(boxes, scores, i ? &*i : nullptr, iou_threshold, &by);
  return {keep, by};
}

void add_kernels(torch::stable::detail::StableLibrary& m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
  m.impl("nms_suppressed_by", TORCH_BOX(&nms_suppressed_by));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
  m.def(
      "nms_suppressed_by(Tensor boxes, Tensor scores, Tensor? idxs, float iou_threshold) "
      "-> (Tensor, Tensor)");
}
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { add_kernels(m); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { add_kernels(m); }
#endif

}  // namespace sightline::nms::greedy
