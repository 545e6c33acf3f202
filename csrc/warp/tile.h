// Consecutive output pixels of one row, as arrays that every pass fills a vector from: where they
// are read, their neighbours in the input, their sums, their colours. Each pass computes what
// sample.h says of one pixel.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/macros.h"
#include "warp/sample.h"

namespace sightline::warp {

inline constexpr int64_t kTile = 256;

// How positions become whole steps of 1/256 pixel, by one formula: nearest pixels have no part.
struct Rounding {
  double centre, factor, summand;
  int32_t shift;
};
SIGHTLINE_INLINE Rounding rounding_of(bool nearest) {
  return nearest ? Rounding{0.0, 1.0, 0.0, 8} : Rounding{0.5, kPositions, 0.5, 0};
}

// The input as the passes read it.
struct Picture {
  const uint8_t* pixels;  // [height, width, C]
  int64_t height, width;
  int64_t row;    // bytes
  int64_t below;  // bytes from a pixel to the one below; 0 where there is one row
  int64_t last;   // the last byte from which both rows can be read eight bytes at a time
  int64_t pair;   // bytes of two neighbours; of one pixel where a row has no more
};

template <int C>
struct Tile {
  float move_x[kTile], move_y[kTile];
  int32_t x_steps[kTile], y_steps[kTile];
  int32_t x_part[kTile], y_part[kTile];  // of 256: the share of the second neighbour
  int32_t inside[kTile];                 // of the sample: 1 or 0
  uint64_t above[kTile], below[kTile];   // two neighbours, byte after byte
  float sums[C][kTile];
  int32_t counts[kTile];  // of samples inside

  // Positions along an affine map without displacements; returns whether all n are inside, which
  // the two ends tell, since rounding keeps the order.
  SIGHTLINE_INLINE bool locate_on_line(const Map& map, double i, double y, double along, int64_t n,
                                       const Picture& in, const Rounding& round) {
    const double *const m = map.m, height = double(in.height), width = double(in.width);
    const double row_x = m[1] * y + m[2], row_y = m[4] * y + m[5];
    const auto is_inside = [&](int64_t k) SIGHTLINE_LAMBDA {
      const double x = (i + double(k)) + along;
      const double from_x = m[0] * x + row_x, from_y = m[3] * x + row_y;
      return from_x >= 0.0 && from_x < width && from_y >= 0.0 && from_y < height;
    };
    const bool all = is_inside(0) && is_inside(n - 1);
    const double x_factor = m[0], y_factor = m[3], x_end = width - 1.0, y_end = height - 1.0;
    for (int64_t k = 0; k < n; ++k) {
      const double x = (i + double(int32_t(k))) + along;
      const double from_x = x_factor * x + row_x, from_y = y_factor * x + row_y;
      x_steps[k] = steps_at(from_x, x_end, round);
      y_steps[k] = steps_at(from_y, y_end, round);
    }
    if (all) return true;
    for (int64_t k = 0; k < n; ++k) {
      const double x = (i + double(int32_t(k))) + along;
      const double from_x = x_factor * x + row_x, from_y = y_factor * x + row_y;
      inside[k] = int32_t(from_x >= 0.0) & int32_t(from_x < width) & int32_t(from_y >= 0.0) &
                  int32_t(from_y < height);
    }
    return false;
  }

  // The same for any map, each pixel moved by its displacement.
  SIGHTLINE_INLINE void locate(const Map& map, double i, double j, double along, double down,
                               int64_t n, const Picture& in, const Rounding& round) {
    double m[9];
    for (int k = 0; k < 9; ++k) m[k] = map.m[k];
    const double height = double(in.height), width = double(in.width);
    for (int64_t k = 0; k < n; ++k) {
      const double x = ((i + double(int32_t(k))) + along) + double(move_x[k]);
      const double y = (j + down) + double(move_y[k]);
      const double w = 1.0 / (m[6] * x + (m[7] * y + m[8]));
      const double from_x = (m[0] * x + (m[1] * y + m[2])) * w;
      const double from_y = (m[3] * x + (m[4] * y + m[5])) * w;
      x_steps[k] = steps_at(from_x, width - 1.0, round);
      y_steps[k] = steps_at(from_y, height - 1.0, round);
      inside[k] = int32_t(w > 0.0) & int32_t(from_x >= 0.0) & int32_t(from_x < width) &
                  int32_t(from_y >= 0.0) & int32_t(from_y < height);
    }
  }

  // Reads the neighbours. The second one lies within the picture: at the last pixel of a row the
  // share of the second is whole.
  SIGHTLINE_INLINE void read(const Picture& in, int64_t n) {
    const int32_t x_last = int32_t(in.width > 1 ? in.width - 2 : 0);
    const int32_t y_last = int32_t(in.height > 1 ? in.height - 2 : 0);
    for (int64_t k = 0; k < n; ++k) {
      const int32_t x = x_steps[k] >> 8, y = y_steps[k] >> 8;
      const int32_t left = x < x_last ? x : x_last, top = y < y_last ? y : y_last;
      x_part[k] = x_steps[k] - (left << 8), y_part[k] = y_steps[k] - (top << 8);
      x_steps[k] = left * C, y_steps[k] = top;
    }
    const uint8_t *const pixels = in.pixels, *const pixels_below = pixels + in.below;
    const int64_t row = in.row, last = in.last;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t at = int64_t(y_steps[k]) * row + x_steps[k];
      if (at <= last) {
        std::memcpy(above + k, pixels + at, 8);
        std::memcpy(below + k, pixels_below + at, 8);
      } else {
        const uint8_t* const p = pixels + at;
        above[k] = below[k] = 0;
        for (int64_t b = 0; b < in.pair; ++b) {
          above[k] |= uint64_t(p[b]) << 8 * b;
          below[k] |= uint64_t(p[in.below + b]) << 8 * b;
        }
      }
    }
  }

  // Nearest pixels as they are, where no colour changes.
  SIGHTLINE_INLINE void copy(const Picture& in, int64_t n, bool all, const WarpRules& rules,
                             uint8_t* out) {
    uint8_t fill[C];
    for (int c = 0; c < C; ++c) fill[c] = to_byte(rules.fill[c]);
    const uint8_t* const pixels = in.pixels;
    const int64_t row = in.row;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t at = int64_t(y_steps[k] >> 8) * row + int64_t(x_steps[k] >> 8) * C;
      const uint8_t* const from = all || inside[k] != 0 ? pixels + at : fill;
      for (int c = 0; c < C; ++c) out[C * k + c] = from[c];
    }
  }

  // Interpolates, with bytes in pairs of 16 bits, and adds to the sums, or begins them.
  template <bool kOnly, bool kAll>
  SIGHTLINE_INLINE void add(int64_t n) {
    for (int64_t k = 0; k < n; ++k) {
      const uint32_t part = uint32_t(x_part[k]);
      const float down = float(y_part[k]) * 0x1p-16f, up = float(256 - y_part[k]) * 0x1p-16f;
      const uint32_t a = uint32_t(above[k]), b = uint32_t(above[k] >> 8 * C);
      const uint32_t c = uint32_t(below[k]), d = uint32_t(below[k] >> 8 * C);
      const auto even = [&](uint32_t first, uint32_t second)
                            SIGHTLINE_LAMBDA { return along(first & kPair, second & kPair, part); };
      const auto odd = [&](uint32_t first, uint32_t second) SIGHTLINE_LAMBDA {
        return along((first >> 8) & kPair, (second >> 8) & kPair, part);
      };
      const auto put = [&](int channel, uint32_t upper, uint32_t lower) SIGHTLINE_LAMBDA {
        const float value = float(int32_t(upper)) * up + float(int32_t(lower)) * down;
        float& sum = sums[channel][k];
        if constexpr (kOnly)
          sum = value;
        else if constexpr (kAll)
          sum += to_256th(value);
        else
          sum += inside[k] != 0 ? to_256th(value) : 0.0f;
      };
      const uint32_t even_above = even(a, b), even_below = even(c, d);
      put(0, even_above & 0xffff, even_below & 0xffff);
      if constexpr (C > 1) {
        const uint32_t odd_above = odd(a, b), odd_below = odd(c, d);
        put(1, odd_above & 0xffff, odd_below & 0xffff);
        put(2, even_above >> 16, even_below >> 16);
        if constexpr (C > 3) put(3, odd_above >> 16, odd_below >> 16);
      }
    }
    if constexpr (!kOnly) {
      for (int64_t k = 0; k < n; ++k) counts[k] += kAll ? 1 : inside[k];
    } else if constexpr (!kAll) {
      for (int64_t k = 0; k < n; ++k) counts[k] = inside[k];
    }
  }

  // Colours to planes of `plane` numbers, or to pixels. Not kAll: some samples are outside.
  template <bool kAll, bool kColors, class Out>
  SIGHTLINE_INLINE void write(int64_t n, int32_t total, const float* colors, const WarpRules& rules,
                              Out* out, int64_t plane) {
    float factors[C * (C + 1)] = {}, scale[C], offset[C], fill[C];
    if constexpr (kColors)
      for (int k = 0; k < C * (C + 1); ++k) factors[k] = colors[k];
    for (int k = 0; k < C; ++k) {
      scale[k] = rules.scale[k], offset[k] = rules.offset[k], fill[k] = rules.fill[k];
      if constexpr (std::is_same_v<Out, float>) fill[k] = fill[k] * scale[k] + offset[k];
    }
    const float all = float(total);
    uint32_t* const bytes = reinterpret_cast<uint32_t*>(above);
    SIGHTLINE_INDEPENDENT
    for (int64_t k = 0; k < n; ++k) {
      float values[C];
      uint32_t packed = 0;
      const float count = float(counts[k]);
      for (int c = 0; c < C; ++c) values[c] = sums[c][k];
      if constexpr (!kAll)
        for (int c = 0; c < C; ++c) values[c] = values[c] / (count > 1.0f ? count : 1.0f);
      else if (total > 1)
        for (int c = 0; c < C; ++c) values[c] = values[c] / all;
      for (int c = 0; c < C; ++c) {
        float value = values[c];
        if constexpr (kColors) {
          const float* const row = factors + c * (C + 1);
          value = values[0] * row[0];
          for (int from = 1; from < C; ++from) value = value + values[from] * row[from];
          value = within_bytes(value + row[C]);
        }
        if constexpr (std::is_same_v<Out, float>) value = value * scale[c] + offset[c];
        if constexpr (!kAll) {
          const float partly = fill[c] + (value - fill[c]) * (count / all);
          value = count == all ? value : (count == 0.0f ? fill[c] : partly);
        }
        if constexpr (std::is_same_v<Out, float>)
          out[c * plane + k] = value;
        else
          packed |= uint32_t(int32_t(value + 0.5f)) << 8 * c;
      }
      if constexpr (!std::is_same_v<Out, float>) bytes[k] = packed;
    }
    if constexpr (!std::is_same_v<Out, float>) {
      for (int64_t k = 0; k < n - 1; ++k)  // overwritten by the next pixel where C < 4
        if constexpr (C == 1)
          out[k] = uint8_t(bytes[k]);
        else
          std::memcpy(out + C * k, bytes + k, 4);
      std::memcpy(out + C * (n - 1), bytes + n - 1, C);
    }
  }

 private:
  static constexpr uint32_t kPair = 0x00ff00ff;

  SIGHTLINE_INLINE static int32_t steps_at(double at, double end, const Rounding& round) {
    double centre = at - round.centre;
    centre = centre > 0.0 ? centre : 0.0;  // NaN, too
    centre = centre < end ? centre : end;
    return static_cast<int32_t>(centre * round.factor + round.summand) << round.shift;
  }
  // 256 times the values between two pairs, each below 2^16.
  SIGHTLINE_INLINE static uint32_t along(uint32_t first, uint32_t second, uint32_t part) {
    return (first << 8) + (second - first) * part;
  }
};

}  // namespace sightline::warp
