#include "common/torch.h"

#include <tuple>

#include "assign/predictions_torch.h"
#include "assign/sim_ota/sim_ota.h"

namespace sightline::assign::sim_ota {
namespace {

std::tuple<Tensor, Tensor> assign_sim_ota(const Tensor& scores, const Tensor& boxes,
                                          const Tensor& points, const Tensor& strides,
                                          const Tensor& gt_boxes, const Tensor& gt_labels,
                                          int64_t top_k, double center_radius, double iou_weight,
                                          double class_weight) {
  check_predictions(scores, boxes, points, gt_boxes, gt_labels);
  const int64_t images = scores.size(0), anchors = scores.size(1), objects = gt_boxes.size(1);
  STD_TORCH_CHECK(strides.dim() == 1 && strides.size(0) == anchors, "strides must have shape [A]");
  STD_TORCH_CHECK(top_k >= 1 && top_k <= kMaxCandidates, "top_k must lie in [1, 512]");
  check_alike(scores, strides, "scores and strides");
  const DeviceScope scope(scores);
  const Tensor s = as_contiguous(scores), p = as_contiguous(boxes), xy = as_contiguous(points),
               st = as_contiguous(strides), g = as_contiguous(gt_boxes),
               l = as_contiguous(gt_labels);
  Tensor index = allocate(s, {images, anchors}, ScalarType::Long);
  Tensor overlap = allocate(s, {images, anchors}, s.scalar_type());
  dispatch_float(s, [&]<class T>(T) {
    const SimOtaInputs<T> in{s.const_data_ptr<T>(),
                             p.const_data_ptr<T>(),
                             xy.const_data_ptr<T>(),
                             st.const_data_ptr<T>(),
                             g.const_data_ptr<T>(),
                             l.const_data_ptr<int64_t>(),
                             images,
                             anchors,
                             objects,
                             s.size(2)};
    const SimOtaRule<T> rule{T(center_radius), top_k, T(iou_weight), T(class_weight)};
    int64_t* const out = index.mutable_data_ptr<int64_t>();
    T* const overlaps = overlap.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(
            s, assign_sim_ota_workspace_bytes<T>(images, anchors, objects, top_k));
        return assign_sim_ota_cuda(in, rule, out, overlaps, workspace.mutable_data_ptr(),
                                   scope.stream());
      }
    }
    assign_sim_ota_cpu(in, rule, out, overlaps, TorchThreads());
  });
  return {index, overlap};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "assign_sim_ota(Tensor scores, Tensor boxes, Tensor points, Tensor strides, Tensor gt_boxes, "
      "Tensor gt_labels, int top_k, float center_radius, float iou_weight, float class_weight) -> "
      "(Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_sim_ota", TORCH_BOX(&assign_sim_ota)); }

}  // namespace sightline::assign::sim_ota
