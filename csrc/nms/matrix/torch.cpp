#include "common/torch.h"

#include "nms/matrix/matrix.h"

namespace sightline::nms::matrix {
namespace {

Tensor matrix_nms(const Tensor& boxes, const Tensor& scores, std::optional<Tensor> idxs,
                  bool gaussian, double sigma) {
  check_boxes(boxes, "boxes");
  check_alike(boxes, scores, "boxes and scores");
  STD_TORCH_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0),
                  "scores must have one number for each of boxes");
  STD_TORCH_CHECK(!idxs || (idxs->dim() == 1 && idxs->size(0) == boxes.size(0) &&
                            idxs->scalar_type() == ScalarType::Long &&
                            idxs->get_device_index() == boxes.get_device_index()),
                  "idxs must have one int64 for each of boxes, on their device");
  const DeviceScope scope(boxes);
  const int64_t n = boxes.size(0);
  const Tensor b = as_contiguous(boxes), s = as_contiguous(scores);
  if (idxs) idxs = as_contiguous(*idxs);
  const int64_t* const i = idxs ? idxs->const_data_ptr<int64_t>() : nullptr;
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
STABLE_TORCH_LIBRARY_IMPL(sightline, CPU, m) { m.impl("matrix_nms", TORCH_BOX(&matrix_nms)); }
#ifdef SIGHTLINE_CUDA
STABLE_TORCH_LIBRARY_IMPL(sightline, CUDA, m) { m.impl("matrix_nms", TORCH_BOX(&matrix_nms)); }
#endif

}  // namespace sightline::nms::matrix
