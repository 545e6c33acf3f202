// Object keypoint similarity, as pycocotools 2.0.11 computes it, but for its exponential.
//
// The similarity of a detection and an object is the mean of exp(term) over the object's keypoints.
// Parity to the bit needs the very exponential that NumPy has on the machine, so that it is the
// caller who applies it between the two functions.
//
// Terms lie group after group, in a group object after object, and of an object detection after
// detection; an object has counts[k] for each, k being its place in gt_rows.
#pragma once

#include <cstdint>

#include "common/parallel.h"

namespace sightline::evaluation::keypoints {

// Group s owns dt_rows[dt_offsets[s]] to dt_rows[dt_offsets[s + 1]], rows of the detections, and so
// do objects. K keypoints of x, y and visibility; only an object's visibility is looked at.
struct KeypointGroups {
  const double* dt_keypoints;  // [N, K, 3]
  const double* gt_keypoints;  // [M, K, 3]
  const double* gt_area;       // [M]
  const double* gt_boxes;      // [M, 4] xywh
  const double* sigmas;        // [K]
  const int64_t* dt_rows;
  const int64_t* dt_offsets;  // [S + 1]
  const int64_t* gt_rows;
  const int64_t* gt_offsets;  // [S + 1]
  int64_t num_groups, num_keypoints;
};

// Keypoints that the objects show, or all where one shows none; returns how many terms there are.
int64_t count_keypoint_terms_cpu(const KeypointGroups& in, int64_t* counts /* [G in groups] */);

void keypoint_terms_cpu(const KeypointGroups& in, const int64_t* counts, double* terms,
                        ParallelFor parallel_for);

// overlaps: [sum of D_s * G_s], by group, rows are detections.
void keypoint_means_cpu(const KeypointGroups& in, const int64_t* counts, const double* exponentials,
                        double* overlaps, ParallelFor parallel_for);

}  // namespace sightline::evaluation::keypoints
