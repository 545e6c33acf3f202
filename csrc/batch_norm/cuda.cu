#include <limits>

#include "batch_norm/groups.cuh"

namespace sightline {
namespace {

// One thread visits a part of one channel, or of kGroup of them, in one slice; a block merges to
// one result a channel.
template <bool kLast, class T>
__global__ void moments_kernel(const T* __restrict__ x, Geometry g, Workspace<Compute<T>> work) {
  using S = Compute<T>;
  constexpr int kChannels = kChannelsOfThread<kLast>;
  Moments mine[kChannels] = {};
  S origin[kChannels] = {}, sum[kChannels] = {}, square[kChannels] = {};
  int count = 0;  // elements a channel since the last merge
  const auto merge = [&] {
    if (count == 0) return;
#pragma unroll
    for (int j = 0; j < kChannels; ++j) {
      const double offset = double(sum[j]) / count;
      mine[j].add({double(count), origin[j] + offset, square[j] - sum[j] * offset});
      sum[j] = square[j] = 0;
    }
    count = 0;
  };
  for_each_group<kLast>(g, [&](const Group& group) {
    S values[kGroup];
    load(x, group, values);
    if (count == 0) {
#pragma unroll
      for (int j = 0; j < kChannels; ++j)
        origin[j] = mine[j].count == 0 ? values[j] : static_cast<S>(mine[j].mean);
    }
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      const int c = kLast ? j : 0;
      const S d = kLast || j < group.size ? values[j] - origin[c] : S(0);
      sum[c] += d;
      square[c] += d * d;
    }
    count += kLast ? 1 : group.size;
    if (count >= kBlockElements) merge();
  });
  merge();
  merge_block<kLast>(g, mine, [&](int64_t at, const Moments& all) {
    work.first[at] = all.mean;
    work.second[at] = all.m2;
  });
}

// One thread a channel: the slices' moments merged in their order.
__global__ void merge_moments_kernel(const double* __restrict__ means,
                                     const double* __restrict__ m2s, Geometry g, double* mean,
                                     double* m2_or_var, bool divides) {
  for (int64_t c = first_item(); c < g.channels; c += item_stride()) {
    Moments all{0, 0, 0};
    for (int64_t k = 0; k < g.slices; ++k)
      all.add({double(g.elements(k)), means[k * g.channels + c], m2s[k * g.channels + c]});
    mean[c] = all.mean;
    m2_or_var[c] = divides ? (all.m2 < 0 ? 0.0 : all.m2 / double(g.count)) : all.m2;  // NaN stays
  }
}

__device__ inline double inverse_std(double var, double eps) { return 1 / sqrt(var + eps); }

template <class S>
__device__ double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : double(p[i]);
}

// One thread a channel: u = scale * (x - mean) + shift. What rounding the mean leaves off goes to
// the shift. T is the type of y, by which `unscale` is NaN or the inverse of scale.
template <class T, class S>
__global__ void coefficients_kernel(const double* __restrict__ mean, const double* __restrict__ var,
                                    const S* __restrict__ weight, const S* __restrict__ bias,
                                    double eps, Geometry g, Workspace<S> work) {
  for (int64_t c = first_item(); c < g.channels; c += item_stride()) {
    const double w = value_or(weight, c, 1), b = value_or(bias, c, 0);
    const double scale = w * inverse_std(var[c], eps);
    const S rounded = static_cast<S>(mean[c]);
    work.mean[c] = rounded;
    work.scale[c] = static_cast<S>(scale);
    work.shift[c] = static_cast<S>(b - scale * (mean[c] - rounded));
    work.unscale[c] = static_cast<S>(batch_norm_invertible<T>(w, b) ? 1 / scale : nan(""));
  }
}

// One thread visits a part of one channel, or of kGroup of them, in one slice.
template <bool kLast, class T>
__global__ void apply_kernel(BatchNormForward<T> t, BatchNormOptions options, Geometry g,
                             Workspace<Compute<T>> work) {
  using S = Compute<T>;
  const S slope = static_cast<S>(options.negative_slope);
  for_each_group<kLast>(g, [&](const Group& group) {
    S u[kGroup], z[kGroup];
    load(t.x, group, u);
    if (t.residual != nullptr) load(t.residual, group, z);
    unsigned bits = 0;
    dispatch_activation(options.activation, [&]<class Act>(Act) {
#pragma unroll
      for (int j = 0; j < kGroup; ++j) {
        const int64_t c = group.channel + (kLast && j < group.size ? j : 0);
        u[j] = work.scale[c] * (u[j] - work.mean[c]) + work.shift[c];
        if (t.residual != nullptr) u[j] += z[j];
        bits |= unsigned(!(u[j] <= S(0)) && j < group.size) << j;
        u[j] = Act::value(u[j], slope);
      }
    });
    store(u, t.y, group);
    if (t.mask != nullptr && g.bytewise()) t.mask[group.byte] = static_cast<uint8_t>(bits);
  });
}

// One thread a byte of a mask whose positions share bytes.
template <class T>
__global__ void shared_mask_kernel(BatchNormForward<T> t, Geometry g, Workspace<Compute<T>> work) {
  const int64_t elements = g.count * g.channels;
  for (int64_t byte = first_item(); byte < (elements + 7) / 8; byte += item_stride()) {
    unsigned bits = 0;
    for (int j = 0; j < 8 && byte * 8 + j < elements; ++j) {
      const int64_t i = byte * 8 + j, c = i % g.channels;
      Compute<T> u = work.scale[c] * (widen(t.x[i]) - work.mean[c]) + work.shift[c];
      if (t.residual != nullptr) u += widen(t.residual[i]);
      bits |= unsigned(!(u <= Compute<T>(0))) << j;
    }
    t.mask[byte] = static_cast<uint8_t>(bits);
  }
}

// Calls f(j, channel, g and t) for the elements of a group.
template <bool kLast, class T, class F>
__device__ void for_each_gradient(const BatchNormBackward<T>& t, const BatchNormOptions& options,
                                  const Geometry& g, const Workspace<Compute<T>>& work,
                                  const Group& group, F f) {
  using S = Compute<T>;
  const S slope = static_cast<S>(options.negative_slope);
  S d[kGroup], p[kGroup], z[kGroup];
  load(t.grad, group, d);  // 0 beyond the end
  load(t.y != nullptr ? t.y : t.x, group, p);
  if (t.residual != nullptr) load(t.residual, group, z);
  const unsigned bits = t.mask == nullptr ? 0 : load_bits(t.mask, g, group);
  dispatch_recipe(t, options, [&]<class Recipe>(Recipe) {
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      const int64_t c = group.channel + (kLast && j < group.size ? j : 0);
      S added = 0;
      if constexpr (Recipe::kResidual) added = z[j];
      f(j, c, Recipe::at(d[j], p[j], added, (bits >> j & 1u) != 0, work.at(c), slope));
    }
  });
}

// As moments_kernel, of g and g * t.
template <bool kLast, class T>
__global__ void gradient_sums_kernel(BatchNormBackward<T> t, BatchNormOptions options, Geometry g,
                                     Workspace<Compute<T>> work) {
  using S = Compute<T>;
  constexpr int kChannels = kChannelsOfThread<kLast>;
  Sums mine[kChannels] = {};
  S sum[kChannels] = {}, dot[kChannels] = {};
  int count = 0;
  const auto merge = [&] {
#pragma unroll
    for (int j = 0; j < kChannels; ++j) {
      mine[j].add({double(sum[j]), double(dot[j])});
      sum[j] = dot[j] = 0;
    }
    count = 0;
  };
  for_each_group<kLast>(g, [&](const Group& group) {
    for_each_gradient<kLast>(t, options, g, work, group, [&](int j, int64_t, const Gradient<S>& e) {
      if (j >= group.size) return;
      const int k = kLast ? j : 0;
      sum[k] += e.g;
      dot[k] += e.g * e.t;
    });
    count += kLast ? 1 : kGroup;
    if (count >= kBlockElements) merge();
  });
  merge();
  merge_block<kLast>(g, mine, [&](int64_t at, const Sums& all) {
    work.first[at] = all.sum;
    work.second[at] = all.dot;
  });
}

// One thread a channel: the slices' sums added in their order, or the means that are given;
// gradients of the parameters, and grad_x = scale * g + factor * t + offset.
template <class T>
__global__ void merge_sums_kernel(BatchNormBackward<T> t, BatchNormOptions options,
                                  BatchNormPasses passes, Geometry g, Workspace<Compute<T>> work) {
  using S = Compute<T>;
  for (int64_t c = first_item(); c < g.channels; c += item_stride()) {
    const double low = t.mean[c] - double(static_cast<S>(t.mean[c]));
    const double invstd = inverse_std(t.var[c], options.eps);
    double sum, dot;
    if (passes == BatchNormPasses::kInput) {
      sum = t.sum[c];
      dot = t.dot[c];
    } else {
      Sums all{0, 0};
      for (int64_t k = 0; k < g.slices; ++k)
        all.add({work.first[k * g.channels + c], work.second[k * g.channels + c]});
      sum = all.sum;
      dot = all.dot - low * all.sum;
      if (passes == BatchNormPasses::kSums) {
        t.sum[c] = sum;
        t.dot[c] = dot;
        continue;
      }
      if (t.grad_weight != nullptr) {
        t.grad_weight[c] = static_cast<S>(dot * invstd);
        t.grad_bias[c] = static_cast<S>(sum);
      }
      sum /= double(g.count);
      dot /= double(g.count);
    }
    const double scale = value_or(t.weight, c, 1) * invstd;
    const double factor = -scale * invstd * invstd * dot;
    work.factor[c] = static_cast<S>(factor);
    work.offset[c] = static_cast<S>(-scale * sum - factor * low);
  }
}

// One thread visits a part of one channel, or of kGroup of them, in one slice.
template <bool kLast, class T>
__global__ void input_gradient_kernel(BatchNormBackward<T> t, BatchNormOptions options, Geometry g,
                                      Workspace<Compute<T>> work) {
  using S = Compute<T>;
  for_each_group<kLast>(g, [&](const Group& group) {
    S dx[kGroup], dz[kGroup];
    for_each_gradient<kLast>(t, options, g, work, group,
                             [&](int j, int64_t c, const Gradient<S>& e) {
                               dx[j] = work.scale[c] * e.g;
                               if (options.training) dx[j] += work.factor[c] * e.t + work.offset[c];
                               dz[j] = e.g;
                             });
    store(dx, t.grad_x, group);
    if (t.grad_residual != nullptr) store(dz, t.grad_residual, group);
  });
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

template <bool kLast, class T>
void find_moments(const T* x, const Geometry& g, const Workspace<Compute<T>>& work, double* mean,
                  double* m2_or_var, bool divides, cudaStream_t stream) {
  moments_kernel<kLast><<<grid_of(g), kThreads, 0, stream>>>(x, g, work);
  check_launch("moments_kernel");
  merge_moments_kernel<<<blocks_for(g.channels), kThreads, 0, stream>>>(work.first, work.second, g,
                                                                        mean, m2_or_var, divides);
  check_launch("merge_moments_kernel");
}

template <bool kLast, class T>
void forward(const BatchNormForward<T>& t, const Geometry& g, const BatchNormOptions& options,
             double* workspace, cudaStream_t stream) {
  const Workspace<Compute<T>> work(workspace, g);
  if (options.training) find_moments<kLast>(t.x, g, work, t.mean, t.var, true, stream);
  coefficients_kernel<T><<<blocks_for(g.channels), kThreads, 0, stream>>>(
      t.mean, t.var, t.weight, t.bias, options.eps, g, work);
  check_launch("coefficients_kernel");
  apply_kernel<kLast><<<grid_of(g), kThreads, 0, stream>>>(t, options, g, work);
  check_launch("apply_kernel");
  if (t.mask != nullptr && !g.bytewise()) {
    shared_mask_kernel<<<blocks_for(g.count * g.channels / 8 + 1), kThreads, 0, stream>>>(t, g,
                                                                                          work);
    check_launch("shared_mask_kernel");
  }
}

template <bool kLast, class T>
void backward(const BatchNormBackward<T>& t, const Geometry& g, const BatchNormOptions& options,
              BatchNormPasses passes, double* workspace, cudaStream_t stream) {
  const Workspace<Compute<T>> work(workspace, g);
  const unsigned channel_blocks = blocks_for(g.channels);
  coefficients_kernel<T><<<channel_blocks, kThreads, 0, stream>>>(t.mean, t.var, t.weight, t.bias,
                                                                  options.eps, g, work);
  check_launch("coefficients_kernel");
  const bool sums =
      passes == BatchNormPasses::kSums ||
      (passes == BatchNormPasses::kBoth && (options.training || t.grad_weight != nullptr));
  if (sums) {
    gradient_sums_kernel<kLast><<<grid_of(g), kThreads, 0, stream>>>(t, options, g, work);
    check_launch("gradient_sums_kernel");
  }
  if (sums || (passes == BatchNormPasses::kInput && options.training)) {
    merge_sums_kernel<<<channel_blocks, kThreads, 0, stream>>>(t, options, passes, g, work);
    check_launch("merge_sums_kernel");
  }
  if (passes == BatchNormPasses::kSums) return;
  input_gradient_kernel<kLast><<<grid_of(g), kThreads, 0, stream>>>(t, options, g, work);
  check_launch("input_gradient_kernel");
}

bool is_empty(const BatchNormShape& shape) { return shape.count() == 0 || shape.channels == 0; }

}  // namespace

int64_t batch_norm_workspace_cuda(const BatchNormShape& shape) {
  if (is_empty(shape)) return 0;
  return 2 * geometry_of(shape).slices * shape.channels + 6 * shape.channels;
}

template <class T>
void batch_norm_moments_cuda(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                             double* workspace, CudaStream stream) {
  if (is_empty(shape)) return;
  const Geometry g = geometry_of(shape);
  const Workspace<Compute<T>> work(workspace, g);
  g.last ? find_moments<true>(x, g, work, mean, m2, false, native(stream))
         : find_moments<false>(x, g, work, mean, m2, false, native(stream));
}

template <class T>
void batch_norm_act_cuda(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                         const BatchNormOptions& options, double* workspace, CudaStream stream) {
  if (is_empty(shape)) return;
  const Geometry g = geometry_of(shape);
  g.last ? forward<true>(tensors, g, options, workspace, native(stream))
         : forward<false>(tensors, g, options, workspace, native(stream));
}

template <class T>
void batch_norm_act_backward_cuda(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                  const BatchNormOptions& options, BatchNormPasses passes,
                                  double* workspace, CudaStream stream) {
  if (is_empty(shape)) return;
  const Geometry g = geometry_of(shape);
  g.last ? backward<true>(tensors, g, options, passes, workspace, native(stream))
         : backward<false>(tensors, g, options, passes, workspace, native(stream));
}

template <class S>
void batch_norm_track_cuda(const BatchNormTracking<S>& tracking, CudaStream stream) {
  track_kernel<<<1, kThreads, 0, native(stream)>>>(tracking);
  check_launch("track_kernel");
}

template void batch_norm_track_cuda(const BatchNormTracking<float>&, CudaStream);
template void batch_norm_track_cuda(const BatchNormTracking<double>&, CudaStream);

#define INSTANTIATE(T)                                                                           \
  template void batch_norm_moments_cuda(const T*, const BatchNormShape&, double*, double*,       \
                                        double*, CudaStream);                                    \
  template void batch_norm_act_cuda(const BatchNormForward<T>&, const BatchNormShape&,           \
                                    const BatchNormOptions&, double*, CudaStream);               \
  template void batch_norm_act_backward_cuda(const BatchNormBackward<T>&, const BatchNormShape&, \
                                             const BatchNormOptions&, BatchNormPasses, double*,  \
                                             CudaStream);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline
