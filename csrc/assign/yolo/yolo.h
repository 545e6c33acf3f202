// Assignment of anchors to objects by YOLO: an object takes anchors of its centre's cell by their
// shapes, wherever they would lie.
//
// kV2: in each level the shape of the highest IoU with its own, both about one centre. kV3: the
// best of all levels' shapes. Of equals the first; an IoU of 0 takes none. kV5: in each level all
// shapes whose sides differ from its own by less than a factor, in its cell and the nearest
// neighbour along each axis; none where the centre is just between two neighbours or where the map
// ends.
//
// An anchor that several objects want goes to the one of the highest shape IoU, of equals the
// first. A box that lies nowhere, has no area or has its centre beyond a level's map takes nothing
// there. T is float or double.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "common/box.h"
#include "common/cuda_stream.h"
#include "common/parallel.h"
#include "common/sizes.h"

namespace sightline::assign::yolo {

inline constexpr int kMaxYoloLevels = 16;

enum class YoloRule { kV2, kV3, kV5 };

// Of its version: 2, 3 or 5.
inline YoloRule yolo_rule(int64_t version) {
  if (version != 2 && version != 3 && version != 5)
    throw std::invalid_argument("rule must be 2, 3 or 5");
  return version == 5 ? YoloRule::kV5 : version == 3 ? YoloRule::kV3 : YoloRule::kV2;
}

// Passed to kernels by value. Anchors are numbered by level, row, column, shape.
struct YoloLevels {
  int count = 0;
  int64_t shapes_end[kMaxYoloLevels];  // shapes of all levels lie one after another
  int64_t anchors_end[kMaxYoloLevels];
  int64_t height[kMaxYoloLevels], width[kMaxYoloLevels];  // in cells
  double stride[kMaxYoloLevels];                          // pixels of a cell

  void add(int64_t shapes, int64_t rows, int64_t columns, double pixels) {
    constexpr const char* kAnchors = "the anchors of height * width * shapes";
    shapes_end[count] = checked_sum(shapes_begin(count), shapes, "level_shapes");
    anchors_end[count] = checked_sum(anchors_begin(count),
                                     checked_product({shapes, rows, columns}, kAnchors), kAnchors);
    height[count] = rows, width[count] = columns, stride[count] = pixels;
    ++count;
  }
  SIGHTLINE_HD int64_t shapes_begin(int level) const {
    return level == 0 ? 0 : shapes_end[level - 1];
  }
  SIGHTLINE_HD int64_t anchors_begin(int level) const {
    return level == 0 ? 0 : anchors_end[level - 1];
  }
  SIGHTLINE_HD int64_t shapes() const { return shapes_begin(count); }
  SIGHTLINE_HD int64_t anchors() const { return anchors_begin(count); }
};

template <class T>
struct YoloShape {
  T width, height;

  SIGHTLINE_HD Box<T> box() const { return make_box(T(0), T(0), width, height); }
  // False where a side is NaN, 0 or negative.
  SIGHTLINE_HD bool within(T factor, const YoloShape& other) const {
    return bool((other.width > T(0)) & (other.height > T(0)) & (width / other.width < factor) &
                (other.width / width < factor) & (height / other.height < factor) &
                (other.height / height < factor));
  }
};

// One axis of a map: the cell of a place, and the neighbour that is nearer than the other one.
template <class T>
struct YoloCells {
  int64_t own = -1, neighbour = -1;  // -1: none

  SIGHTLINE_HD YoloCells(T place, T stride, int64_t cells) {
    const T at = place / stride;
    if (!(at >= T(0) && at < T(cells))) return;
    own = static_cast<int64_t>(at);
    own = own < cells ? own : cells - 1;  // T(cells) may have been rounded up
    const T within = at - T(own);
    if (within < T(0.5)) neighbour = own - 1;
    if (within > T(0.5)) neighbour = own + 1 < cells ? own + 1 : -1;
  }
};

// Writes `value` where *p is `expected`; returns what *p was.
SIGHTLINE_HD int64_t write_if(int64_t* p, int64_t expected, int64_t value) {
#if defined(__CUDA_ARCH__)
  return static_cast<int64_t>(atomicCAS(reinterpret_cast<unsigned long long*>(p),
                                        static_cast<unsigned long long>(expected),
                                        static_cast<unsigned long long>(value)));
#else
  const int64_t was = *p;
  if (was == expected) *p = value;
  return was;
#endif
}

template <class T>
struct YoloAssigner {
  YoloLevels levels;
  const T* shapes;  // [levels.shapes(), 2] width, height
  YoloRule rule;
  T ratio;  // kV5: what sides may differ by, not included

  // Gives object g of an image its anchors. Objects may come in any order, on CUDA all at once: an
  // anchor is only ever handed on to an object that comes before in (shape IoU, index).
  SIGHTLINE_HD void assign(const T* gt_boxes,  // [objects, 4] of the image
                           int64_t g,
                           int64_t* out) const {  // [levels.anchors()] of the image, -1: free
    const Box<T> object = load_box(gt_boxes + 4 * g);
    if (!(object.area > T(0))) return;
    const YoloShape<T> own{width(object), height(object)};
    const int64_t best_of_all = rule == YoloRule::kV3 ? best(own, 0, levels.shapes()) : -1;
    for (int l = 0; l < levels.count; ++l) {
      const int64_t begin = levels.shapes_begin(l), end = levels.shapes_end[l];
      const YoloCells<T> columns(centre_x(object), T(levels.stride[l]), levels.width[l]);
      const YoloCells<T> rows(centre_y(object), T(levels.stride[l]), levels.height[l]);
      if (columns.own < 0 || rows.own < 0) continue;
      if (rule == YoloRule::kV5) {
        for (int64_t s = begin; s < end; ++s) {
          if (!own.within(ratio, shape(s))) continue;
          claim(gt_boxes, g, own, l, rows.own, columns.own, s, out);
          if (rows.neighbour >= 0) claim(gt_boxes, g, own, l, rows.neighbour, columns.own, s, out);
          if (columns.neighbour >= 0)
            claim(gt_boxes, g, own, l, rows.own, columns.neighbour, s, out);
        }
      } else {
        const int64_t s = rule == YoloRule::kV3 ? best_of_all : best(own, begin, end);
        if (s >= begin && s < end) claim(gt_boxes, g, own, l, rows.own, columns.own, s, out);
      }
    }
  }

 private:
  SIGHTLINE_HD YoloShape<T> shape(int64_t s) const { return {shapes[2 * s], shapes[2 * s + 1]}; }

  // The shape of the highest IoU above 0, or -1.
  SIGHTLINE_HD int64_t best(const YoloShape<T>& own, int64_t begin, int64_t end) const {
    T highest = T(0);
    int64_t found = -1;
    for (int64_t s = begin; s < end; ++s) {
      const T overlap = iou_of(shape(s).box(), own.box());
      if (overlap > highest) highest = overlap, found = s;
    }
    return found;
  }

  SIGHTLINE_HD void claim(const T* gt_boxes, int64_t g, const YoloShape<T>& own, int level,
                          int64_t row, int64_t column, int64_t s, int64_t* out) const {
    const int64_t begin = levels.shapes_begin(level), count = levels.shapes_end[level] - begin;
    int64_t* const anchor = out + levels.anchors_begin(level) +
                            (row * levels.width[level] + column) * count + (s - begin);
    const Box<T> of_shape = shape(s).box();
    const T overlap = iou_of(of_shape, own.box());
    // A holder that has been replaced meanwhile was replaced by one that comes before it.
    for (int64_t holder = *anchor;;) {
      if (holder >= 0) {
        const Box<T> other = load_box(gt_boxes + 4 * holder);
        const T held = iou_of(of_shape, YoloShape<T>{width(other), height(other)}.box());
        if (held > overlap || (held == overlap && holder <= g)) return;
      }
      const int64_t was = write_if(anchor, holder, g);
      if (was == holder) return;
      holder = was;
    }
  }
};

// out[b, a]: the index of the object that anchor a takes in image b, or -1.
template <class T>
void assign_yolo_cpu(const T* gt_boxes,  // [images, objects, 4]
                     int64_t* out,       // [images, assigner.levels.anchors()]
                     int64_t images, int64_t objects, YoloAssigner<T> assigner,
                     ParallelFor parallel_for);
template <class T>
void assign_yolo_cuda(const T* gt_boxes, int64_t* out, int64_t images, int64_t objects,
                      YoloAssigner<T> assigner, CudaStream stream);

}  // namespace sightline::assign::yolo
