#include "common/segments.h"
#include "common/working_memory.h"
#include "nms/rotated/rotated.h"
#include "nms/rotated/suppress.h"

namespace sightline::nms::rotated {
namespace {

constexpr int64_t kBoxesPerTask = 1024;

}  // namespace

template <class T, class S>
std::vector<int64_t> nms_rotated_cpu(const T* boxes, const S* scores, const int64_t* idxs,
                                     int64_t n, T threshold, AngleUnit unit,
                                     ParallelFor parallel_for) {
  const Column<int64_t> order = best_first(scores, n);
  const Segments segments = group_by_segment(order, idxs);
  const auto is_kept = working_memory<uint8_t>(n);  // by box
  for_each_segment(segments, kBoxesPerTask, parallel_for, [&](int64_t s, ParallelFor within) {
    const int64_t size = segments.size(s);
    const int64_t* const members = segments.begin(s);
    std::vector<RotatedBox<T>> sorted(size);
    within(size, kBoxesPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        sorted[i] = load_rotated_box(boxes + 5 * members[i], unit);
    });
    const auto kept = working_memory<uint8_t>(size);
    suppress_rotated(sorted, kept.get(), threshold, within);
    for (int64_t i = 0; i < size; ++i) is_kept[members[i]] = kept[i];
  });
  std::vector<int64_t> keep;
  for (const int64_t i : order)
    if (is_kept[i]) keep.push_back(i);
  return keep;
}

#define INSTANTIATE(T, S)                                                                       \
  template std::vector<int64_t> nms_rotated_cpu(const T*, const S*, const int64_t*, int64_t, T, \
                                                AngleUnit, ParallelFor);
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace sightline::nms::rotated
