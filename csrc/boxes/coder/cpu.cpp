#include <algorithm>

#include "boxes/coder/coder.h"
#include "common/isa.h"

namespace sightline::boxes::coder {
namespace {

// Rows at a time, one array per column: consecutive rows fill the lanes of a vector.
constexpr int64_t kTile = 256;
// At least this many rows per task; fewer cost less than starting a thread.
constexpr int64_t kRowsPerTask = 1 << 13;

template <class T>
struct Tile {
  T columns[4][kTile];

  SIGHTLINE_INLINE void load(const T* rows, int64_t at, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
      for (int c = 0; c < 4; ++c) columns[c][at + k] = rows[4 * k + c];
  }
  // Row i of the call with row i % m of `rows`.
  SIGHTLINE_INLINE void load_cyclic(const T* rows, int64_t m, int64_t first, int64_t count) {
    for (int64_t done = 0, row = first % m; done < count; row = 0) {
      const int64_t run = std::min(count - done, m - row);
      load(rows + 4 * row, done, run);
      done += run;
    }
  }
  SIGHTLINE_INLINE void store(T* rows, int64_t count) const {
    for (int64_t k = 0; k < count; ++k)
      for (int c = 0; c < 4; ++c) rows[4 * k + c] = columns[c][k];
  }
  // Deltas hold dx, dy, dw, dh and boxes x1, y1, x2, y2: an axis has columns `axis` and 2 + `axis`.
  SIGHTLINE_INLINE Span<T> span(int axis, int64_t k) const {
    return {columns[axis][k], columns[2 + axis][k]};
  }
  SIGHTLINE_INLINE Delta<T> delta(int axis, int64_t k) const {
    return {columns[axis][k], columns[2 + axis][k]};
  }
  SIGHTLINE_INLINE void set(int axis, int64_t k, T first, T second) {
    columns[axis][k] = first;
    columns[2 + axis][k] = second;
  }
};

struct Encode {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* boxes, const T* anchors, T* deltas, int64_t m,
                                   const BoxCoding<T>* coding, int64_t begin, int64_t end) {
    Tile<T> box, anchor, out;
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t count = std::min(kTile, end - start);
      box.load(boxes + 4 * start, 0, count);
      anchor.load_cyclic(anchors, m, start, count);
      for (int axis = 0; axis < 2; ++axis) {
        const Delta<T> weight = coding->weight(axis);
        for (int64_t k = 0; k < count; ++k) {
          const Delta<T> d = box_coder::encode(box.span(axis, k), anchor.span(axis, k), weight);
          out.set(axis, k, d.shift, d.scale);
        }
      }
      out.store(deltas + 4 * start, count);
    }
  }
};

template <bool kClip>
struct Decode {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* deltas, const T* anchors, T* boxes, int64_t m,
                                   const BoxCoding<T>* coding, int64_t begin, int64_t end) {
    Tile<T> delta, anchor, out;
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t count = std::min(kTile, end - start);
      delta.load(deltas + 4 * start, 0, count);
      anchor.load_cyclic(anchors, m, start, count);
      for (int axis = 0; axis < 2; ++axis) {
        const Delta<T> weight = coding->weight(axis);
        const T limit = coding->limit(axis);
        for (int64_t k = 0; k < count; ++k) {
          const Span<T> b = box_coder::decode(delta.delta(axis, k), anchor.span(axis, k), weight);
          if constexpr (kClip) {
            out.set(axis, k, box_coder::clipped(b.low, limit), box_coder::clipped(b.high, limit));
          } else {
            out.set(axis, k, b.low, b.high);
          }
        }
      }
      out.store(boxes + 4 * start, count);
    }
  }
};

struct EncodeBackward {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* grad, const T* boxes, const T* anchors, T* grad_boxes,
                                   T* grad_anchors, int64_t m, const BoxCoding<T>* coding,
                                   int64_t begin, int64_t end) {
    Tile<T> g, box, anchor, by_box, by_anchor;
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t count = std::min(kTile, end - start);
      g.load(grad + 4 * start, 0, count);
      box.load(boxes + 4 * start, 0, count);
      anchor.load_cyclic(anchors, m, start, count);
      for (int axis = 0; axis < 2; ++axis) {
        const Delta<T> weight = coding->weight(axis);
        for (int64_t k = 0; k < count; ++k) {
          Span<T> gb, ga;
          box_coder::encode_backward(g.delta(axis, k), box.span(axis, k), anchor.span(axis, k),
                                     weight, gb, ga);
          by_box.set(axis, k, gb.low, gb.high);
          by_anchor.set(axis, k, ga.low, ga.high);
        }
      }
      by_box.store(grad_boxes + 4 * start, count);
      by_anchor.store(grad_anchors + 4 * start, count);
    }
  }
};

struct DecodeBackward {
  template <class T>
  SIGHTLINE_INLINE static void run(const T* grad, const T* deltas, const T* anchors, T* grad_deltas,
                                   T* grad_anchors, int64_t m, const BoxCoding<T>* coding,
                                   int64_t begin, int64_t end) {
    Tile<T> g, delta, anchor, by_delta, by_anchor;
    for (int64_t start = begin; start < end; start += kTile) {
      const int64_t count = std::min(kTile, end - start);
      g.load(grad + 4 * start, 0, count);
      delta.load(deltas + 4 * start, 0, count);
      anchor.load_cyclic(anchors, m, start, count);
      for (int axis = 0; axis < 2; ++axis) {
        const Delta<T> weight = coding->weight(axis);
        const T limit = coding->limit(axis);
        const bool clip = coding->clip;
        for (int64_t k = 0; k < count; ++k) {
          Delta<T> gd;
          Span<T> ga;
          box_coder::decode_backward(g.span(axis, k), delta.delta(axis, k), anchor.span(axis, k),
                                     weight, clip, limit, gd, ga);
          by_delta.set(axis, k, gd.shift, gd.scale);
          by_anchor.set(axis, k, ga.low, ga.high);
        }
      }
      by_delta.store(grad_deltas + 4 * start, count);
      by_anchor.store(grad_anchors + 4 * start, count);
    }
  }
};

}  // namespace

template <class T>
void encode_boxes_cpu(const T* boxes, const T* anchors, T* deltas, int64_t n, int64_t m,
                      const BoxCoding<T>& coding, ParallelFor parallel_for) {
  parallel_for(n, kRowsPerTask, [=, &coding](int64_t begin, int64_t end) {
    run_for_isa<Encode>(boxes, anchors, deltas, m, &coding, begin, end);
  });
}

template <class T>
void decode_boxes_cpu(const T* deltas, const T* anchors, T* boxes, int64_t n, int64_t m,
                      const BoxCoding<T>& coding, ParallelFor parallel_for) {
  parallel_for(n, kRowsPerTask, [=, &coding](int64_t begin, int64_t end) {
    if (coding.clip)
      return run_for_isa<Decode<true>>(deltas, anchors, boxes, m, &coding, begin, end);
    run_for_isa<Decode<false>>(deltas, anchors, boxes, m, &coding, begin, end);
  });
}

template <class T>
void encode_boxes_backward_cpu(const T* grad, const T* boxes, const T* anchors, T* grad_boxes,
                               T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                               ParallelFor parallel_for) {
  parallel_for(n, kRowsPerTask, [=, &coding](int64_t begin, int64_t end) {
    run_for_isa<EncodeBackward>(grad, boxes, anchors, grad_boxes, grad_anchors, m, &coding, begin,
                                end);
  });
}

template <class T>
void decode_boxes_backward_cpu(const T* grad, const T* deltas, const T* anchors, T* grad_deltas,
                               T* grad_anchors, int64_t n, int64_t m, const BoxCoding<T>& coding,
                               ParallelFor parallel_for) {
  parallel_for(n, kRowsPerTask, [=, &coding](int64_t begin, int64_t end) {
    run_for_isa<DecodeBackward>(grad, deltas, anchors, grad_deltas, grad_anchors, m, &coding, begin,
                                end);
  });
}

#define INSTANTIATE(T)                                                                            \
  template void encode_boxes_cpu(const T*, const T*, T*, int64_t, int64_t, const BoxCoding<T>&,   \
                                 ParallelFor);                                                    \
  template void decode_boxes_cpu(const T*, const T*, T*, int64_t, int64_t, const BoxCoding<T>&,   \
                                 ParallelFor);                                                    \
  template void encode_boxes_backward_cpu(const T*, const T*, const T*, T*, T*, int64_t, int64_t, \
                                          const BoxCoding<T>&, ParallelFor);                      \
  template void decode_boxes_backward_cpu(const T*, const T*, const T*, T*, T*, int64_t, int64_t, \
                                          const BoxCoding<T>&, ParallelFor);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::boxes::coder
