// The two sides of the matrix by size: the boxes of the larger one go through vectors or threads
// (lanes), those of the smaller one (objects) are held against each.
#pragma once

#include "iou/maxima/maxima.h"

namespace sightline::iou::maxima {

template <class T>
struct Sides {
  const T* lanes;    // [num_lanes, 4]
  const T* objects;  // [num_objects, 4]
  int64_t num_lanes, num_objects;
  T* lane_max;
  int64_t* lane_argmax;
  T* object_max;
  int64_t* object_argmax;
};

template <class T>
Sides<T> sides_of(const T* boxes1, const T* boxes2, const IouMaxima<T>& out, int64_t n, int64_t m) {
  if (n >= m)
    return {boxes1, boxes2, n, m, out.row_max, out.row_argmax, out.column_max, out.column_argmax};
  return {boxes2, boxes1, m, n, out.column_max, out.column_argmax, out.row_max, out.row_argmax};
}

}  // namespace sightline::iou::maxima
