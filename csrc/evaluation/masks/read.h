// From the rows of MaskColumns to toggles and run lengths.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "common/macros.h"
#include "evaluation/masks/masks.h"
#include "evaluation/masks/polygon.h"

namespace sightline::evaluation::masks {

inline constexpr uint8_t kFirstCharacter = '0';  // stands for 0
inline constexpr int kDigitBits = 5;
inline constexpr uint64_t kDigit = 0x1f, kMore = 0x20, kCharacterRange = 0x3f;

// What is wrong with the characters of a string as such. A string that passes ends its last number.
SIGHTLINE_INLINE MaskFault check_characters(const uint8_t* s, int64_t n) {
  uint8_t bad = 0;
  for (int64_t i = 0; i < n; ++i) bad |= static_cast<uint8_t>(s[i] - kFirstCharacter) & 0xc0;
  if (bad != 0) return MaskFault::kCharacter;
  if (n > 0 && ((s[n - 1] - kFirstCharacter) & kMore)) return MaskFault::kUnfinished;
  return MaskFault::kNone;
}

// The low characters of a word as one signed number; length is 1 to 7.
SIGHTLINE_INLINE int64_t join_digits(uint64_t word, int length) {
  uint64_t v = word & (0x1f1f1f1f1f1f1f1fu >> (64 - 8 * length));
  v = (v & 0x001f001f001f001fu) | (v >> 3 & 0x03e003e003e003e0u);
  v = (v & 0x000003ff000003ffu) | (v >> 6 & 0x000ffc00000ffc00u);
  v = (v & 0xfffff) | (v >> 12 & 0xfffff00000u);
  const int unused = 64 - kDigitBits * length;
  return static_cast<int64_t>(v << unused) >> unused;
}

// Calls add(run) for each run of a string that check_characters let pass.
template <class Add>
SIGHTLINE_INLINE MaskFault read_runs(const uint8_t* s, int64_t n, Add add) {
  uint64_t one_before = 0, two_before = 0, out_of_range = 0;
  int64_t index = 0;
  const auto take = [&](int64_t value) SIGHTLINE_LAMBDA {
    const uint64_t run = static_cast<uint64_t>(value) + (index > 2 ? two_before : 0);
    out_of_range |= run >> 32;
    two_before = one_before;
    one_before = run;
    ++index;
    add(static_cast<uint32_t>(run));
  };
  int64_t p = 0;
  while (p + 8 <= n) {
    uint64_t word;
    std::memcpy(&word, s + p, 8);
    word -= 0x3030303030303030u;
    uint64_t ends = ~word & 0x2020202020202020u;
    if (ends == 0) return MaskFault::kRun;  // longer than any number that fits
    do {
      const int bits = std::countr_zero(ends) + 3;  // of the characters of this number
      if (bits <= 16) {
        const uint64_t both = (word & kDigit) | (word >> 3 & kDigit << kDigitBits);
        const int unused = bits == 8 ? 64 - kDigitBits : 64 - 2 * kDigitBits;
        take(static_cast<int64_t>(both << unused) >> unused);
      } else {
        if (bits > 56) return MaskFault::kRun;
        take(join_digits(word, bits / 8));
      }
      p += bits / 8;
      word >>= bits;
      ends >>= bits;
    } while (ends != 0);
  }
  while (p < n) {
    int length = 0;
    uint64_t word = 0;
    for (bool more = true; more; ++length) {
      const uint64_t digit = s[p + length] - kFirstCharacter;
      more = digit & kMore;
      if (length == 7) return MaskFault::kRun;
      word |= digit << 8 * length;
    }
    take(join_digits(word, length));
    p += length;
  }
  return out_of_range != 0 ? MaskFault::kRun : MaskFault::kNone;
}

// Toggles of one mask; owned by what read them.
struct Toggles {
  const uint32_t* data = nullptr;  // [size]
  int64_t size = 0;                // even

  uint64_t area() const {
    uint64_t sum = 0;
    for (int64_t i = 0; i < size; i += 2) sum += data[i + 1] - data[i];
    return sum;
  }
};

// Adds toggles that ascend so far, and lets two equal ones in a row vanish.
struct CanonicalToggles {
  uint32_t* data;
  int64_t size = 0;

  void add(uint32_t position) {
    if (size > 0 && data[size - 1] == position) {
      --size;
    } else {
      data[size++] = position;
    }
  }
};

// Where the number of masks that hold a pixel first reaches `needed`, or falls below it.
inline int64_t combine_toggles(const Toggles& a, const Toggles& b, int needed, uint32_t* out) {
  CanonicalToggles result{out};
  int64_t i = 0, j = 0;
  bool inside = false;
  while (i < a.size || j < b.size) {
    const uint32_t position =
        i < a.size && (j == b.size || a.data[i] <= b.data[j]) ? a.data[i] : b.data[j];
    while (i < a.size && a.data[i] == position) ++i;
    while (j < b.size && b.data[j] == position) ++j;
    const bool now = (i & 1) + (j & 1) >= needed;
    if (now != inside) result.add(position);
    inside = now;
  }
  return result.size;
}

// Reads rows one at a time; what it gives back lasts until the next.
class MaskReader {
 public:
  // Of the row of `masks`: its toggles, or why there are none.
  SIGHTLINE_INLINE MaskFault read(const MaskColumns& masks, int64_t row, Toggles& out) {
    const int64_t height = masks.size[2 * row], width = masks.size[2 * row + 1];
    const MaskFault size = check_size(height, width);
    if (size != MaskFault::kNone) return size;
    const uint64_t pixels = static_cast<uint64_t>(height) * static_cast<uint64_t>(width);
    const int64_t first = masks.first[row], count = masks.count[row];
    switch (static_cast<MaskKind>(masks.kind[row])) {
      case MaskKind::kString:
        return read_string(masks.strings + first, count, pixels, out);
      case MaskKind::kCounts:
        return read_counts(masks.counts + first, count, pixels, out);
      case MaskKind::kPolygons:
        return read_polygons(masks, row, out);
      case MaskKind::kNone:
        break;
    }
    return MaskFault::kAbsent;
  }

  static MaskFault check_size(int64_t height, int64_t width) {
    constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
    if (height < 0 || width < 0 || height > kMost || width > kMost) return MaskFault::kSize;
    return width > 0 && height > kMost / width ? MaskFault::kSize : MaskFault::kNone;
  }

 private:
  // Each number has a character or more, so that n toggles are room enough.
  SIGHTLINE_INLINE MaskFault read_string(const uint8_t* s, int64_t n, uint64_t pixels,
                                         Toggles& out) {
    const MaskFault characters = check_characters(s, n);
    if (characters != MaskFault::kNone) return characters;
    uint32_t* const toggles = toggles_.reserve(n + 1);
    uint64_t position = 0;
    int64_t size = 0;
    const MaskFault fault = read_runs(s, n, [&](uint32_t run) SIGHTLINE_LAMBDA {
      position += run;
      toggles[size++] = static_cast<uint32_t>(position);
    });
    if (fault != MaskFault::kNone) return fault;
    if (position != pixels) return MaskFault::kSum;
    out = {toggles, size & ~int64_t(1)};
    return MaskFault::kNone;
  }

  SIGHTLINE_INLINE MaskFault read_counts(const uint32_t* runs, int64_t n, uint64_t pixels,
                                         Toggles& out) {
    uint32_t* const toggles = toggles_.reserve(n + 1);
    uint64_t position = 0;
    for (int64_t i = 0; i < n; ++i) {
      position += runs[i];
      toggles[i] = static_cast<uint32_t>(position);
    }
    if (position != pixels) return MaskFault::kSum;
    out = {toggles, n & ~int64_t(1)};
    return MaskFault::kNone;
  }

  MaskFault read_polygons(const MaskColumns& masks, int64_t row, Toggles& out) {
    const int64_t height = masks.size[2 * row], width = masks.size[2 * row + 1];
    const int64_t first = masks.first[row], last = first + masks.count[row];
    out = {};
    for (int64_t ring = first; ring < last; ++ring) {
      const double* const xy = masks.coordinates + masks.ring_offsets[ring];
      const int64_t numbers = masks.ring_offsets[ring + 1] - masks.ring_offsets[ring];
      for (int64_t k = 0; k < numbers; ++k)
        if (!(std::abs(xy[k]) <= kHighestCoordinate)) return MaskFault::kCoordinate;
      const int64_t n = ring_toggles(xy, numbers / 2, height, width, polygon_, ring_);
      if (ring == first) {
        std::swap(toggles_, ring_);
        out = {toggles_.data(), n};
        continue;
      }
      const int64_t size =
          combine_toggles(out, {ring_.data(), n}, 1, merged_.reserve(out.size + n));
      std::swap(toggles_, merged_);
      out = {toggles_.data(), size};
    }
    return MaskFault::kNone;
  }

  Uninitialised<uint32_t> toggles_, ring_, merged_;
  PolygonScratch polygon_;
};

// The smallest box that holds the mask: columns and rows, both ends inside; for an empty mask the
// ends come before the beginnings.
struct MaskBox {
  int64_t x1 = 0, y1 = 0, x2 = -1, y2 = -1;
  bool meets(const MaskBox& other) const {
    return x1 <= other.x2 && other.x1 <= x2 && y1 <= other.y2 && other.y1 <= y2;
  }
};
inline MaskBox box_of(const Toggles& toggles, int64_t height) {
  MaskBox box;
  bool any = false;
  int64_t column = 0, base = 0;  // base = column * height
  for (int64_t i = 0; i < toggles.size; i += 2) {
    const int64_t begin = toggles.data[i], last = int64_t(toggles.data[i + 1]) - 1;
    if (last < begin) continue;
    if (begin - base >= height) {
      column += (begin - base) / height;
      base = column * height;
    }
    if (!any) box = {column, height, column, -1};
    any = true;
    if (last - base >= height) {
      box.y1 = 0;
      box.y2 = height - 1;
      column += (last - base) / height;
      base = column * height;
    } else {
      box.y1 = std::min(box.y1, begin - base);
      box.y2 = std::max(box.y2, last - base);
    }
    box.x2 = column;
  }
  return box;
}

}  // namespace sightline::evaluation::masks
