#include <algorithm>

#include "common/isa.h"
#include "common/memory.h"
#include "iou/pairwise/pairwise.h"
#include "iou/pairwise/tile.h"

namespace sightline::iou::pairwise {
namespace {

// At most this many columns are prepared at a time: they stay in the second-level cache while every
// row goes through them, and a row is written a few pages at a time.
constexpr int64_t kMaxColumns = 2048;
constexpr int64_t kAlignedTile = 256;
// At least this many pairs a task: 30 us and more, which is several times the start of a thread.
constexpr int64_t kPairsPerTask = 1 << 17;

// A column's tile of every row, counted tile by tile and, within a tile, row by row.
struct ColumnTiles {
  int64_t columns, tiles;

  ColumnTiles(int64_t m, int64_t line) {
    tiles = (m + kMaxColumns - 1) / kMaxColumns;
    columns = ((m + tiles - 1) / tiles + line - 1) / line * line;
    tiles = (m + columns - 1) / columns;
  }
};

template <class Form>
struct PairwiseTiles {
  template <Isa level, bool kSolid, class T>
  SIGHTLINE_INLINE static void write_row(const PreparedBox<T>& a,
                                         const BoxTile<T, kMaxColumns>& tile, T eps, T* row,
                                         int64_t columns, bool stream) {
    constexpr int64_t kLine = kLineBytes / sizeof(T);
    const auto write = [&](T* to, int64_t from, int64_t count) SIGHTLINE_LAMBDA {
      for (int64_t k = 0; k < count; ++k)
        to[k] = Form::template value<kSolid>(a, tile.template at<Form>(from + k), eps);
    };
    if (!stream) return write(row, 0, columns);
    const int64_t head = std::min(numbers_to_line(row), columns);
    const int64_t tail = columns - (columns - head) % kLine;
    write(row, 0, head);
    for (int64_t j = head; j < tail; j += kLine) {
      alignas(kLineBytes) T line[kLine];
      write(line, j, kLine);
      LineStream<level>::store(row + j, line);
    }
    write(row + tail, tail, columns - tail);
  }

  template <Isa level, class T>
  SIGHTLINE_INLINE static void run_at(const T* boxes1, const T* boxes2, T* out, PairShape shape,
                                      T eps, ColumnTiles tiles, bool stream, int64_t begin,
                                      int64_t end) {
    BoxTile<T, kMaxColumns> tile;
    while (begin < end) {
      const int64_t block = begin / shape.n, b = block / tiles.tiles;
      const int64_t first_row = begin % shape.n;
      const int64_t last_row = std::min(shape.n, first_row + end - begin);
      const int64_t start = block % tiles.tiles * tiles.columns;
      const int64_t columns = std::min(tiles.columns, shape.m - start);
      tile.template fill<Form>(boxes2 + 4 * (shape.first_box2(b) + start), columns);
      for (int64_t i = first_row; i < last_row; ++i) {
        const PreparedBox<T> a = prepare_box<Form>(boxes1 + 4 * (shape.first_box1(b) + i));
        T* const row = out + (b * shape.n + i) * shape.m + start;
        if (a.area > T(0)) {
          write_row<level, true>(a, tile, eps, row, columns, stream);
        } else {
          write_row<level, false>(a, tile, eps, row, columns, stream);
        }
      }
      begin += last_row - first_row;
    }
    if (stream) end_stream();
  }
};

template <class Form>
struct AlignedPairs {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes1, const T* boxes2, T* out, T eps, int64_t begin,
                                   int64_t end) {
    BoxTile<T, kAlignedTile> first, second;
    for (int64_t start = begin; start < end; start += kAlignedTile) {
      const int64_t count = std::min(kAlignedTile, end - start);
      first.template fill<Form>(boxes1 + 4 * start, count);
      second.template fill<Form>(boxes2 + 4 * start, count);
      for (int64_t k = 0; k < count; ++k)
        out[start + k] =
            aligned_value<Form>(first.template at<Form>(k), second.template at<Form>(k), eps);
    }
  }
};

}  // namespace

template <class Form, class T>
void pairwise_cpu(const T* boxes1, const T* boxes2, T* out, PairShape shape, T eps, bool fresh,
                  ParallelFor parallel_for) {
  const int64_t pairs = shape.batch * shape.n * shape.m;
  if (pairs == 0) return;
  const ColumnTiles tiles(shape.m, kLineBytes / sizeof(T));
  const bool stream = !fresh && pairs * int64_t(sizeof(T)) > kStreamBytes;
  parallel_for(shape.batch * tiles.tiles * shape.n, kPairsPerTask / tiles.columns + 1,
               [=](int64_t begin, int64_t end) {
                 run_for_isa<PairwiseTiles<Form>>(boxes1, boxes2, out, shape, eps, tiles, stream,
                                                  begin, end);
               });
}

template <class Form, class T>
void aligned_cpu(const T* boxes1, const T* boxes2, T* out, int64_t n, T eps,
                 ParallelFor parallel_for) {
  parallel_for(n, kPairsPerTask, [=](int64_t begin, int64_t end) {
    run_for_isa<AlignedPairs<Form>>(boxes1, boxes2, out, eps, begin, end);
  });
}

#define INSTANTIATE(Form, T) \
  template void pairwise_cpu<Form>(const T*, const T*, T*, PairShape, T, bool, ParallelFor);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
#undef INSTANTIATE
#define INSTANTIATE(Form, T) \
  template void aligned_cpu<Form>(const T*, const T*, T*, int64_t, T, ParallelFor);
SIGHTLINE_MATRIX_FORMS(INSTANTIATE)
SIGHTLINE_LOSS_FORMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace sightline::iou::pairwise
