#include "common/numpy.h"

#include "assign/ssd/ssd.h"

namespace sightline::assign::ssd {
namespace {

template <class T>
Array<int64_t> assign_ssd(const Array<T>& anchors, const Array<T>& gt_boxes, double threshold,
                          bool overwrite) {
  check_boxes(anchors, "anchors");
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(2) == 4, "gt_boxes must have shape [B, G, 4]");
  const int64_t n = anchors.shape(0), images = gt_boxes.shape(0), objects = gt_boxes.shape(1);
  Array<int64_t> index({images, n});
  const T *p = anchors.data(), *q = gt_boxes.data();
  int64_t* const out = index.mutable_data();
  const py::gil_scoped_release release;
  assign_ssd_cpu(p, q, out, n, images, objects, T(threshold),
                 overwrite ? SsdRule::kOverwrite : SsdRule::kBipartite, OwnThreads());
  return index;
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_ssd", &assign_ssd<T>, py::arg("anchors").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("threshold"), py::arg("overwrite"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::ssd
