// How the blocks of a launch share its items (plan.h): sums of a block, of a column, and who waits
// for whom. Everything is added in an order that follows from the plan.
#pragma once

#include <cstdint>

#include "batch_norm/groups.cuh"

namespace sightline::batch_norm {
namespace {

using Counter = unsigned long long;

struct Pair {
  double sum, dot;

  __device__ void add(const Pair& other) {
    sum += other.sum;
    dot += other.dot;
  }
};

// What the blocks tell each other, in device memory that the caller lends.
struct Board {
  Counter* drawn;  // tickets; [1]
  // [columns, chunks + 2]: slices of each chunk that have arrived, chunks that have, and whether
  // the column is ready.
  Counter* arrived;
  double2* slices;    // [columns, slices, width]: sums
  double2* chunks;    // [columns, chunks, width]
  double *sum, *dot;  // [channels]: of the backward pass, divided by the count

  Board(double* memory, const BatchNormPlan& plan) {
    sum = memory;
    dot = sum + plan.channels;
    double* const pairs = memory + (2 * plan.channels + 1) / 2 * 2;  // 16 bytes begin a double2
    slices = reinterpret_cast<double2*>(pairs);
    chunks = slices + plan.columns * plan.slices * plan.width();
    drawn = reinterpret_cast<Counter*>(chunks + plan.columns * plan.chunks() * plan.width());
    arrived = drawn + 1;
  }
  static int64_t counters(const BatchNormPlan& plan) {
    return 1 + plan.columns * (plan.chunks() + 2);
  }
  static int64_t doubles(const BatchNormPlan& plan) {
    return 2 * plan.channels + 1 + 2 * plan.columns * (plan.slices + plan.chunks()) * plan.width() +
           counters(plan);
  }
  __device__ Counter* arrived_of(const BatchNormPlan& plan, int64_t column) const {
    return arrived + column * (plan.chunks() + 2);
  }
};

// The pairs of threads t, t + width, t + 2 * width ... are added in a tree; the result is with the
// first `width` threads.
__device__ inline Pair add_threads(Pair mine, int width) {
  __shared__ Pair pairs[kItemThreads];
  __syncthreads();  // those of an earlier call have been read
  pairs[threadIdx.x] = mine;
  for (int half = kItemThreads / 2; half >= width; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) pairs[threadIdx.x].add(pairs[threadIdx.x + half]);
  }
  return pairs[threadIdx.x];
}

// part(j) is what this thread has of its channel j; thread c of the first `width` gets what the
// block has of channel c of its column.
template <class L, class F>
__device__ Pair add_block(const BatchNormPlan& plan, F part) {
  if constexpr (!L::kLast) {
    return add_threads(part(0), 1);
  } else {
    // One row per channel of the threads; the padding spreads rows over the banks.
    constexpr int kRow = kItemThreads + kGroup / 2;
    __shared__ Pair parts[kGroup * kRow];
    __syncthreads();  // those of an earlier call have been read
#pragma unroll
    for (int j = 0; j < kGroup; ++j) parts[j * kRow + threadIdx.x] = part(j);
    __syncthreads();
    const int lanes = plan.lanes, width = plan.width(), c = threadIdx.x % width;
    const Pair* const row = parts + c % kGroup * kRow + c / kGroup;
    Pair all{0, 0};
    for (int member = threadIdx.x / width; member < kItemThreads / lanes;
         member += kItemThreads / width)
      all.add(row[member * lanes]);
    return add_threads(all, width);
  }
}

// Whether this block is the last one of `expected` to get here: it then sees what the others wrote.
__device__ inline bool arrives_last(Counter* counter, int64_t expected) {
  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(counter, 1ull) + 1 == static_cast<Counter>(expected);
  __syncthreads();
  if (!is_last) return false;
  __threadfence();
  return true;
}

// The sum of n rows of pairs, [n, width], which other blocks wrote.
__device__ inline Pair add_rows(const double2* pairs, int64_t n, int width) {
  Pair all{0, 0};
  for (int64_t i = threadIdx.x; i < n * width; i += kItemThreads) {
    const double2 pair = __ldcg(pairs + i);
    all.add({pair.x, pair.y});
  }
  return add_threads(all, width);
}

// Adds an item's sums to those of its column. The block that completes it gets the column's sums,
// and true.
__device__ inline bool complete_column(const BatchNormPlan& plan, const Board& board,
                                       int64_t column, int64_t slice, Pair& mine) {
  if (plan.slices == 1) return true;
  const int width = plan.width();
  const int64_t chunks = plan.chunks(), chunk = slice / kChunk;
  Counter* const arrived = board.arrived_of(plan, column);
  double2* const slices = board.slices + column * plan.slices * width;
  if (threadIdx.x < width) slices[slice * width + threadIdx.x] = {mine.sum, mine.dot};
  const int64_t left = plan.slices - chunk * kChunk, size = left < kChunk ? left : kChunk;
  if (!arrives_last(arrived + chunk, size)) return false;
  mine = add_rows(slices + chunk * kChunk * width, size, width);
  if (chunks == 1) return true;
  double2* const sums = board.chunks + column * chunks * width;
  if (threadIdx.x < width) sums[chunk * width + threadIdx.x] = {mine.sum, mine.dot};
  if (!arrives_last(arrived + chunks, chunks)) return false;
  mine = add_rows(sums, chunks, width);
  return true;
}

__device__ inline void publish(Counter* ready) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(ready, 1ull);
}
__device__ inline void wait_for(const Counter* ready) {
  if (threadIdx.x == 0) {
    while (*static_cast<const volatile Counter*>(ready) == 0) __nanosleep(64);
    __threadfence();
  }
  __syncthreads();
}

enum class Passes { kFirst, kSecond, kBoth };

inline int64_t tickets_of(const BatchNormPlan& plan, Passes passes) {
  return plan.items() * (passes == Passes::kBoth && !plan.alone ? 2 : 1);
}

// Visits the items of a launch, one or several a block. Pair first(column, slice) gives what the
// block adds up, finish(channel, pair) takes a channel's sums, second(column, slice) may read what
// finish() wrote, if not through the caches that blocks do not share.
template <class First, class Finish, class Second>
__device__ void for_each_item(const BatchNormPlan& plan, Passes passes, const Board& board,
                              int64_t tickets, First first, Finish finish, Second second) {
  __shared__ Counter drawn;
  const bool draws = passes == Passes::kBoth && !plan.alone;
  Counter next = draws && threadIdx.x == 0 ? atomicAdd(board.drawn, 1ull) : 0;
  for (int64_t ticket = blockIdx.x;; ticket += gridDim.x) {
    if (draws) {
      __syncthreads();  // the last ticket has been read
      if (threadIdx.x == 0) drawn = next;
      __syncthreads();
      ticket = static_cast<int64_t>(drawn);
    }
    if (ticket >= tickets) return;
    // The next ticket arrives while this item is visited. A block visits its items in their order,
    // so that the lowest one that is not done is in work, and waits for none.
    const bool has_more = tickets > gridDim.x;  // otherwise there is one for each block
    if (draws && has_more && threadIdx.x == 0) next = atomicAdd(board.drawn, 1ull);
    BatchNormItem item = batch_norm_item(plan, ticket);
    if (!draws) {
      const int64_t column = ticket / plan.slices;
      item = {passes == Passes::kSecond, column, ticket - column * plan.slices};
    }
    if (!item.second) {
      Pair mine = first(item.column, item.slice);
      const bool completes = complete_column(plan, board, item.column, item.slice, mine);
      const int64_t channel = item.column * plan.width() + threadIdx.x;
      if (completes && threadIdx.x < plan.width() && channel < plan.channels) finish(channel, mine);
      if (draws && completes) publish(board.arrived_of(plan, item.column) + plan.chunks() + 1);
    } else if (draws) {
      wait_for(board.arrived_of(plan, item.column) + plan.chunks() + 1);
    }
    if (item.second || (plan.alone && passes == Passes::kBoth)) {
      __syncthreads();  // finish() of this block
      second(item.column, item.slice);
    }
    if (!has_more) return;
  }
}

}  // namespace
}  // namespace sightline::batch_norm
