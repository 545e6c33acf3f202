// The coefficients of a column in shared memory, from which threads take those of their channels.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "batch_norm/items.cuh"
#include "batch_norm/recipes.h"

namespace sightline::batch_norm {
namespace {

// As on the CPU; grad_x = scale * g + factor * t + offset.
template <class S>
struct Table {
  S mean[kMostColumnChannels], scale[kMostColumnChannels], shift[kMostColumnChannels],
      unscale[kMostColumnChannels];
  S factor[kMostColumnChannels], offset[kMostColumnChannels];
};

template <class S>
__device__ double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : double(p[i]);
}

// u = scale * (x - mean) + shift. T is the type of y, by which `unscale` is NaN or the inverse of
// scale.
template <class T>
__device__ Channel<Compute<T>> channel_of(double mean, double var, double weight, double bias,
                                          double eps) {
  using S = Compute<T>;
  const double scale = weight * inverse_std(var, eps);
  return {static_cast<S>(mean), static_cast<S>(scale), shift_of<S>(mean, scale, bias),
          static_cast<S>(batch_norm_invertible<T>(weight, bias) ? 1 / scale : nan(""))};
}

// t is a BatchNormForward or BatchNormBackward. Thread c writes channel c of the column;
// more(c, channel) writes the rest. mean and var may come from another block of this launch.
template <class T, class Tensors, class F>
__device__ void fill(Table<Compute<T>>& table, const Tensors& t, double eps,
                     const BatchNormPlan& plan, int64_t column, F more) {
  __syncthreads();  // an earlier item is done with the table
  const int c = threadIdx.x;
  const int64_t channel = column * plan.width() + c;
  if (c < plan.width() && channel < plan.channels) {
    const auto own =
        channel_of<T>(__ldcg(t.mean + channel), __ldcg(t.var + channel),
                      value_or(t.weight, channel, 1), value_or(t.bias, channel, 0), eps);
    table.mean[c] = own.mean;
    table.scale[c] = own.scale;
    table.shift[c] = own.shift;
    table.unscale[c] = own.unscale;
    more(c, channel);
  }
  __syncthreads();
}

// Where the channels of this thread are in the table.
template <class L>
__device__ int first_entry_of_thread(const BatchNormPlan& plan) {
  return L::kLast ? threadIdx.x % plan.lanes * kGroup : 0;
}
template <class L, class S>
__device__ void load_entries(const BatchNormPlan& plan, const S* table, S* to) {
  const int first = first_entry_of_thread<L>(plan);
#pragma unroll
  for (int j = 0; j < L::kChannels; ++j) to[j] = table[first + j];
}

// Launches kernel(..., plan, passes, board, tickets); the counters start at 0.
template <class F>
void launch_items(const BatchNormPlan& plan, Passes passes, double* workspace, cudaStream_t stream,
                  const char* name, F launch) {
  const Board board(workspace, plan);
  const bool waits = passes == Passes::kBoth && !plan.alone;
  if (waits || (passes != Passes::kSecond && plan.slices > 1))
    cuda_check(cudaMemsetAsync(board.drawn, 0, Board::counters(plan) * sizeof(Counter), stream),
               name);
  const int64_t tickets = tickets_of(plan, passes);
  launch(board, tickets,
         static_cast<unsigned>(std::min(tickets, waits ? kMostBlocks : kMaxBlocks)));
  check_launch(name);
}

// Calls f(Layout) with that of tensors which begin at `pointers`.
template <class T, class F>
void dispatch_layout(const BatchNormPlan& plan, std::initializer_list<const T*> pointers, F f) {
  bool whole = (plan.last ? plan.channels : plan.length) % kGroup == 0;
  for (const T* p : pointers) whole = whole && reinterpret_cast<uintptr_t>(p) % sizeof(uint4) == 0;
  if (plan.last)
    whole ? f(Layout<true, true>{}) : f(Layout<true, false>{});
  else
    whole ? f(Layout<false, true>{}) : f(Layout<false, false>{});
}

// Blocks that the registers of a multiprocessor must hold: more hide more of what each waits for.
template <class L, class T>
constexpr int kLeastBlocks = sizeof(T) == 8 ? 2 : (L::kWhole ? 5 : 4);

}  // namespace
}  // namespace sightline::batch_norm
