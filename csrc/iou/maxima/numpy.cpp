#include "common/numpy.h"

#include "iou/maxima/maxima.h"

namespace sightline::iou::maxima {
namespace {

template <class T>
py::tuple box_iou_max(const Array<T>& boxes1, const Array<T>& boxes2) {
  require(boxes1.ndim() == 3 && boxes2.ndim() == 3 && boxes1.shape(2) == 4 &&
              boxes2.shape(2) == 4 && boxes1.shape(0) == boxes2.shape(0),
          "boxes1 and boxes2 must have shapes [B, N, 4] and [B, M, 4]");
  const int64_t batch = boxes1.shape(0), n = boxes1.shape(1), m = boxes2.shape(1);
  require(n <= INT32_MAX && m <= INT32_MAX, "boxes1 and boxes2 must hold fewer than 2^31 boxes");
  Array<T> row_max({batch, n}), column_max({batch, m});
  Array<int64_t> row_argmax({batch, n}), column_argmax({batch, m});
  const T *p = boxes1.data(), *q = boxes2.data();
  const IouMaxima<T> out{row_max.mutable_data(), row_argmax.mutable_data(),
                         column_max.mutable_data(), column_argmax.mutable_data()};
  {
    const py::gil_scoped_release release;
    OwnThreads threads;
    for (int64_t i = 0; i < batch; ++i)
      box_iou_max_cpu(p + 4 * n * i, q + 4 * m * i, out.at(i, n, m), n, m, threads);
  }
  return py::make_tuple(row_max, row_argmax, column_max, column_argmax);
}

const AddToModule add([](py::module_& m) {
  m.def("box_iou_max", &box_iou_max<float>, py::arg("boxes1").noconvert(),
        py::arg("boxes2").noconvert());
  m.def("box_iou_max", &box_iou_max<double>, py::arg("boxes1").noconvert(),
        py::arg("boxes2").noconvert());
});

}  // namespace
}  // namespace sightline::iou::maxima
