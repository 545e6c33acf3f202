// The core of NMS on CUDA: lists of boxes in their order, best first, in; those that are kept out.
//
// One launch does it all. A list is cut into tiles of kTileBoxes, one block each. A block first
// notes which boxes of its own tile are rivals; then it goes through the earlier tiles of its list.
// If such a tile is resolved, its kept boxes strike out the block's; if not yet, the block finds
// the rivals among all its boxes while it waits, so that afterwards the outcome is a matter of
// bits. At last the block resolves its tile in a few rounds, all boxes at once, and publishes it.
//
// Blocks draw their tiles from a counter, in an order in which a tile comes after those that it
// waits for: whoever is waited for runs already or has ended, however few blocks fit on the device.
// Memory is linear in the number of boxes; nothing is copied to the host.
#pragma once

#include "common/cuda.h"
#include "common/workspace.h"
#include "nms/tile.h"

namespace sightline::nms {

// An empty list has one tile, to say so.
SIGHTLINE_HD int64_t tiles_of_list(int64_t length) {
  const int64_t count = (length + kTileBoxes - 1) / kTileBoxes;
  return count > 1 ? count : 1;
}

template <class T>
struct TileInput {
  // [lists, stride] indices by position; negative from the first position that holds no candidate.
  const int64_t* order;
  int64_t lists, stride;
  int64_t length;  // the positions of a list that take part, at most stride
  // Of the one list, or null: sorted; boxes of different keys are of different segments, so that
  // only the tiles of one segment wait for each other.
  const uint64_t* sorted_segments;  // [length]
  T threshold;
};

// Either the first max_kept indices of every list, or a flag for every rank.
struct TileOutput {
  int64_t* indices = nullptr;  // [lists, max_kept]; -1 past the kept ones
  int64_t* counts = nullptr;   // [lists]
  int64_t max_kept = 0;
  uint8_t* flags = nullptr;        // [length], zeros; 1 where kept
  const int64_t* ranks = nullptr;  // [length]: the flag of each position
};

// What blocks tell each other.
struct TileBoard {
  unsigned long long* drawn;     // [1], zero: tiles that have been taken
  unsigned long long* statuses;  // [tiles, lists], zeros: 1 + number kept so far, once resolved
  uint64_t* kept;                // [tiles, lists, kTileWords]
  int64_t zeros;                 // numbers from `drawn` on that a kernel before must set to 0

  TileBoard(Workspace& space, int64_t tiles)
      : drawn(space.take<unsigned long long>(1 + tiles)),
        statuses(drawn + 1),
        kept(space.take<uint64_t>(tiles * kTileWords)),
        zeros(1 + tiles) {}
};

#if defined(__CUDACC__)

namespace tiles {

inline constexpr unsigned kPollNanoseconds = 32;
inline constexpr int kWarps = kTileBoxes / kWarp;

// Words of the warps' ballots, as 64 bits each.
struct Votes {
  uint32_t half[kWarps];

  __device__ uint64_t word(int w) const { return half[2 * w] | uint64_t(half[2 * w + 1]) << 32; }
};

__device__ inline unsigned long long read_now(const unsigned long long* p) {
  return *static_cast<const volatile unsigned long long*>(p);
}
__device__ inline uint64_t read_now(const uint64_t* p, int64_t i) {
  return static_cast<const volatile uint64_t*>(p)[i];
}
// By one thread of a block; what the tile published may be read after the next barrier.
__device__ inline unsigned long long wait_for(const unsigned long long* status) {
  unsigned long long value;
  while ((value = read_now(status)) == 0) __nanosleep(kPollNanoseconds);
  __threadfence();
  return value;
}

}  // namespace tiles

// One block per tile, one thread per box. Source tells what an index of a list means:
//   Box<T> box(list, index), int64_t segment(list, index), bool segmented().
// Where sorted_segments are given the source is not asked for segments.
template <class T, class Source>
__global__ void __launch_bounds__(kTileBoxes)
    suppress_tiles_kernel(TileInput<T> in, Source source, TileBoard board, TileOutput out) {
  using namespace tiles;
  __shared__ Corners<T> boxes[kTileBoxes];  // of the own tile, then of an earlier one
  __shared__ int64_t segments[kTileBoxes];
  __shared__ Votes kept_votes;
  __shared__ Votes open_votes;
  __shared__ unsigned long long drawn;
  __shared__ unsigned long long first_look;
  __shared__ unsigned long long last_look;
  __shared__ int64_t first_tile;
  const int t = threadIdx.x;
  const int64_t num_tiles = tiles_of_list(in.length);
  const bool counts = out.indices != nullptr;
  const bool segmented = in.sorted_segments != nullptr || source.segmented();
  const auto segment_at = [&](int64_t list, int64_t position, int64_t index) {
    if (!segmented) return int64_t(0);
    return in.sorted_segments != nullptr ? static_cast<int64_t>(in.sorted_segments[position])
                                         : source.segment(list, index);
  };

  for (;;) {
    __syncthreads();  // the last tile is done with the shared memory
    if (t == 0) drawn = atomicAdd(board.drawn, 1ull);
    __syncthreads();
    const int64_t task = static_cast<int64_t>(drawn);
    if (task >= num_tiles * in.lists) return;
    const int64_t list = task % in.lists, tile = task / in.lists;
    const int64_t* const order = in.order + list * in.stride;
    const int64_t start = tile * kTileBoxes, position = start + t;
    // Candidates come first: no tile with one waits for a tile that starts without.
    if (tile > 0 && order[start] < 0) continue;

    const int64_t index = position < in.length ? order[position] : -1;
    bool gone = index < 0;
    const Corners<T> own = gone ? Corners<T>::nowhere() : Corners<T>::of(source.box(list, index));
    const int64_t segment = gone ? 0 : segment_at(list, position, index);
    boxes[t] = own;
    segments[t] = segment;
    if (t == 0) {
      first_tile = 0;
      if (in.sorted_segments != nullptr && tile > 0) {
        const bool continues = in.sorted_segments[start - 1] == in.sorted_segments[start];
        first_tile = continues ? start_of_run(in.sorted_segments, start) / kTileBoxes : tile;
      }
    }
    __syncthreads();
    uint64_t rivals[kTileWords];
    for (int w = 0; w < kTileWords; ++w) {
      const uint64_t candidates = places_before(t, w);  // of higher rank
      rivals[w] =
          gone || candidates == 0
              ? uint64_t(0)
              : rivals_among(boxes + w * kWordBits, segmented ? segments + w * kWordBits : nullptr,
                             candidates, own, segment, in.threshold);
    }

    int64_t earlier = first_tile;   // the next tile to look at
    unsigned long long status = 1;  // of the last one: 1 + number kept up to it
    bool full = false;              // the list has kept all it may
    for (; earlier < tile && !full; ++earlier) {
      const int64_t other = earlier * in.lists + list;
      if (t == 0) {
        first_look = read_now(board.statuses + other);
        __threadfence();
      }
      // The last tile has been read by all. If it left nothing, there is nothing to strike out.
      if (__syncthreads_and(gone)) break;
      const unsigned long long seen = first_look;
      const int64_t other_position = earlier * kTileBoxes + t;
      const int64_t other_index = order[other_position];
      uint64_t survivors[kTileWords];
      int count = kTileBoxes;
      for (int w = 0; w < kTileWords; ++w)
        survivors[w] = seen != 0 ? read_now(board.kept, other * kTileWords + w) : 0;
      if (seen != 0) {
        count = bits_before(survivors, kTileBoxes);
        if (t >= count) boxes[t] = Corners<T>::nowhere();
      }
      const int place = seen == 0 ? t : bits_before(survivors, t);
      if (seen == 0 || bits_before(survivors, t + 1) > place) {
        boxes[place] = Corners<T>::of(source.box(list, other_index));
        segments[place] = segment_at(list, other_position, other_index);
      }
      __syncthreads();
      uint64_t hits[kTileWords];
      for (int w = 0; w < kTileWords; ++w) {
        hits[w] = 0;
        if (gone || w * kWordBits >= count) continue;
        hits[w] =
            rivals_among(boxes + w * kWordBits, segmented ? segments + w * kWordBits : nullptr,
                         ~uint64_t(0), own, segment, in.threshold);
        if (seen != 0 && hits[w] != 0) gone = true;
      }
      status = seen;
      if (seen == 0) {
        if (t == 0) last_look = wait_for(board.statuses + other);
        __syncthreads();
        status = last_look;
        for (int w = 0; w < kTileWords; ++w)
          if (hits[w] & read_now(board.kept, other * kTileWords + w)) gone = true;
      }
      full = counts && static_cast<int64_t>(status) > out.max_kept;
    }
    if (counts && !full && earlier < tile) {
      // All boxes of this tile are struck out, and yet the count goes on from the one before.
      __syncthreads();
      if (t == 0) last_look = wait_for(board.statuses + (tile - 1) * in.lists + list);
      __syncthreads();
      status = last_look;
    }
    if (!counts) status = 1;

    bool open = !gone && !full, keep = false;
    for (;;) {
      const unsigned keeps = __ballot_sync(kFullWarp, keep);
      const unsigned opens = __ballot_sync(kFullWarp, open);
      if (t % kWarp == 0) {
        kept_votes.half[t / kWarp] = keeps;
        open_votes.half[t / kWarp] = opens;
      }
      if (!__syncthreads_or(open)) break;
      uint64_t kept_words[kTileWords], open_words[kTileWords];
      for (int w = 0; w < kTileWords; ++w) {
        kept_words[w] = kept_votes.word(w);
        open_words[w] = open_votes.word(w);
      }
      const Fate fate = open ? fate_of(rivals, kept_words, open_words) : Fate::kOpen;
      if (fate != Fate::kOpen) open = false;
      if (fate == Fate::kKept) keep = true;
      __syncthreads();  // the votes have been read by all
    }
    uint64_t kept_words[kTileWords];
    for (int w = 0; w < kTileWords; ++w) kept_words[w] = kept_votes.word(w);
    const int64_t before = static_cast<int64_t>(status) - 1;
    const int64_t total = before + bits_before(kept_words, kTileBoxes);
    if (t == 0) {
      const int64_t own_tile = tile * in.lists + list;
      for (int w = 0; w < kTileWords; ++w) board.kept[own_tile * kTileWords + w] = kept_words[w];
      __threadfence();
      atomicExch(board.statuses + own_tile, 1ull + static_cast<unsigned long long>(total));
    }

    if (keep && !counts) out.flags[out.ranks[position]] = 1;
    if (!counts) continue;
    const int64_t slot = before + bits_before(kept_words, t);
    int64_t* const indices = out.indices + list * out.max_kept;
    if (keep && slot < out.max_kept) indices[slot] = index;
    const bool last = tile + 1 == num_tiles || order[start + kTileBoxes] < 0;
    if (!last) continue;
    const int64_t kept_of_list = total < out.max_kept ? total : out.max_kept;
    for (int64_t k = kept_of_list + t; k < out.max_kept; k += kTileBoxes) indices[k] = -1;
    if (t == 0) out.counts[list] = kept_of_list;
  }
}

template <class T, class Source>
void suppress_tiles(const TileInput<T>& in, const Source& source, const TileBoard& board,
                    const TileOutput& out, cudaStream_t stream) {
  const int64_t tiles = in.lists * tiles_of_list(in.length);
  suppress_tiles_kernel<<<blocks_for(tiles, 1), kTileBoxes, 0, stream>>>(in, source, board, out);
  check_launch("suppress_tiles_kernel");
}

#endif

}  // namespace sightline::nms
