#include "batch_norm/table.cuh"

namespace sightline::batch_norm {
namespace {

constexpr int kTensors = 1;  // that both passes read

// Sums over an item's elements of x - base and of its square, where base is the channel's first
// element: so they simply add up. (base - mean)^2 is at most count * variance, so that double loses
// no more than count * 2^-53 of the variance. A thread sums about its own estimate of the mean.
template <class L, class T>
__device__ Pair add_moments(const T* x, const BatchNormPlan& plan, int64_t column, int64_t slice) {
  using S = Compute<T>;
  constexpr int kChannels = L::kChannels, kSize = batch_norm_batch(sizeof(T), kTensors);
  S origin[kChannels] = {}, sum[kChannels] = {}, square[kChannels] = {};
  int count = 0;  // elements a channel in sum and square
  bool begun = false;
  Pair merged{0, 0};  // of earlier ones, of a thread with one channel
  double merged_count = 0;
  const auto about = [&](int j, double base) -> Pair {
    if (count == 0) return {0, 0};
    const double delta = origin[j] - base, shift = count * delta;
    return {sum[j] + shift, square[j] + delta * (2 * double(sum[j]) + shift)};
  };
  const double base_of_plane = L::kLast ? 0 : double(widen(x[column * plan.length]));
  for_each_batch<L, kSize>(plan, column, slice, [&](const Group<L>(&groups)[kSize]) {
    Packed<T> values[kSize];
#pragma unroll
    for (int u = 0; u < kSize; ++u) load<Use::kAgain>(x, plan, groups[u], values[u]);
    if (!begun) {
      begun = true;
#pragma unroll
      for (int j = 0; j < kChannels; ++j) {
        const S first = values[0][j];
        S rest = 0;
        int n = 1;
#pragma unroll
        for (int i = 1; i < (L::kLast ? kSize : kGroup); ++i) {
          const bool is = L::kLast ? groups[i % kSize].size > 0 : i < groups[0].size;
          rest += is ? values[L::kLast ? i % kSize : 0][L::kLast ? j : i % kGroup] - first : S(0);
          n += is;
        }
        origin[j] = first + rest / S(n);
      }
    }
#pragma unroll
    for (int u = 0; u < kSize; ++u) {
      if (groups[u].size == 0) continue;
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        const int c = L::kLast ? j : 0;
        const S d = L::kLast || j < groups[u].size ? values[u][j] - origin[c] : S(0);
        sum[c] += d;
        square[c] += d * d;
      }
      count += L::kLast ? 1 : groups[u].size;
    }
    if (!L::kLast && count >= kBlockElements) {
      merged.add(about(0, base_of_plane));
      merged_count += count;
      origin[0] = static_cast<S>(base_of_plane + merged.sum / merged_count);
      sum[0] = square[0] = 0;
      count = 0;
    }
  });
  const int64_t channel = first_channel_of_thread<L>(plan, column);
  return add_block<L>(plan, [&](int j) -> Pair {
    if constexpr (L::kLast)
      return channel + j < plan.channels ? about(j, widen(x[channel + j])) : Pair{0, 0};
    Pair all = about(0, base_of_plane);
    all.add(merged);
    return all;
  });
}

// kMore: with a residual or a mask.
template <class L, class Act, bool kMore, class T>
__device__ void apply(const BatchNormForward<T>& t, const BatchNormOptions& options,
                      const BatchNormPlan& plan, const Table<Compute<T>>& table, int64_t column,
                      int64_t slice) {
  using S = Compute<T>;
  constexpr int kChannels = L::kChannels;
  constexpr int kSize = batch_norm_batch(sizeof(T), kMore ? kTensors + 1 : kTensors);
  const S slope = static_cast<S>(options.negative_slope);
  S mean[kChannels], scale[kChannels], shift[kChannels];
  load_entries<L>(plan, table.mean, mean);
  load_entries<L>(plan, table.scale, scale);
  load_entries<L>(plan, table.shift, shift);
  const bool adds = kMore && t.residual != nullptr;
  const bool marks = kMore && t.mask != nullptr && Group<L>::bytewise(plan);
  for_each_batch<L, kSize>(plan, column, slice, [&](const Group<L>(&groups)[kSize]) {
    Packed<T> x[kSize], z[kMore ? kSize : 1];
#pragma unroll
    for (int i = 0; i < kSize; ++i) load<Use::kOnce>(t.x, plan, groups[i], x[i]);
    if (adds) {
#pragma unroll
      for (int i = 0; i < kSize; ++i) load<Use::kOnce>(t.residual, plan, groups[i], z[i]);
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (groups[i].size == 0) continue;
      S u[kGroup];
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        const int c = L::kLast ? j : 0;
        u[j] = scale[c] * (x[i][j] - mean[c]) + shift[c];
        if (adds) u[j] += z[i][j];
      }
      if (marks) {
        unsigned bits = 0;
#pragma unroll
        for (int j = 0; j < kGroup; ++j)
          bits |= unsigned(!(u[j] <= S(0)) && j < groups[i].size) << j;
        t.mask[groups[i].byte(plan)] = static_cast<uint8_t>(bits);
      }
#pragma unroll
      for (int j = 0; j < kGroup; ++j) u[j] = Act::value(u[j], slope);
      store(u, t.y, plan, groups[i]);
    }
  });
}

// A block takes an item, or several. The first pass writes mean and var, or M2 instead of var, the
// second one reads mean and var.
template <class L, class T>
__global__ void __launch_bounds__(kItemThreads, kLeastBlocks<L, T>)
    forward_kernel(BatchNormForward<T> t, BatchNormOptions options, BatchNormPlan plan,
                   Passes passes, bool divides, Board board, int64_t tickets) {
  __shared__ Table<Compute<T>> table;
  for_each_item(
      plan, passes, board, tickets,
      [&](int64_t column, int64_t slice) { return add_moments<L>(t.x, plan, column, slice); },
      [&](int64_t channel, const Pair& all) {
        const double base = widen(t.x[channel * (L::kLast ? 1 : plan.length)]);
        const double offset = all.sum / double(plan.count), m2 = all.dot - all.sum * offset;
        t.mean[channel] = base + offset;
        t.var[channel] = m2 < 0 ? 0.0 : (divides ? m2 / double(plan.count) : m2);  // NaN stays
      },
      [&](int64_t column, int64_t slice) {
        fill<T>(table, t, options.eps, plan, column, [](int, int64_t) {});
        dispatch_activation(options.activation, [&]<class Act>(Act) {
          if (t.residual != nullptr || t.mask != nullptr)
            apply<L, Act, true>(t, options, plan, table, column, slice);
          else
            apply<L, Act, false>(t, options, plan, table, column, slice);
        });
      });
}

// One thread per byte of a mask whose positions share bytes, of fewer than kNarrowRow channels.
template <class T>
__global__ void shared_mask_kernel(BatchNormForward<T> t, double eps, BatchNormPlan plan) {
  __shared__ Channel<Compute<T>> table[kNarrowRow];
  for (int c = threadIdx.x; c < plan.channels; c += kThreads)
    table[c] =
        channel_of<T>(t.mean[c], t.var[c], value_or(t.weight, c, 1), value_or(t.bias, c, 0), eps);
  __syncthreads();
  const int64_t elements = plan.count * plan.channels;
  for (int64_t byte = first_item(); byte < (elements + 7) / 8; byte += item_stride()) {
    unsigned bits = 0;
    int c = static_cast<int>(byte * 8 % plan.channels);
    for (int64_t i = byte * 8; i < elements && i < byte * 8 + 8; ++i) {
      Compute<T> u = table[c].scale * (widen(t.x[i]) - table[c].mean) + table[c].shift;
      if (t.residual != nullptr) u += widen(t.residual[i]);
      bits |= unsigned(!(u <= Compute<T>(0))) << i % 8;
      c = c + 1 == plan.channels ? 0 : c + 1;
    }
    t.mask[byte] = static_cast<uint8_t>(bits);
  }
}

// One block: every thread reads the counter before the first one writes it.
template <class S>
__global__ void track_kernel(BatchNormTracking<S> t) {
  double factor = t.momentum;
  if (t.num_batches_tracked != nullptr) {
    const int64_t batches = *t.num_batches_tracked + 1;
    if (factor < 0) factor = 1 / double(batches);
    __syncthreads();
    if (threadIdx.x == 0) *t.num_batches_tracked = batches;
  }
  const double unbiased = double(t.count) / double(t.count - 1);
  for (int64_t c = threadIdx.x; c < t.channels; c += blockDim.x) {
    t.running_mean[c] = S(t.running_mean[c] + factor * (t.mean[c] - t.running_mean[c]));
    t.running_var[c] = S(t.running_var[c] + factor * (t.var[c] * unbiased - t.running_var[c]));
  }
}

template <class T>
void forward(const BatchNormForward<T>& t, const BatchNormShape& shape,
             const BatchNormOptions& options, Passes passes, bool divides, double* workspace,
             cudaStream_t stream) {
  const BatchNormPlan plan = batch_norm_plan(shape, sizeof(T), kTensors);
  dispatch_layout<T>(plan, {t.x, t.residual, t.y}, [&]<class L>(L) {
    launch_items(plan, passes, workspace, stream, "forward_kernel",
                 [&](const Board& board, int64_t tickets, unsigned blocks) {
                   forward_kernel<L, T><<<blocks, kItemThreads, 0, stream>>>(
                       t, options, plan, passes, divides, board, tickets);
                 });
  });
  if (passes == Passes::kFirst || t.mask == nullptr || plan.bytewise()) return;
  shared_mask_kernel<T><<<blocks_for(plan.count * plan.channels / 8 + 1), kThreads, 0, stream>>>(
      t, options.eps, plan);
  check_launch("shared_mask_kernel");
}

bool is_empty(const BatchNormShape& shape) { return shape.count() == 0 || shape.channels == 0; }

}  // namespace

int64_t batch_norm_workspace_cuda(const BatchNormShape& shape) {
  if (is_empty(shape)) return 0;
  int64_t most = 0;
  for (const int bytes : {2, 4, 8})
    for (const int tensors : {1, 2})
      most = std::max(most, Board::doubles(batch_norm_plan(shape, bytes, tensors)));
  return most;
}

template <class T>
void batch_norm_moments_cuda(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                             double* workspace, CudaStream stream) {
  if (is_empty(shape)) return;
  BatchNormForward<T> t{};
  t.x = x;
  t.mean = mean;
  t.var = m2;
  forward(t, shape, {}, Passes::kFirst, false, workspace, native(stream));
}

template <class T>
void batch_norm_act_cuda(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                         const BatchNormOptions& options, double* workspace, CudaStream stream) {
  if (is_empty(shape)) return;
  forward(tensors, shape, options, options.training ? Passes::kBoth : Passes::kSecond, true,
          workspace, native(stream));
}

template <class S>
void batch_norm_track_cuda(const BatchNormTracking<S>& tracking, CudaStream stream) {
  track_kernel<<<1, kThreads, 0, native(stream)>>>(tracking);
  check_launch("track_kernel");
}

template void batch_norm_track_cuda(const BatchNormTracking<float>&, CudaStream);
template void batch_norm_track_cuda(const BatchNormTracking<double>&, CudaStream);

#define INSTANTIATE(T)                                                                     \
  template void batch_norm_moments_cuda(const T*, const BatchNormShape&, double*, double*, \
                                        double*, CudaStream);                              \
  template void batch_norm_act_cuda(const BatchNormForward<T>&, const BatchNormShape&,     \
                                    const BatchNormOptions&, double*, CudaStream);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::batch_norm
