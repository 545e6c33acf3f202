#include <algorithm>
#include <type_traits>

#include "assign/fcos/fcos.h"
#include "common/isa.h"

namespace sightline::assign::fcos {
namespace {

// Points gone through at a time, one array per coordinate: consecutive points fill a vector.
constexpr int64_t kTile = 256;
constexpr int64_t kPairsPerTask = 1 << 16;

struct AssignPoints {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* points, const T* objects, int64_t num_objects,
                                   int64_t* out, FcosLevel<T> level, int64_t begin, int64_t end) {
    using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // as wide as a lane
    T x[kTile], y[kTile], area[kTile];
    Index object_of[kTile];
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t n = std::min(kTile, end - start);
      T x_low = points[2 * start], y_low = points[2 * start + 1], x_high = x_low, y_high = y_low;
      for (int64_t k = 0; k < kTile; ++k) {
        const int64_t i = start + std::min(k, n - 1);  // filled up with the last point
        x[k] = points[2 * i], y[k] = points[2 * i + 1];
        area[k] = std::numeric_limits<T>::infinity(), object_of[k] = -1;
        x_low = smaller(x[k], x_low), x_high = larger(x[k], x_high);
        y_low = smaller(y[k], y_low), y_high = larger(y[k], y_high);
      }
      for (int64_t g = 0; g < num_objects; ++g) {
        const Box<T> object = load_box(objects + 4 * g);
        // Not one point of the tile can lie within.
        if (object.x1 >= x_high || object.x2 <= x_low || object.y1 >= y_high || object.y2 <= y_low)
          continue;
        for (int64_t k = 0; k < kTile; ++k) {
          const bool better = level.takes(x[k], y[k], object) & (object.area < area[k]);
          area[k] = better ? object.area : area[k];
          object_of[k] = better ? static_cast<Index>(g) : object_of[k];
        }
      }
      for (int64_t k = 0; k < n; ++k) out[start + k] = object_of[k];
    }
  }
};

}  // namespace

template <class T>
void assign_fcos_cpu(const T* points, const T* gt_boxes, int64_t* out, int64_t num_points,
                     int64_t images, int64_t objects, FcosLevel<T> level,
                     ParallelFor parallel_for) {
  const int64_t tiles = (num_points + kTile - 1) / kTile;
  const int64_t grain = kPairsPerTask / (kTile * (objects + 1)) + 1;
  parallel_for(images * tiles, grain, [&](int64_t first, int64_t last) {
    while (first < last) {
      const int64_t image = first / tiles, tile = first % tiles;
      const int64_t count = std::min(last - first, tiles - tile);  // of this image
      run_for_isa<AssignPoints>(points, gt_boxes + 4 * image * objects, objects,
                                out + image * num_points, level, tile * kTile,
                                std::min((tile + count) * kTile, num_points));
      first += count;
    }
  });
}

template void assign_fcos_cpu(const float*, const float*, int64_t*, int64_t, int64_t, int64_t,
                              FcosLevel<float>, ParallelFor);
template void assign_fcos_cpu(const double*, const double*, int64_t*, int64_t, int64_t, int64_t,
                              FcosLevel<double>, ParallelFor);

}  // namespace sightline::assign::fcos
