// Ghost batches: batch norm over runs of neighbouring samples, each with statistics of its own
// (Hoffer, Hubara, Soudry 2017). The batch is the outermost dimension of either layout, so that a
// run is a tensor of its own where it lies; `one` is its shape. Statistics are [runs, channels]
// each, and so are gradients of parameters until they are added up.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch_norm/batch_norm.h"
#include "common/parallel.h"

namespace sightline::batch_norm {

template <class P>
P* at_or_null(P* first, int64_t offset) {
  return first == nullptr ? nullptr : first + offset;
}

template <class T>
BatchNormForward<T> ghost_batch(const BatchNormForward<T>& all, const BatchNormShape& one,
                                int64_t run) {
  const int64_t elements = run * one.count() * one.channels, channels = run * one.channels;
  return {all.x + elements,    at_or_null(all.residual, elements),
          all.weight,          all.bias,
          all.mean + channels, all.var + channels,
          all.y + elements,    at_or_null(all.mask, run * batch_norm_mask_bytes(one))};
}

// Not of a synchronised pass, which has one run.
template <class T>
BatchNormBackward<T> ghost_batch(const BatchNormBackward<T>& all, const BatchNormShape& one,
                                 int64_t run) {
  const int64_t elements = run * one.count() * one.channels, channels = run * one.channels;
  return {all.grad + elements,
          at_or_null(all.x, elements),
          at_or_null(all.y, elements),
          at_or_null(all.residual, elements),
          at_or_null(all.mask, run * batch_norm_mask_bytes(one)),
          all.weight,
          all.bias,
          all.mean + channels,
          all.var + channels,
          all.sum,
          all.dot,
          at_or_null(all.grad_x, elements),
          at_or_null(all.grad_residual, elements),
          at_or_null(all.grad_weight, channels),
          at_or_null(all.grad_bias, channels)};
}

// Calls f(run, parallel_for) for every run: in parallel where that keeps the threads busy or a run
// is too small to be cut, otherwise one after the other, each in parallel. The bits are the same.
template <class F>
void for_each_ghost_batch(int64_t runs, const BatchNormShape& one, int64_t threads,
                          ParallelFor parallel_for, F f) {
  constexpr int64_t kSmallRun = 1 << 15;  // elements
  const int64_t elements = std::max<int64_t>(one.count() * one.channels, 1);
  const bool even = runs % threads == 0 || runs >= 4 * threads;
  if (runs == 1 || threads == 1 || (!even && elements > kSmallRun)) {
    for (int64_t run = 0; run < runs; ++run) f(run, parallel_for);
    return;
  }
  const int64_t grain = std::max<int64_t>(kSmallRun / elements, 1);
  parallel_for(runs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) f(run, parallel_for.serial());
  });
}

}  // namespace sightline::batch_norm
