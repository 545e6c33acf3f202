// Assignment of anchors to objects by ATSS: of each level the anchors whose centres are nearest to
// an object's are its candidates, their IoUs' mean plus standard deviation is its threshold, and
// candidates at or above it whose centre lies within the object are its own.
//
// Candidates of a level come in the order of (squared distance, index). Means and deviations are
// sums in double over the candidates by ascending index. An anchor that several objects want goes
// to the one of the highest IoU, of equals the first. Boxes that lie nowhere are neither anchors
// nor objects. T is float or double.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::assign::atss {

inline constexpr int kMaxAtssLevels = 16;

// Levels as ends of ranges of anchors; passed to kernels by value.
struct AtssLevels {
  int count;
  int64_t end[kMaxAtssLevels];

  SIGHTLINE_HD int64_t begin(int level) const { return level == 0 ? 0 : end[level - 1]; }
  SIGHTLINE_HD int64_t anchors() const { return count == 0 ? 0 : end[count - 1]; }
};

// NaN where the anchor lies nowhere, and so for the distance.
template <class T>
SIGHTLINE_HD T squared_distance(T anchor_x, T anchor_y, T object_x, T object_y) {
  const T dx = anchor_x - object_x, dy = anchor_y - object_y;
  return dx * dx + dy * dy;
}

template <class T>
SIGHTLINE_HD bool holds_centre(const Box<T>& object, T x, T y) {
  return bool((x > object.x1) & (x < object.x2) & (y > object.y1) & (y < object.y2));
}

// Mean plus standard deviation (n - 1 in the denominator) of numbers that are gone through twice.
struct AtssThreshold {
  int64_t count = 0;
  double sum = 0, squares = 0;

  SIGHTLINE_HD void add(double overlap) { ++count, sum += overlap; }
  SIGHTLINE_HD void add_square(double overlap) {
    const double d = overlap - sum / double(count);
    squares += d * d;
  }
  SIGHTLINE_HD double value() const {
    if (count == 0) return 0;
    return sum / double(count) + (count > 1 ? std::sqrt(squares / double(count - 1)) : 0);
  }
};

// out[b, a]: the index of the object that anchor a takes in image b, or -1.
template <class T>
void assign_atss_cpu(const T* anchors,   // [levels.anchors(), 4]
                     const T* gt_boxes,  // [images, objects, 4]
                     int64_t* out,       // [images, levels.anchors()]
                     AtssLevels levels, int64_t images, int64_t objects, int64_t top_k,
                     ParallelFor parallel_for);

// The same, without synchronising. workspace: assign_atss_workspace_bytes<T>(...) bytes on the
// device, aligned to 256.
template <class T>
void assign_atss_cuda(const T* anchors, const T* gt_boxes, int64_t* out, AtssLevels levels,
                      int64_t images, int64_t objects, int64_t top_k, void* workspace,
                      CudaStream stream);
template <class T>
int64_t assign_atss_workspace_bytes(AtssLevels levels, int64_t images, int64_t objects);

}  // namespace sightline::assign::atss
