#include "common/cuda.h"
#include "nms/greedy/greedy.h"
#include "nms/pair.h"

namespace sightline::nms::greedy {
namespace {

// One thread per box walks the kept boxes, best first, until it meets itself or the first of its
// segment that suppresses it. All threads of a warp read the same kept box.
template <class T>
__global__ void suppressed_by_kernel(const T* boxes, const int64_t* idxs,
                                     const int64_t* keep,     // [count], best first
                                     int64_t* suppressed_by,  // [n]
                                     int64_t count, int64_t n, T threshold) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    const Box<T> box = load_box(boxes + 4 * i);
    int64_t by = -1;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t kept = keep[k];
      if (kept == i) break;
      if (idxs != nullptr && idxs[kept] != idxs[i]) continue;
      if (suppresses(load_box(boxes + 4 * kept), box, threshold)) {
        by = kept;
        break;
      }
    }
    suppressed_by[i] = by;
  }
}

}  // namespace

template <class T, class S>
int64_t nms_suppressed_by_cuda(const T* boxes, const S* scores, const int64_t* idxs, int64_t* keep,
                               int64_t* suppressed_by, int64_t n, T threshold, void* workspace,
                               CudaStream stream) {
  const int64_t count = nms_cuda(boxes, scores, idxs, keep, n, threshold, workspace, stream);
  if (n == 0) return 0;
  suppressed_by_kernel<<<blocks_for(n), kThreads, 0, native(stream)>>>(
      boxes, idxs, keep, suppressed_by, count, n, threshold);
  check_launch("suppressed_by_kernel");
  return count;
}

#define INSTANTIATE(T, S)                                                                         \
  template int64_t nms_suppressed_by_cuda(const T*, const S*, const int64_t*, int64_t*, int64_t*, \
                                          int64_t, T, void*, CudaStream);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::greedy
