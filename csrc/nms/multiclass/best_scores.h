// The best scores of an image, a batch at a time: of hundreds of thousands that pass the threshold
// few are looked at before the image has its detections, so that they are not sorted.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <type_traits>
#include <vector>

#include "common/isa.h"
#include "common/sort.h"
#include "common/working_memory.h"

namespace sightline::nms::multiclass {
namespace {

// Appends the items with score > above to items[count...], in order of index, from scores[begin] on
// until `room` items are there or the end is reached; begin becomes where to go on. Only items that
// come after `after` count.
struct CollectScores {
  static constexpr int kGroup = 16, kStride = 4 * kGroup;

  template <class S>
  SIGHTLINE_INLINE static bool any_above(const S* scores, S above) {
    using Lane = std::conditional_t<sizeof(S) == 4, int32_t, int64_t>;
    Lane any = 0;
    for (int k = 0; k < kStride; ++k) any |= scores[k] > above ? Lane(1) : Lane(0);
    return any != 0;
  }
  template <class S>
  SIGHTLINE_INLINE static uint32_t bits_above(const S* scores, S above) {
    using Lane = std::conditional_t<sizeof(S) == 4, int32_t, int64_t>;
    Lane bits = 0;
    for (int k = 0; k < kGroup; ++k) bits |= scores[k] > above ? Lane(1) << k : Lane(0);
    return static_cast<uint32_t>(bits);
  }

  template <class S, class Item>
  SIGHTLINE_INLINE static void run(const S* scores, int64_t n, S above, Item after, int64_t* begin,
                                   Item* items, int64_t room, int64_t* count) {
    int64_t i = *begin, found = *count;
    const auto append = [&](int64_t at) SIGHTLINE_LAMBDA {
      const Item item{score_key(scores[at]), at};
      items[found] = item;
      found += after < item;
    };
    for (; i + kStride <= n && found + kStride <= room; i += kStride) {
      if (!any_above(scores + i, above)) continue;
      for (int64_t group = i; group < i + kStride; group += kGroup)
        for (uint32_t bits = bits_above(scores + group, above); bits != 0; bits &= bits - 1)
          append(group + __builtin_ctz(bits));
    }
    if (i + kStride > n)
      for (; i < n && found < room; ++i)
        if (scores[i] > above) append(i);
    *begin = i;
    *count = found;
  }
};

}  // namespace

template <class S>
class BestScores {
 public:
  using Item = Keyed<ScoreKey<S>>;

  BestScores(const S* scores /* [n] */, int64_t n, S above)
      : scores_(scores), n_(n), above_(above) {}

  // Finds the best, at most and mostly as many as wanted, of those that come after the batch
  // before. False where there are none.
  bool next(int64_t wanted) {
    while (!complete_) {
      collect(wanted, after_.index < 0 && !guessed_ ? guess(wanted) : above_);
      if (count_ == 0) continue;
      after_ = items_[count_ - 1];
      return true;
    }
    return false;
  }

  const Item* begin() const { return items_.get(); }
  const Item* end() const { return items_.get() + count_; }

 private:
  static constexpr int64_t kSampledGroup = 16, kSampleEvery = 128;  // a cache line of 128
  static constexpr int64_t kSampleFrom = 1 << 16;

  // A score that somewhat more than wanted are above: a sample's quantile and a margin. To begin
  // with it spares taking what the next thousands of scores throw out again.
  S guess(int64_t wanted) {
    guessed_ = true;
    if (n_ < kSampleFrom) return above_;
    const double share = double(wanted) / kSampleEvery;
    const int64_t rank = static_cast<int64_t>(share + 3 * std::sqrt(share) + 3);
    std::vector<S> sample;
    sample.reserve(n_ / kSampleEvery + kSampledGroup);
    constexpr int64_t kStep = kSampledGroup * kSampleEvery;
    for (int64_t i = 0; i + kSampledGroup <= n_; i += kStep)
      std::copy_if(scores_ + i, scores_ + i + kSampledGroup, std::back_inserter(sample),
                   [&](S score) { return score > above_; });
    if (rank >= static_cast<int64_t>(sample.size())) return above_;
    std::nth_element(sample.begin(), sample.begin() + rank, sample.end(), std::greater<S>());
    return sample[rank];
  }

  // The `wanted` best of the items above a score and after the last batch, in order, or all.
  void collect(int64_t wanted, S above) {
    const int64_t room = std::min(n_, 2 * wanted) + CollectScores::kStride;
    if (room > room_) {
      room_ = room;
      items_ = working_memory<Item>(room);
      scratch_ = working_memory<Item>(room);
    }
    count_ = 0;
    complete_ = above == above_;
    for (int64_t begin = 0; begin < n_;) {
      run_for_isa<CollectScores>(scores_, n_, above, after_, &begin, items_.get(), room_, &count_);
      if (count_ <= wanted) continue;  // at the end, as there is room for more
      // What follows has higher indices: at the score of the last that stays it would come later.
      above = scores_[drop_but(wanted).index];
      complete_ = false;
    }
    sort_keyed(items_.get(), scratch_.get(), count_);
  }

  // Keeps the `wanted` best of the items, in order of index, and returns the last of them.
  Item drop_but(int64_t wanted) {
    Item* const copy = scratch_.get();
    std::copy_n(items_.get(), count_, copy);
    std::nth_element(copy, copy + wanted - 1, copy + count_);
    const Item last = copy[wanted - 1];
    int64_t stay = 0;
    for (int64_t i = 0; i < count_; ++i) {
      const Item item = items_[i];
      items_[stay] = item;
      stay += !(last < item);
    }
    count_ = stay;
    return last;
  }

  const S* scores_;
  int64_t n_, room_ = 0, count_ = 0;
  S above_;
  Item after_{0, -1};  // the last of the batch before; this comes before all
  bool complete_ = false, guessed_ = false;
  std::unique_ptr<Item[]> items_, scratch_;  // [room]
};

}  // namespace sightline::nms::multiclass
