// The core of NMS on the CPU: sorted boxes in, positions of the kept ones out.
//
// Boxes are resolved best first, each against the kept ones before it (kept_boxes.h). Where few are
// kept, a tile of boxes is first tested, in parallel, against what was kept before the tile; what
// is left of it is then resolved in order against what the tile itself has kept. The outcome does
// not depend on how the work was cut, and memory is linear in n.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/isa.h"
#include "common/parallel.h"
#include "nms/kept_boxes.h"

namespace sightline::nms {

// Sorted boxes, one array per field: consecutive boxes fill the lanes of a vector.
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

inline constexpr int64_t kTile = 2048;
inline constexpr int64_t kTestsPerTask = 512;
// A box that is kept is tested twice in a tile that is shared out. Where more than one in so many
// of the last tile were kept, that costs more than a second thread saves: one resolves the tile.
inline constexpr int64_t kSharedBelow = 5;

// found[i - begin] becomes the position of a box kept before, if one suppresses box i, or -1. The
// first such position where kFirst, else 0.
template <bool kFirst>
struct TestTile {
  template <class T>
  SIGHTLINE_INLINE static int64_t test(const KeptBoxes<T>& kept, const Box<T>& box, int64_t since) {
    if (!(box.area > T(0))) return -1;  // nothing overlaps it
    if constexpr (kFirst) return kept.first_suppressor(box, since);
    return kept.suppresses_any(box, since) ? 0 : -1;
  }
  template <class T>
  SIGHTLINE_INLINE static void run(const KeptBoxes<T>* kept, BoxColumns<T> boxes, int64_t begin,
                                   int64_t end, int64_t* found) {
    for (int64_t i = begin; i < end; ++i) found[i - begin] = test(*kept, boxes[i], 0);
  }
};

// Resolves the boxes of a tile in order. tested: found holds what TestTile made of it.
template <bool kFirst>
struct ResolveTile {
  template <class T>
  SIGHTLINE_INLINE static void run(KeptBoxes<T>* kept, BoxColumns<T> boxes, int64_t begin,
                                   int64_t end, bool tested, int64_t* found, int64_t max_kept,
                                   int64_t* positions, int64_t* count) {
    const int64_t since = tested ? begin : 0;
    int64_t total = *count;
    for (int64_t i = begin; i < end && total < max_kept; ++i) {
      int64_t& suppressor = found[i - begin];
      const Box<T> box = boxes[i];
      if (!tested || suppressor < 0) suppressor = TestTile<kFirst>::test(*kept, box, since);
      if (suppressor >= 0) continue;
      positions[total++] = i;
      if (box.area > T(0)) kept->add(box, i);
    }
    *count = total;
  }
};

template <bool kFirst, class T>
int64_t resolve(BoxColumns<T> boxes, int64_t* suppressors, int64_t* kept, int64_t n,
                int64_t max_kept, T threshold, ParallelFor parallel_for) {
  KeptBoxes<T> kept_boxes(n, threshold, kFirst);
  int64_t found_in_tile[kTile];
  int64_t count = 0, kept_of_last_tile = n;
  for (int64_t begin = 0; begin < n && count < max_kept; begin += kTile) {
    if (begin > 0) parallel_for.throw_if_stopped();
    const int64_t end = std::min(begin + kTile, n), before = count;
    int64_t* const found = kFirst ? suppressors + begin : found_in_tile;
    const auto finish = [&](bool tested) {
      run_for_isa<ResolveTile<kFirst>>(&kept_boxes, boxes, begin, end, tested, found, max_kept,
                                       kept, &count);
    };
    bool done = kept_of_last_tile * kSharedBelow > kTile;
    if (done) {
      finish(false);
    } else {
      parallel_for.uncut()(end - begin, kTestsPerTask, [&](int64_t first, int64_t last) {
        if (last - first == end - begin) {  // no other thread has a part in it: one pass does both
          finish(false);
          done = true;
        } else {
          run_for_isa<TestTile<kFirst>>(static_cast<const KeptBoxes<T>*>(&kept_boxes), boxes,
                                        begin + first, begin + last, found + first);
        }
      });
    }
    if (!done) finish(true);
    kept_of_last_tile = count - before;
  }
  return count;
}

}  // namespace

// Writes the positions of the kept boxes in ascending order, at most max_kept, and returns how
// many.
template <class T>
int64_t suppress(BoxColumns<T> boxes,  // n, sorted
                 int64_t* kept,        // [n]
                 int64_t n, int64_t max_kept, T threshold, ParallelFor parallel_for) {
  return resolve<false>(boxes, nullptr, kept, n, max_kept, threshold, parallel_for);
}

// The same for all kept boxes; suppressors[i] becomes the position of the first kept box that
// suppresses box i, or -1 where i is kept.
template <class T>
int64_t suppress_and_explain(BoxColumns<T> boxes, int64_t* suppressors /* [n] */, int64_t* kept,
                             int64_t n, T threshold, ParallelFor parallel_for) {
  return resolve<true>(boxes, suppressors, kept, n, n, threshold, parallel_for);
}

}  // namespace sightline::nms
