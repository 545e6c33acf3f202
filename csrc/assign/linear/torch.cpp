#include "common/torch.h"

#include "assign/linear/linear.h"

namespace sightline::assign::linear {
namespace {

Tensor linear_assignment(const Tensor& cost) {
  STD_TORCH_CHECK(cost.dim() == 3, "cost must have shape [B, N, M]");
  const DeviceScope scope(cost);
  const Tensor c = as_contiguous(cost);
  const AssignmentShape shape{c.size(0), c.size(1), c.size(2)};
  Tensor columns = allocate(c, {shape.problems, shape.rows}, ScalarType::Long);
  int64_t* const out = columns.mutable_data_ptr<int64_t>();
  dispatch_float(c, [&]<class T>(T) {
    const T* const costs = c.const_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(c, linear_assignment_workspace_bytes(shape));
        return linear_assignment_cuda(costs, out, shape, workspace.mutable_data_ptr(),
                                      scope.stream());
      }
    }
    linear_assignment_cpu(costs, out, shape, TorchThreads());
  });
  return columns;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) { m.def("linear_assignment(Tensor cost) -> Tensor"); }
SIGHTLINE_TORCH_KERNELS(m) { m.impl("linear_assignment", TORCH_BOX(&linear_assignment)); }

}  // namespace sightline::assign::linear
