// Assignment of the points of one level to objects by FCOS: of the objects that hold the point near
// their centre and whose farthest side from it is within the level's range, the smallest.
//
// A box that lies nowhere is no object. Of equal areas the first object wins. T is float or double.
#pragma once

#include <cstdint>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"

namespace sightline::assign::fcos {

template <class T>
struct FcosLevel {
  T radius;     // half the side of the square around an object's centre that a point must lie in
  T low, high;  // of the distance to the farthest side, both included

  SIGHTLINE_HD bool takes(T x, T y, const Box<T>& object) const {
    const T left = x - object.x1, top = y - object.y1;
    const T right = object.x2 - x, bottom = object.y2 - y;
    const T farthest = larger(larger(left, top), larger(right, bottom));
    const T dx = x - (object.x1 * T(0.5) + object.x2 * T(0.5));
    const T dy = y - (object.y1 * T(0.5) + object.y2 * T(0.5));
    const T from_centre = larger(larger(dx, -dx), larger(dy, -dy));
    const bool inside = (left > T(0)) & (top > T(0)) & (right > T(0)) & (bottom > T(0));
    return inside & (from_centre < radius) & (farthest >= low) & (farthest <= high);
  }
};

// out[b, a]: the index of the object that point a takes in image b, or -1.
template <class T>
void assign_fcos_cpu(const T* points,    // [num_points, 2] xy
                     const T* gt_boxes,  // [images, objects, 4]
                     int64_t* out,       // [images, num_points]
                     int64_t num_points, int64_t images, int64_t objects, FcosLevel<T> level,
                     ParallelFor parallel_for);
template <class T>
void assign_fcos_cuda(const T* points, const T* gt_boxes, int64_t* out, int64_t num_points,
                      int64_t images, int64_t objects, FcosLevel<T> level, CudaStream stream);

}  // namespace sightline::assign::fcos
