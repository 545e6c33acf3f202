#include <algorithm>

#include "batch_norm/batch_norm.h"
#include "common/cuda.h"

namespace sightline {
namespace {

constexpr int kLanes = 32;           // channels of a block where they lie side by side
constexpr int kBlockElements = 128;  // summed in Compute<T>, then merged in double
constexpr int64_t kElementsPerThread = 64;
constexpr int64_t kMaxSlices = 512;  // one thread a channel merges as many partial results

// Every pass cuts the elements of a channel into `slices` of neighbours, a function of the shape
// alone. A block of kThreads takes one slice of one channel, or of kLanes channels that lie side by
// side: then thread t has channel t % kLanes.
struct Geometry {
  int64_t channels, length, count, slices;

  __host__ __device__ int64_t first(int64_t slice) const { return count * slice / slices; }
};

template <bool kLast>
constexpr int kChannelsOfBlock = kLast ? kLanes : 1;

Geometry geometry_of(const BatchNormShape& shape) {
  const int64_t members = kThreads / (shape.channels_last ? kLanes : 1);
  const int64_t slices = shape.count() / (members * kElementsPerThread);
  return {shape.channels, shape.length, shape.count(), std::clamp<int64_t>(slices, 1, kMaxSlices)};
}

template <bool kLast>
dim3 grid_of(const Geometry& geometry) {
  constexpr int64_t kPerBlock = kChannelsOfBlock<kLast>;
  return dim3(static_cast<unsigned>((geometry.channels + kPerBlock - 1) / kPerBlock),
              static_cast<unsigned>(geometry.slices));
}

template <bool kLast>
__device__ int64_t channel_of_thread() {
  return int64_t(blockIdx.x) * kChannelsOfBlock<kLast> + threadIdx.x % kChannelsOfBlock<kLast>;
}

// Calls f(offset of an element) for those of this thread's channel in the block's slice.
template <bool kLast, class F>
__device__ void for_each_element(const Geometry& geometry, int64_t channel, F f) {
  constexpr int kMembers = kThreads / kChannelsOfBlock<kLast>;
  const int64_t end = geometry.first(blockIdx.y + 1);
  int64_t p = geometry.first(blockIdx.y) + threadIdx.x / kChannelsOfBlock<kLast>;
  if constexpr (kLast) {
    for (; p < end; p += kMembers) f(p * geometry.channels + channel);
  } else {
    int64_t n = p / geometry.length, l = p % geometry.length;  // the only division of the walk
    for (; p < end; p += kMembers) {
      f((n * geometry.channels + channel) * geometry.length + l);
      for (l += kMembers; l >= geometry.length; l -= geometry.length) ++n;
    }
  }
}

struct Moments {
  double count, mean, m2;

  // Chan's merge.
  __device__ void add(const Moments& other) {
    if (other.count == 0) return;
    const double delta = other.mean - mean, total = count + other.count;
    const double share = other.count / total;
    mean += delta * share;
    m2 += other.m2 + delta * delta * count * share;
    count = total;
  }
};

struct Sums {
  double sum, dot;
  __device__ void add(const Sums& other) {
    sum += other.sum;
    dot += other.dot;
  }
};

// The threads of a channel add up in a fixed tree; the result is in those with t < kChannels.
template <int kChannels, class Part>
__device__ Part add_over_block(Part mine) {
  __shared__ Part parts[kThreads];
  parts[threadIdx.x] = mine;
  for (int half = kThreads / 2; half >= kChannels; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x].add(parts[threadIdx.x + half]);
  }
  __syncthreads();
  return parts[threadIdx.x];
}

// Where a call keeps its partial results and coefficients: device memory that the caller lends.
template <class S>
struct Workspace {
  double *first, *second;                     // [slices, channels]: mean and m2, or sum and dot
  S *mean, *scale, *shift, *factor, *offset;  // [channels], as on the CPU

  Workspace(double* memory, const Geometry& g)
      : first(memory), second(memory + g.slices * g.channels) {
    S* p = reinterpret_cast<S*>(second + g.slices * g.channels);
    for (S** array : {&mean, &scale, &shift, &factor, &offset}) {
      *array = p;
      p += g.channels;
    }
  }
};

// One thread visits a part of one channel in one slice; a block merges to one result a channel.
template <bool kLast, class T>
__global__ void moments_kernel(const T* __restrict__ x, Geometry geometry,
                               Workspace<Compute<T>> work) {
  using S = Compute<T>;
  const int64_t channel = channel_of_thread<kLast>();
  Moments mine{0, 0, 0};
  if (channel < geometry.channels) {
    S origin = 0, sum = 0, square = 0;
    int count = 0;
    const auto merge = [&] {
      if (count == 0) return;
      const double offset = double(sum) / count;
      mine.add({double(count), origin + offset, square - sum * offset});
      count = 0;
    };
    for_each_element<kLast>(geometry, channel, [&](int64_t i) {
      const S value = widen(x[i]);
      if (count == 0) {
        origin = value;
        sum = square = 0;
      }
      const S d = value - origin;
      sum += d;
      square += d * d;
      if (++count == kBlockElements) merge();
    });
    merge();
  }
  mine = add_over_block<kChannelsOfBlock<kLast>>(mine);
  if (threadIdx.x < kChannelsOfBlock<kLast> && channel < geometry.channels) {
    work.first[blockIdx.y * geometry.channels + channel] = mine.mean;
    work.second[blockIdx.y * geometry.channels + channel] = mine.m2;
  }
}

// One thread a channel: the slices' moments merged in their order.
template <class T>
__global__ void merge_moments_kernel(BatchNormForward<T> t, Geometry geometry,
                                     Workspace<Compute<T>> work) {
  for (int64_t c = first_item(); c < geometry.channels; c += item_stride()) {
    Moments all{0, 0, 0};
    for (int64_t k = 0; k < geometry.slices; ++k) {
      const int64_t i = k * geometry.channels + c;
      all.add({double(geometry.first(k + 1) - geometry.first(k)), work.first[i], work.second[i]});
    }
    t.mean[c] = all.mean;
    t.var[c] = all.m2 < 0 ? 0.0 : all.m2 / double(geometry.count);  // NaN stays
  }
}

__device__ inline double inverse_std(double var, double eps) { return 1 / sqrt(var + eps); }

// One thread a channel: u = scale * (x - mean) + shift. What rounding the mean leaves off goes to
// the shift.
template <class S>
__global__ void coefficients_kernel(const double* __restrict__ mean, const double* __restrict__ var,
                                    const S* __restrict__ weight, const S* __restrict__ bias,
                                    double eps, Geometry geometry, Workspace<S> work) {
  for (int64_t c = first_item(); c < geometry.channels; c += item_stride()) {
    const double scale = (weight == nullptr ? 1.0 : double(weight[c])) * inverse_std(var[c], eps);
    const S rounded = static_cast<S>(mean[c]);
    work.mean[c] = rounded;
    work.scale[c] = static_cast<S>(scale);
    work.shift[c] =
        static_cast<S>((bias == nullptr ? 0.0 : double(bias[c])) - scale * (mean[c] - rounded));
  }
}

// One thread visits a part of one channel in one slice.
template <bool kLast, class T>
__global__ void apply_kernel(BatchNormForward<T> t, BatchNormOptions options, Geometry geometry,
                             Workspace<Compute<T>> work) {
  using S = Compute<T>;
  const int64_t channel = channel_of_thread<kLast>();
  if (channel >= geometry.channels) return;
  const S mean = work.mean[channel], scale = work.scale[channel], shift = work.shift[channel];
  const S slope = static_cast<S>(options.negative_slope);
  for_each_element<kLast>(geometry, channel, [&](int64_t i) {
    S u = scale * (widen(t.x[i]) - mean) + shift;
    if (t.residual != nullptr) u += widen(t.residual[i]);
    t.y[i] = narrow<T>(activate(options.activation, u, slope));
  });
}

// As moments_kernel, of g and g * (x - rounded mean); with a residual, g is kept.
template <bool kLast, class T>
__global__ void gradient_sums_kernel(BatchNormBackward<T> t, BatchNormOptions options,
                                     Geometry geometry, Workspace<Compute<T>> work) {
  using S = Compute<T>;
  const int64_t channel = channel_of_thread<kLast>();
  Sums mine{0, 0};
  if (channel < geometry.channels) {
    const S mean = work.mean[channel], scale = work.scale[channel], shift = work.shift[channel];
    const S slope = static_cast<S>(options.negative_slope);
    S sum = 0, dot = 0;
    int count = 0;
    for_each_element<kLast>(geometry, channel, [&](int64_t i) {
      const S centred = widen(t.x[i]) - mean;
      S u = scale * centred + shift;
      if (t.residual != nullptr) u += widen(t.residual[i]);
      const S g = activation_gradient(options.activation, widen(t.grad[i]), u, slope);
      if (t.grad_residual != nullptr) t.grad_residual[i] = narrow<T>(g);
      sum += g;
      dot += g * centred;
      if (++count == kBlockElements) {
        mine.add({double(sum), double(dot)});
        sum = dot = 0;
        count = 0;
      }
    });
    mine.add({double(sum), double(dot)});
  }
  mine = add_over_block<kChannelsOfBlock<kLast>>(mine);
  if (threadIdx.x < kChannelsOfBlock<kLast> && channel < geometry.channels) {
    work.first[blockIdx.y * geometry.channels + channel] = mine.sum;
    work.second[blockIdx.y * geometry.channels + channel] = mine.dot;
  }
}

// One thread a channel: the slices' sums added in their order, gradients of the parameters, and
// grad_x = scale * g + factor * (x - rounded mean) + offset.
template <class T>
__global__ void merge_sums_kernel(BatchNormBackward<T> t, BatchNormOptions options,
                                  Geometry geometry, Workspace<Compute<T>> work) {
  using S = Compute<T>;
  for (int64_t c = first_item(); c < geometry.channels; c += item_stride()) {
    Sums all{0, 0};
    for (int64_t k = 0; k < geometry.slices; ++k)
      all.add({work.first[k * geometry.channels + c], work.second[k * geometry.channels + c]});
    const double invstd = inverse_std(t.var[c], options.eps);
    const double low = t.mean[c] - double(static_cast<S>(t.mean[c]));
    const double dot = all.dot - low * all.sum;
    t.grad_weight[c] = static_cast<S>(dot * invstd);
    t.grad_bias[c] = static_cast<S>(all.sum);
    const double scale =
        (t.weight == nullptr ? 1.0 : double(t.weight[c])) * invstd / double(geometry.count);
    const double factor = -scale * invstd * invstd * dot;
    work.factor[c] = static_cast<S>(factor);
    work.offset[c] = static_cast<S>(-scale * all.sum - factor * low);
  }
}

// One thread visits a part of one channel in one slice.
template <bool kLast, class T>
__global__ void input_gradient_kernel(BatchNormBackward<T> t, BatchNormOptions options,
                                      Geometry geometry, Workspace<Compute<T>> work) {
  using S = Compute<T>;
  const int64_t channel = channel_of_thread<kLast>();
  if (channel >= geometry.channels) return;
  const S mean = work.mean[channel], scale = work.scale[channel], shift = work.shift[channel];
  const S factor = work.factor[channel], offset = work.offset[channel];
  const S slope = static_cast<S>(options.negative_slope);
  for_each_element<kLast>(geometry, channel, [&](int64_t i) {
    const S centred = widen(t.x[i]) - mean;
    const S g = t.grad_residual != nullptr
                    ? widen(t.grad_residual[i])
                    : activation_gradient(options.activation, widen(t.grad[i]),
                                          scale * centred + shift, slope);
    t.grad_x[i] = narrow<T>(options.training ? scale * g + (factor * centred + offset) : scale * g);
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
void forward(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
             const BatchNormOptions& options, double* workspace, cudaStream_t stream) {
  const Geometry geometry = geometry_of(shape);
  const Workspace<Compute<T>> work(workspace, geometry);
  const dim3 grid = grid_of<kLast>(geometry);
  const unsigned channel_blocks = blocks_for(geometry.channels);
  if (options.training) {
    moments_kernel<kLast><<<grid, kThreads, 0, stream>>>(tensors.x, geometry, work);
    check_launch("moments_kernel");
    merge_moments_kernel<<<channel_blocks, kThreads, 0, stream>>>(tensors, geometry, work);
    check_launch("merge_moments_kernel");
  }
  coefficients_kernel<<<channel_blocks, kThreads, 0, stream>>>(
      tensors.mean, tensors.var, tensors.weight, tensors.bias, options.eps, geometry, work);
  check_launch("coefficients_kernel");
  apply_kernel<kLast><<<grid, kThreads, 0, stream>>>(tensors, options, geometry, work);
  check_launch("apply_kernel");
}

template <bool kLast, class T>
void backward(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
              const BatchNormOptions& options, double* workspace, cudaStream_t stream) {
  const Geometry geometry = geometry_of(shape);
  const Workspace<Compute<T>> work(workspace, geometry);
  const dim3 grid = grid_of<kLast>(geometry);
  const unsigned channel_blocks = blocks_for(geometry.channels);
  coefficients_kernel<<<channel_blocks, kThreads, 0, stream>>>(
      tensors.mean, tensors.var, tensors.weight, tensors.bias, options.eps, geometry, work);
  check_launch("coefficients_kernel");
  gradient_sums_kernel<kLast><<<grid, kThreads, 0, stream>>>(tensors, options, geometry, work);
  check_launch("gradient_sums_kernel");
  merge_sums_kernel<<<channel_blocks, kThreads, 0, stream>>>(tensors, options, geometry, work);
  check_launch("merge_sums_kernel");
  input_gradient_kernel<kLast><<<grid, kThreads, 0, stream>>>(tensors, options, geometry, work);
  check_launch("input_gradient_kernel");
}

}  // namespace

int64_t batch_norm_workspace_cuda(const BatchNormShape& shape) {
  const Geometry geometry = geometry_of(shape);
  return 2 * geometry.slices * geometry.channels + 5 * geometry.channels;
}

template <class T>
void batch_norm_act_cuda(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                         const BatchNormOptions& options, double* workspace, CudaStream stream) {
  if (shape.count() == 0 || shape.channels == 0) return;
  shape.channels_last ? forward<true>(tensors, shape, options, workspace, native(stream))
                      : forward<false>(tensors, shape, options, workspace, native(stream));
}

template <class T>
void batch_norm_act_backward_cuda(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                  const BatchNormOptions& options, double* workspace,
                                  CudaStream stream) {
  if (shape.count() == 0 || shape.channels == 0) return;
  shape.channels_last ? backward<true>(tensors, shape, options, workspace, native(stream))
                      : backward<false>(tensors, shape, options, workspace, native(stream));
}

template <class S>
void batch_norm_track_cuda(const BatchNormTracking<S>& tracking, CudaStream stream) {
  track_kernel<<<1, kThreads, 0, native(stream)>>>(tracking);
  check_launch("track_kernel");
}

template void batch_norm_track_cuda(const BatchNormTracking<float>&, CudaStream);
template void batch_norm_track_cuda(const BatchNormTracking<double>&, CudaStream);

#define INSTANTIATE(T)                                                                           \
  template void batch_norm_act_cuda(const BatchNormForward<T>&, const BatchNormShape&,           \
                                    const BatchNormOptions&, double*, CudaStream);               \
  template void batch_norm_act_backward_cuda(const BatchNormBackward<T>&, const BatchNormShape&, \
                                             const BatchNormOptions&, double*, CudaStream);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline
