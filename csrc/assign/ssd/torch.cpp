#include "common/torch.h"

#include "assign/ssd/ssd.h"

namespace sightline::assign::ssd {
namespace {

Tensor assign_ssd(const Tensor& anchors, const Tensor& gt_boxes, double threshold, bool overwrite) {
  check_boxes(anchors, "anchors");
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  check_alike(anchors, gt_boxes, "anchors and gt_boxes");
  const DeviceScope scope(anchors);
  const Tensor a = as_contiguous(anchors), g = as_contiguous(gt_boxes);
  const int64_t n = a.size(0), images = g.size(0), objects = g.size(1);
  const SsdRule rule = overwrite ? SsdRule::kOverwrite : SsdRule::kBipartite;
  Tensor index = allocate(a, {images, n}, ScalarType::Long);
  int64_t* const out = index.mutable_data_ptr<int64_t>();
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = g.const_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(a, assign_ssd_workspace_bytes<T>(n, images, objects));
        return assign_ssd_cuda(p, q, out, n, images, objects, T(threshold), rule,
                               workspace.mutable_data_ptr(), scope.stream());
      }
    }
    assign_ssd_cpu(p, q, out, n, images, objects, T(threshold), rule, TorchThreads());
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("assign_ssd(Tensor anchors, Tensor gt_boxes, float threshold, bool overwrite) -> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_ssd", TORCH_BOX(&assign_ssd)); }

}  // namespace sightline::assign::ssd
