#include "common/torch.h"

#include "iou/maxima/maxima.h"

namespace sightline::iou::maxima {
namespace {

// [B, N, 4] and [B, M, 4] of one type and device.
void check_batches(const Tensor& boxes1, const Tensor& boxes2) {
  STD_TORCH_CHECK(boxes1.dim() == 3 && boxes2.dim() == 3 && boxes1.size(2) == 4 &&
                      boxes2.size(2) == 4 && boxes1.size(0) == boxes2.size(0),
                  "boxes1 and boxes2 must have shapes [B, N, 4] and [B, M, 4]");
  STD_TORCH_CHECK(boxes1.size(1) <= INT32_MAX && boxes2.size(1) <= INT32_MAX,
                  "boxes1 and boxes2 must hold fewer than 2^31 boxes");
  check_alike(boxes1, boxes2, "boxes1 and boxes2");
}

std::tuple<Tensor, Tensor, Tensor, Tensor> box_iou_max(const Tensor& boxes1, const Tensor& boxes2) {
  check_batches(boxes1, boxes2);
  const DeviceScope scope(boxes1);
  const Tensor a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t batch = a.size(0), n = a.size(1), m = b.size(1);
  Tensor row_max = allocate(a, {batch, n}, a.scalar_type());
  Tensor row_argmax = allocate(a, {batch, n}, ScalarType::Long);
  Tensor column_max = allocate(a, {batch, m}, a.scalar_type());
  Tensor column_argmax = allocate(a, {batch, m}, ScalarType::Long);
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    const IouMaxima<T> out{row_max.mutable_data_ptr<T>(), row_argmax.mutable_data_ptr<int64_t>(),
                           column_max.mutable_data_ptr<T>(),
                           column_argmax.mutable_data_ptr<int64_t>()};
    TorchThreads threads;
    for (int64_t i = 0; i < batch; ++i) {
      const IouMaxima<T> of_image = out.at(i, n, m);
      const T *const p_i = p + 4 * n * i, *const q_i = q + 4 * m * i;
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          box_iou_max_cuda(p_i, q_i, of_image, n, m, scope.stream());
          continue;
        }
      }
      box_iou_max_cpu(p_i, q_i, of_image, n, m, threads);
    }
  });
  return {row_max, row_argmax, column_max, column_argmax};
}

// CUDA arguments are not read back: their kernel passes over those out of range.
void check_arguments(const Tensor& arguments, int64_t others) {
  if (arguments.is_cuda()) return;
  const int64_t* const p = arguments.const_data_ptr<int64_t>();
  bool inside = true;
  for (int64_t i = 0; i < arguments.numel(); ++i) inside = inside && p[i] >= -1 && p[i] < others;
  STD_TORCH_CHECK(inside, "arguments must lie in [-1, number of boxes)");
}

std::tuple<Tensor, Tensor> box_iou_max_backward(const Tensor& grad_row, const Tensor& grad_column,
                                                const Tensor& boxes1, const Tensor& boxes2,
                                                const Tensor& row_argmax,
                                                const Tensor& column_argmax) {
  check_batches(boxes1, boxes2);
  const int64_t batch = boxes1.size(0), n = boxes1.size(1), m = boxes2.size(1);
  const auto fits = [&](const Tensor& t, int64_t length) {
    return t.dim() == 2 && t.size(0) == batch && t.size(1) == length &&
           t.get_device_index() == boxes1.get_device_index();
  };
  check_alike(grad_row, boxes1, "grad_row and boxes1");
  check_alike(grad_column, boxes1, "grad_column and boxes1");
  STD_TORCH_CHECK(fits(grad_row, n) && fits(row_argmax, n) && fits(grad_column, m) &&
                      fits(column_argmax, m) && row_argmax.scalar_type() == ScalarType::Long &&
                      column_argmax.scalar_type() == ScalarType::Long,
                  "gradients and int64 arguments must have shapes [B, N] and [B, M]");
  const DeviceScope scope(boxes1);
  const auto contiguous = [](const Tensor& t) { return as_contiguous(t); };
  const Tensor a = contiguous(boxes1), b = contiguous(boxes2);
  const Tensor gr = contiguous(grad_row), gc = contiguous(grad_column);
  const Tensor ra = contiguous(row_argmax), ca = contiguous(column_argmax);
  check_arguments(ra, m);
  check_arguments(ca, n);
  Tensor grad1 = allocate(a, {batch, n, 4}, a.scalar_type());
  Tensor grad2 = allocate(b, {batch, m, 4}, b.scalar_type());
  dispatch_float(a, [&]<class T>(T) {
    TorchThreads threads;
    for (int64_t i = 0; i < batch; ++i) {
      const T *p = a.const_data_ptr<T>() + 4 * n * i, *q = b.const_data_ptr<T>() + 4 * m * i;
      const T *r = gr.const_data_ptr<T>() + n * i, *c = gc.const_data_ptr<T>() + m * i;
      const int64_t* const rows = ra.const_data_ptr<int64_t>() + n * i;
      const int64_t* const columns = ca.const_data_ptr<int64_t>() + m * i;
      T *ga = grad1.mutable_data_ptr<T>() + 4 * n * i,
        *gb = grad2.mutable_data_ptr<T>() + 4 * m * i;
      if constexpr (kHasCuda) {
        if (scope.on_cuda()) {
          box_iou_max_backward_cuda(r, c, p, q, rows, columns, ga, gb, n, m, scope.stream());
          continue;
        }
      }
      box_iou_max_backward_cpu(r, c, p, q, rows, columns, ga, gb, n, m);
    }
  });
  return {grad1, grad2};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("box_iou_max(Tensor boxes1, Tensor boxes2) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "box_iou_max_backward(Tensor grad_row, Tensor grad_column, Tensor boxes1, Tensor boxes2, "
      "Tensor row_argmax, Tensor column_argmax) -> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("box_iou_max", TORCH_BOX(&box_iou_max));
  m.impl("box_iou_max_backward", TORCH_BOX(&box_iou_max_backward));
}

}  // namespace sightline::iou::maxima
