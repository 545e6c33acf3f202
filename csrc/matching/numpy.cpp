#include "common/numpy.h"

#include "matching/matching.h"

namespace sightline {
namespace {

template <class T>
Array<int64_t> match_anchors(const Array<T>& anchors, const Array<T>& gt_boxes,
                             const Array<int64_t>& offsets, double high_threshold,
                             double low_threshold, bool allow_low_quality, bool zero_matches) {
  check_boxes(anchors, "anchors");
  check_boxes(gt_boxes, "gt_boxes");
  require(offsets.ndim() == 1 && offsets.shape(0) >= 1, "offsets must have shape [B + 1]");
  const int64_t n = anchors.shape(0), images = offsets.shape(0) - 1;
  require(n <= INT32_MAX && gt_boxes.shape(0) <= INT32_MAX,
          "anchors and gt_boxes must hold fewer than 2^31 boxes");
  const int64_t* const o = offsets.data();
  bool ascending = o[0] == 0 && o[images] == gt_boxes.shape(0);
  for (int64_t i = 0; i < images; ++i) ascending = ascending && o[i] <= o[i + 1];
  require(ascending, "offsets must ascend from 0 to the number of gt_boxes");

  Array<int64_t> matches({images, n});
  const T *a = anchors.data(), *g = gt_boxes.data();
  int64_t* const m = matches.mutable_data();
  const MatchRule<T> rule{T(high_threshold), T(low_threshold), allow_low_quality, zero_matches};
  const py::gil_scoped_release release;
  match_anchors_cpu(a, g, o, m, n, images, rule, threads_parallel_for);
  return matches;
}

template <class T>
void add_of(py::module_& m) {
  m.def("match_anchors", &match_anchors<T>, py::arg("anchors").noconvert(),
        py::arg("gt_boxes").noconvert(), py::arg("offsets").noconvert(), py::arg("high_threshold"),
        py::arg("low_threshold"), py::arg("allow_low_quality"), py::arg("zero_matches"));
}

const AddToModule add([](py::module_& m) {
  add_of<float>(m);
  add_of<double>(m);
});

}  // namespace
}  // namespace sightline
