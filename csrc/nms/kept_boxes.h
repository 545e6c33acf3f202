// The boxes that NMS has kept so far, arranged so that a box is tested against few of them.
//
// iou > t implies, with the shorter of two sides over the longer called their ratio,
//   the ratio of the widths > t, and of the heights;
//   |centre_x - centre_x'| < (width + width') / 2 * (1 - t) / (1 + t), and the same in y,
// since iou is at most the IoU of the two intervals on either axis. So kept boxes are divided into
// levels by their longer side, and each level into square cells by the centre; a box looks at the
// levels and cells where one may lie that suppresses it. Cells share buckets by a hash without a
// key: what lies in a bucket for another reason costs time and changes nothing, as the exact test
// decides. While few boxes are kept, and where a box would look at more cells than there are
// blocks, all are tested.
//
// It is not common/near_boxes.h, which sorts boxes that are all there from the start and finds what
// a box intersects: here boxes come one by one, most of which are never kept, a threshold on the
// IoU narrows the search far below what intersects, and the first hit ends it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/box_lanes.h"
#include "common/working_memory.h"
#include "nms/pair.h"

namespace sightline::nms {

inline constexpr int kLanes = 16;

// Boxes that are tested at once. Lanes not in use hold a box that overlaps nothing.
template <class T>
struct BoxBlock {
  BoxLanes<T, kLanes> boxes;
  int64_t newest;  // position of the box that was added last
  int32_t next;    // an older block of the bucket, or -1
  int32_t used;
};

template <class T>
class KeptBoxes {
 public:
  // For up to n boxes; memory is taken as they come. with_positions: first_suppressor() is asked.
  KeptBoxes(int64_t n, T threshold, bool with_positions = false)
      : most_(n),
        with_positions_(with_positions),
        threshold_(threshold),
        share_(suppression_share(threshold)) {
    // Rounding moves an IoU by a few units in the last place; below kSlack even that is no bound.
    constexpr double kSlack = 64.0 * std::numeric_limits<T>::epsilon();
    const double t = threshold < kSlack ? 0.0 : threshold * (1.0 - kSlack);
    ratio_ = t;
    inverse_ratio_ = t > 0 ? (1.0 + kSlack) / t : std::numeric_limits<double>::infinity();
    reach_ = 0.5 * (1.0 - t) / (1.0 + t) * (1.0 + kSlack);
  }

  // Positions ascend from call to call. A box of no area may be left out: it suppresses nothing.
  SIGHTLINE_INLINE void add(const Box<T>& box, int64_t position) {
    if (count_ == 0) allocate(std::min<int64_t>(kFlat / kLanes, (most_ + kLanes - 1) / kLanes));
    if (count_ == kFlat) build_cells();
    ++count_;
    if (hashed_) {
      add_to_cell(box, position);
    } else {
      const int64_t slot = count_ - 1;
      if (slot % kLanes == 0) open_block(-1);
      append(slot / kLanes, box, position);
    }
  }

  // Whether a box that was added with a position of at least `since` suppresses this one.
  SIGHTLINE_INLINE bool suppresses_any(const Box<T>& box, int64_t since) const {
    if (!hashed_ && blocks_in_use_ > kBlocksApart && !may_hit_any(box)) return false;
    return visit(box, since, [&](int64_t b) SIGHTLINE_LAMBDA {
      return may_hit(blocks_[b], box) && hits(blocks_[b], box) != 0;
    });
  }

  // The lowest position, at least `since`, of a box that suppresses this one; -1 where none does.
  SIGHTLINE_INLINE int64_t first_suppressor(const Box<T>& box, int64_t since) const {
    int64_t first = kNone;
    visit(box, since, [&](int64_t b) SIGHTLINE_LAMBDA {
      if (!may_hit(blocks_[b], box)) return false;
      for (uint32_t lanes = hits(blocks_[b], box); lanes != 0; lanes &= lanes - 1) {
        const int64_t position = positions_[b * kLanes + __builtin_ctz(lanes)];
        if (position >= since) first = std::min(first, position);
      }
      return false;
    });
    return first == kNone ? -1 : first;
  }

 private:
  static constexpr int64_t kFlat = 256;          // up to this many, all are tested
  static constexpr int64_t kBlocksApart = 4;     // few blocks are tested one by one
  static constexpr int64_t kBoxesPerBucket = 8;  // if all n are kept
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  // The longer sides of the boxes of a level lie within a factor 2^(2^kOctavesLog2).
  static constexpr int kOctavesLog2 = 1;
  static constexpr double kCellScale = 8;
  static constexpr double kHuge = 1e300;

  struct Level {
    int64_t number;
    double shortest, longest;  // between them lie the longer sides
    double width, height;      // the largest of its boxes
    double cells_per_unit;
  };

  using Lane = std::conditional_t<sizeof(T) == sizeof(int32_t), int32_t, int64_t>;

  SIGHTLINE_INLINE bool may_hit(const BoxBlock<T>& block, const Box<T>& box) const {
    Lane any = 0;
    for (int k = 0; k < kLanes; ++k)
      any |= may_suppress(block.boxes[k], box, share_) ? Lane(1) : Lane(0);
    return any != 0;
  }
  // Of all blocks: the lanes are put together once, which costs as much as two blocks.
  SIGHTLINE_INLINE bool may_hit_any(const Box<T>& box) const {
    constexpr int kHalf = kLanes / 2;
    Lane lanes[kLanes] = {};
    for (int64_t b = 0; b < blocks_in_use_; ++b)
      for (int k = 0; k < kLanes; ++k)
        lanes[k] |= may_suppress(blocks_[b].boxes[k], box, share_) ? Lane(1) : Lane(0);
    Lane any = 0;
    for (int k = 0; k < kHalf; ++k) any |= lanes[k] | lanes[k + kHalf];  // gcc is slow to fold 16
    return any != 0;
  }
  // A bit for each lane whose box suppresses this one.
  SIGHTLINE_INLINE uint32_t hits(const BoxBlock<T>& block, const Box<T>& box) const {
    Lane bits = 0;
    for (int k = 0; k < kLanes; ++k)
      bits |= suppresses(block.boxes[k], box, threshold_) ? Lane(1) << k : Lane(0);
    return static_cast<uint32_t>(bits);
  }

  void allocate(int64_t blocks) {
    blocks_ = working_memory<BoxBlock<T>>(blocks);
    if (with_positions_) positions_ = working_memory<int64_t>(blocks * kLanes);
  }
  void open_block(int32_t next) {
    BoxBlock<T>& block = blocks_[blocks_in_use_++];
    block.boxes.clear();
    block.next = next;
    block.used = 0;
  }
  SIGHTLINE_INLINE void append(int64_t b, const Box<T>& box, int64_t position) {
    BoxBlock<T>& block = blocks_[b];
    const int32_t k = block.used++;
    block.boxes.set(k, box);
    block.newest = position;
    if (positions_) positions_[b * kLanes + k] = position;
  }

  // Calls look(block) for all blocks where a box may lie that was added with a position of at least
  // `since` and suppresses this one, until it returns true.
  template <class Look>
  SIGHTLINE_INLINE bool visit(const Box<T>& box, int64_t since, Look look) const {
    const double width = double(box.x2) - double(box.x1);
    const double height = double(box.y2) - double(box.y1);
    const double longest = larger(width, height);
    // Smaller products may round by more than the slack.
    constexpr T kSmallArea = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
    if (!hashed_ || box.area < kSmallArea) return visit_all(since, look);
    const double x = centre(box.x1, box.x2), y = centre(box.y1, box.y2);
    const double size_of_coordinates =
        (magnitude(box.x1) + magnitude(box.x2)) + (magnitude(box.y1) + magnitude(box.y2));
    const double widest = width * inverse_ratio_, highest = height * inverse_ratio_;
    int64_t patience = blocks_in_use_;
    for (const Level& level : levels_) {
      if (level.longest < longest * ratio_ || longest < level.shortest * ratio_) continue;
      // What the centres and the differences from them may be rounded by.
      const double margin = 0x1p-49 * (size_of_coordinates + level.width + level.height);
      const double reach_x = reach_ * (width + smaller(level.width, widest)) + margin;
      const double reach_y = reach_ * (height + smaller(level.height, highest)) + margin;
      if (!(larger(reach_x, reach_y) < kHuge)) return visit_all(since, look);
      const int64_t x_begin = cell(x - reach_x, level), x_end = cell(x + reach_x, level) + 1;
      const int64_t y_begin = cell(y - reach_y, level), y_end = cell(y + reach_y, level) + 1;
      patience -= (x_end - x_begin) * (y_end - y_begin);
      if (patience < 0) return visit_all(since, look);
      for (int64_t cy = y_begin; cy < y_end; ++cy)
        for (int64_t cx = x_begin; cx < x_end; ++cx)
          for (int64_t b = heads_[bucket(cx, cy, level)]; b >= 0 && blocks_[b].newest >= since;
               b = blocks_[b].next)
            if (look(b)) return true;
    }
    return false;
  }
  template <class Look>
  SIGHTLINE_INLINE bool visit_all(int64_t since, Look look) const {
    for (int64_t b = 0; b < blocks_in_use_; ++b)
      if (blocks_[b].newest >= since && look(b)) return true;
    return false;
  }

  SIGHTLINE_INLINE static double magnitude(double x) { return x < 0 ? -x : x; }
  // Half-sums first, which cannot overflow.
  SIGHTLINE_INLINE static double centre(double low, double high) { return low * 0.5 + high * 0.5; }
  // Ascends with x. Whole numbers of a cell lie in [0, 2^31].
  SIGHTLINE_INLINE static int64_t cell(double x, const Level& level) {
    constexpr double kMost = 0x1p30;
    const double at = x * level.cells_per_unit;
    return static_cast<int64_t>(larger(smaller(at, kMost), -kMost) + kMost);
  }
  SIGHTLINE_INLINE int64_t bucket(int64_t x, int64_t y, const Level& level) const {
    // Neighbours in a row have neighbouring buckets; rows and levels lie scattered.
    constexpr int64_t kRow = 0x9e3779b1, kLevel = 0x85ebca6b;
    return (x + y * kRow + level.number * kLevel) & (buckets_ - 1);
  }

  SIGHTLINE_INLINE void add_to_cell(const Box<T>& box, int64_t position) {
    const double width = double(box.x2) - double(box.x1);
    const double height = double(box.y2) - double(box.y1);
    Level& level = level_of(larger(width, height));
    level.width = larger(level.width, width);
    level.height = larger(level.height, height);
    const int64_t x = cell(centre(box.x1, box.x2), level);
    const int64_t y = cell(centre(box.y1, box.y2), level);
    int32_t& head = heads_[bucket(x, y, level)];
    if (head < 0 || blocks_[head].used == kLanes) {
      open_block(head);
      head = static_cast<int32_t>(blocks_in_use_ - 1);
    }
    append(head, box, position);
  }

  SIGHTLINE_INLINE Level& level_of(double longest) {
    const int64_t exponent = int64_t(__builtin_bit_cast(uint64_t, longest) >> 52) - 1023;
    const int64_t number = exponent >> kOctavesLog2;
    for (Level& level : levels_)
      if (level.number == number) return level;
    return add_level(number);
  }
  Level& add_level(int64_t number) {
    const double shortest = std::ldexp(1.0, static_cast<int>(number << kOctavesLog2));
    const double side = kCellScale * shortest * reach_;
    levels_.push_back({number, shortest, shortest * (1 << (1 << kOctavesLog2)), 0.0, 0.0,
                       1.0 / std::clamp(side, 1.0 / kHuge, kHuge)});
    return levels_.back();
  }

  // From few blocks with all boxes to cells; boxes keep their order.
  void build_cells() {
    const auto flat_blocks = std::move(blocks_);
    const auto flat_positions = std::move(positions_);
    while (buckets_ * kBoxesPerBucket < most_) buckets_ *= 2;
    heads_ = working_memory<int32_t>(buckets_);
    std::fill_n(heads_.get(), buckets_, -1);
    allocate((most_ + kLanes - 1) / kLanes + buckets_);  // a bucket has one block that is not full
    blocks_in_use_ = 0;
    hashed_ = true;
    for (int64_t i = 0; i < kFlat; ++i) {
      const BoxBlock<T>& block = flat_blocks[i / kLanes];
      add_to_cell(block.boxes[i % kLanes], flat_positions ? flat_positions[i] : block.newest);
    }
  }

  std::unique_ptr<BoxBlock<T>[]> blocks_;
  std::unique_ptr<int32_t[]> heads_;      // [buckets], the newest block of each, or -1
  std::unique_ptr<int64_t[]> positions_;  // [blocks * kLanes], or null
  std::vector<Level> levels_;
  int64_t most_, buckets_ = 1, blocks_in_use_ = 0, count_ = 0;
  bool with_positions_, hashed_ = false;
  T threshold_, share_;
  double ratio_, inverse_ratio_, reach_;
};

}  // namespace sightline::nms
