#include "common/torch.h"

#include "iou/iou.h"

namespace sightline {
namespace {

void check_pair(const Tensor& boxes1, const Tensor& boxes2) {
  check_boxes(boxes1, "boxes1");
  check_boxes(boxes2, "boxes2");
  check_alike(boxes1, boxes2, "boxes1 and boxes2");
}

template <class Form>
void fill(const Tensor& boxes1, const Tensor& boxes2, double eps, Tensor& out) {
  const DeviceScope scope(boxes1);
  const Tensor a = torch::stable::contiguous(boxes1), b = torch::stable::contiguous(boxes2);
  const int64_t n = a.size(0), m = b.size(0);
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T* o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return pairwise_cuda<Form>(p, q, o, n, m, T(eps), scope.stream());
    }
    pairwise_cpu<Form>(p, q, o, n, m, T(eps), torch_parallel_for);
  });
}

template <class Form>
Tensor pairwise_eps(const Tensor& boxes1, const Tensor& boxes2, double eps) {
  check_pair(boxes1, boxes2);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0), boxes2.size(0)});
  fill<Form>(boxes1, boxes2, eps, out);
  return out;
}
template <class Form>
Tensor pairwise(const Tensor& boxes1, const Tensor& boxes2) {
  return pairwise_eps<Form>(boxes1, boxes2, 0);
}

template <class Form>
void pairwise_eps_out(const Tensor& boxes1, const Tensor& boxes2, double eps, Tensor out) {
  check_pair(boxes1, boxes2);
  check_alike(boxes1, out, "boxes1 and out");
  STD_TORCH_CHECK(out.dim() == 2 && out.size(0) == boxes1.size(0) &&
                      out.size(1) == boxes2.size(0) && out.is_contiguous(),
                  "out must be contiguous and have shape [N, M]");
  fill<Form>(boxes1, boxes2, eps, out);
}
template <class Form>
void pairwise_out(const Tensor& boxes1, const Tensor& boxes2, Tensor out) {
  pairwise_eps_out<Form>(boxes1, boxes2, 0, out);
}

template <class Form>
std::tuple<Tensor, Tensor> pairwise_eps_backward(const Tensor& grad, const Tensor& boxes1,
                                                 const Tensor& boxes2, double eps) {
  check_pair(boxes1, boxes2);
  check_alike(grad, boxes1, "grad and boxes1");
  STD_TORCH_CHECK(
      grad.dim() == 2 && grad.size(0) == boxes1.size(0) && grad.size(1) == boxes2.size(0),
      "grad must have shape [N, M]");
  const DeviceScope scope(boxes1);
  const Tensor g = torch::stable::contiguous(grad);
  const Tensor a = torch::stable::contiguous(boxes1), b = torch::stable::contiguous(boxes2);
  const int64_t n = a.size(0), m = b.size(0);
  Tensor grad1 = torch::stable::new_empty(a, {n, 4}), grad2 = torch::stable::new_empty(b, {m, 4});
  dispatch_float(a, [&]<class T>(T) {
    const T *r = g.const_data_ptr<T>(), *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T *ga = grad1.mutable_data_ptr<T>(), *gb = grad2.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return pairwise_backward_cuda<Form>(r, p, q, ga, gb, n, m, T(eps), scope.stream());
    }
    pairwise_backward_cpu<Form>(r, p, q, ga, gb, n, m, T(eps), torch_parallel_for);
  });
  return {grad1, grad2};
}
template <class Form>
std::tuple<Tensor, Tensor> pairwise_backward(const Tensor& grad, const Tensor& boxes1,
                                             const Tensor& boxes2) {
  return pairwise_eps_backward<Form>(grad, boxes1, boxes2, 0);
}

template <class Form>
Tensor aligned_loss(const Tensor& boxes1, const Tensor& boxes2, double eps) {
  check_pair(boxes1, boxes2);
  STD_TORCH_CHECK(boxes1.size(0) == boxes2.size(0), "boxes1 and boxes2 must have the same length");
  const DeviceScope scope(boxes1);
  const Tensor a = torch::stable::contiguous(boxes1), b = torch::stable::contiguous(boxes2);
  const int64_t n = a.size(0);
  Tensor out = torch::stable::new_empty(a, {n});
  dispatch_float(a, [&]<class T>(T) {
    const T *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T* o = out.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) return aligned_loss_cuda<Form>(p, q, o, n, T(eps), scope.stream());
    }
    aligned_loss_cpu<Form>(p, q, o, n, T(eps), torch_parallel_for);
  });
  return out;
}

template <class Form>
std::tuple<Tensor, Tensor> aligned_loss_backward(const Tensor& grad, const Tensor& boxes1,
                                                 const Tensor& boxes2, double eps) {
  check_pair(boxes1, boxes2);
  check_alike(grad, boxes1, "grad and boxes1");
  STD_TORCH_CHECK(
      boxes1.size(0) == boxes2.size(0) && grad.dim() == 1 && grad.size(0) == boxes1.size(0),
      "grad, boxes1 and boxes2 must have the same length");
  const DeviceScope scope(boxes1);
  const Tensor g = torch::stable::contiguous(grad);
  const Tensor a = torch::stable::contiguous(boxes1), b = torch::stable::contiguous(boxes2);
  const int64_t n = a.size(0);
  Tensor grad1 = torch::stable::new_empty(a, {n, 4}), grad2 = torch::stable::new_empty(b, {n, 4});
  dispatch_float(a, [&]<class T>(T) {
    const T *r = g.const_data_ptr<T>(), *p = a.const_data_ptr<T>(), *q = b.const_data_ptr<T>();
    T *ga = grad1.mutable_data_ptr<T>(), *gb = grad2.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda())
        return aligned_loss_backward_cuda<Form>(r, p, q, ga, gb, n, T(eps), scope.stream());
    }
    aligned_loss_backward_cpu<Form>(r, p, q, ga, gb, n, T(eps), torch_parallel_for);
  });
  return {grad1, grad2};
}

void add_kernels(torch::stable::detail::StableLibrary& m) {
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
  m.impl("generalized_box_iou_loss", TORCH_BOX(&aligned_loss<GeneralizedBoxIouLoss>));
  m.impl("generalized_box_iou_loss_backward",
         TORCH_BOX(&aligned_loss_backward<GeneralizedBoxIouLoss>));
  m.impl("distance_box_iou_loss", TORCH_BOX(&aligned_loss<DistanceBoxIouLoss>));
  m.impl("distance_box_iou_loss_backward", TORCH_BOX(&aligned_loss_backward<DistanceBoxIouLoss>));
  m.impl("complete_box_iou_loss", TORCH_BOX(&aligned_loss<CompleteBoxIouLoss>));
  m.impl("complete_box_iou_loss_backward", TORCH_BOX(&aligned_loss_backward<CompleteBoxIouLoss>));
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
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { add_kernels(m); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { add_kernels(m); }
#endif

}  // namespace sightline
