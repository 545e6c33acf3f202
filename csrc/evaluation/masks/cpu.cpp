#include <algorithm>
#include <cstring>
#include <numeric>

#include "evaluation/masks/masks.h"
#include "evaluation/masks/read.h"

namespace sightline::evaluation::masks {
namespace {

constexpr int64_t kMasksPerTask = 16;

// Run lengths of toggles that enclose no empty run.
void append_runs(const uint32_t* toggles, int64_t size, uint64_t pixels,
                 std::vector<uint32_t>& runs) {
  uint32_t position = 0;
  for (int64_t i = 0; i < size; ++i) {
    runs.push_back(toggles[i] - position);
    position = toggles[i];
  }
  if (position != pixels || size == 0) runs.push_back(static_cast<uint32_t>(pixels - position));
}

// make(begin, end, values, sizes) appends the runs of items begin to end - 1, and says how many
// each has; the parts are then joined in order.
template <class T, class Make>
Runs<T> make_runs(int64_t n, ParallelFor parallel_for, Make make) {
  struct Part {
    int64_t begin;
    std::vector<T> values;
  };
  std::vector<Part> parts;
  std::mutex mutex;
  Runs<T> out;
  out.offsets.assign(n + 1, 0);
  parallel_for(n, kMasksPerTask, [&](int64_t begin, int64_t end) {
    Part part{begin, {}};
    for (int64_t i = begin; i < end; ++i) {
      make(i, part.values);
      out.offsets[i + 1] = static_cast<int64_t>(part.values.size());
    }
    for (int64_t i = end; i > begin + 1; --i) out.offsets[i] -= out.offsets[i - 1];
    const std::lock_guard lock(mutex);
    parts.push_back(std::move(part));
  });
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  if (parts.size() == 1) {
    out.values = std::move(parts[0].values);
    return out;
  }
  out.values.resize(out.offsets[n]);
  for (const Part& part : parts)
    std::copy(part.values.begin(), part.values.end(), out.values.begin() + out.offsets[part.begin]);
  return out;
}

// One mask's pixels, for any strides.
struct Pixels {
  const uint8_t* data;
  int64_t height, width, row_stride, column_stride;

  bool at(int64_t row, int64_t column) const {
    return data[row * row_stride + column * column_stride] != 0;
  }
};

// The first and last of n bytes that are not 0; false where all are.
bool find_foreground(const uint8_t* bytes, int64_t n, int64_t& first, int64_t& last) {
  const auto word_at = [&](int64_t i) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    return word;
  };
  int64_t i = 0;
  while (i + 8 <= n && word_at(i) == 0) i += 8;
  while (i < n && bytes[i] == 0) ++i;
  if (i == n) return false;
  int64_t j = n;
  while (j >= 8 && word_at(j - 8) == 0) j -= 8;
  while (bytes[j - 1] == 0) --j;
  first = i;
  last = j - 1;
  return true;
}

// The box that holds the foreground; masks are mostly background, which is passed over a word at a
// time where memory allows.
MaskBox foreground_box(const Pixels& pixels) {
  MaskBox box;
  int64_t first, last;
  const auto widen = [&](int64_t x1, int64_t y1, int64_t x2, int64_t y2) {
    if (box.x2 < box.x1) box = {x1, y1, x1, y1};
    box = {std::min(box.x1, x1), std::min(box.y1, y1), std::max(box.x2, x2), std::max(box.y2, y2)};
  };
  if (pixels.column_stride == 1) {
    for (int64_t y = 0; y < pixels.height; ++y)
      if (find_foreground(pixels.data + y * pixels.row_stride, pixels.width, first, last))
        widen(first, y, last, y);
  } else if (pixels.row_stride == 1) {
    for (int64_t x = 0; x < pixels.width; ++x)
      if (find_foreground(pixels.data + x * pixels.column_stride, pixels.height, first, last))
        widen(x, first, x, last);
  } else {
    box = {0, 0, pixels.width - 1, pixels.height - 1};
  }
  return box;
}

void append_encoded(const Pixels& pixels, std::vector<uint32_t>& runs) {
  const MaskBox box = foreground_box(pixels);
  const uint64_t total = static_cast<uint64_t>(pixels.height) * pixels.width;
  int64_t begun = 0;  // where the present run began
  bool inside = false;
  const auto toggle = [&](int64_t position) {
    runs.push_back(static_cast<uint32_t>(position - begun));
    begun = position;
    inside = !inside;
  };
  for (int64_t x = box.x1; x <= box.x2; ++x) {
    const int64_t base = x * pixels.height;
    for (int64_t y = box.y1; y <= box.y2; ++y)
      if (pixels.at(y, x) != inside) toggle(base + y);
    if (inside && box.y2 + 1 < pixels.height) toggle(base + box.y2 + 1);
    // a run that reaches the bottom goes on at the top of the next column, or ends
    if (inside && (box.y1 > 0 || x == box.x2)) toggle(base + pixels.height);
  }
  const uint64_t rest = total - static_cast<uint64_t>(begun);
  if (rest > 0 || total == 0) runs.push_back(static_cast<uint32_t>(rest));
}

void append_compressed(const uint32_t* counts, int64_t n, std::vector<uint8_t>& out) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t value = int64_t(counts[i]) - (i > 2 ? int64_t(counts[i - 2]) : 0);
    for (bool more = true; more;) {
      const int64_t digit = value & kDigit;
      value >>= kDigitBits;
      // done when what is left is the sign of the last digit
      more = digit & 0x10 ? value != -1 : value != 0;
      out.push_back(static_cast<uint8_t>(kFirstCharacter + (digit | (more ? kMore : 0))));
    }
  }
}

template <class Read>
void for_each_mask(const MaskColumns& masks, FirstFault& fault, ParallelFor parallel_for,
                   Read read) {
  parallel_for(masks.num_rows, kMasksPerTask, [&](int64_t begin, int64_t end) {
    MaskReader reader;
    Toggles toggles;
    for (int64_t row = begin; row < end; ++row) {
      const MaskFault found = reader.read(masks, row, toggles);
      if (found != MaskFault::kNone) {
        fault.note(row, found);
      } else {
        read(row, toggles);
      }
    }
  });
}

bool same_size(const MaskColumns& masks, int64_t row, int64_t other) {
  return masks.size[2 * row] == masks.size[2 * other] &&
         masks.size[2 * row + 1] == masks.size[2 * other + 1];
}

}  // namespace

Runs<uint32_t> encode_masks_cpu(const uint8_t* pixels, int64_t num_masks, int64_t height,
                                int64_t width, int64_t mask_stride, int64_t row_stride,
                                int64_t column_stride, ParallelFor parallel_for) {
  return make_runs<uint32_t>(num_masks, parallel_for, [&](int64_t i, std::vector<uint32_t>& runs) {
    append_encoded({pixels + i * mask_stride, height, width, row_stride, column_stride}, runs);
  });
}

void decode_masks_cpu(const MaskColumns& masks, uint8_t* out, FirstFault& fault,
                      ParallelFor parallel_for) {
  for_each_mask(masks, fault, parallel_for, [&](int64_t row, const Toggles& toggles) {
    if (!same_size(masks, row, 0)) return fault.note(row, MaskFault::kDifferent);
    const int64_t pixels = masks.size[0] * masks.size[1];
    uint8_t* const mask = out + row * pixels;
    std::fill_n(mask, pixels, uint8_t(0));
    for (int64_t i = 0; i < toggles.size; i += 2)
      std::fill(mask + toggles.data[i], mask + toggles.data[i + 1], uint8_t(1));
  });
}

void measure_masks_cpu(const MaskColumns& masks, int64_t* area, double* boxes, FirstFault& fault,
                       ParallelFor parallel_for) {
  for_each_mask(masks, fault, parallel_for, [&](int64_t row, const Toggles& toggles) {
    area[row] = static_cast<int64_t>(toggles.area());
    const MaskBox box = box_of(toggles, masks.size[2 * row]);
    const int64_t xywh[4] = {box.x1, box.y1, box.x2 - box.x1 + 1, box.y2 - box.y1 + 1};
    for (int k = 0; k < 4; ++k) boxes[4 * row + k] = static_cast<double>(xywh[k]);
  });
}

Runs<uint32_t> mask_counts_cpu(const MaskColumns& masks, FirstFault& fault,
                               ParallelFor parallel_for) {
  return make_runs<uint32_t>(
      masks.num_rows, parallel_for, [&](int64_t row, std::vector<uint32_t>& runs) {
        MaskReader reader;
        Toggles toggles;
        const MaskFault found = reader.read(masks, row, toggles);
        if (found != MaskFault::kNone) return fault.note(row, found);
        const int64_t first = masks.first[row], count = masks.count[row];
        switch (static_cast<MaskKind>(masks.kind[row])) {
          case MaskKind::kString:
            read_runs(masks.strings + first, count, [&](uint32_t run) { runs.push_back(run); });
            return;
          case MaskKind::kCounts:
            runs.insert(runs.end(), masks.counts + first, masks.counts + first + count);
            return;
          default:
            break;
        }
        std::vector<uint32_t> kept(toggles.size);
        CanonicalToggles canonical{kept.data()};
        for (int64_t i = 0; i < toggles.size; ++i) canonical.add(toggles.data[i]);
        append_runs(kept.data(), canonical.size,
                    static_cast<uint64_t>(masks.size[2 * row]) * masks.size[2 * row + 1], runs);
      });
}

Runs<uint8_t> compress_counts_cpu(const Runs<uint32_t>& counts, ParallelFor parallel_for) {
  const int64_t n = static_cast<int64_t>(counts.offsets.size()) - 1;
  return make_runs<uint8_t>(n, parallel_for, [&](int64_t i, std::vector<uint8_t>& out) {
    append_compressed(counts.values.data() + counts.offsets[i],
                      counts.offsets[i + 1] - counts.offsets[i], out);
  });
}

Runs<uint32_t> merge_masks_cpu(const MaskColumns& masks, const int64_t* offsets, int64_t num_sets,
                               bool intersect, FirstFault& fault, ParallelFor parallel_for) {
  return make_runs<uint32_t>(num_sets, parallel_for, [&](int64_t set, std::vector<uint32_t>& runs) {
    MaskReader reader;
    std::vector<uint32_t> merged, next;
    const int64_t first = offsets[set];
    for (int64_t row = first; row < offsets[set + 1]; ++row) {
      Toggles toggles;
      const MaskFault found = reader.read(masks, row, toggles);
      if (found != MaskFault::kNone) return fault.note(row, found);
      if (!same_size(masks, row, first)) return fault.note(row, MaskFault::kDifferent);
      const Toggles before =
          row == first ? toggles : Toggles{merged.data(), static_cast<int64_t>(merged.size())};
      next.resize(before.size + toggles.size);
      next.resize(combine_toggles(before, toggles, intersect ? 2 : 1, next.data()));
      std::swap(merged, next);
    }
    append_runs(merged.data(), static_cast<int64_t>(merged.size()),
                static_cast<uint64_t>(masks.size[2 * first]) * masks.size[2 * first + 1], runs);
  });
}

}  // namespace sightline::evaluation::masks
