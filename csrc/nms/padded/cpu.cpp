#include <algorithm>
#include <vector>

#include "common/segments.h"
#include "common/working_memory.h"
#include "nms/padded/padded.h"
#include "nms/suppress.h"

namespace sightline::nms::padded {
namespace {

constexpr int64_t kBoxesPerTask = 1024;

// The ranks that one image keeps, ascending: all of its max_detections best, and perhaps more.
template <class T>
std::vector<int64_t> kept_ranks(const T* boxes, const int64_t* idxs, const Column<int64_t>& order,
                                int64_t max_detections, T threshold, ParallelFor parallel_for) {
  const int64_t n = order.size();
  const auto memory = working_memory<T>(5 * n);
  const BoxColumns<T> columns(memory.get(), n);
  std::vector<int64_t> ranks(n);
  if (idxs == nullptr) {
    for (int64_t r = 0; r < n; ++r) columns.set(r, load_box(boxes + 4 * order[r]));
    ranks.resize(suppress(columns, ranks.data(), n, max_detections, threshold, parallel_for));
    return ranks;
  }
  const Segments segments = ranks_by_segment(order, idxs);
  for (int64_t p = 0; p < n; ++p) columns.set(p, load_box(boxes + 4 * order[segments.values[p]]));
  int64_t count = 0;
  for (int64_t s = 0; s < segments.count(); ++s) {
    int64_t* const kept = ranks.data() + count;
    const int64_t found = suppress(columns.from(segments.starts[s]), kept, segments.size(s),
                                   max_detections, threshold, parallel_for);
    for (int64_t k = 0; k < found; ++k) kept[k] = segments.begin(s)[kept[k]];
    count += found;
  }
  ranks.resize(count);
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace

template <class T, class S>
void nms_padded_cpu(const T* boxes, const S* scores, const int64_t* idxs, int64_t* indices,
                    int64_t* counts, PaddedShape shape, T iou_threshold,
                    std::optional<S> score_threshold, ParallelFor parallel_for) {
  const auto resolve = [&](int64_t image, ParallelFor within) {
    const int64_t first = image * shape.boxes;
    const S* const own = scores + first;
    const Column<int64_t> order = best_first(
        own, shape.boxes, [&](int64_t i) { return !score_threshold || own[i] > *score_threshold; });
    const std::vector<int64_t> ranks =
        kept_ranks(boxes + 4 * first, idxs == nullptr ? nullptr : idxs + first, order,
                   shape.max_detections, iou_threshold, within);
    const int64_t count = std::min<int64_t>(ranks.size(), shape.max_detections);
    int64_t* const out = indices + image * shape.max_detections;
    for (int64_t d = 0; d < shape.max_detections; ++d) out[d] = d < count ? order[ranks[d]] : -1;
    counts[image] = count;
  };
  if (shape.images == 1) return resolve(0, parallel_for);
  parallel_for(shape.images, kBoxesPerTask / (shape.boxes + 1) + 1,
               [&](int64_t begin, int64_t end) {
                 for (int64_t image = begin; image < end; ++image)
                   resolve(image, parallel_for.serial());
               });
}

#define INSTANTIATE(T, S)                                                              \
  template void nms_padded_cpu(const T*, const S*, const int64_t*, int64_t*, int64_t*, \
                               PaddedShape, T, std::optional<S>, ParallelFor);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::padded
