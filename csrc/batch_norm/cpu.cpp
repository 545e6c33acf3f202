#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "batch_norm/batch_norm.h"
#include "batch_norm/panel.h"
#include "batch_norm/rows.h"
#include "common/isa.h"

namespace sightline {
namespace {

constexpr int64_t kChunk = 2048;  // elements of a buffer: a few of them fit the first-level cache

template <class T>
using Buffer = Compute<T>[kChunk];

// Rows of `from` in computing type: where they lie, or widened into buffer.
template <class T>
Rows<const Compute<T>> load(const T* from, int64_t stride, int64_t rows, int64_t width,
                            Buffer<T>& buffer) {
  if constexpr (kIsHalf<T>) {
    const Rows<Compute<T>> to{buffer, width};
    run_for_isa<WidenRows>(Rows<const T>{from, stride}, to, rows, width);
    return {buffer, width};
  } else {
    return {from, stride};
  }
}

// Where a result of computing type goes: to its place, or to buffer until store() narrows it.
template <class T>
Rows<Compute<T>> place(T* to, int64_t stride, int64_t width, Buffer<T>& buffer) {
  if constexpr (kIsHalf<T>)
    return {buffer, width};
  else
    return {to, stride};
}
template <class T>
void store(Rows<const Compute<T>> from, T* to, int64_t stride, int64_t rows, int64_t width) {
  if constexpr (kIsHalf<T>)
    run_for_isa<NarrowRows>(from, Rows<T>{to, stride}, rows, width);
  else if (from.data != to)
    run_for_isa<NarrowRows>(from, Rows<T>{to, stride}, rows, width);
}

// Calls f(first row, rows) for runs of rows that fit a buffer.
template <class F>
void for_each_chunk(int64_t begin, int64_t end, int64_t width, F f) {
  const int64_t most = std::max<int64_t>(kChunk / width, 1);
  for (int64_t r = begin; r < end; r += most) f(r, std::min(most, end - r));
}

// Coefficients of the columns: one a channel, repeated where a row holds several positions.
template <class S>
class Coefficients {
 public:
  Coefficients(int64_t channels, int64_t fold)
      : channels_(channels), fold_(fold), mean_(channels * fold), scale_(mean_), shift_(mean_) {}

  // The rounding of mean to S goes to the shift, where it costs nothing.
  void set(int64_t c, double mean, double scale, double bias) {
    const S rounded = static_cast<S>(mean);
    const S shift = static_cast<S>(bias - scale * (mean - rounded));
    for (int64_t j = c; j < channels_ * fold_; j += channels_) {
      mean_[j] = rounded;
      scale_[j] = static_cast<S>(scale);
      shift_[j] = shift;
    }
  }
  Affine<S> at(int64_t first) const {
    return {mean_.data() + first, scale_.data() + first, shift_.data() + first};
  }

 private:
  int64_t channels_, fold_;
  std::vector<S> mean_, scale_, shift_;
};

template <class S>
double value_or(const S* p, int64_t i, double otherwise) {
  return p == nullptr ? otherwise : static_cast<double>(p[i]);
}

// v[c] = sum of v[c + k * period] over k, pairwise.
void fold_columns(double* v, int64_t width, int64_t period) {
  for (int64_t n = width / period; n > 1; n -= n / 2) {
    const int64_t from = (n - n / 2) * period, count = n / 2 * period;
    for (int64_t j = 0; j < count; ++j) v[j] += v[from + j];
  }
}

// mean and m2 (the sum of squared differences) of the panel's channels take in the panel.
template <class T>
void add_panel_moments(const T* x, const Panel& panel, double* mean, double* m2) {
  using S = Compute<T>;
  const int64_t width = panel.width, folds = width / panel.period;
  double column_mean[kMaxWidth], column_m2[kMaxWidth], centre[kMaxWidth];
  S sum[kMaxWidth], square[kMaxWidth], origin[kMaxWidth];
  std::fill_n(column_mean, width, 0.0);
  std::fill_n(column_m2, width, 0.0);
  for (int64_t begin = 0; begin < panel.rows; begin += kBlockRows) {
    const int64_t end = std::min(begin + kBlockRows, panel.rows);
    const T* block = x + panel.offset + begin * panel.stride;
    std::fill_n(sum, width, S(0));
    std::fill_n(square, width, S(0));
    for (int64_t j = 0; j < width; ++j) origin[j] = widen(block[j]);
    for_each_chunk(0, end - begin, width, [&](int64_t r, int64_t rows) {
      Buffer<T> buffer;
      run_for_isa<AddMoments>(load<T>(block + r * panel.stride, panel.stride, rows, width, buffer),
                              static_cast<const S*>(origin), static_cast<S*>(sum),
                              static_cast<S*>(square), rows, width);
    });
    run_for_isa<MergeSums>(double(begin), static_cast<double*>(column_mean),
                           static_cast<double*>(column_m2), double(end - begin),
                           static_cast<const S*>(origin), static_cast<const S*>(sum),
                           static_cast<const S*>(square), width);
  }
  // Columns of one channel hold equally many elements: their means average.
  std::copy_n(column_mean, width, centre);
  fold_columns(centre, width, panel.period);
  for (int64_t c = 0; c < panel.period; ++c) centre[c] /= double(folds);
  for (int64_t k = 0; k < folds; ++k) {
    for (int64_t c = 0; c < panel.period; ++c) {
      const int64_t j = k * panel.period + c;
      const double delta = column_mean[j] - centre[c];
      column_m2[j] += delta * delta * double(panel.rows);
    }
  }
  fold_columns(column_m2, width, panel.period);
  run_for_isa<MergeMoments>(double(panel.before), mean, m2, double(panel.rows * folds),
                            static_cast<const double*>(centre),
                            static_cast<const double*>(column_m2), panel.period);
}

// The biased variance; rounding must not leave it below zero, and NaN stays.
double variance(double m2, int64_t count) { return m2 < 0 ? 0.0 : m2 / double(count); }

int64_t grain_of(int64_t elements_per_task) {
  return std::max<int64_t>(kMinGroup / std::max<int64_t>(elements_per_task, 1), 1);
}

template <class T, class Tasks>
class Forward {
 public:
  using S = Compute<T>;
  Forward(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
          const BatchNormOptions& options)
      : t_(tensors),
        shape_(shape),
        options_(options),
        tasks_(shape),
        coefficients_(shape.channels, tasks_.fold()) {}

  void run(ParallelFor parallel_for) {
    const int64_t grain = grain_of(tasks_.elements_per_task());
    if constexpr (Tasks::kStep == 0) {
      parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c) {
          if (options_.training) {
            double mean = 0, m2 = 0;
            tasks_.for_each_panel(c, [&](const Panel& panel) {
              // add_panel_moments indexes by channel of the panel, which is 0 of these two.
              add_panel_moments(t_.x, panel, &mean, &m2);
            });
            t_.mean[c] = mean;
            t_.var[c] = variance(m2, shape_.count());
          }
          set_coefficients(c);
          tasks_.for_each_panel(c, [&](const Panel& panel) { apply(panel); });
        }
      });
    } else {
      if (options_.training) group_moments(grain, parallel_for);
      for (int64_t c = 0; c < shape_.channels; ++c) set_coefficients(c);
      parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
        for (int64_t g = begin; g < end; ++g)
          tasks_.for_each_panel(g, [&](const Panel& panel) { apply(panel); });
      });
    }
  }

 private:
  void group_moments(int64_t grain, ParallelFor parallel_for) {
    const int64_t channels = shape_.channels;
    std::vector<double> mean(tasks_.tasks() * channels), m2(mean);
    parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        tasks_.for_each_panel(g, [&](const Panel& panel) {
          const int64_t first = g * channels + panel.first;
          add_panel_moments(t_.x, panel, mean.data() + first, m2.data() + first);
        });
      }
    });
    int64_t count = tasks_.positions(0);
    for (int64_t g = 1; g < tasks_.tasks(); ++g) {
      run_for_isa<MergeMoments>(double(count), mean.data(), m2.data(), double(tasks_.positions(g)),
                                static_cast<const double*>(mean.data() + g * channels),
                                static_cast<const double*>(m2.data() + g * channels), channels);
      count += tasks_.positions(g);
    }
    for (int64_t c = 0; c < channels; ++c) {
      t_.mean[c] = mean[c];
      t_.var[c] = variance(m2[c], count);
    }
  }

  void set_coefficients(int64_t c) {
    const double invstd = 1 / std::sqrt(t_.var[c] + options_.eps);
    coefficients_.set(c, t_.mean[c], value_or(t_.weight, c, 1) * invstd, value_or(t_.bias, c, 0));
  }

  void apply(const Panel& panel) {
    const Affine<S> affine = coefficients_.at(panel.first);
    for_each_chunk(0, panel.rows, panel.width, [&](int64_t r, int64_t rows) {
      Buffer<T> x_buffer, residual_buffer, y_buffer;
      const int64_t offset = panel.offset + r * panel.stride;
      const auto x = load(t_.x + offset, panel.stride, rows, panel.width, x_buffer);
      Rows<const S> residual;
      if (t_.residual != nullptr)
        residual = load(t_.residual + offset, panel.stride, rows, panel.width, residual_buffer);
      const auto y = place(t_.y + offset, panel.stride, panel.width, y_buffer);
      dispatch_activation(options_.activation, [&]<class Act>(Act) {
        run_for_isa<ApplyRows<Act, Tasks::kStep>>(x, residual, affine, S(options_.negative_slope),
                                                  y, rows, panel.width);
      });
      store({y.data, y.stride}, t_.y + offset, panel.stride, rows, panel.width);
    });
  }

  const BatchNormForward<T>& t_;
  const BatchNormShape& shape_;
  const BatchNormOptions& options_;
  Tasks tasks_;
  Coefficients<S> coefficients_;
};

template <class T, class Tasks>
class Backward {
 public:
  using S = Compute<T>;
  Backward(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
           const BatchNormOptions& options)
      : t_(tensors),
        shape_(shape),
        options_(options),
        tasks_(shape),
        coefficients_(shape.channels, tasks_.fold()),
        slope_(shape.channels * tasks_.fold()),
        offset_(slope_) {
    for (int64_t c = 0; c < shape.channels; ++c)
      coefficients_.set(c, t_.mean[c], value_or(t_.weight, c, 1) * invstd(c),
                        value_or(t_.bias, c, 0));
  }

  void run(ParallelFor parallel_for) {
    const int64_t grain = grain_of(tasks_.elements_per_task()), channels = shape_.channels;
    if constexpr (Tasks::kStep == 0) {
      parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c) {
          double sum = 0, dot = 0;
          tasks_.for_each_panel(c, [&](const Panel& panel) { add_sums(panel, &sum, &dot); });
          finish(c, sum, dot);
          tasks_.for_each_panel(c, [&](const Panel& panel) { input_gradient(panel); });
        }
      });
    } else {
      std::vector<double> sum(tasks_.tasks() * channels), dot(sum);
      parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
        for (int64_t g = begin; g < end; ++g) {
          tasks_.for_each_panel(g, [&](const Panel& panel) {
            const int64_t first = g * channels + panel.first;
            add_sums(panel, sum.data() + first, dot.data() + first);
          });
        }
      });
      for (int64_t g = 1; g < tasks_.tasks(); ++g) {
        for (int64_t c = 0; c < channels; ++c) {
          sum[c] += sum[g * channels + c];
          dot[c] += dot[g * channels + c];
        }
      }
      for (int64_t c = 0; c < channels; ++c) finish(c, sum[c], dot[c]);
      parallel_for(tasks_.tasks(), grain, [&](int64_t begin, int64_t end) {
        for (int64_t g = begin; g < end; ++g)
          tasks_.for_each_panel(g, [&](const Panel& panel) { input_gradient(panel); });
      });
    }
  }

 private:
  struct Buffers {
    Buffer<T> x, grad, residual, dx;
    Compute<T> g[kChunk];
  };

  double invstd(int64_t c) const { return 1 / std::sqrt(t_.var[c] + options_.eps); }

  // The gradient at the affine part's output, of `rows` rows from `offset`.
  Rows<const S> activation_gradient(const Panel& panel, int64_t offset, int64_t rows,
                                    Rows<const S> x, Buffers& buffers) const {
    const int64_t stride = panel.stride, width = panel.width;
    const auto grad = load(t_.grad + offset, stride, rows, width, buffers.grad);
    if (options_.activation == Activation::kNone) return grad;
    Rows<const S> residual;
    if (t_.residual != nullptr)
      residual = load(t_.residual + offset, stride, rows, width, buffers.residual);
    const Rows<S> g{buffers.g, width};
    dispatch_activation(options_.activation, [&]<class Act>(Act) {
      run_for_isa<ActivationGradientRows<Act, Tasks::kStep>>(
          grad, x, residual, coefficients_.at(panel.first), S(options_.negative_slope), g, rows,
          width);
    });
    return {g.data, g.stride};
  }

  // Adds the panel's sums of g and g * (x - rounded mean), a channel each; writes grad_residual.
  void add_sums(const Panel& panel, double* sum, double* dot) const {
    const int64_t stride = panel.stride, width = panel.width;
    double column_sum[kMaxWidth], column_dot[kMaxWidth];
    S block_sum[kMaxWidth], block_dot[kMaxWidth];
    std::fill_n(column_sum, width, 0.0);
    std::fill_n(column_dot, width, 0.0);
    for (int64_t begin = 0; begin < panel.rows; begin += kBlockRows) {
      std::fill_n(block_sum, width, S(0));
      std::fill_n(block_dot, width, S(0));
      const int64_t end = std::min(begin + kBlockRows, panel.rows);
      for_each_chunk(begin, end, width, [&](int64_t r, int64_t rows) {
        Buffers buffers;
        const int64_t offset = panel.offset + r * stride;
        const auto x = load(t_.x + offset, stride, rows, width, buffers.x);
        const auto g = activation_gradient(panel, offset, rows, x, buffers);
        if (t_.grad_residual != nullptr) store(g, t_.grad_residual + offset, stride, rows, width);
        run_for_isa<AddGradients<Tasks::kStep>>(g, x, coefficients_.at(panel.first).mean,
                                                static_cast<S*>(block_sum),
                                                static_cast<S*>(block_dot), rows, width);
      });
      for (int64_t j = 0; j < width; ++j) {
        column_sum[j] += double(block_sum[j]);
        column_dot[j] += double(block_dot[j]);
      }
    }
    fold_columns(column_sum, width, panel.period);
    fold_columns(column_dot, width, panel.period);
    for (int64_t c = 0; c < panel.period; ++c) {
      sum[c] += column_sum[c];
      dot[c] += column_dot[c];
    }
  }

  // From the sums of a channel: gradients of its parameters, and the coefficients of grad_x.
  void finish(int64_t c, double sum, double dot) {
    const double mean = t_.mean[c], low = mean - double(static_cast<S>(mean));
    const double invstd = this->invstd(c), centred = dot - low * sum;
    if (t_.grad_weight != nullptr) t_.grad_weight[c] = static_cast<S>(centred * invstd);
    if (t_.grad_bias != nullptr) t_.grad_bias[c] = static_cast<S>(sum);
    const double scale = value_or(t_.weight, c, 1) * invstd / double(shape_.count());
    const double slope = -scale * invstd * invstd * centred;
    for (int64_t k = 0; k < tasks_.fold(); ++k) {
      slope_[c + k * shape_.channels] = static_cast<S>(slope);
      offset_[c + k * shape_.channels] = static_cast<S>(-scale * sum - slope * low);
    }
  }

  void input_gradient(const Panel& panel) const {
    const int64_t stride = panel.stride, width = panel.width;
    const Affine<S> affine = coefficients_.at(panel.first);
    for_each_chunk(0, panel.rows, width, [&](int64_t r, int64_t rows) {
      Buffers buffers;
      const int64_t offset = panel.offset + r * stride;
      const auto x = load(t_.x + offset, stride, rows, width, buffers.x);
      const auto g = t_.grad_residual != nullptr
                         ? load(static_cast<const T*>(t_.grad_residual + offset), stride, rows,
                                width, buffers.grad)
                         : activation_gradient(panel, offset, rows, x, buffers);
      const auto dx = place(t_.grad_x + offset, stride, width, buffers.dx);
      if (options_.training) {
        const InputGradient<S> to_x{affine.scale, slope_.data() + panel.first,
                                    offset_.data() + panel.first};
        run_for_isa<InputGradientRows<Tasks::kStep>>(g, x, affine.mean, to_x, dx, rows, width);
      } else {
        run_for_isa<ScaleRows<Tasks::kStep>>(g, affine.scale, dx, rows, width);
      }
      store({dx.data, dx.stride}, t_.grad_x + offset, stride, rows, width);
    });
  }

  const BatchNormBackward<T>& t_;
  const BatchNormShape& shape_;
  const BatchNormOptions& options_;
  Tasks tasks_;
  Coefficients<S> coefficients_;
  std::vector<S> slope_, offset_;
};

}  // namespace

template <class T>
void batch_norm_act_cpu(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                        const BatchNormOptions& options, ParallelFor parallel_for) {
  if (shape.count() == 0 || shape.channels == 0) return;
  if (shape.channels_last)
    Forward<T, GroupTasks>(tensors, shape, options).run(parallel_for);
  else
    Forward<T, ChannelTasks>(tensors, shape, options).run(parallel_for);
}

template <class T>
void batch_norm_act_backward_cpu(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                 const BatchNormOptions& options, ParallelFor parallel_for) {
  if (shape.count() == 0 || shape.channels == 0) return;
  if (shape.channels_last)
    Backward<T, GroupTasks>(tensors, shape, options).run(parallel_for);
  else
    Backward<T, ChannelTasks>(tensors, shape, options).run(parallel_for);
}

template <class S>
void batch_norm_track_cpu(const BatchNormTracking<S>& t) {
  if (t.num_batches_tracked != nullptr) ++*t.num_batches_tracked;
  const double factor = t.momentum < 0 ? 1 / double(*t.num_batches_tracked) : t.momentum;
  const double unbiased = double(t.count) / double(t.count - 1);
  for (int64_t c = 0; c < t.channels; ++c) {
    t.running_mean[c] = S(t.running_mean[c] + factor * (t.mean[c] - t.running_mean[c]));
    t.running_var[c] = S(t.running_var[c] + factor * (t.var[c] * unbiased - t.running_var[c]));
  }
}

template void batch_norm_track_cpu(const BatchNormTracking<float>&);
template void batch_norm_track_cpu(const BatchNormTracking<double>&);

#define INSTANTIATE(T)                                                                          \
  template void batch_norm_act_cpu(const BatchNormForward<T>&, const BatchNormShape&,           \
                                   const BatchNormOptions&, ParallelFor);                       \
  template void batch_norm_act_backward_cpu(const BatchNormBackward<T>&, const BatchNormShape&, \
                                            const BatchNormOptions&, ParallelFor);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline
