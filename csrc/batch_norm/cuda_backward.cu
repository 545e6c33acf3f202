#include "batch_norm/table.cuh"

namespace sightline::batch_norm {
namespace {

constexpr int kTensors = 2;  // that both passes read

// Calls f(gradients, group) for the groups of a thread in an item, and after() once in a while.
template <class L, Use use, class Recipe, class T, class F, class After>
__device__ void for_each_gradient(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                                  const BatchNormPlan& plan, const Table<Compute<T>>& table,
                                  int64_t column, int64_t slice, F f, After after) {
  using S = Compute<T>;
  constexpr int kChannels = L::kChannels,
                kSize = batch_norm_batch(sizeof(T), Recipe::kResidual ? kTensors + 1 : kTensors);
  const S slope = static_cast<S>(options.negative_slope);
  Channel<S> channels[kChannels];
#pragma unroll
  for (int j = 0; j < kChannels; ++j) {
    const int c = first_entry_of_thread<L>(plan) + j;
    channels[j] = {table.mean[c], table.scale[c], table.shift[c], table.unscale[c]};
  }
  const T* const kept = t.y != nullptr ? t.y : t.x;
  for_each_batch<L, kSize>(plan, column, slice, [&](const Group<L>(&groups)[kSize]) {
    Packed<T> grads[kSize], points[kSize], added[kSize];
    unsigned bits[kSize] = {};
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      load<use>(t.grad, plan, groups[i], grads[i]);
      load<use>(kept, plan, groups[i], points[i]);
      if constexpr (Recipe::kResidual) load<use>(t.residual, plan, groups[i], added[i]);
      if constexpr (Recipe::kMask)
        if (groups[i].size > 0) bits[i] = load_bits(t.mask, plan, groups[i]);
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (groups[i].size == 0) continue;
      Gradient<S> gradients[kGroup];
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        S residual = 0;
        if constexpr (Recipe::kResidual) residual = added[i][j];
        gradients[j] = Recipe::at(grads[i][j], points[i][j], residual, (bits[i] >> j & 1u) != 0,
                                  channels[L::kLast ? j : 0], slope);
      }
      f(gradients, groups[i]);
    }
    after();
  });
}

// Sums over an item's elements of g and g * t.
template <class L, class T>
__device__ Pair add_gradients(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                              const BatchNormPlan& plan, const Table<Compute<T>>& table,
                              int64_t column, int64_t slice) {
  using S = Compute<T>;
  constexpr int kChannels = L::kChannels;
  S sum[kChannels] = {}, dot[kChannels] = {};
  int count = 0;
  Pair merged{0, 0};  // of earlier elements, of a thread with one channel
  dispatch_recipe(t, options, [&]<class Recipe>(Recipe) {
    for_each_gradient<L, Use::kAgain, Recipe>(
        t, options, plan, table, column, slice,
        [&](const Gradient<S>(&gradients)[kGroup], const Group<L>& group) {
#pragma unroll
          for (int j = 0; j < kGroup; ++j) {
            const int c = L::kLast ? j : 0;
            const bool is = L::kLast || j < group.size;
            sum[c] += is ? gradients[j].g : S(0);
            dot[c] += is ? gradients[j].g * gradients[j].t : S(0);
          }
          count += kGroup;
        },
        [&] {
          if (L::kLast || count < kBlockElements) return;
          merged.add({double(sum[0]), double(dot[0])});
          sum[0] = dot[0] = 0;
          count = 0;
        });
  });
  return add_block<L>(plan, [&](int j) -> Pair {
    Pair all{double(sum[L::kLast ? j : 0]), double(dot[L::kLast ? j : 0])};
    all.add(merged);
    return all;
  });
}

template <class L, class T>
__device__ void write_gradients(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                                const BatchNormPlan& plan, const Table<Compute<T>>& table,
                                int64_t column, int64_t slice) {
  using S = Compute<T>;
  constexpr int kChannels = L::kChannels;
  S scale[kChannels], factor[kChannels], offset[kChannels];
  load_entries<L>(plan, table.scale, scale);
  load_entries<L>(plan, table.factor, factor);
  load_entries<L>(plan, table.offset, offset);
  dispatch_recipe(t, options, [&]<class Recipe>(Recipe) {
    for_each_gradient<L, Use::kOnce, Recipe>(
        t, options, plan, table, column, slice,
        [&](const Gradient<S>(&gradients)[kGroup], const Group<L>& group) {
          S dx[kGroup], dz[kGroup];
#pragma unroll
          for (int j = 0; j < kGroup; ++j) {
            const int c = L::kLast ? j : 0;
            dz[j] = gradients[j].g;
            dx[j] = scale[c] * dz[j];
            if (options.training) dx[j] += factor[c] * gradients[j].t + offset[c];
          }
          store(dx, t.grad_x, plan, group);
          if (t.grad_residual != nullptr) store(dz, t.grad_residual, plan, group);
        },
        [] {});
  });
}

// A block takes an item, or several. The first pass writes sums and gradients of the parameters,
// the second one reads the sums, divided by the count: those that are given, or else the board's.
template <class L, class T>
__global__ void __launch_bounds__(kItemThreads, kLeastBlocks<L, T>)
    backward_kernel(BatchNormBackward<T> t, BatchNormOptions options, BatchNormPlan plan,
                    Passes passes, Board board, int64_t tickets) {
  using S = Compute<T>;
  __shared__ Table<S> table;
  for_each_item(
      plan, passes, board, tickets,
      [&](int64_t column, int64_t slice) {
        fill<T>(table, t, options.eps, plan, column, [](int, int64_t) {});
        return add_gradients<L>(t, options, plan, table, column, slice);
      },
      [&](int64_t channel, const Pair& all) {
        const double dot = all.dot - rounded_off<S>(t.mean[channel]) * all.sum;
        if (passes == Passes::kFirst) {
          t.sum[channel] = all.sum;
          t.dot[channel] = dot;
          return;
        }
        if (t.grad_weight != nullptr) {
          t.grad_weight[channel] = static_cast<S>(dot * inverse_std(t.var[channel], options.eps));
          t.grad_bias[channel] = static_cast<S>(all.sum);
        }
        board.sum[channel] = all.sum / double(plan.count);
        board.dot[channel] = dot / double(plan.count);
      },
      [&](int64_t column, int64_t slice) {
        fill<T>(table, t, options.eps, plan, column, [&](int c, int64_t channel) {
          if (!options.training) return;
          const bool given = passes == Passes::kSecond;
          const double sum = __ldcg((given ? t.sum : board.sum) + channel);
          const double dot = __ldcg((given ? t.dot : board.dot) + channel);
          const double invstd = inverse_std(t.var[channel], options.eps);
          set_input_gradient(value_or(t.weight, channel, 1) * invstd, invstd, t.mean[channel], sum,
                             dot, table.factor[c], table.offset[c]);
        });
        write_gradients<L>(t, options, plan, table, column, slice);
      });
}

// What a launch does of `passes`.
template <class T>
Passes passes_of(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                 BatchNormPasses passes) {
  if (passes == BatchNormPasses::kSums) return Passes::kFirst;
  if (passes == BatchNormPasses::kInput) return Passes::kSecond;
  return options.training || t.grad_weight != nullptr ? Passes::kBoth : Passes::kSecond;
}

}  // namespace

template <class T>
void batch_norm_act_backward_cuda(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                  const BatchNormOptions& options, BatchNormPasses passes,
                                  double* workspace, CudaStream stream) {
  if (shape.count() == 0 || shape.channels == 0) return;
  const BatchNormPlan plan = batch_norm_plan(shape, sizeof(T), kTensors);
  const Passes own = passes_of(tensors, options, passes);
  const cudaStream_t s = native(stream);
  const BatchNormBackward<T>& t = tensors;
  dispatch_layout<T>(
      plan, {t.grad, t.x, t.y, t.residual, t.grad_x, t.grad_residual}, [&]<class L>(L) {
        launch_items(plan, own, workspace, s, "backward_kernel",
                     [&](const Board& board, int64_t tickets, unsigned blocks) {
                       backward_kernel<L, T>
                           <<<blocks, kItemThreads, 0, s>>>(t, options, plan, own, board, tickets);
                     });
      });
}

#define INSTANTIATE(T)                                                                           \
  template void batch_norm_act_backward_cuda(const BatchNormBackward<T>&, const BatchNormShape&, \
                                             const BatchNormOptions&, BatchNormPasses, double*,  \
                                             CudaStream);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::batch_norm
