#include "common/numpy.h"

#include <pybind11/stl.h>

#include <vector>

#include "assign/atss/atss.h"

namespace sightline::assign::atss {
namespace {

template <class T>
Array<int64_t> assign_atss(const Array<T>& anchors, const std::vector<int64_t>& level_sizes,
                           const Array<T>& gt_boxes, int64_t top_k) {
  check_boxes(anchors, "anchors");
  require(gt_boxes.ndim() == 3 && gt_boxes.shape(2) == 4, "gt_boxes must have shape [B, G, 4]");
  require(level_sizes.size() <= size_t{kMaxAtssLevels}, "level_sizes has too many levels");
  require(top_k >= 1, "top_k must be at least 1");
  AtssLevels levels{0, {}};
  int64_t n = 0;
  for (const int64_t size : level_sizes)
    levels.end[levels.count++] = n = checked_sum(n, size, "level_sizes");
  require(n == anchors.shape(0), "level_sizes must sum to the number of anchors");
  const int64_t images = gt_boxes.shape(0), objects = gt_boxes.shape(1);
  Array<int64_t> index({images, n});
  const T *p = anchors.data(), *q = gt_boxes.data();
  int64_t* const out = index.mutable_data();
  const py::gil_scoped_release release;
  assign_atss_cpu(p, q, out, levels, images, objects, top_k, OwnThreads());
  return index;
}

template <class T>
void add_of(py::module_& m) {
  m.def("assign_atss", &assign_atss<T>, py::arg("anchors").noconvert(), py::arg("level_sizes"),
        py::arg("gt_boxes").noconvert(), py::arg("top_k"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline::assign::atss
