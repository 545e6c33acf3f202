#include <algorithm>
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

// [batch, channels, length], in parallel over parts of bands: f(channel, moments) for every one.
template <class T, class F>
void band_moments(const T* x, const Bands& bands, ParallelFor parallel_for, F f) {
  const int64_t parts = bands.parts();
  std::vector<Moments> found(parts > 1 ? bands.tasks() : 0);
  parallel_for(bands.tasks(), grain_of(bands.elements()), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      BandMoments<T> moments;
      moments.find(x, bands, task);
      if (parts > 1)
        found[task] = moments[0];
      else
        for (int64_t r = 0; r < bands.channels(task); ++r) f(bands.first(task) + r, moments[r]);
    }
  });
  if (parts == 1) return;
  for (int64_t c = 0; c < bands.bands(); ++c) {  // a band is a channel, then
    Moments all = found[c * parts];
    for (int64_t k = 1; k < parts; ++k) {
      const Moments& m = found[c * parts + k];
      all.merge(m.count, m.mean, m.m2);
    }
    f(c, all);
  }
}

// [positions, channels]: groups in parallel, then merged in their order.
template <class T>
void group_moments(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                   ParallelFor parallel_for) {
  const Groups groups(shape);
  const int64_t channels = shape.channels, size = groups.size();
  std::vector<double> means(size * channels), m2s(means);
  parallel_for(size, grain_of(groups.elements()), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      groups.for_each_panel(g, [&](const Panel& panel) {
        ColumnMoments<T> columns(panel);
        for_each_chunk(panel, [&](const Chunk& chunk) { columns.add(x, chunk); });
        const int64_t first = g * channels + panel.chunk.first;
        columns.merge_into(means.data() + first, m2s.data() + first, panel.before);
      });
    }
  });
  int64_t count = groups.positions(0);
  for (int64_t g = 1; g < size; ++g) {
    run_for_isa<MergeMoments>(double(count), means.data(), m2s.data(), double(groups.positions(g)),
                              static_cast<const double*>(means.data() + g * channels),
                              static_cast<const double*>(m2s.data() + g * channels), channels);
    count += groups.positions(g);
  }
  std::copy_n(means.data(), channels, mean);
  std::copy_n(m2s.data(), channels, m2);
}

// The second pass, in either layout.
template <class T>
class Apply {
 public:
  using S = Compute<T>;
  Apply(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
        const BatchNormOptions& options, int64_t fold)
      : t_(tensors),
        options_(options),
        count_(shape.count()),
        coefficients_(shape.channels, fold, false),
        slope_(static_cast<S>(options.negative_slope)),
        large_(count_ * shape.channels * int64_t(sizeof(T)) > kStreamedOutput) {}

  void store_moments(int64_t c, const Moments& found) const {
    t_.mean[c] = found.mean;
    t_.var[c] = variance(found.m2, count_);
  }
  void set(int64_t first, int64_t n) {
    coefficients_.set({t_.mean, t_.var, t_.weight, t_.bias, options_.eps}, first, n);
  }

  template <Per per>
  void run(const Chunk& whole) const {
    Output<T> output(t_.y, whole, large_);
    split<per>(whole, output.is_buffered() ? kBuffered : kMostElements<T>, [&](const Chunk& chunk) {
      ChunkBuffer<T> x_buffer, residual_buffer;
      const Rows<const S> x = load(t_.x, chunk, x_buffer);
      const Rows<const S> residual = load(t_.residual, chunk, residual_buffer);
      dispatch_activation(options_.activation, [&]<class Act>(Act) {
        run_for_isa<ApplyRows<Act, per>>(x, residual, coefficients_.at(chunk.first), slope_,
                                         output.place(chunk), bits_of(t_.mask, chunk), chunk.rows,
                                         chunk.width, output.is_streamed_in_place());
      });
      output.finish(chunk);
    });
  }

 private:
  const BatchNormForward<T>& t_;
  const BatchNormOptions& options_;
  int64_t count_;
  Coefficients<S> coefficients_;
  S slope_;
  bool large_;
};

template <class T>
void bands_forward(const BatchNormForward<T>& t, const BatchNormShape& shape,
                   const BatchNormOptions& options, ParallelFor parallel_for) {
  const Bands bands(shape, sizeof(T));
  Apply<T> apply(t, shape, options, 1);
  // A band's second pass follows its first; only parts of channels wait for one another.
  const bool apart = bands.parts() > 1;
  if (apart && options.training)
    band_moments(t.x, bands, parallel_for,
                 [&](int64_t c, const Moments& found) { apply.store_moments(c, found); });
  const bool together = options.training && !apart;
  if (!together) apply.set(0, shape.channels);
  parallel_for(bands.tasks(), grain_of(bands.elements()), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      if (together) {
        BandMoments<T> moments;
        moments.find(t.x, bands, task);
        for (int64_t r = 0; r < bands.channels(task); ++r)
          apply.store_moments(bands.first(task) + r, moments[r]);
        apply.set(bands.first(task), bands.channels(task));
      }
      bands.for_each_chunk_backwards(
          task, [&](const Chunk& chunk) { apply.template run<Per::kRow>(chunk); });
    }
    end_stream();
  });
}

template <class T>
void groups_forward(const BatchNormForward<T>& t, const BatchNormShape& shape,
                    const BatchNormOptions& options, ParallelFor parallel_for) {
  const Groups groups(shape);
  if (options.training) {
    group_moments(t.x, shape, t.mean, t.var, parallel_for);
    for (int64_t c = 0; c < shape.channels; ++c) t.var[c] = variance(t.var[c], shape.count());
  }
  Apply<T> apply(t, shape, options, groups.fold());
  apply.set(0, shape.channels);
  parallel_for(groups.size(), grain_of(groups.elements()), [&](int64_t begin, int64_t end) {
    for (int64_t g = end; g-- > begin;)  // backwards: the last ones are still in the cache
      groups.for_each_panel(
          g, [&](const Panel& panel) { apply.template run<Per::kColumn>(panel.chunk); });
    end_stream();
  });
}

bool is_empty(const BatchNormShape& shape) { return shape.count() == 0 || shape.channels == 0; }

}  // namespace

template <class T>
void batch_norm_moments_cpu(const T* x, const BatchNormShape& shape, double* mean, double* m2,
                            ParallelFor parallel_for) {
  std::fill_n(mean, shape.channels, 0.0);
  std::fill_n(m2, shape.channels, 0.0);
  if (is_empty(shape)) return;
  if (shape.channels_last) return group_moments(x, shape, mean, m2, parallel_for);
  band_moments(x, Bands(shape, sizeof(T)), parallel_for, [&](int64_t c, const Moments& found) {
    mean[c] = found.mean;
    m2[c] = found.m2;
  });
}

template <class T>
void batch_norm_act_cpu(const BatchNormForward<T>& tensors, const BatchNormShape& shape,
                        const BatchNormOptions& options, ParallelFor parallel_for) {
  if (is_empty(shape)) return;
  shape.channels_last ? groups_forward(tensors, shape, options, parallel_for)
                      : bands_forward(tensors, shape, options, parallel_for);
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

#define INSTANTIATE(T)                                                                    \
  template void batch_norm_moments_cpu(const T*, const BatchNormShape&, double*, double*, \
                                       ParallelFor);                                      \
  template void batch_norm_act_cpu(const BatchNormForward<T>&, const BatchNormShape&,     \
                                   const BatchNormOptions&, ParallelFor);
SIGHTLINE_BATCH_NORM_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::batch_norm
