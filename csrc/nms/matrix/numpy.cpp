#include "common/numpy.h"

#include <pybind11/stl.h>

#include <optional>

#include "nms/matrix/matrix.h"

namespace sightline::nms::matrix {
namespace {

template <class T>
Array<T> matrix_nms(const Array<T>& boxes, const Array<T>& scores,
                    const std::optional<Array<int64_t>>& idxs, bool gaussian, double sigma) {
  check_boxes(boxes, "boxes");
  const int64_t n = boxes.shape(0);
  require(scores.ndim() == 1 && scores.shape(0) == n,
          "scores must have one number for each of boxes");
  require(!idxs || (idxs->ndim() == 1 && idxs->shape(0) == n),
          "idxs must have one integer for each of boxes");
  Array<T> decayed(n);
  const T *const b = boxes.data(), *const s = scores.data();
  const int64_t* const i = idxs ? idxs->data() : nullptr;
  T* const out = decayed.mutable_data();
  const py::gil_scoped_release release;
  matrix_nms_cpu(b, s, i, out, n, MatrixNmsSettings<T>{gaussian, T(sigma)}, OwnThreads());
  return decayed;
}

template <class T>
void add_of(py::module_& m) {
  m.def("matrix_nms", &matrix_nms<T>, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
        py::arg("idxs").noconvert().none(true), py::arg("gaussian"), py::arg("sigma"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::nms::matrix
