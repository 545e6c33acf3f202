#include <algorithm>
#include <memory>
#include <vector>

#include "common/sort.h"
#include "common/working_memory.h"
#include "nms/padded/padded.h"
#include "nms/suppress.h"

namespace sightline::nms::padded {
namespace {

constexpr int64_t kBoxesPerTask = 1024;

template <class Key>
using Items = std::vector<Keyed<Key>>;

template <class Key>
void sort_items(Items<Key>& items) {
  Items<Key> scratch(items.size());
  sort_keyed(items.data(), scratch.data(), items.size());
}

// The candidates of an image, best first.
template <class S>
std::vector<int64_t> candidates_of(const S* scores, int64_t n, std::optional<S> threshold) {
  Items<ScoreKey<S>> items;
  items.reserve(n);
  for (int64_t i = 0; i < n; ++i)
    if (!threshold || scores[i] > *threshold) items.push_back({score_key(scores[i]), i});
  sort_items(items);
  std::vector<int64_t> order(items.size());
  for (size_t r = 0; r < items.size(); ++r) order[r] = items[r].index;
  return order;
}

// Ranks in the order by score, grouped by segment and ascending in each.
Items<uint64_t> group_by_segment(const int64_t* idxs, const std::vector<int64_t>& order) {
  Items<uint64_t> items(order.size());
  for (size_t r = 0; r < order.size(); ++r)
    items[r] = {idxs == nullptr ? 0 : integer_key(idxs[order[r]]), static_cast<int64_t>(r)};
  if (idxs != nullptr) sort_items(items);
  return items;
}

// The ranks that one image keeps, ascending: all of its max_detections best, and perhaps more.
template <class T>
std::vector<int64_t> kept_ranks(const T* boxes, const int64_t* idxs,
                                const std::vector<int64_t>& order, int64_t max_detections,
                                T threshold, ParallelFor parallel_for) {
  const int64_t n = order.size();
  const Items<uint64_t> grouped = group_by_segment(idxs, order);
  const auto memory = working_memory<T>(5 * n);
  const BoxColumns<T> columns(memory.get(), n);
  for (int64_t p = 0; p < n; ++p) columns.set(p, load_box(boxes + 4 * order[grouped[p].index]));
  std::vector<int64_t> positions(n), ranks;
  for (int64_t start = 0, end = 0; start < n; start = end) {
    while (end < n && grouped[end].key == grouped[start].key) ++end;
    const int64_t kept = suppress(columns.from(start), positions.data(), end - start,
                                  max_detections, threshold, parallel_for);
    for (int64_t k = 0; k < kept; ++k) ranks.push_back(grouped[start + positions[k]].index);
  }
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
    const std::vector<int64_t> order = candidates_of(scores + first, shape.boxes, score_threshold);
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
