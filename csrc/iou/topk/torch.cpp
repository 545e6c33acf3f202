#include "common/torch.h"

#include "iou/topk/topk.h"

namespace sightline::iou::topk {
namespace {

std::tuple<Tensor, Tensor> box_iou_topk(const Tensor& boxes1, const Tensor& boxes2, int64_t k) {
  STD_TORCH_CHECK(boxes1.dim() == 3 && boxes2.dim() == 3 && boxes1.size(2) == 4 &&
                      boxes2.size(2) == 4 && boxes1.size(0) == boxes2.size(0),
                  "boxes1 and boxes2 must have shapes [B, N, 4] and [B, M, 4]");
  STD_TORCH_CHECK(boxes1.size(1) <= INT32_MAX && boxes2.size(1) <= INT32_MAX,
                  "boxes1 and boxes2 must hold fewer than 2^31 boxes");
  STD_TORCH_CHECK(k >= 0, "k must be at least 0");
  check_alike(boxes1, boxes2, "boxes1 and boxes2");
  const DeviceScope scope(boxes1);
  const Tensor a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t batch = a.size(0), n = a.size(1), m = b.size(1);
  Tensor values = allocate(a, {batch, n, k}, a.scalar_type());
  Tensor indices = allocate(a, {batch, n, k}, ScalarType::Long);
  dispatch_float(a, [&]<class T>(T) {
    TorchThreads threads;
    for (int64_t i = 0; i < batch; ++i) {
      const T *p = a.const_data_ptr<T>() + 4 * n * i, *q = b.const_data_ptr<T>() + 4 * m * i;
      T* const v = values.mutable_data_ptr<T>() + n * k * i;
      int64_t* const j = indices.mutable_data_ptr<int64_t>() + n * k * i;
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          box_iou_topk_cuda(p, q, v, j, n, m, k, scope.stream());
          continue;
        }
      }
      box_iou_topk_cpu(p, q, v, j, n, m, k, threads);
    }
  });
  return {values, indices};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("box_iou_topk(Tensor boxes1, Tensor boxes2, int k) -> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("box_iou_topk", TORCH_BOX(&box_iou_topk)); }

}  // namespace sightline::iou::topk
