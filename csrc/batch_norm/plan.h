// How a launch on CUDA cuts a tensor, and in which order blocks take the pieces; for host and
// device. All of it follows from the shape and the type: the same bits on every device.
//
// A pass visits items: a slice of a column. A column is what one block can add up: a channel, or
// with channels_last the neighbours that fill a cache line of a position. The first pass adds up a
// column, the second one needs the sums and reads the column again. One launch does both:
//
//   alone   A block takes a column through both passes, where a column is so small that the second
//           reading meets the nearest caches and no other block has to wait for it.
//   shared  Blocks draw items by a counter, so that their order is certain: the first pass of a
//           column comes before its second, and a block waits only for items that running blocks
//           have. The first pass is ahead by little more than a column, which the second-level
//           cache keeps until it is read again: x comes from memory once where a column fits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch_norm/batch_norm.h"
#include "common/macros.h"

namespace sightline::batch_norm {

// A thread takes groups of kGroup elements that lie side by side, which share a byte of a mask: of
// one channel, or with channels_last of as many channels.
inline constexpr int kGroup = 8;
inline constexpr int kItemThreads = 128;  // of a block
// Bytes that a thread has on their way at once. The 640 threads of a multiprocessor then have what
// memory needs to be busy, 4.8 TB/s for 0.8 us or 29 KB for each of 132, though some of them wait.
inline constexpr int kBytesInFlight = 64;
// Groups of each of so many tensors that a thread loads at once.
SIGHTLINE_HD constexpr int batch_norm_batch(int bytes, int tensors) {
  const int groups = kBytesInFlight / (kGroup * bytes * tensors);
  return groups > 1 ? groups : 1;
}
inline constexpr int kCacheLineBytes = 128;
inline constexpr int kMostColumnChannels = kCacheLineBytes / 2;  // of a column
// A column of so many bytes is visited alone: four rounds of a block.
inline constexpr int64_t kAloneBytes = int64_t(32) << 10;
inline constexpr int64_t kFillingColumns = 96;  // columns that keep most multiprocessors busy
// A column that the second-level cache (50 MB on an H200, in two halves) keeps beside the items in
// work until it is read again in its order. Of a larger one it keeps the end, which comes first
// then.
inline constexpr int64_t kCachedBytes = int64_t(20) << 20;
inline constexpr int64_t kStreamedBytes = int64_t(32) << 20;  // larger outputs: nothing is kept
// Of a pass: a little more than the blocks that run at once on an H200, 5 on each of 132. An item
// waits about 3 us for its ticket and its sums, a round of loads takes 1: small tensors want all
// blocks busy, large ones many rounds.
inline constexpr int64_t kEnoughItems = 768;
inline constexpr int64_t kMostRounds = 12;    // at most 48 positions a thread: summed in float
inline constexpr int64_t kAhead = 320;        // items that are in work at once, in each pass
inline constexpr int64_t kMostBlocks = 1024;  // more than run at once: they draw items on and on
inline constexpr int64_t kChunk = 32;         // slices whose sums one block merges

struct BatchNormPlan {
  int64_t batch, channels, length, count;
  int64_t groups;           // of a plane, or with channels_last of a position
  int64_t columns, slices;  // slices of a column
  int64_t units;            // of a slice, but the last: groups of a channel, or positions
  int64_t lead;             // items that the first pass is ahead
  int lanes;                // threads side by side, with channels_last
  bool last, alone;
  bool backwards;  // the second pass visits the slices of a column from the end: still cached
  bool streamed;

  SIGHTLINE_HD int64_t all_units() const { return last ? count : batch * groups; }
  SIGHTLINE_HD int64_t first_unit(int64_t slice) const { return slice * units; }
  SIGHTLINE_HD int64_t end_unit(int64_t slice) const {
    const int64_t end = (slice + 1) * units;
    return end < all_units() ? end : all_units();
  }
  SIGHTLINE_HD int64_t items() const { return columns * slices; }
  SIGHTLINE_HD int64_t chunks() const { return (slices + kChunk - 1) / kChunk; }
  SIGHTLINE_HD int width() const { return last ? lanes * kGroup : 1; }  // channels of a column
  // Whether the bits of positions begin at bytes.
  SIGHTLINE_HD bool bytewise() const {
    return !last || channels % 8 == 0 || channels >= kNarrowRow;
  }
};

struct BatchNormItem {
  bool second;
  int64_t column, slice;
};

// The item of the ticket-th draw: `lead` of the first pass, then one of each pass in turn, then
// what is left of the second. An item of the second pass comes after the whole first pass of its
// column, since lead >= slices.
SIGHTLINE_HD BatchNormItem batch_norm_item(const BatchNormPlan& plan, int64_t ticket) {
  const int64_t past = ticket - plan.lead, both = plan.items() - plan.lead;
  const bool second = past >= 2 * both || (past >= 0 && past % 2 == 0);
  const int64_t number = past < 0          ? ticket
                         : past < 2 * both ? past / 2 + (second ? 0 : plan.lead)
                                           : past - both;
  const int64_t column = number / plan.slices, slice = number - column * plan.slices;
  return {second, column, second && plan.backwards ? plan.slices - 1 - slice : slice};
}

// bytes: of an element; tensors: how many of x's size both passes read.
inline BatchNormPlan batch_norm_plan(const BatchNormShape& shape, int bytes, int tensors) {
  const auto divided = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  BatchNormPlan plan{};
  plan.batch = shape.batch;
  plan.channels = shape.channels;
  plan.length = shape.length;
  plan.count = shape.count();
  plan.last = shape.channels_last;
  plan.groups = divided(plan.last ? plan.channels : plan.length, kGroup);
  plan.lanes = 1;
  if (plan.last)
    while (plan.lanes < plan.groups && plan.lanes * kGroup * bytes < kCacheLineBytes)
      plan.lanes *= 2;
  const auto columns = [&](int lanes) {
    return plan.last ? divided(plan.groups, lanes) : plan.channels;
  };
  const auto column_bytes = [&](int lanes) {
    return plan.count * (plan.last ? lanes * kGroup : 1) * bytes * tensors;
  };
  for (int lanes = plan.lanes; lanes >= 1 && !plan.alone; lanes /= 2) {
    plan.alone =
        column_bytes(lanes) <= kAloneBytes && (lanes == 1 || columns(lanes) >= kFillingColumns);
    if (plan.alone) plan.lanes = lanes;
  }
  plan.columns = columns(plan.lanes);
  const int64_t round = kItemThreads / plan.lanes * batch_norm_batch(bytes, tensors);
  const int64_t rounds = std::clamp<int64_t>(
      plan.columns * divided(plan.all_units(), round) / kEnoughItems, 1, kMostRounds);
  plan.slices = plan.alone ? 1 : divided(plan.all_units(), round * rounds);
  plan.units = divided(plan.all_units(), plan.slices);
  plan.slices = divided(plan.all_units(), plan.units);
  plan.lead = std::min(plan.items(), plan.slices + kAhead);
  plan.backwards = column_bytes(plan.lanes) > kCachedBytes;
  plan.streamed = plan.count * plan.channels * bytes > kStreamedBytes;
  return plan;
}

}  // namespace sightline::batch_norm
