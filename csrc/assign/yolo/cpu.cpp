#include <algorithm>

#include "assign/yolo/yolo.h"

namespace sightline::assign::yolo {
namespace {

constexpr int64_t kAnchorsPerTask = 1 << 16;

}  // namespace

template <class T>
void assign_yolo_cpu(const T* gt_boxes, int64_t* out, int64_t images, int64_t objects,
                     YoloAssigner<T> assigner, ParallelFor parallel_for) {
  const int64_t anchors = assigner.levels.anchors();
  const int64_t grain = kAnchorsPerTask / (anchors + 1) + 1;
  parallel_for(images, grain, [&](int64_t first, int64_t last) {
    std::fill(out + first * anchors, out + last * anchors, int64_t{-1});
    for (int64_t b = first; b < last; ++b)
      for (int64_t g = 0; g < objects; ++g)
        assigner.assign(gt_boxes + 4 * b * objects, g, out + b * anchors);
  });
}

template void assign_yolo_cpu(const float*, int64_t*, int64_t, int64_t, YoloAssigner<float>,
                              ParallelFor);
template void assign_yolo_cpu(const double*, int64_t*, int64_t, int64_t, YoloAssigner<double>,
                              ParallelFor);

}  // namespace sightline::assign::yolo
