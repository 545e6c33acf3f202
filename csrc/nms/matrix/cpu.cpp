#include "common/isa.h"
#include "common/near_boxes.h"
#include "common/segments.h"
#include "nms/matrix/matrix.h"

namespace sightline::nms::matrix {
namespace {

constexpr int64_t kBoxesPerTask = 512;

// What the first pass finds of each box and the second makes of it, by slot.
template <class T>
struct Lanes {
  T* most_overlap;  // [num_tiles, kTileLanes]: the largest IoU with a better box
  T* most_said;     // [num_tiles, kTileLanes]
};

// The two passes: the largest IoU with a better box, then the most that a better one says.
struct MostOverlap {
  static constexpr int kLowest = 0;
  template <class T>
  SIGHTLINE_INLINE static T value(T overlap, const T* /* not yet known */, int64_t) {
    return overlap;
  }
  template <class T>
  SIGHTLINE_INLINE static T* out(const Lanes<T>& lanes) {
    return lanes.most_overlap;
  }
};
template <bool kGaussian>
struct MostSaid {
  static constexpr int kLowest = kNoSay;
  template <class T>
  SIGHTLINE_INLINE static T value(T overlap, const T* most_overlap, int64_t lane) {
    return say<kGaussian>(overlap, most_overlap[lane]);
  }
  template <class T>
  SIGHTLINE_INLINE static T* out(const Lanes<T>& lanes) {
    return lanes.most_said;
  }
};

// For the boxes of tiles begin <= tile < end. Places are ranks, so that the better boxes of a tile
// are its first lanes.
template <class Pass>
struct LargestOverBetter {
  template <class T>
  SIGHTLINE_INLINE static void run(NearBoxesView<T> boxes, Lanes<T> lanes, int64_t begin,
                                   int64_t end, ParallelFor parallel_for) {
    int32_t hits[kTileLanes];
    // Of each box of the tile, one value per lane of the boxes that it is compared with.
    T largest[kTileLanes][kTileLanes];
    T* const out = Pass::out(lanes);
    for (int64_t tile = begin; tile < end && !parallel_for.should_stop(); ++tile) {
      const int64_t first = tile * kTileLanes;
      const Hull<T> hull = boxes.hull(tile);
      for (int64_t q = 0; q < kTileLanes; ++q)
        for (int64_t l = 0; l < kTileLanes; ++l) largest[q][l] = T(Pass::kLowest);
      for (int64_t chunk = 0; chunk < boxes.num_chunks; ++chunk) {
        const int64_t count = tiles_that_meet(boxes, chunk, hull, hits);
        for (int64_t h = 0; h < count; ++h) {
          const int64_t other = chunk * kTileLanes + hits[h];
          const Hull<T> other_hull = boxes.hull(other);
          for (int64_t q = 0; q < kTileLanes; ++q) {
            const Box<T> box = boxes.box(first + q);
            if (other_hull.meets(box))
              visit(boxes, lanes, box, boxes.places[first + q], other, largest[q]);
          }
        }
      }
      for (int64_t q = 0; q < kTileLanes; ++q) out[first + q] = largest_of(largest[q]);
    }
  }

 private:
  template <class T>
  SIGHTLINE_INLINE static T largest_of(const T* lanes /* [kTileLanes] */) {
    constexpr int64_t kWidth = 8;
    T most[kWidth];
    for (int64_t l = 0; l < kWidth; ++l) most[l] = lanes[l];
    for (int64_t start = kWidth; start < kTileLanes; start += kWidth)
      for (int64_t l = 0; l < kWidth; ++l) most[l] = larger(lanes[start + l], most[l]);
    for (int64_t l = 1; l < kWidth; ++l) most[0] = larger(most[l], most[0]);
    return most[0];
  }

  template <class T>
  SIGHTLINE_INLINE static void visit(const NearBoxesView<T>& boxes, const Lanes<T>& lanes,
                                     const Box<T>& box, int64_t place, int64_t tile, T* largest) {
    const int64_t first = tile * kTileLanes;
    const int64_t* const places = boxes.places + first;
    if (places[0] >= place) return;
    int32_t better = 0;
    for (int64_t l = 0; l < kTileLanes; ++l) better += places[l] < place;
    const BoxLanes<T, kTileLanes>& others = boxes.tiles[tile];
    const T* const most_overlap = lanes.most_overlap + first;
    const T limit = T(better), lowest = T(Pass::kLowest);
    SIGHTLINE_INDEPENDENT
    for (int32_t l = 0; l < kTileLanes; ++l) {
      const T overlap = iou_of(others[l], box);
      const T value = overlap > T(0) ? Pass::value(overlap, most_overlap, l) : lowest;
      const T of_better = T(l) < limit ? value : lowest;  // lanes as T: one width in the loop
      largest[l] = larger(of_better, largest[l]);
    }
  }
};

// What is left of each score, by slot.
struct Decay {
  template <class T>
  SIGHTLINE_INLINE static void run(Lanes<T> lanes, MatrixNmsSettings<T> settings, int64_t begin,
                                   int64_t end) {
    T* const most = lanes.most_said;
    SIGHTLINE_INDEPENDENT
    for (int64_t slot = begin * kTileLanes; slot < end * kTileLanes; ++slot)
      most[slot] = decay_of(most[slot], settings);
  }
};

template <class T>
void decay_segment(const T* boxes, const T* scores, const int64_t* items /* [n], best first */,
                   int64_t n, const MatrixNmsSettings<T>& settings, T* decayed,
                   ParallelFor parallel_for) {
  const NearBoxes<T> tiles(boxes, items, n);
  const NearBoxesView<T>& view = tiles.view();
  const int64_t slots = view.num_tiles * kTileLanes, grain = kBoxesPerTask / kTileLanes;
  const auto memory = std::make_unique<T[]>(2 * slots);
  const Lanes<T> lanes{memory.get(), memory.get() + slots};
  parallel_for(view.num_tiles, grain, [&](int64_t begin, int64_t end) {
    run_for_isa<LargestOverBetter<MostOverlap>>(view, lanes, begin, end, parallel_for);
  });
  parallel_for(view.num_tiles, grain, [&](int64_t begin, int64_t end) {
    if (settings.gaussian)
      run_for_isa<LargestOverBetter<MostSaid<true>>>(view, lanes, begin, end, parallel_for);
    else
      run_for_isa<LargestOverBetter<MostSaid<false>>>(view, lanes, begin, end, parallel_for);
    run_for_isa<Decay>(lanes, settings, begin, end);
    for (int64_t slot = begin * kTileLanes; slot < end * kTileLanes; ++slot) {
      if (view.places[slot] == INT64_MAX) continue;
      const int64_t i = items[view.places[slot]];
      decayed[i] = scores[i] * lanes.most_said[slot];
    }
  });
}

}  // namespace

template <class T>
void matrix_nms_cpu(const T* boxes, const T* scores, const int64_t* idxs, T* decayed, int64_t n,
                    MatrixNmsSettings<T> settings, ParallelFor parallel_for) {
  if (n == 0) return;
  const Segments segments = group_by_segment(best_first(scores, n), idxs);
  for_each_segment(segments, kBoxesPerTask, parallel_for, [&](int64_t s, ParallelFor within) {
    decay_segment(boxes, scores, segments.begin(s), segments.size(s), settings, decayed, within);
  });
}

#define INSTANTIATE(T)                                                          \
  template void matrix_nms_cpu(const T*, const T*, const int64_t*, T*, int64_t, \
                               MatrixNmsSettings<T>, ParallelFor);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::matrix
