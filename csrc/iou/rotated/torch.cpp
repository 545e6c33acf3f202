#include "common/torch.h"

#include "iou/rotated/rotated.h"

namespace sightline::iou::rotated {
namespace {

AngleUnit unit_of(bool degrees) { return degrees ? AngleUnit::kDegrees : AngleUnit::kRadians; }

// Shapes [N, 5] and [M, 5]; aligned: N = M.
void check_pair(const Tensor& boxes1, const Tensor& boxes2, bool aligned) {
  STD_TORCH_CHECK(
      boxes1.dim() == 2 && boxes1.size(1) == 5 && boxes2.dim() == 2 && boxes2.size(1) == 5,
      "boxes1 and boxes2 must have shape [N, 5]");
  STD_TORCH_CHECK(!aligned || boxes1.size(0) == boxes2.size(0),
                  "boxes1 and boxes2 must have the same length");
  check_alike(boxes1, boxes2, "boxes1 and boxes2");
}

// out and grad have shape [N, M], or [N] where aligned.
void check_result(const Tensor& result, const Tensor& boxes1, const Tensor& boxes2, bool aligned,
                  const char* name) {
  check_alike(result, boxes1, "boxes and out or grad");
  STD_TORCH_CHECK(result.dim() == (aligned ? 1 : 2) && result.size(0) == boxes1.size(0) &&
                      (aligned || result.size(1) == boxes2.size(0)),
                  name, aligned ? " must have shape [N]" : " must have shape [N, M]");
}

template <bool kAligned>
void fill(const Tensor& boxes1, const Tensor& boxes2, bool degrees, Tensor& out) {
  const DeviceScope scope(boxes1);
  const Tensor a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t n = a.size(0), m = b.size(0);
  const AngleUnit unit = unit_of(degrees);
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T* o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        if constexpr (kAligned)
          return aligned_box_iou_rotated_cuda(p, q, o, n, unit, scope.stream());
        return box_iou_rotated_cuda(p, q, o, n, m, unit, scope.stream());
      }
    }
    if constexpr (kAligned) return aligned_box_iou_rotated_cpu(p, q, o, n, unit, TorchThreads());
    box_iou_rotated_cpu(p, q, o, n, m, unit, TorchThreads());
  });
}

Tensor box_iou_rotated(const Tensor& boxes1, const Tensor& boxes2, bool degrees) {
  check_pair(boxes1, boxes2, false);
  Tensor out = allocate(boxes1, {boxes1.size(0), boxes2.size(0)}, boxes1.scalar_type());
  fill<false>(boxes1, boxes2, degrees, out);
  return out;
}

Tensor aligned_box_iou_rotated(const Tensor& boxes1, const Tensor& boxes2, bool degrees) {
  check_pair(boxes1, boxes2, true);
  Tensor out = allocate(boxes1, {boxes1.size(0)}, boxes1.scalar_type());
  fill<true>(boxes1, boxes2, degrees, out);
  return out;
}

template <bool kAligned>
void write(const Tensor& boxes1, const Tensor& boxes2, bool degrees, Tensor out) {
  check_pair(boxes1, boxes2, kAligned);
  check_result(out, boxes1, boxes2, kAligned, "out");
  check_out(out, boxes1, boxes2);
  fill<kAligned>(boxes1, boxes2, degrees, out);
}

template <bool kAligned>
std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& boxes1, const Tensor& boxes2,
                                    bool degrees) {
  check_pair(boxes1, boxes2, kAligned);
  check_result(grad, boxes1, boxes2, kAligned, "grad");
  const DeviceScope scope(boxes1);
  const Tensor g = as_contiguous(grad), a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t n = a.size(0), m = b.size(0);
  const AngleUnit unit = unit_of(degrees);
  Tensor grad1 = allocate(a, {n, 5}, a.scalar_type());
  Tensor grad2 = allocate(b, {m, 5}, b.scalar_type());
  dispatch_float(a, [&]<class T>(T) {
    const T *r = g.const_data_ptr<T>(), *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T *ga = grad1.mutable_data_ptr<T>(), *gb = grad2.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        const CudaStream stream = scope.stream();
        if constexpr (kAligned)
          return aligned_box_iou_rotated_backward_cuda(r, p, q, ga, gb, n, unit, stream);
        return box_iou_rotated_backward_cuda(r, p, q, ga, gb, n, m, unit, stream);
      }
    }
    if constexpr (kAligned)
      return aligned_box_iou_rotated_backward_cpu(r, p, q, ga, gb, n, unit, TorchThreads());
    box_iou_rotated_backward_cpu(r, p, q, ga, gb, n, m, unit, TorchThreads());
  });
  return {grad1, grad2};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("box_iou_rotated(Tensor boxes1, Tensor boxes2, bool degrees) -> Tensor");
  m.def("box_iou_rotated_out(Tensor boxes1, Tensor boxes2, bool degrees, Tensor(a!) out) -> ()");
  m.def(
      "box_iou_rotated_backward(Tensor grad, Tensor boxes1, Tensor boxes2, bool degrees) -> "
      "(Tensor, Tensor)");
  m.def("aligned_box_iou_rotated(Tensor boxes1, Tensor boxes2, bool degrees) -> Tensor");
  m.def(
      "aligned_box_iou_rotated_out(Tensor boxes1, Tensor boxes2, bool degrees, Tensor(a!) out) -> "
      "()");
  m.def(
      "aligned_box_iou_rotated_backward(Tensor grad, Tensor boxes1, Tensor boxes2, bool degrees) "
      "-> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("box_iou_rotated", TORCH_BOX(&box_iou_rotated));
  m.impl("box_iou_rotated_out", TORCH_BOX(&write<false>));
  m.impl("box_iou_rotated_backward", TORCH_BOX(&backward<false>));
  m.impl("aligned_box_iou_rotated", TORCH_BOX(&aligned_box_iou_rotated));
  m.impl("aligned_box_iou_rotated_out", TORCH_BOX(&write<true>));
  m.impl("aligned_box_iou_rotated_backward", TORCH_BOX(&backward<true>));
}

}  // namespace sightline::iou::rotated
