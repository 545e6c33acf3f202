#include <algorithm>

#include "common/isa.h"
#include "common/working_memory.h"
#include "warp/tile.h"

namespace sightline::warp {
namespace {

constexpr int64_t kPixelsPerTask = 1 << 14;
constexpr int64_t kTilesPerLook = 16;  // for signals: a few milliseconds at 256 samples a pixel

// Of every column of the output: the node to its left, and how far it is from there to the next.
struct GridColumns {
  std::unique_ptr<int32_t[]> first;  // [out_width]
  std::unique_ptr<float[]> part;     // [out_width]

  explicit GridColumns(const WarpShape& shape)
      : first(working_memory<int32_t>(shape.out_width)),
        part(working_memory<float>(shape.out_width)) {
    const double step = grid_step(shape.grid_width, shape.out_width);
    for (int64_t i = 0; i < shape.out_width; ++i) {
      const GridPlace place = grid_place(i, shape.grid_width, step);
      first[i] = int32_t(place.first), part[i] = place.part;
    }
  }
};

// What all rows of one image share.
template <class Out>
struct Job {
  Picture in;
  Map map;
  const float* nodes;    // [grid_height, grid_width, 2], or null
  const float* colors;   // [C, C + 1], or null
  Out* out;              // of the image
  const int32_t* first;  // [out_width]
  const float* part;     // [out_width]
  float* grid_row;       // [2, grid_width + 1], x and y between two rows of nodes
  const WarpShape* shape;
  const WarpRules* rules;
};

struct WarpRow {
  // The displacements of row j at every column of nodes; the last one twice.
  template <class Out>
  SIGHTLINE_INLINE static void move_nodes(const Job<Out>& job, int64_t j) {
    const WarpShape& shape = *job.shape;
    const int64_t columns = shape.grid_width;
    const GridPlace y =
        grid_place(j, shape.grid_height, grid_step(shape.grid_height, shape.out_height));
    const float* const top = job.nodes + 2 * y.first * columns;
    const float* const bottom = job.nodes + 2 * y.second * columns;
    float *const to_x = job.grid_row, *const to_y = job.grid_row + columns + 1;
    SIGHTLINE_INDEPENDENT
    for (int64_t k = 0; k < columns; ++k) {
      to_x[k] = between(top[2 * k], bottom[2 * k], y.part);
      to_y[k] = between(top[2 * k + 1], bottom[2 * k + 1], y.part);
    }
    to_x[columns] = to_x[columns - 1], to_y[columns] = to_y[columns - 1];
  }

  template <class Out, int C>
  SIGHTLINE_INLINE static void move_pixels(const Job<Out>& job, int64_t i, int64_t n,
                                           Tile<C>& tile) {
    const float *const x = job.grid_row, *const y = job.grid_row + job.shape->grid_width + 1;
    for (int64_t begin = 0, end = 0; begin < n; begin = end) {
      const int32_t node = job.first[i + begin];
      while (end < n && job.first[i + end] == node) ++end;
      for (int64_t k = begin; k < end; ++k) {
        const float part = job.part[i + k];
        tile.move_x[k] = between(x[node], x[node + 1], part);
        tile.move_y[k] = between(y[node], y[node + 1], part);
      }
    }
  }

  template <int C>
  SIGHTLINE_INLINE static void begin_outside(int64_t n, Tile<C>& tile) {
    for (int64_t k = 0; k < n; ++k) tile.counts[k] = 0;
    for (int c = 0; c < C; ++c)
      for (int64_t k = 0; k < n; ++k) tile.sums[c][k] = 0.0f;
  }

  template <class Out, int C>
  SIGHTLINE_INLINE static void run(const Job<Out>* of, int64_t j, int64_t i, int64_t n,
                                   std::integral_constant<int, C>) {
    const Job<Out>& job = *of;
    const Map& map = job.map;
    const Rounding round = rounding_of(job.rules->nearest);
    const bool moved = job.nodes != nullptr, line = !moved && !map.perspective;
    const int32_t total = map.samples_x * map.samples_y;
    Tile<C> tile;
    if (moved) move_pixels(job, i, n, tile);
    if (!moved && !line)
      for (int64_t k = 0; k < n; ++k) tile.move_x[k] = tile.move_y[k] = 0.0f;
    if (total > 1) begin_outside(n, tile);
    bool all = map.valid;  // samples are inside
    if (!map.valid) begin_outside(n, tile);
    for (int32_t r = 0; map.valid && r < map.samples_y; ++r)
      for (int32_t c = 0; c < map.samples_x; ++c) {
        const double along = place_of_sample(c, map.samples_x);
        const double down = place_of_sample(r, map.samples_y);
        bool here = false;
        if (line)
          here = tile.locate_on_line(map, double(i), double(j) + down, along, n, job.in, round);
        else
          tile.locate(map, double(i), double(j), along, down, n, job.in, round);
        all = all && here;
        if constexpr (!std::is_same_v<Out, float>) {
          if (job.rules->nearest && job.colors == nullptr)
            return tile.copy(job.in, n, here, *job.rules,
                             job.out + C * (j * job.shape->out_width + i));
        }
        if (!here) {
          int32_t any = 0;
          for (int64_t k = 0; k < n; ++k) any |= tile.inside[k];
          if (any == 0) {
            if (total == 1) begin_outside(n, tile);
            continue;
          }
        }
        tile.read(job.in, n);
        if (total == 1)
          here ? tile.template add<true, true>(n) : tile.template add<true, false>(n);
        else
          here ? tile.template add<false, true>(n) : tile.template add<false, false>(n);
      }
    const int64_t plane = job.shape->out_height * job.shape->out_width;
    const int64_t at = j * job.shape->out_width + i;
    Out* const out = job.out + (std::is_same_v<Out, float> ? at : at * C);
    const auto write = [&](auto is_all, auto has_colors) SIGHTLINE_LAMBDA {
      tile.template write<is_all.value, has_colors.value>(n, total, job.colors, *job.rules, out,
                                                          plane);
    };
    using No = std::false_type;
    using Yes = std::true_type;
    if (job.colors != nullptr)
      all ? write(Yes(), Yes()) : write(No(), Yes());
    else
      all ? write(Yes(), No()) : write(No(), No());
  }
};

template <class Out, int C>
void warp_images(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
                 OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
                 ParallelFor parallel_for) {
  if (shape.out_height == 0 || shape.out_width == 0) return;
  const bool moved = displacements.data != nullptr;
  const GridColumns columns(moved ? shape : WarpShape{});
  const int64_t row = shape.width * C, in_size = shape.height * row;
  const int64_t below = shape.height > 1 ? row : 0;
  const int64_t out_size = shape.out_height * shape.out_width * C;
  const int64_t grain = kPixelsPerTask / (shape.out_width + 1) + 1;
  parallel_for(shape.images * shape.out_height, grain, [&](int64_t first, int64_t last) {
    const auto grid_row = working_memory<float>(moved ? 2 * (shape.grid_width + 1) : 0);
    Job<Out> job{{nullptr, shape.height, shape.width, row, below, in_size - below - 8,
                  shape.width > 1 ? 2 * C : C},
                 {},
                 nullptr,
                 nullptr,
                 nullptr,
                 columns.first.get(),
                 columns.part.get(),
                 grid_row.get(),
                 &shape,
                 &rules};
    int64_t tiles = 0;
    for (int64_t at = first, of = -1; at < last; ++at) {
      const int64_t image = at / shape.out_height, j = at - image * shape.out_height;
      if (image != of) {
        of = image;
        job.map = inverse_map(matrices.data + image * matrices.step, shape.height, shape.width,
                              rules.antialias);
        job.in.pixels = images + image * in_size;
        if (moved) job.nodes = displacements.data + image * displacements.step;
        if (colors.data != nullptr) job.colors = colors.data + image * colors.step;
        job.out = out + image * out_size;
      }
      if (moved) WarpRow::move_nodes(job, j);
      for (int64_t i = 0; i < shape.out_width; i += kTile) {
        if (++tiles % kTilesPerLook == 0 && parallel_for.should_stop()) return;
        run_for_isa<WarpRow>(static_cast<const Job<Out>*>(&job), j, i,
                             std::min(kTile, shape.out_width - i),
                             std::integral_constant<int, C>());
      }
    }
  });
}

}  // namespace

template <class Out>
void warp_cpu(const uint8_t* images, OfImages<double> matrices, OfImages<float> displacements,
              OfImages<float> colors, Out* out, const WarpShape& shape, const WarpRules& rules,
              ParallelFor parallel_for) {
  const auto run = [&]<int C>(std::integral_constant<int, C>) {
    warp_images<Out, C>(images, matrices, displacements, colors, out, shape, rules, parallel_for);
  };
  if (shape.channels == 1) return run(std::integral_constant<int, 1>{});
  if (shape.channels == 3) return run(std::integral_constant<int, 3>{});
  run(std::integral_constant<int, 4>{});
}

template void warp_cpu(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>, uint8_t*,
                       const WarpShape&, const WarpRules&, ParallelFor);
template void warp_cpu(const uint8_t*, OfImages<double>, OfImages<float>, OfImages<float>, float*,
                       const WarpShape&, const WarpRules&, ParallelFor);

int64_t first_without_inverse(const double* matrices, int64_t count) {
  for (int64_t k = 0; k < count; ++k)
    if (!inverse_map(matrices + 9 * k, 1, 1, false).valid) return k;
  return -1;
}

}  // namespace sightline::warp
