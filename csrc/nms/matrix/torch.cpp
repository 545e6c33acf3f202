#include "nms/matrix/matrix.h"
#include "nms/scored_boxes_torch.h"

namespace sightline::nms::matrix {
namespace {

Tensor matrix_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& idxs,
                  bool gaussian, double sigma) {
  check_boxes(boxes, "boxes");
  check_alike(boxes, scores, "boxes and scores");
  check_scored(boxes, scores, idxs);
  const DeviceScope scope(boxes);
  const int64_t n = boxes.size(0);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  const std::optional<Tensor> segments = as_contiguous(idxs);
  const int64_t* const i = data_of(segments);
  Tensor decayed = allocate(s, {n}, s.scalar_type());
  dispatch_float(b, [&]<class T>(T) {
    const MatrixNmsSettings<T> settings{gaussian, T(sigma)};
    const T *const p = b.const_data_ptr<T>(), *const q = s.const_data_ptr<T>();
    T* const out = decayed.mutable_data_ptr<T>();
    if constexpr (kHasCuda) {
      if (scope.on_cuda()) {
        Tensor workspace = allocate_workspace(b, matrix_nms_workspace_bytes<T>(n));
        return matrix_nms_cuda(p, q, i, out, n, settings, workspace.mutable_data_ptr(),
                               scope.stream());
      }
    }
    matrix_nms_cpu(p, q, i, out, n, settings, TorchThreads());
  });
  return decayed;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sightline, m) {
  m.def(
      "matrix_nms(Tensor boxes, Tensor scores, Tensor? idxs, bool gaussian, float sigma) -> "
      "Tensor");
}
SIGHTLINE_TORCH_KERNELS(m) { m.impl("matrix_nms", TORCH_BOX(&matrix_nms)); }

}  // namespace sightline::nms::matrix
