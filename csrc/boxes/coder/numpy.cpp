#include "common/numpy.h"

#include <vector>

#include "boxes/coder/coder.h"

namespace sightline::boxes::coder {
namespace {

template <class T>
int64_t rows_of(const Array<T>& a) {
  require(a.ndim() >= 1 && a.shape(a.ndim() - 1) == 4,
          "boxes and anchors must have shape [..., 4]");
  return a.size() / 4;
}

template <class T>
Array<T> like(const Array<T>& a) {
  return Array<T>(std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()));
}

template <class T>
int64_t anchors_of(const Array<T>& first, const Array<T>& anchors) {
  const int64_t n = rows_of(first), m = rows_of(anchors);
  require(n == 0 || (m > 0 && n % m == 0), "the anchors must divide the boxes");
  return m;
}

template <class T>
Array<T> encode_boxes(const Array<T>& boxes, const Array<T>& anchors, double wx, double wy,
                      double ww, double wh) {
  const int64_t m = anchors_of(boxes, anchors), n = rows_of(boxes);
  const BoxCoding<T> coding{{T(wx), T(wy), T(ww), T(wh)}, false, T(0), T(0)};
  Array<T> out = like(boxes);
  const T *p = boxes.data(), *q = anchors.data();
  T* o = out.mutable_data();
  const py::gil_scoped_release release;
  encode_boxes_cpu(p, q, o, n, m, coding, OwnThreads());
  return out;
}

template <class T>
Array<T> decode_boxes(const Array<T>& deltas, const Array<T>& anchors, double wx, double wy,
                      double ww, double wh, bool clip, double height, double width) {
  const int64_t m = anchors_of(deltas, anchors), n = rows_of(deltas);
  const BoxCoding<T> coding{{T(wx), T(wy), T(ww), T(wh)}, clip, T(width), T(height)};
  Array<T> out = like(deltas);
  const T *p = deltas.data(), *q = anchors.data();
  T* o = out.mutable_data();
  const py::gil_scoped_release release;
  decode_boxes_cpu(p, q, o, n, m, coding, OwnThreads());
  return out;
}

template <class T>
void add_of(py::module_& m) {
  m.def("encode_boxes", &encode_boxes<T>, py::arg("boxes").noconvert(),
        py::arg("anchors").noconvert(), py::arg("wx"), py::arg("wy"), py::arg("ww"), py::arg("wh"));
  m.def("decode_boxes", &decode_boxes<T>, py::arg("deltas").noconvert(),
        py::arg("anchors").noconvert(), py::arg("wx"), py::arg("wy"), py::arg("ww"), py::arg("wh"),
        py::arg("clip"), py::arg("height"), py::arg("width"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::boxes::coder
