#include "common/torch.h"

#include "common/memory.h"
#include "iou/pairwise/pairwise.h"

namespace sightline::iou::pairwise {
namespace {

// Boxes of a matrix: [N, 4], or a batch of them where a batch of 1 serves every element.
struct PairBoxes {
  Tensor boxes1, boxes2;
  PairShape shape;
  bool batched;

  PairBoxes(const Tensor& first, const Tensor& second)
      : boxes1(as_contiguous(first)), boxes2(as_contiguous(second)) {
    check(first, "boxes1");
    check(second, "boxes2");
    check_alike(first, second, "boxes1 and boxes2");
    batched = first.dim() == 3 || second.dim() == 3;
    const int64_t batch1 = first.dim() == 3 ? first.size(0) : 1;
    const int64_t batch2 = second.dim() == 3 ? second.size(0) : 1;
    STD_TORCH_CHECK(batch1 == batch2 || batch1 == 1 || batch2 == 1,
                    "boxes1 and boxes2 must have one batch size");
    shape = {batch1 == 1 ? batch2 : batch1, first.size(first.dim() - 2),
             second.size(second.dim() - 2), batch1 == 1, batch2 == 1};
  }
  Tensor new_matrix() const {
    Tensor out = batched ? allocate(boxes1, {shape.batch, shape.n, shape.m}, boxes1.scalar_type())
                         : allocate(boxes1, {shape.n, shape.m}, boxes1.scalar_type());
    if (!out.is_cuda()) advise_huge_pages(out.mutable_data_ptr(), out.numel() * out.element_size());
    return out;
  }
  void check_matrix(const Tensor& t, const char* name) const {
    check_alike(boxes1, t, "the boxes and the matrix");
    STD_TORCH_CHECK(t.dim() == (batched ? 3 : 2) && (!batched || t.size(0) == shape.batch) &&
                        t.size(t.dim() - 2) == shape.n && t.size(t.dim() - 1) == shape.m,
                    name, " must have shape [N, M] or [B, N, M]");
  }

 private:
  static void check(const Tensor& t, const char* name) {
    STD_TORCH_CHECK((t.dim() == 2 || t.dim() == 3) && t.size(t.dim() - 1) == 4, name,
                    " must have shape [N, 4] or [B, N, 4]");
  }
};

template <class Form>
void fill(const PairBoxes& pair, double eps, Tensor& out, bool fresh) {
  const DeviceScope scope(pair.boxes1);
  dispatch_float(pair.boxes1, [&]<class T>(T) {
    const T *p = pair.boxes1.const_data_ptr<T>(), *q = pair.boxes2.const_data_ptr<T>();
    T* o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return pairwise_cuda<Form>(p, q, o, pair.shape, T(eps), scope.stream());
    }
    pairwise_cpu<Form>(p, q, o, pair.shape, T(eps), fresh, TorchThreads());
  });
}

template <class Form>
Tensor pairwise_eps(const Tensor& boxes1, const Tensor& boxes2, double eps) {
  const PairBoxes pair(boxes1, boxes2);
  Tensor out = pair.new_matrix();
  fill<Form>(pair, eps, out, true);
  return out;
}
template <class Form>
Tensor pairwise(const Tensor& boxes1, const Tensor& boxes2) {
  return pairwise_eps<Form>(boxes1, boxes2, 0);
}

template <class Form>
void pairwise_eps_out(const Tensor& boxes1, const Tensor& boxes2, double eps, Tensor out) {
  const PairBoxes pair(boxes1, boxes2);
  pair.check_matrix(out, "out");
  check_out(out, pair.boxes1, pair.boxes2);
  fill<Form>(pair, eps, out, false);
}
template <class Form>
void pairwise_out(const Tensor& boxes1, const Tensor& boxes2, Tensor out) {
  pairwise_eps_out<Form>(boxes1, boxes2, 0, out);
}

// The gradients of a batch have a batch each, of boxes that were shared too.
template <class Form>
std::tuple<Tensor, Tensor> pairwise_eps_backward(const Tensor& grad, const Tensor& boxes1,
                                                 const Tensor& boxes2, double eps) {
  const PairBoxes pair(boxes1, boxes2);
  pair.check_matrix(grad, "grad");
  const DeviceScope scope(pair.boxes1);
  const Tensor g = as_contiguous(grad);
  const auto [batch, n, m, shared1, shared2] = pair.shape;
  const auto like = [&](int64_t length) {
    return pair.batched ? allocate(pair.boxes1, {batch, length, 4}, pair.boxes1.scalar_type())
                        : allocate(pair.boxes1, {length, 4}, pair.boxes1.scalar_type());
  };
  Tensor grad1 = like(n), grad2 = like(m);
  dispatch_float(pair.boxes1, [&]<class T>(T) {
    const T* r = g.const_data_ptr<T>();
    const T *p = pair.boxes1.const_data_ptr<T>(), *q = pair.boxes2.const_data_ptr<T>();
    T *ga = grad1.mutable_data_ptr<T>(), *gb = grad2.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return pairwise_backward_cuda<Form>(r, p, q, ga, gb, pair.shape, T(eps), scope.stream());
    }
    pairwise_backward_cpu<Form>(r, p, q, ga, gb, pair.shape, T(eps), TorchThreads());
  });
  return {grad1, grad2};
}
template <class Form>
std::tuple<Tensor, Tensor> pairwise_backward(const Tensor& grad, const Tensor& boxes1,
                                             const Tensor& boxes2) {
  return pairwise_eps_backward<Form>(grad, boxes1, boxes2, 0);
}

void check_aligned(const Tensor& boxes1, const Tensor& boxes2) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  check_alike(boxes1, boxes2, "boxes1 and boxes2");
  STD_TORCH_CHECK(boxes1.size(0) == boxes2.size(0), "boxes1 and boxes2 must have the same length");
}

template <class Form>
Tensor aligned_eps(const Tensor& boxes1, const Tensor& boxes2, double eps) {
  check_aligned(boxes1, boxes2);
  const DeviceScope scope(boxes1);
  const Tensor a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t n = a.size(0);
  Tensor out = allocate(a, {n}, a.scalar_type());
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T* o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return aligned_cuda<Form>(p, q, o, n, T(eps), scope.stream());
    }
    aligned_cpu<Form>(p, q, o, n, T(eps), TorchThreads());
  });
  return out;
}
template <class Form>
Tensor aligned(const Tensor& boxes1, const Tensor& boxes2) {
  return aligned_eps<Form>(boxes1, boxes2, 0);
}

template <class Form>
std::tuple<Tensor, Tensor> aligned_eps_backward(const Tensor& grad, const Tensor& boxes1,
                                                const Tensor& boxes2, double eps) {
  check_aligned(boxes1, boxes2);
  check_alike(grad, boxes1, "grad and boxes1");
  STD_TORCH_CHECK(grad.dim() == 1 && grad.size(0) == boxes1.size(0),
                  "grad and boxes1 must have the same length");
  const DeviceScope scope(boxes1);
  const Tensor g = as_contiguous(grad);
  const Tensor a = as_contiguous(boxes1), b = as_contiguous(boxes2);
  const int64_t n = a.size(0);
  Tensor grad1 = allocate(a, {n, 4}, a.scalar_type()), grad2 = allocate(b, {n, 4}, b.scalar_type());
  dispatch_float(a, [&]<class T>(T) {
    const T *r = g.const_data_ptr<T>(), *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T *ga = grad1.mutable_data_ptr<T>(), *gb = grad2.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return aligned_backward_cuda<Form>(r, p, q, ga, gb, n, T(eps), scope.stream());
    }
    aligned_backward_cpu<Form>(r, p, q, ga, gb, n, T(eps), TorchThreads());
  });
  return {grad1, grad2};
}
template <class Form>
std::tuple<Tensor, Tensor> aligned_backward(const Tensor& grad, const Tensor& boxes1,
                                            const Tensor& boxes2) {
  return aligned_eps_backward<Form>(grad, boxes1, boxes2, 0);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def("box_iou(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def("box_iou_out(Tensor boxes1, Tensor boxes2, Tensor(a!) out) -> ()");
  m.def("box_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, Tensor)");
  m.def("box_ioa(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def("box_ioa_out(Tensor boxes1, Tensor boxes2, Tensor(a!) out) -> ()");
  m.def("box_ioa_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, Tensor)");
  m.def("generalized_box_iou(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def("generalized_box_iou_out(Tensor boxes1, Tensor boxes2, Tensor(a!) out) -> ()");
  m.def(
      "generalized_box_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, "
      "Tensor)");
  m.def("distance_box_iou(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def("distance_box_iou_out(Tensor boxes1, Tensor boxes2, float eps, Tensor(a!) out) -> ()");
  m.def(
      "distance_box_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> (Tensor, "
      "Tensor)");
  m.def("complete_box_iou(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def("complete_box_iou_out(Tensor boxes1, Tensor boxes2, float eps, Tensor(a!) out) -> ()");
  m.def(
      "complete_box_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> (Tensor, "
      "Tensor)");
  m.def("box_iou_aligned(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def("box_iou_aligned_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, Tensor)");
  m.def("box_ioa_aligned(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def("box_ioa_aligned_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, Tensor)");
  m.def("generalized_box_iou_aligned(Tensor boxes1, Tensor boxes2) -> Tensor");
  m.def(
      "generalized_box_iou_aligned_backward(Tensor grad, Tensor boxes1, Tensor boxes2) -> (Tensor, "
      "Tensor)");
  m.def("distance_box_iou_aligned(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def(
      "distance_box_iou_aligned_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> "
      "(Tensor, Tensor)");
  m.def("complete_box_iou_aligned(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def(
      "complete_box_iou_aligned_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> "
      "(Tensor, Tensor)");
  m.def("generalized_box_iou_loss(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def(
      "generalized_box_iou_loss_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> "
      "(Tensor, Tensor)");
  m.def("distance_box_iou_loss(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def(
      "distance_box_iou_loss_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> "
      "(Tensor, Tensor)");
  m.def("complete_box_iou_loss(Tensor boxes1, Tensor boxes2, float eps) -> Tensor");
  m.def(
      "complete_box_iou_loss_backward(Tensor grad, Tensor boxes1, Tensor boxes2, float eps) -> "
      "(Tensor, Tensor)");
}
SIGHTLINE_TORCH_KERNELS(m) {
  m.impl("box_iou", TORCH_BOX(&pairwise<BoxIou>));
  m.impl("box_iou_out", TORCH_BOX(&pairwise_out<BoxIou>));
  m.impl("box_iou_backward", TORCH_BOX(&pairwise_backward<BoxIou>));
  m.impl("box_ioa", TORCH_BOX(&pairwise<BoxIoa>));
  m.impl("box_ioa_out", TORCH_BOX(&pairwise_out<BoxIoa>));
  m.impl("box_ioa_backward", TORCH_BOX(&pairwise_backward<BoxIoa>));
  m.impl("generalized_box_iou", TORCH_BOX(&pairwise<GeneralizedBoxIou>));
  m.impl("generalized_box_iou_out", TORCH_BOX(&pairwise_out<GeneralizedBoxIou>));
  m.impl("generalized_box_iou_backward", TORCH_BOX(&pairwise_backward<GeneralizedBoxIou>));
  m.impl("distance_box_iou", TORCH_BOX(&pairwise_eps<DistanceBoxIou>));
  m.impl("distance_box_iou_out", TORCH_BOX(&pairwise_eps_out<DistanceBoxIou>));
  m.impl("distance_box_iou_backward", TORCH_BOX(&pairwise_eps_backward<DistanceBoxIou>));
  m.impl("complete_box_iou", TORCH_BOX(&pairwise_eps<CompleteBoxIou>));
  m.impl("complete_box_iou_out", TORCH_BOX(&pairwise_eps_out<CompleteBoxIou>));
  m.impl("complete_box_iou_backward", TORCH_BOX(&pairwise_eps_backward<CompleteBoxIou>));
  m.impl("box_iou_aligned", TORCH_BOX(&aligned<BoxIou>));
  m.impl("box_iou_aligned_backward", TORCH_BOX(&aligned_backward<BoxIou>));
  m.impl("box_ioa_aligned", TORCH_BOX(&aligned<BoxIoa>));
  m.impl("box_ioa_aligned_backward", TORCH_BOX(&aligned_backward<BoxIoa>));
  m.impl("generalized_box_iou_aligned", TORCH_BOX(&aligned<GeneralizedBoxIou>));
  m.impl("generalized_box_iou_aligned_backward", TORCH_BOX(&aligned_backward<GeneralizedBoxIou>));
  m.impl("distance_box_iou_aligned", TORCH_BOX(&aligned_eps<DistanceBoxIou>));
  m.impl("distance_box_iou_aligned_backward", TORCH_BOX(&aligned_eps_backward<DistanceBoxIou>));
  m.impl("complete_box_iou_aligned", TORCH_BOX(&aligned_eps<CompleteBoxIou>));
  m.impl("complete_box_iou_aligned_backward", TORCH_BOX(&aligned_eps_backward<CompleteBoxIou>));
  m.impl("generalized_box_iou_loss", TORCH_BOX(&aligned_eps<GeneralizedBoxIouLoss>));
  m.impl("generalized_box_iou_loss_backward",
         TORCH_BOX(&aligned_eps_backward<GeneralizedBoxIouLoss>));
  m.impl("distance_box_iou_loss", TORCH_BOX(&aligned_eps<DistanceBoxIouLoss>));
  m.impl("distance_box_iou_loss_backward", TORCH_BOX(&aligned_eps_backward<DistanceBoxIouLoss>));
  m.impl("complete_box_iou_loss", TORCH_BOX(&aligned_eps<CompleteBoxIouLoss>));
  m.impl("complete_box_iou_loss_backward", TORCH_BOX(&aligned_eps_backward<CompleteBoxIouLoss>));
}

}  // namespace sightline::iou::pairwise
