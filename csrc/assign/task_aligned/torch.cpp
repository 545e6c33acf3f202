#include "common/torch.h"

#include <tuple>

#include "assign/predictions_torch.h"
#include "assign/task_aligned/task_aligned.h"

namespace sightline::assign::task_aligned {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> assign_task_aligned(
    const Tensor& scores, const Tensor& boxes, const Tensor& points, const Tensor& gt_boxes,
    const Tensor& gt_labels, int64_t top_k, int64_t kept, double alpha, double beta,
    bool complete) {
  check_predictions(scores, boxes, points, gt_boxes, gt_labels);
  const int64_t images = scores.size(0), anchors = scores.size(1), objects = gt_boxes.size(1);
  STD_TORCH_CHECK(top_k >= 1 && top_k <= kMaxTopK && kept >= 1, "top_k must lie in [1, 512]");
  const DeviceScope scope(scores);
  const Tensor s = as_contiguous(scores), p = as_contiguous(boxes), xy = as_contiguous(points),
               g = as_contiguous(gt_boxes), l = as_contiguous(gt_labels);
  Tensor index = allocate(s, {images, anchors}, ScalarType::Long);
  Tensor metric = allocate(s, {images, anchors}, s.scalar_type());
  Tensor overlap = allocate(s, {images, anchors}, s.scalar_type());
  Tensor target = allocate(s, {images, anchors}, s.scalar_type());
  dispatch_float(s, [&]<class T>(T) {
    const TaskAlignedInputs<T> in{s.const_data_ptr<T>(),
                                  p.const_data_ptr<T>(),
                                  xy.const_data_ptr<T>(),
                                  g.const_data_ptr<T>(),
                                  l.const_data_ptr<int64_t>(),
                                  images,
                                  anchors,
                                  objects,
                                  s.size(2)};
    const TaskAlignedOutputs<T> out{index.mutable_data_ptr<int64_t>(), metric.mutable_data_ptr<T>(),
                                    overlap.mutable_data_ptr<T>(), target.mutable_data_ptr<T>()};
    const TaskAlignedRule<T> rule{math::Exponent<T>(alpha), math::Exponent<T>(beta), top_k, kept,
                                  complete};
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(
            s, assign_task_aligned_workspace_bytes<T>(images, anchors, objects, top_k));
        return assign_task_aligned_cuda(in, rule, out, workspace.mutable_data_ptr(),
                                        scope.stream());
      }
    }
    assign_task_aligned_cpu(in, rule, out, TorchThreads());
  });
  return {index, metric, overlap, target};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "assign_task_aligned(Tensor scores, Tensor boxes, Tensor points, Tensor gt_boxes, Tensor "
      "gt_labels, int top_k, int kept, float alpha, float beta, bool complete) -> (Tensor, Tensor, "
      "Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_task_aligned", TORCH_BOX(&assign_task_aligned)); }

}  // namespace sightline::assign::task_aligned
