#include "nms/matrix/matrix.h"
#include "nms/scored_boxes_numpy.h"

namespace sightline::nms::matrix {
namespace {

template <class T>
Array<T> matrix_nms(const Array<T>& boxes, const Array<T>& scores,
                    const std::optional<Array<int64_t>>& idxs, bool gaussian, double sigma) {
  check_boxes(boxes, "boxes");
  const int64_t n = boxes.shape(0);
  check_scored(boxes, scores, idxs);
  Array<T> decayed(n);
  const T *const b = boxes.data(), *const s = scores.data();
  const int64_t* const i = data_of(idxs);
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
