#include <type_traits>

#include "common/isa.h"
#include "common/near_boxes.h"
#include "common/segments.h"
#include "common/working_memory.h"
#include "nms/soft/soft.h"

namespace sightline::nms::soft {
namespace {

constexpr int64_t kBoxesPerTask = 512;

// Scores that are 0 or more sort as their bits, read as integers; kGone comes below them.
template <class T>
using ScoreBits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// The best score of each tile and chunk, with the first place that has it.
template <class T>
struct Best {
  T* scores;                            // [num_tiles, kTileLanes]
  ScoreBits<T>*tile_bits, *chunk_bits;  // [num_chunks, kTileLanes], [num_chunks]
  int64_t *tile_places, *chunk_places;
};

template <class T>
SIGHTLINE_INLINE void find_best_of_tile(const NearBoxesView<T>& boxes, const Best<T>& best,
                                        int64_t tile) {
  const T* const scores = best.scores + tile * kTileLanes;
  ScoreBits<T> bits[kTileLanes], highest = -1;
  for (int64_t l = 0; l < kTileLanes; ++l) {
    const T score = scores[l];
    bits[l] = score >= T(0) ? __builtin_bit_cast(ScoreBits<T>, score) : ScoreBits<T>(-1);
  }
  for (int64_t l = 0; l < kTileLanes; ++l) highest = bits[l] > highest ? bits[l] : highest;
  ScoreBits<T> first = kTileLanes - 1;
  for (int64_t l = 0; l < kTileLanes; ++l) {
    const ScoreBits<T> lane = bits[l] == highest ? ScoreBits<T>(l) : ScoreBits<T>(kTileLanes - 1);
    first = lane < first ? lane : first;
  }
  best.tile_bits[tile] = highest;
  best.tile_places[tile] = boxes.places[tile * kTileLanes + first];
}

template <class T>
SIGHTLINE_INLINE void find_best_of_chunk(const Best<T>& best, int64_t chunk) {
  const ScoreBits<T>* const bits = best.tile_bits + chunk * kTileLanes;
  const int64_t* const places = best.tile_places + chunk * kTileLanes;
  ScoreBits<T> highest = -1;
  for (int64_t t = 0; t < kTileLanes; ++t) highest = bits[t] > highest ? bits[t] : highest;
  int64_t first = INT64_MAX;
  for (int64_t t = 0; t < kTileLanes; ++t) {
    const int64_t place = bits[t] == highest ? places[t] : INT64_MAX;
    first = place < first ? place : first;
  }
  best.chunk_bits[chunk] = highest;
  best.chunk_places[chunk] = first;
}

struct FindBest {
  template <class T>
  SIGHTLINE_INLINE static void run(NearBoxesView<T> boxes, Best<T> best) {
    for (int64_t tile = 0; tile < boxes.num_tiles; ++tile) find_best_of_tile(boxes, best, tile);
    for (int64_t chunk = 0; chunk < boxes.num_chunks; ++chunk) find_best_of_chunk(best, chunk);
  }
};

// Keeps boxes of one segment, best first, until none is left or there are `most`.
template <bool kGaussian>
struct KeepBest {
  template <class T>
  SIGHTLINE_INLINE static void run(NearBoxesView<T> boxes, Best<T> best,
                                   SoftNmsSettings<T> settings, int64_t* kept_places,
                                   T* kept_scores, int64_t most, int64_t* num_kept) {
    int64_t kept = *num_kept;
    for (; kept < most; ++kept) {
      int64_t top = 0;
      for (int64_t c = 1; c < boxes.num_chunks; ++c)
        if (best.chunk_bits[c] > best.chunk_bits[top] ||
            (best.chunk_bits[c] == best.chunk_bits[top] &&
             best.chunk_places[c] < best.chunk_places[top]))
          top = c;
      if (best.chunk_bits[top] < 0) break;
      const int64_t place = best.chunk_places[top], slot = boxes.slots[place];
      kept_places[kept] = place;
      kept_scores[kept] = best.scores[slot];
      best.scores[slot] = T(kGone);
      decay_others(boxes, best, settings, slot);
    }
    *num_kept = kept;
  }

 private:
  template <class T>
  SIGHTLINE_INLINE static void decay_others(const NearBoxesView<T>& boxes, const Best<T>& best,
                                            const SoftNmsSettings<T>& settings, int64_t slot) {
    const Box<T> box = boxes.box(slot);
    const int64_t own_tile = slot / kTileLanes, own_chunk = own_tile / kTileLanes;
    int32_t hits[kTileLanes];
    for (int64_t chunk = 0; chunk < boxes.num_chunks; ++chunk) {
      const int64_t count = tiles_that_meet(boxes, chunk, box, hits);
      bool own_is_done = chunk != own_chunk;
      for (int64_t h = 0; h < count; ++h) {
        const int64_t tile = chunk * kTileLanes + hits[h];
        if (best.tile_bits[tile] < 0) continue;
        decay_tile(boxes, best, settings, box, tile);
        find_best_of_tile(boxes, best, tile);
        own_is_done |= tile == own_tile;
      }
      if (!own_is_done) find_best_of_tile(boxes, best, own_tile);
      if (count > 0 || chunk == own_chunk) find_best_of_chunk(best, chunk);
    }
  }

  template <class T>
  SIGHTLINE_INLINE static void decay_tile(const NearBoxesView<T>& boxes, const Best<T>& best,
                                          const SoftNmsSettings<T>& settings, const Box<T>& box,
                                          int64_t tile) {
    const BoxLanes<T, kTileLanes>& others = boxes.tiles[tile];
    T* const scores = best.scores + tile * kTileLanes;
    SIGHTLINE_INDEPENDENT
    for (int64_t l = 0; l < kTileLanes; ++l)
      scores[l] = decayed<kGaussian>(scores[l], iou_of(box, others[l]), settings);
  }
};

// Keeps boxes of one segment: their indices and scores go to keep and kept_scores.
template <class T>
int64_t keep_segment(const T* boxes, const T* scores, const int64_t* items /* [n] */, int64_t n,
                     const SoftNmsSettings<T>& settings, int64_t* keep /* [n] */,
                     T* kept_scores /* [n] */, ParallelFor parallel_for) {
  const NearBoxes<T> tiles(boxes, items, n);
  const NearBoxesView<T>& view = tiles.view();
  const int64_t slots = view.num_tiles * kTileLanes, lanes = view.num_chunks * kTileLanes;
  const std::unique_ptr<T[]> current = working_memory<T>(slots);
  std::vector<ScoreBits<T>> bits(lanes + view.num_chunks, -1);
  std::vector<int64_t> places(lanes + view.num_chunks, INT64_MAX);
  std::fill_n(current.get(), slots, T(kGone));
  for (int64_t place = 0; place < n; ++place)
    current[view.slots[place]] = entry_score(scores[items[place]], settings.score_threshold);
  const Best<T> best{current.get(), bits.data(), bits.data() + lanes, places.data(),
                     places.data() + lanes};
  run_for_isa<FindBest>(view, best);
  constexpr int64_t kBetweenLooks = 64;  // a look among the loops of KeepBest costs a twentieth
  int64_t kept = 0;
  for (int64_t most = 0; kept == most && most < settings.max_detections;) {
    if (most > 0) parallel_for.throw_if_stopped();
    most += std::min(kBetweenLooks, settings.max_detections - most);
    if (settings.gaussian)
      run_for_isa<KeepBest<true>>(view, best, settings, keep, kept_scores, most, &kept);
    else
      run_for_isa<KeepBest<false>>(view, best, settings, keep, kept_scores, most, &kept);
  }
  for (int64_t k = 0; k < kept; ++k) keep[k] = items[keep[k]];
  return kept;
}

}  // namespace

template <class T>
SoftNmsResult<T> soft_nms_cpu(const T* boxes, const T* scores, const int64_t* idxs, int64_t n,
                              SoftNmsSettings<T> settings, ParallelFor parallel_for) {
  Column<int64_t> candidates;
  for (int64_t i = 0; i < n; ++i)
    if (scores[i] >= settings.score_threshold) candidates.push_back(i);
  if (candidates.empty()) return {};
  const int64_t total = candidates.size();
  const Segments segments = group_by_segment(std::move(candidates), idxs);
  const int64_t count = segments.count();
  SoftNmsResult<T> out{std::vector<int64_t>(total), std::vector<T>(total)};
  std::vector<int64_t> kept(count);
  parallel_for(count, kBoxesPerTask * count / total + 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      kept[s] = keep_segment(boxes, scores, segments.begin(s), segments.size(s), settings,
                             out.keep.data() + segments.starts[s],
                             out.scores.data() + segments.starts[s], parallel_for);
  });
  if (count == 1) {
    out.keep.resize(kept[0]);
    out.scores.resize(kept[0]);
    return out;
  }
  // What a segment keeps is sorted by score, then index: so is what all keep.
  std::vector<T> score_of(n, T(kGone));
  for (int64_t s = 0; s < count; ++s)
    for (int64_t p = segments.starts[s]; p < segments.starts[s] + kept[s]; ++p)
      score_of[out.keep[p]] = out.scores[p];
  const Column<int64_t> order =
      best_first(score_of.data(), n, [&](int64_t i) { return score_of[i] >= T(0); });
  const int64_t most = std::min<int64_t>(order.size(), settings.max_detections);
  out.keep.assign(order.begin(), order.begin() + most);
  out.scores.clear();
  for (const int64_t i : out.keep) out.scores.push_back(score_of[i]);
  return out;
}

#define INSTANTIATE(T)                                                                \
  template SoftNmsResult<T> soft_nms_cpu(const T*, const T*, const int64_t*, int64_t, \
                                         SoftNmsSettings<T>, ParallelFor);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::soft
