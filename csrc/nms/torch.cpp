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

Tensor suppress_segments(const Tensor& boxes, const Tensor& scores, const Tensor* idxs,
                         double iou_threshold) {
  const DeviceScope scope(boxes);
  const Tensor b = torch::stable::contiguous(boxes), s = torch::stable::contiguous(scores);
  const int64_t n = b.size(0);
  std::vector<int64_t> keep;
  dispatch_float(b, [&]<class T>(T) {
    dispatch_float(s, [&]<class S>(S) {
      keep = nms_cpu(b.const_data_ptr<T>(), s.const_data_ptr<S>(),
                     idxs == nullptr ? nullptr : idxs->const_data_ptr<int64_t>(), n,
                     T(iou_threshold), torch_parallel_for);
    });
  });
  Tensor out = torch::stable::new_empty(b, {static_cast<int64_t>(keep.size())}, ScalarType::Long);
  std::copy(keep.begin(), keep.end(), out.mutable_data_ptr<int64_t>());
  return out;
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
  const Tensor i = torch::stable::contiguous(idxs);
  return suppress_segments(boxes, scores, &i, iou_threshold);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor idxs, float iou_threshold) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace sightline
