#include "common/numpy.h"

#include "common/groups_numpy.h"
#include "evaluation/keypoints/keypoints.h"

namespace sightline::evaluation::keypoints {
namespace {

using Doubles = Array<double>;
using Longs = Array<int64_t>;

// exp(array, out=array) is NumPy's, given by the caller.
Doubles keypoint_overlaps(const Doubles& dt_keypoints, const Doubles& gt_keypoints,
                          const Doubles& gt_area, const Doubles& gt_boxes, const Doubles& sigmas,
                          const Longs& dt_rows, const Longs& dt_offsets, const Longs& gt_rows,
                          const Longs& gt_offsets, const py::object& exponential) {
  const int64_t groups = dt_offsets.size() - 1, num = sigmas.size();
  require(groups >= 0 && num > 0, "there must be offsets and sigmas");
  for (const Doubles* points : {&dt_keypoints, &gt_keypoints})
    require(points->ndim() == 3 && points->shape(1) == num && points->shape(2) == 3,
            "keypoints must have shape [N, K, 3]");
  check_boxes(gt_boxes, "gt_boxes");
  const int64_t num_gt = gt_keypoints.shape(0);
  require(gt_area.size() == num_gt && gt_boxes.shape(0) == num_gt,
          "objects must have an area and a box each");
  check_groups(dt_rows, dt_offsets, groups, dt_keypoints.shape(0));
  check_groups(gt_rows, gt_offsets, groups, num_gt);
  const KeypointGroups in{.dt_keypoints = dt_keypoints.data(),
                          .gt_keypoints = gt_keypoints.data(),
                          .gt_area = gt_area.data(),
                          .gt_boxes = gt_boxes.data(),
                          .sigmas = sigmas.data(),
                          .dt_rows = dt_rows.data(),
                          .dt_offsets = dt_offsets.data(),
                          .gt_rows = gt_rows.data(),
                          .gt_offsets = gt_offsets.data(),
                          .num_groups = groups,
                          .num_keypoints = num};
  Longs counts(gt_rows.size());
  int64_t* const count = counts.mutable_data();
  const int64_t num_terms = count_keypoint_terms_cpu(in, count);
  Doubles overlaps(count_cells(dt_offsets, gt_offsets)), terms(num_terms);
  double *const term = terms.mutable_data(), *const out = overlaps.mutable_data();
  {
    const py::gil_scoped_release release;
    keypoint_terms_cpu(in, count, term, OwnThreads());
  }
  exponential(terms, py::arg("out") = terms);
  {
    const py::gil_scoped_release release;
    keypoint_means_cpu(in, count, term, out, OwnThreads());
  }
  return overlaps;
}

py::arg array(const char* name) { return py::arg(name).noconvert(); }

const AddToModule add([](py::module_& m) {
  m.def("keypoint_overlaps", &keypoint_overlaps, array("dt_keypoints"), array("gt_keypoints"),
        array("gt_area"), array("gt_boxes"), array("sigmas"), array("dt_rows"), array("dt_offsets"),
        array("gt_rows"), array("gt_offsets"), py::arg("exponential"));
});

}  // namespace
}  // namespace sightline::evaluation::keypoints
