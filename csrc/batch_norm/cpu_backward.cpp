#include <algorithm>
#include <limits>
#include <vector>

#include "batch_norm/bands.h"
#include "batch_norm/batch_norm.h"
#include "batch_norm/chunks.h"
#include "batch_norm/coefficients.h"
#include "batch_norm/groups.h"
#include "batch_norm/rows.h"
#include "batch_norm/sums.h"
#include "common/isa.h"

namespace sightline::batch_norm {
namespace {

int64_t grain_of(int64_t elements) {
  return std::max<int64_t>(kSmallTask / std::max<int64_t>(elements, 1), 1);
}

// What both layouts share: the coefficients, and the loops.
template <class T>
class Backward {
 public:
  using S = Compute<T>;
  Backward(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
           const BatchNormOptions& options, BatchNormPasses passes, int64_t fold)
      : t_(tensors),
        options_(options),
        passes_(passes),
        count_(shape.count()),
        from_(tensors.y != nullptr ? tensors.y : tensors.x),
        coefficients_(shape.channels, fold, inverts()),
        input_(shape.channels, fold),
        slope_(static_cast<S>(options.negative_slope)),
        keeps_(!kIsHalf<T> && in_order() && options.activation == Activation::kSilu),
        large_(!keeps_ && count_ * shape.channels * int64_t(sizeof(T)) > kStreamedOutput) {
    coefficients_.set(per_channel(), 0, shape.channels);
    if (!inverts()) return;
    for (int64_t c = 0; c < shape.channels; ++c) {
      const double weight = value_or(t_.weight, c, 1), bias = value_or(t_.bias, c, 0);
      coefficients_.set_unscale(c, batch_norm_invertible<T>(weight, bias)
                                       ? 1 / per_channel().scale(c)
                                       : std::numeric_limits<double>::quiet_NaN());
    }
  }

  bool sums() const {
    return passes_ == BatchNormPasses::kSums ||
           (passes_ == BatchNormPasses::kBoth && (options_.training || t_.grad_weight != nullptr));
  }
  bool input() const { return passes_ != BatchNormPasses::kSums; }
  // Whether the second pass waits for the sums of the first.
  bool in_order() const { return passes_ == BatchNormPasses::kBoth && options_.training; }

  // From the sums of g and of g * t of channels: the gradients of their parameters, and the
  // coefficients of grad_x. Changes dot.
  void finish(int64_t first, int64_t n, const double* sum, double* dot) {
    const PerChannel<S> of = per_channel().from(first);
    run_for_isa<CentreDots>(of, sum, dot, n);
    if (passes_ == BatchNormPasses::kSums) {
      std::copy_n(sum, n, t_.sum + first);
      std::copy_n(dot, n, t_.dot + first);
      return;
    }
    if (t_.grad_weight != nullptr)
      run_for_isa<SetParameterGradients>(of, sum, static_cast<const double*>(dot), n,
                                         t_.grad_weight + first, t_.grad_bias + first);
    input_.set(per_channel(), first, n, sum, dot, count_);
  }
  void set_input_from_given(int64_t channels) {
    if (passes_ == BatchNormPasses::kInput && options_.training)
      input_.set(per_channel(), 0, channels, t_.sum, t_.dot, 1);
  }

  // What a pass reads of a chunk.
  struct Loaded {
    ChunkBuffer<T> grad, from, residual;
    GradientRows<S> rows;
  };
  void load_chunk(const Chunk& chunk, Loaded& to) const {
    to.rows = {load(t_.grad, chunk, to.grad), load(from_, chunk, to.from),
               load(t_.residual, chunk, to.residual), bits_of(t_.mask, chunk)};
  }

  // Adds up the part of a band that is a task, to sums and dots, one number per channel.
  void add_band(const Bands& bands, int64_t task, double* sum, double* dot) const {
    const int64_t base = bands.first(task / bands.parts());
    const int64_t channels = bands.channels(task / bands.parts());
    Sums found[kMostChannels];
    alignas(kLineBytes) S sums[kMostChannels * kLanes], dots[kMostChannels * kLanes];
    std::fill_n(sums, channels * kLanes, S(0));
    std::fill_n(dots, channels * kLanes, S(0));
    bands.for_each_chunk(task, [&](const Chunk& whole, bool last) {
      split<Per::kRow>(whole, kMostElements<T>, [&](const Chunk& chunk) {
        Loaded loaded;
        load_chunk(chunk, loaded);
        const int64_t first = chunk.first - base;
        dispatch_recipe(t_, options_, [&]<class Recipe>(Recipe) {
          if (bands.long_rows())
            run_for_isa<AddLongRows<Recipe>>(loaded.rows, coefficients_.at(chunk.first), slope_,
                                             found + first, kept(chunk), chunk.rows, chunk.width);
          else
            run_for_isa<AddGradientRows<Recipe>>(loaded.rows, coefficients_.at(chunk.first), slope_,
                                                 sums + first * kLanes, dots + first * kLanes,
                                                 kept(chunk), chunk.rows, chunk.width);
        });
      });
      if (last && !bands.long_rows())
        run_for_isa<MergeSumRows>(static_cast<S*>(sums), static_cast<S*>(dots),
                                  static_cast<Sums*>(found), channels);
    });
    for (int64_t r = 0; r < channels; ++r) {
      sum[r] = found[r].sum;
      dot[r] = found[r].dot;
    }
  }

  void add_panel(const Panel& panel, double* sum, double* dot) const {
    ColumnSums<S> columns(panel);
    for_each_chunk(panel, [&](const Chunk& chunk) {
      Loaded loaded;
      load_chunk(chunk, loaded);
      dispatch_recipe(t_, options_, [&]<class Recipe>(Recipe) {
        columns.template add<Recipe>(loaded.rows, coefficients_.at(chunk.first), slope_,
                                     kept(chunk), chunk.rows);
      });
    });
    columns.merge_into(sum, dot);
  }

  template <Per per>
  void input_gradient(const Chunk& whole) const {
    Output<T> to_x(t_.grad_x, whole, large_), to_residual(t_.grad_residual, whole, large_);
    const bool buffered = to_x.is_buffered() || to_residual.is_buffered();
    split<per>(whole, buffered ? kBuffered : kMostElements<T>, [&](const Chunk& chunk) {
      Loaded loaded;
      load_chunk(chunk, loaded);
      if (keeps_) loaded.rows.grad = as_read(kept(chunk));
      const auto run = [&]<class Recipe>(Recipe) {
        run_for_isa<InputGradientRows<Recipe, per>>(
            loaded.rows, coefficients_.at(chunk.first), slope_, input_coefficients(chunk.first),
            to_x.place(chunk), to_residual.place(chunk), chunk.rows, chunk.width,
            to_x.is_streamed_in_place(), to_residual.is_streamed_in_place());
      };
      keeps_ ? run(FromInput<Identity>{}) : dispatch_recipe(t_, options_, run);
      to_x.finish(chunk);
      to_residual.finish(chunk);
    });
  }

 private:
  PerChannel<S> per_channel() const { return {t_.mean, t_.var, t_.weight, t_.bias, options_.eps}; }
  // Where the first pass leaves g.
  Rows<S> kept(const Chunk& chunk) const {
    if constexpr (!kIsHalf<T>)
      if (keeps_) return {t_.grad_x + chunk.offset, chunk.stride};
    return {};
  }
  static Rows<const S> as_read(const Rows<S>& rows) { return {rows.data, rows.stride}; }
  bool inverts() const { return t_.y != nullptr && options_.training; }
  InputGradient<S> input_coefficients(int64_t first) const {
    return options_.training ? input_.at(first) : InputGradient<S>{nullptr, nullptr};
  }

  const BatchNormBackward<T>& t_;
  const BatchNormOptions& options_;
  BatchNormPasses passes_;
  int64_t count_;
  const T* from_;
  Coefficients<S> coefficients_;
  InputCoefficients<S> input_;
  S slope_;
  bool keeps_;  // g, in the place of grad_x, from the first pass to the second
  bool large_;
};

template <class T>
void bands_backward(const BatchNormBackward<T>& t, const BatchNormShape& shape,
                    const BatchNormOptions& options, BatchNormPasses passes,
                    ParallelFor parallel_for) {
  const int64_t arrays = t.residual == nullptr ? 2 : 3;
  const Bands bands(shape, arrays * int64_t(sizeof(T)));
  Backward<T> backward(t, shape, options, passes, 1);
  backward.set_input_from_given(shape.channels);
  // A band's second pass follows its first; only parts of channels wait for one another.
  const int64_t parts = bands.parts();
  const bool apart = parts > 1 && backward.in_order();
  std::vector<double> sum(parts > 1 ? bands.tasks() : 0), dot(sum);
  const auto run = [&](bool adds, bool applies) {
    parallel_for(bands.tasks(), grain_of(bands.elements()), [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        if (adds && parts > 1) {
          backward.add_band(bands, task, &sum[task], &dot[task]);
        } else if (adds) {
          double band_sum[kMostChannels], band_dot[kMostChannels];
          backward.add_band(bands, task, band_sum, band_dot);
          backward.finish(bands.first(task), bands.channels(task), band_sum, band_dot);
        }
        if (applies)
          bands.for_each_chunk_backwards(task, [&](const Chunk& chunk) {
            backward.template input_gradient<Per::kRow>(chunk);
          });
      }
      end_stream();
    });
  };
  run(backward.sums(), backward.input() && !apart);
  if (parts > 1 && backward.sums()) {
    std::vector<double> all_sum(shape.channels), all_dot(all_sum);
    for (int64_t task = 0; task < bands.tasks(); ++task) {  // of a channel in their order
      all_sum[task / parts] += sum[task];
      all_dot[task / parts] += dot[task];
    }
    backward.finish(0, shape.channels, all_sum.data(), all_dot.data());
  }
  if (apart) run(false, true);
}

template <class T>
void groups_backward(const BatchNormBackward<T>& t, const BatchNormShape& shape,
                     const BatchNormOptions& options, BatchNormPasses passes,
                     ParallelFor parallel_for) {
  const Groups groups(shape);
  const int64_t channels = shape.channels, size = groups.size();
  Backward<T> backward(t, shape, options, passes, groups.fold());
  backward.set_input_from_given(channels);
  std::vector<double> sum(backward.sums() ? size * channels : 0), dot(sum);
  const auto run_all = [&](bool adds, bool applies) {
    parallel_for(size, grain_of(groups.elements()), [&](int64_t begin, int64_t end) {
      for (int64_t g = end; g-- > begin;) {  // backwards, but for the first pass of two
        const int64_t group = adds && !applies ? begin + (end - 1 - g) : g;
        groups.for_each_panel(group, [&](const Panel& panel) {
          const int64_t first = group * channels + panel.chunk.first;
          if (adds) backward.add_panel(panel, sum.data() + first, dot.data() + first);
          if (applies) backward.template input_gradient<Per::kColumn>(panel.chunk);
        });
      }
      end_stream();
    });
  };
  run_all(backward.sums(), backward.input() && !backward.in_order());
  if (backward.sums()) {
    for (int64_t g = 1; g < size; ++g) {  // in their order
      run_for_isa<AddTo>(static_cast<const double*>(&sum[g * channels]), sum.data(), channels);
      run_for_isa<AddTo>(static_cast<const double*>(&dot[g * channels]), dot.data(), channels);
    }
    backward.finish(0, channels, sum.data(), dot.data());
  }
  if (backward.in_order()) run_all(false, true);
}

}  // namespace

template <class T>
void batch_norm_act_backward_cpu(const BatchNormBackward<T>& tensors, const BatchNormShape& shape,
                                 const BatchNormOptions& options, BatchNormPasses passes,
                                 ParallelFor parallel_for) {
  if (shape.count() == 0 || shape.channels == 0) return;
  shape.channels_last ? groups_backward(tensors, shape, options, passes, parallel_for)
                      : bands_backward(tensors, shape, options, passes, parallel_for);
}

#define INSTANTIATE(T)                                                                          \
  template void batch_norm_act_backward_cpu(const BatchNormBackward<T>&, const BatchNormShape&, \
                                            const BatchNormOptions&, BatchNormPasses,           \
                                            ParallelFor);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::batch_norm
