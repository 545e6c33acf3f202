#include "common/torch.h"

#include <tuple>

#include "boxes/coder/coder.h"

namespace sightline::boxes::coder {
namespace {

// [..., 4] as rows of 4.
int64_t rows_of(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.dim() >= 1 && t.size(t.dim() - 1) == 4, name, " must have shape [..., 4]");
  return t.numel() / 4;
}

int64_t anchors_of(const Tensor& first, const Tensor& anchors) {
  check_alike(first, anchors, "boxes and anchors");
  const int64_t n = rows_of(first, "boxes"), m = rows_of(anchors, "anchors");
  STD_TORCH_CHECK(n == 0 || (m > 0 && n % m == 0), "the anchors must divide the boxes");
  return m;
}

template <class T>
BoxCoding<T> coding_of(double wx, double wy, double ww, double wh, bool clip, double height,
                       double width) {
  return {{T(wx), T(wy), T(ww), T(wh)}, clip, T(width), T(height)};
}

Tensor encode_boxes(const Tensor& boxes, const Tensor& anchors, double wx, double wy, double ww,
                    double wh) {
  const int64_t m = anchors_of(boxes, anchors), n = boxes.numel() / 4;
  const DeviceScope scope(boxes);
  const Tensor b = as_contiguous(boxes), a = as_contiguous(anchors);
  Tensor out = allocate_as(b);
  dispatch_float(b, [&]<class T>(T) {
    const BoxCoding<T> coding = coding_of<T>(wx, wy, ww, wh, false, 0, 0);
    const T *p = b.const_data_ptr<T>(), *q = a.const_data_ptr<T>();
    T* const o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return encode_boxes_cuda(p, q, o, n, m, coding, scope.stream());
    }
    encode_boxes_cpu(p, q, o, n, m, coding, TorchThreads());
  });
  return out;
}

Tensor decode_boxes(const Tensor& deltas, const Tensor& anchors, double wx, double wy, double ww,
                    double wh, bool clip, double height, double width) {
  const int64_t m = anchors_of(deltas, anchors), n = deltas.numel() / 4;
  const DeviceScope scope(deltas);
  const Tensor d = as_contiguous(deltas), a = as_contiguous(anchors);
  Tensor out = allocate_as(d);
  dispatch_float(d, [&]<class T>(T) {
    const BoxCoding<T> coding = coding_of<T>(wx, wy, ww, wh, clip, height, width);
    const T *p = d.const_data_ptr<T>(), *q = a.const_data_ptr<T>();
    T* const o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return decode_boxes_cuda(p, q, o, n, m, coding, scope.stream());
    }
    decode_boxes_cpu(p, q, o, n, m, coding, TorchThreads());
  });
  return out;
}

std::tuple<Tensor, Tensor> encode_boxes_backward(const Tensor& grad, const Tensor& boxes,
                                                 const Tensor& anchors, double wx, double wy,
                                                 double ww, double wh) {
  const int64_t m = anchors_of(boxes, anchors), n = boxes.numel() / 4;
  check_alike(grad, boxes, "grad and boxes");
  STD_TORCH_CHECK(rows_of(grad, "grad") == n, "grad must have the shape of boxes");
  const DeviceScope scope(boxes);
  const Tensor g = as_contiguous(grad);
  const Tensor b = as_contiguous(boxes), a = as_contiguous(anchors);
  Tensor grad_boxes = allocate_as(b);
  Tensor grad_anchors = allocate_as(b);
  dispatch_float(b, [&]<class T>(T) {
    const BoxCoding<T> coding = coding_of<T>(wx, wy, ww, wh, false, 0, 0);
    const T *r = g.const_data_ptr<T>(), *p = b.const_data_ptr<T>(), *q = a.const_data_ptr<T>();
    T *const gb = grad_boxes.mutable_data_ptr<T>(), *const ga = grad_anchors.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return encode_boxes_backward_cuda(r, p, q, gb, ga, n, m, coding, scope.stream());
    }
    encode_boxes_backward_cpu(r, p, q, gb, ga, n, m, coding, TorchThreads());
  });
  return {grad_boxes, grad_anchors};
}

std::tuple<Tensor, Tensor> decode_boxes_backward(const Tensor& grad, const Tensor& deltas,
                                                 const Tensor& anchors, double wx, double wy,
                                                 double ww, double wh, bool clip, double height,
                                                 double width) {
  const int64_t m = anchors_of(deltas, anchors), n = deltas.numel() / 4;
  check_alike(grad, deltas, "grad and deltas");
  STD_TORCH_CHECK(rows_of(grad, "grad") == n, "grad must have the shape of deltas");
  const DeviceScope scope(deltas);
  const Tensor g = as_contiguous(grad);
  const Tensor d = as_contiguous(deltas), a = as_contiguous(anchors);
  Tensor grad_deltas = allocate_as(d);
  Tensor grad_anchors = allocate_as(d);
  dispatch_float(d, [&]<class T>(T) {
    const BoxCoding<T> coding = coding_of<T>(wx, wy, ww, wh, clip, height, width);
    const T *r = g.const_data_ptr<T>(), *p = d.const_data_ptr<T>(), *q = a.const_data_ptr<T>();
    T* const gd = grad_deltas.mutable_data_ptr<T>();
    T* const ga = grad_anchors.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return decode_boxes_backward_cuda(r, p, q, gd, ga, n, m, coding, scope.stream());
    }
    decode_boxes_backward_cpu(r, p, q, gd, ga, n, m, coding, TorchThreads());
  });
  return {grad_deltas, grad_anchors};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "encode_boxes(Tensor boxes, Tensor anchors, float wx, float wy, float ww, float wh) -> "
      "Tensor");
  m.def(
      "encode_boxes_backward(Tensor grad, Tensor boxes, Tensor anchors, float wx, float wy, float "
      "ww, float wh) -> (Tensor, Tensor)");
  m.def(
      "decode_boxes(Tensor deltas, Tensor anchors, float wx, float wy, float ww, float wh, bool "
      "clip, float height, float width) -> Tensor");
  m.def(
      "decode_boxes_backward(Tensor grad, Tensor deltas, Tensor anchors, float wx, float wy, float "
      "ww, float wh, bool clip, float height, float width) -> (Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("encode_boxes", TORCH_BOX(&encode_boxes));
  m.impl("encode_boxes_backward", TORCH_BOX(&encode_boxes_backward));
  m.impl("decode_boxes", TORCH_BOX(&decode_boxes));
  m.impl("decode_boxes_backward", TORCH_BOX(&decode_boxes_backward));
}

}  // namespace sightline::boxes::coder
