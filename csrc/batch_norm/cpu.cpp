#include <algorithm>
#include <vector>

#include "batch_norm/batch_norm.h"
#include "batch_norm/columns.h"
#include "batch_norm/panel.h"
#include "batch_norm/rows.h"
#include "common/isa.h"

namespace sightline {
namespace {

// The biased variance; rounding must not leave it below zero, and NaN stays.
double variance(double m2, int64_t count) { return m2 < 0 ? 0.0 : m2 / double(count); }

template <class Tasks>
int64_t grain_of(const Tasks& tasks) {
  return std::max<int64_t>(kMinGroup / std::max<int64_t>(tasks.elements_per_task(), 1), 1);
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
    if constexpr (Tasks::kStep == 0) {
      parallel_for(tasks_.tasks(), grain_of(tasks_), [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c) {
          if (options_.training) {
            t_.mean[c] = t_.var[c] = 0;
            add_moments(c, t_.mean + c, t_.var + c);
            t_.var[c] = variance(t_.var[c], shape_.count());
          }
          set_coefficients(c);
          tasks_.for_each_panel(c, [&](const Panel& panel) { apply(panel); });
        }
      });
    } else {
      if (options_.training) find_moments(parallel_for);
      for (int64_t c = 0; c < shape_.channels; ++c) set_coefficients(c);
      parallel_for(tasks_.tasks(), grain_of(tasks_), [&](int64_t begin, int64_t end) {
        for (int64_t g = end; g-- > begin;)  // backwards: the last ones are still in the cache
          tasks_.for_each_panel(g, [&](const Panel& panel) { apply(panel); });
      });
    }
  }

 private:
  // Merges a task's elements into the moments of its channels.
  void add_moments(int64_t task, double* mean, double* m2) const {
    const int64_t base = tasks_.first_channel(task);
    tasks_.for_each_panel(task, [&](const Panel& panel) {
      ColumnMoments<T> columns(panel);
      for_each_chunk(panel, [&](const Chunk& chunk) { columns.add(t_.x, chunk); });
      columns.merge_into(mean + panel.first - base, m2 + panel.first - base, panel.before);
    });
  }

  // Groups in parallel, then merged in their order.
  void find_moments(ParallelFor parallel_for) {
    const int64_t channels = shape_.channels, groups = tasks_.tasks();
    std::vector<double> mean(groups * channels), m2(mean);
    parallel_for(groups, grain_of(tasks_), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g)
        add_moments(g, mean.data() + g * channels, m2.data() + g * channels);
    });
    int64_t count = tasks_.positions(0);
    for (int64_t g = 1; g < groups; ++g) {
      run_for_isa<MergeMoments>(double(count), mean.data(), m2.data(), double(tasks_.positions(g)),
                                mean.data() + g * channels, m2.data() + g * channels, channels);
      count += tasks_.positions(g);
    }
    for (int64_t c = 0; c < channels; ++c) {
      t_.mean[c] = mean[c];
      t_.var[c] = variance(m2[c], count);
    }
  }

  void set_coefficients(int64_t c) {
    const double scale = value_or(t_.weight, c, 1) * inverse_std(t_.var[c], options_.eps);
    coefficients_.set(c, t_.mean[c], scale, value_or(t_.bias, c, 0));
  }

  void apply(const Panel& panel) const {
    const Affine<S> affine = coefficients_.at(panel.first);
    const S slope = static_cast<S>(options_.negative_slope);
    for_each_chunk(panel, [&](const Chunk& chunk) {
      Buffer<T> x_buffer, residual_buffer, y_buffer;
      const Rows<const S> x = load(t_.x, chunk, x_buffer);
      Rows<const S> residual;
      if (t_.residual != nullptr) residual = load(t_.residual, chunk, residual_buffer);
      const Rows<S> y = place(t_.y, chunk, y_buffer);
      dispatch_activation(options_.activation, [&]<class Act>(Act) {
        run_for_isa<ApplyRows<Act, Tasks::kStep>>(x, residual, affine, slope, y, chunk.rows,
                                                  chunk.width);
      });
      store({y.data, y.stride}, t_.y, chunk);
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
        slope_(static_cast<S>(options.negative_slope)),
        factor_(shape.channels * tasks_.fold()),
        offset_(shape.channels * tasks_.fold()) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      const double scale = value_or(t_.weight, c, 1) * inverse_std(t_.var[c], options_.eps);
      coefficients_.set(c, t_.mean[c], scale, value_or(t_.bias, c, 0));
    }
  }

  void run(ParallelFor parallel_for) {
    if constexpr (Tasks::kStep == 0) {
      parallel_for(tasks_.tasks(), grain_of(tasks_), [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; ++c) {
          double sum = 0, dot = 0;
          add_sums(c, &sum, &dot);
          finish(c, sum, dot);
          tasks_.for_each_panel(c, [&](const Panel& panel) { input_gradient(panel); });
        }
      });
    } else {
      find_sums(parallel_for);
      parallel_for(tasks_.tasks(), grain_of(tasks_), [&](int64_t begin, int64_t end) {
        for (int64_t g = end; g-- > begin;)  // as in Forward
          tasks_.for_each_panel(g, [&](const Panel& panel) { input_gradient(panel); });
      });
    }
  }

 private:
  // With a residual, u is not a function of x alone: g = grad * act'(u) is made once, kept as
  // grad_residual, and read again as the gradient of an op without an activation.
  bool keeps_g() const { return t_.grad_residual != nullptr; }

  // Adds a task's sums of g and g * (x - rounded mean) to those of its channels.
  void add_sums(int64_t task, double* sum, double* dot) const {
    const int64_t base = tasks_.first_channel(task);
    tasks_.for_each_panel(task, [&](const Panel& panel) {
      const Affine<S> affine = coefficients_.at(panel.first);
      ColumnSums<S> columns(panel);
      for_each_chunk(panel, [&](const Chunk& chunk) {
        Buffer<T> x_buffer, grad_buffer;
        const Rows<const S> x = load(t_.x, chunk, x_buffer);
        const Rows<const S> grad = load(t_.grad, chunk, grad_buffer);
        if (keeps_g()) {
          Buffer<T> residual_buffer, g_buffer;
          const Rows<const S> residual = load(t_.residual, chunk, residual_buffer);
          const Rows<S> g = place(t_.grad_residual, chunk, g_buffer);
          dispatch_activation(options_.activation, [&]<class Act>(Act) {
            run_for_isa<ResidualGradientRows<Act, Tasks::kStep>>(grad, x, residual, affine, slope_,
                                                                 g, chunk.rows, chunk.width);
          });
          const Rows<const S> made{g.data, g.stride};
          store(made, t_.grad_residual, chunk);
          columns.template add<Identity, Tasks::kStep>(made, x, affine, slope_, chunk.rows);
        } else {
          dispatch_activation(options_.activation, [&]<class Act>(Act) {
            columns.template add<Act, Tasks::kStep>(grad, x, affine, slope_, chunk.rows);
          });
        }
      });
      columns.merge_into(sum + panel.first - base, dot + panel.first - base);
    });
  }

  // Groups in parallel, then added in their order.
  void find_sums(ParallelFor parallel_for) {
    const int64_t channels = shape_.channels, groups = tasks_.tasks();
    std::vector<double> sum(groups * channels), dot(sum);
    parallel_for(groups, grain_of(tasks_), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g)
        add_sums(g, sum.data() + g * channels, dot.data() + g * channels);
    });
    for (int64_t g = 1; g < groups; ++g) {
      for (int64_t c = 0; c < channels; ++c) {
        sum[c] += sum[g * channels + c];
        dot[c] += dot[g * channels + c];
      }
    }
    for (int64_t c = 0; c < channels; ++c) finish(c, sum[c], dot[c]);
  }

  // From the sums of a channel: the gradients of its parameters, and the coefficients of grad_x,
  // weight * invstd * (g - sum / m - (x - mean) * invstd^2 * dot / m).
  void finish(int64_t c, double sum, double dot) {
    const double invstd = inverse_std(t_.var[c], options_.eps);
    const double low = t_.mean[c] - double(static_cast<S>(t_.mean[c]));
    dot -= low * sum;
    t_.grad_weight[c] = static_cast<S>(dot * invstd);
    t_.grad_bias[c] = static_cast<S>(sum);
    const double scale = value_or(t_.weight, c, 1) * invstd / double(shape_.count());
    const double factor = -scale * invstd * invstd * dot;
    for (int64_t j = c; j < shape_.channels * tasks_.fold(); j += shape_.channels) {
      factor_.data()[j] = static_cast<S>(factor);
      offset_.data()[j] = static_cast<S>(-scale * sum - factor * low);
    }
  }

  void input_gradient(const Panel& panel) const {
    const Affine<S> affine = coefficients_.at(panel.first);
    InputGradient<S> to_x{nullptr, nullptr};
    if (options_.training) to_x = {factor_.data() + panel.first, offset_.data() + panel.first};
    const T* const source = keeps_g() ? t_.grad_residual : t_.grad;
    const Activation activation = keeps_g() ? Activation::kNone : options_.activation;
    for_each_chunk(panel, [&](const Chunk& chunk) {
      Buffer<T> x_buffer, grad_buffer, dx_buffer;
      const Rows<const S> x = load(t_.x, chunk, x_buffer);
      const Rows<const S> grad = load(source, chunk, grad_buffer);
      const Rows<S> dx = place(t_.grad_x, chunk, dx_buffer);
      dispatch_activation(activation, [&]<class Act>(Act) {
        run_for_isa<InputGradientRows<Act, Tasks::kStep>>(grad, x, affine, slope_, to_x, dx,
                                                          chunk.rows, chunk.width);
      });
      store({dx.data, dx.stride}, t_.grad_x, chunk);
    });
  }

  const BatchNormBackward<T>& t_;
  const BatchNormShape& shape_;
  const BatchNormOptions& options_;
  Tasks tasks_;
  Coefficients<S> coefficients_;
  S slope_;
  AlignedArray<S> factor_, offset_;
};

// Calls f(Tasks{}) with the tasks of the layout, unless there is nothing to do.
template <class F>
void dispatch_layout(const BatchNormShape& shape, F f) {
  if (shape.count() == 0 || shape.channels == 0) return;
  shape.channels_last ? f(GroupTasks(shape)) : f(ChannelTasks(shape));
}

}  // namespace

template <class T>
void batch_norm_act_cpu(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                        const BatchNormOptions& options, ParallelFor parallel_for) {
  dispatch_layout(shape, [&]<class Tasks>(Tasks) {
    Forward<T, Tasks>(tensors, shape, options).run(parallel_for);
  });
}

template <class T>
void batch_norm_act_backward_cpu(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                 const BatchNormOptions& options, ParallelFor parallel_for) {
  dispatch_layout(shape, [&]<class Tasks>(Tasks) {
    Backward<T, Tasks>(tensors, shape, options).run(parallel_for);
  });
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
