// The core of NMS on the CPU: sorted boxes in, positions of the kept ones out.
//
// Tiles of boxes are resolved one after another: within a tile serially, then the survivors of the
// tile strike out later boxes, in parallel over those. No pair is looked at twice, nothing of size
// N x N is held, and the outcome does not depend on how the work was cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "common/isa.h"
#include "nms/nms.h"

namespace sightline {

inline constexpr int64_t kTile = 256;
// At least this many pairs a task; fewer cost less than starting a thread.
inline constexpr int64_t kPairsPerTask = 1 << 16;

inline constexpr auto serial_for = [](int64_t n, int64_t, Range body) {
  if (n > 0) body(0, n);
};

// Sorted boxes, one array a field: consecutive boxes fill the lanes of a vector.
template <class T>
struct BoxColumns {
  T *x1, *y1, *x2, *y2, *area;  // [n] each

  BoxColumns(T* memory /* [5, n] */, int64_t n)
      : x1(memory), y1(x1 + n), x2(y1 + n), y2(x2 + n), area(y2 + n) {}
  BoxColumns from(int64_t i) const {
    BoxColumns c = *this;
    c.x1 += i, c.y1 += i, c.x2 += i, c.y2 += i, c.area += i;
    return c;
  }
  SIGHTLINE_INLINE Box<T> operator[](int64_t i) const {
    return {x1[i], y1[i], x2[i], y2[i], area[i], T(0)};
  }
  void set(int64_t i, const Box<T>& b) const {
    x1[i] = b.x1, y1[i] = b.y1, x2[i] = b.x2, y2[i] = b.y2, area[i] = b.area;
  }
};

namespace {

// suppressed[j] becomes 1 where one of `count` kept boxes suppresses box j, for begin <= j < end.
struct StrikeOut {
  template <class T>
  SIGHTLINE_INLINE static void run(const Box<T>* kept, int64_t count, BoxColumns<T> boxes,
                                   uint8_t* suppressed, T threshold, int64_t begin, int64_t end) {
    T hit[kTile];  // 0 or 1, as wide as a lane
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t n = std::min(kTile, end - start);
      const T *const x1 = boxes.x1 + start, *const y1 = boxes.y1 + start;
      const T *const x2 = boxes.x2 + start, *const y2 = boxes.y2 + start;
      const T* const area = boxes.area + start;
      for (int64_t j = 0; j < n; ++j) hit[j] = T(0);
      for (int64_t k = 0; k < count; ++k) {
        const Box<T> a = kept[k];
        for (int64_t j = 0; j < n; ++j) {
          const Box<T> b{x1[j], y1[j], x2[j], y2[j], area[j], T(0)};
          hit[j] = suppresses(a, b, threshold) ? T(1) : hit[j];
        }
      }
      for (int64_t j = 0; j < n; ++j) suppressed[start + j] |= hit[j] != T(0);
    }
  }
};

// Resolves the boxes begin <= i < end among themselves; survivors and their positions come out.
struct ResolveTile {
  template <class T>
  SIGHTLINE_INLINE static void run(BoxColumns<T> boxes, uint8_t* suppressed, T threshold,
                                   int64_t begin, int64_t end, Box<T>* survivors,
                                   int64_t* positions, int64_t* count) {
    int64_t found = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (suppressed[i]) continue;
      survivors[found] = boxes[i];
      positions[found] = i;
      StrikeOut::run(survivors + found, 1, boxes, suppressed, threshold, i + 1, end);
      ++found;
    }
    *count = found;
  }
};

}  // namespace

// Writes the positions of the kept boxes in ascending order, at most max_kept, and returns how
// many.
template <class T>
int64_t suppress(BoxColumns<T> boxes,  // n, sorted
                 uint8_t* suppressed,  // [n], zeros; changed
                 int64_t* kept,        // [n]
                 int64_t n, int64_t max_kept, T threshold, ParallelFor parallel_for) {
  Box<T> survivors[kTile];
  int64_t total = 0;
  for (int64_t begin = 0; begin < n && total < max_kept; begin += kTile) {
    const int64_t end = std::min(begin + kTile, n);
    int64_t count = 0;
    run_for_isa<ResolveTile>(boxes, suppressed, threshold, begin, end, survivors, kept + total,
                             &count);
    total += count;
    if (count == 0 || total >= max_kept) continue;
    parallel_for(n - end, kPairsPerTask / count + 1, [&, count, end](int64_t first, int64_t last) {
      run_for_isa<StrikeOut>(static_cast<const Box<T>*>(survivors), count, boxes, suppressed,
                             threshold, end + first, end + last);
    });
  }
  return std::min(total, max_kept);
}

}  // namespace sightline
