#include "common/torch.h"

#include "assign/fcos/fcos.h"

namespace sightline::assign::fcos {
namespace {

Tensor assign_fcos(const Tensor& points, const Tensor& gt_boxes, double radius, double low,
                   double high) {
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 2, "points must have shape [A, 2]");
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  check_alike(points, gt_boxes, "points and gt_boxes");
  const DeviceScope scope(points);
  const Tensor p = as_contiguous(points), g = as_contiguous(gt_boxes);
  const int64_t n = p.size(0), images = g.size(0), objects = g.size(1);
  Tensor index = allocate(p, {images, n}, ScalarType::Long);
  int64_t* const out = index.mutable_data_ptr<int64_t>();
  dispatch_float(p, [&]<class T>(T) {
    const FcosLevel<T> level{T(radius), T(low), T(high)};
    const T *xy = p.const_data_ptr<T>(), *boxes = g.const_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return assign_fcos_cuda(xy, boxes, out, n, images, objects, level, scope.stream());
    }
    assign_fcos_cpu(xy, boxes, out, n, images, objects, level, TorchThreads());
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "assign_fcos(Tensor points, Tensor gt_boxes, float radius, float low, float high) -> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_fcos", TORCH_BOX(&assign_fcos)); }

}  // namespace sightline::assign::fcos
