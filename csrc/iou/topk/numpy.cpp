#include "common/numpy.h"

#include "iou/topk/topk.h"

namespace sightline::iou::topk {
namespace {

template <class T>
py::tuple box_iou_topk(const Array<T>& boxes1, const Array<T>& boxes2, int64_t k) {
  require(boxes1.ndim() == 3 && boxes2.ndim() == 3 && boxes1.shape(2) == 4 &&
              boxes2.shape(2) == 4 && boxes1.shape(0) == boxes2.shape(0),
          "boxes1 and boxes2 must have shapes [B, N, 4] and [B, M, 4]");
  const int64_t batch = boxes1.shape(0), n = boxes1.shape(1), m = boxes2.shape(1);
  require(n <= INT32_MAX && m <= INT32_MAX, "boxes1 and boxes2 must hold fewer than 2^31 boxes");
  require(k >= 0, "k must be at least 0");
  Array<T> values({batch, n, k});
  Array<int64_t> indices({batch, n, k});
  const T *p = boxes1.data(), *q = boxes2.data();
  T* const v = values.mutable_data();
  int64_t* const j = indices.mutable_data();
  {
    const py::gil_scoped_release release;
    OwnThreads threads;
    for (int64_t i = 0; i < batch; ++i)
      box_iou_topk_cpu(p + 4 * n * i, q + 4 * m * i, v + n * k * i, j + n * k * i, n, m, k,
                       threads);
  }
  return py::make_tuple(values, indices);
}

const AddToModule add([](py::module_& m) {
  m.def("box_iou_topk", &box_iou_topk<float>, py::arg("boxes1").noconvert(),
        py::arg("boxes2").noconvert(), py::arg("k"));
  m.def("box_iou_topk", &box_iou_topk<double>, py::arg("boxes1").noconvert(),
        py::arg("boxes2").noconvert(), py::arg("k"));
});

}  // namespace
}  // namespace sightline::iou::topk
