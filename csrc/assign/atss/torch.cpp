#include "common/torch.h"

#include <vector>

#include "assign/atss/atss.h"

namespace sightline::assign::atss {
namespace {

Tensor assign_atss(const Tensor& anchors, std::vector<int64_t> level_sizes, const Tensor& gt_boxes,
                   int64_t top_k) {
  check_boxes(anchors, "anchors");
  STD_TORCH_CHECK(gt_boxes.dim() == 3 && gt_boxes.size(2) == 4,
                  "gt_boxes must have shape [B, G, 4]");
  STD_TORCH_CHECK(level_sizes.size() <= size_t{kMaxAtssLevels}, "level_sizes has too many levels");
  STD_TORCH_CHECK(top_k >= 1, "top_k must be at least 1");
  check_alike(anchors, gt_boxes, "anchors and gt_boxes");
  AtssLevels levels{0, {}};
  int64_t n = 0;
  for (const int64_t size : level_sizes)
    levels.end[levels.count++] = n = checked_sum(n, size, "level_sizes");
  STD_TORCH_CHECK(n == anchors.size(0), "level_sizes must sum to the number of anchors");
  const DeviceScope scope(anchors);
  const Tensor a = as_contiguous(anchors), g = as_contiguous(gt_boxes);
  const int64_t images = g.size(0), objects = g.size(1);
  Tensor index = allocate(a, {images, n}, ScalarType::Long);
  int64_t* const out = index.mutable_data_ptr<int64_t>();
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = g.const_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace =
            allocate_workspace(a, assign_atss_workspace_bytes<T>(levels, images, objects));
        return assign_atss_cuda(p, q, out, levels, images, objects, top_k,
                                workspace.mutable_data_ptr(), scope.stream());
      }
    }
    assign_atss_cpu(p, q, out, levels, images, objects, top_k, TorchThreads());
  });
  return index;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("assign_atss(Tensor anchors, int[] level_sizes, Tensor gt_boxes, int top_k) -> Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("assign_atss", TORCH_BOX(&assign_atss)); }

}  // namespace sightline::assign::atss
