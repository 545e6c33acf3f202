// Greedy NMS as plain loops, for the families that are built on it.
#pragma once

#include <numeric>

#include "check.h"
#include "nms/greedy/greedy.h"

namespace sightline::native {

using namespace nms;
using namespace nms::greedy;

// The rows, best first; NaN last, and equal scores in their order.
template <class S>
std::vector<int64_t> by_score(const S* scores, int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (scores[a] != scores[a]) return false;
    return scores[b] != scores[b] || scores[a] > scores[b];
  });
  return order;
}

// Of the rows in `order`, those that are kept. segment(i) and box(i) are of row i.
template <class T, class Segment, class BoxOf>
std::vector<int64_t> greedy(const std::vector<int64_t>& order, T threshold, Segment segment,
                            BoxOf box) {
  std::vector<int64_t> keep;
  for (const int64_t i : order) {
    const auto removes = [&](int64_t kept) {
      return segment(kept) == segment(i) &&
             iou_of(load_box<T>(box(kept)), load_box<T>(box(i))) > threshold;
    };
    if (std::none_of(keep.begin(), keep.end(), removes)) keep.push_back(i);
  }
  return keep;
}

}  // namespace sightline::native
