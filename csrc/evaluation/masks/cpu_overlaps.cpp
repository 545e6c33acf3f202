#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <vector>

#include "common/isa.h"
#include "evaluation/masks/masks.h"
#include "evaluation/masks/read.h"

namespace sightline::evaluation::masks {
namespace {

// Work is counted in bytes of strings, and numbers of lists and polygons in their like.
constexpr int64_t kBytesPerRun = 2, kBytesPerRing = 256, kBytesPerMask = 64;
constexpr int64_t kBytesPerTask = 1 << 17;
// A longer span of pixels is not worth a bit each: 2^22 pixels make 1 MiB of RankWord.
constexpr int64_t kMostRankWords = 1 << 16;

// 64 pixels, and how many of the mask's lie before them.
struct RankWord {
  uint64_t bits;
  uint64_t before;
};

// One object of a group.
struct Object {
  Toggles toggles;  // in the group's memory
  int64_t area;
  int64_t height, width;
  uint32_t begin, end;    // the pixels between the first and the last toggle
  const RankWord* words;  // of those pixels, or null
};

// Reused from group to group.
struct GroupScratch {
  MaskReader reader;
  std::vector<uint32_t> toggles;  // of all objects
  std::vector<Object> objects;
  Uninitialised<RankWord> words;
};

SIGHTLINE_INLINE uint64_t bits_from(uint64_t bit) { return ~uint64_t(0) << bit; }

// Words for the pixels from object.begin on, with one more bit than there are pixels.
SIGHTLINE_INLINE void fill_rank(const Object& object, RankWord* words) {
  const int64_t n = (object.end - object.begin) / 64 + 1;
  std::memset(words, 0, n * sizeof(RankWord));
  for (int64_t i = 0; i < object.toggles.size; i += 2) {
    const uint32_t from = object.toggles.data[i] - object.begin;
    const uint32_t to = object.toggles.data[i + 1] - object.begin;
    const uint32_t first = from / 64, last = to / 64;
    if (first == last) {
      words[first].bits |= bits_from(from % 64) & ~bits_from(to % 64);
      continue;
    }
    words[first].bits |= bits_from(from % 64);
    for (uint32_t w = first + 1; w < last; ++w) words[w].bits = ~uint64_t(0);
    words[last].bits |= ~bits_from(to % 64);
  }
  uint64_t before = 0;
  for (int64_t w = 0; w < n; ++w) {
    words[w].before = before;
    before += std::popcount(words[w].bits);
  }
}

// Pixels of the object before `position`, which lies between its begin and end.
SIGHTLINE_INLINE uint64_t rank(const Object& object, uint32_t position) {
  const uint32_t p = position - object.begin;
  const RankWord word = object.words[p / 64];
  return word.before + std::popcount(word.bits & ~bits_from(p % 64));
}

// By the object's bits: each toggle of the detection is looked up by itself.
SIGHTLINE_INLINE int64_t intersect_bits(const Toggles& dt, const Object& object) {
  // pairs that end after the object begins, and begin before it ends
  const uint32_t* const all = dt.data;
  const int64_t low = (std::upper_bound(all, all + dt.size, object.begin) - all) & ~int64_t(1);
  const int64_t high = std::lower_bound(all + low, all + dt.size, object.end) - all;
  uint64_t sum = 0;
  for (int64_t i = low; i < high; i += 2) {
    const uint32_t from = std::max(all[i], object.begin);
    const uint32_t to = std::min(all[i + 1], object.end);
    sum += rank(object, to) - rank(object, from);
  }
  return static_cast<int64_t>(sum);
}

// By walking along both.
SIGHTLINE_INLINE int64_t intersect_runs(const Toggles& a, const Toggles& b) {
  int64_t sum = 0;
  const uint32_t *p = a.data, *q = b.data;
  const uint32_t *const p_end = p + a.size, *const q_end = q + b.size;
  while (p < p_end && q < q_end) {
    const int64_t from = std::max(p[0], q[0]), to = std::min(p[1], q[1]);
    sum += to > from ? to - from : 0;
    const bool first_ends = p[1] < q[1];
    p += first_ends ? 2 : 0;
    q += first_ends ? 0 : 2;
  }
  return sum;
}

// Reads the objects of group s; false where one cannot be read.
SIGHTLINE_INLINE bool read_objects(const MaskOverlapsInput& in, const MaskOverlapsOutput& out,
                                   int64_t s, GroupScratch& scratch) {
  const int64_t num_dt = in.dt_offsets[s + 1] - in.dt_offsets[s];
  scratch.toggles.clear();
  scratch.objects.clear();
  std::vector<Object>& objects = scratch.objects;
  for (int64_t k = in.gt_offsets[s]; k < in.gt_offsets[s + 1]; ++k) {
    const int64_t row = in.gt_rows[k];
    Toggles toggles;
    const MaskFault fault = scratch.reader.read(in.gt, row, toggles);
    if (fault != MaskFault::kNone) {
      out.gt_fault->note(row, fault);
      return false;
    }
    scratch.toggles.insert(scratch.toggles.end(), toggles.data, toggles.data + toggles.size);
    const bool any = toggles.size > 0;
    objects.push_back({{nullptr, toggles.size},
                       static_cast<int64_t>(toggles.area()),
                       in.gt.size[2 * row],
                       in.gt.size[2 * row + 1],
                       any ? toggles.data[0] : 0,
                       any ? toggles.data[toggles.size - 1] : 0,
                       nullptr});
  }
  const auto num_words = [&](const Object& object) SIGHTLINE_LAMBDA {
    const int64_t words = (object.end - object.begin) / 64 + 1;
    // filling a word costs about half of a step along the runs of both sides
    return words <= std::min(kMostRankWords, num_dt * object.toggles.size / 2) ? words : 0;
  };
  int64_t words = 0, first = 0;
  for (const Object& object : objects) words += num_words(object);
  RankWord* next = scratch.words.reserve(words);
  for (Object& object : objects) {
    object.toggles.data = scratch.toggles.data() + first;
    first += object.toggles.size;
    const int64_t n = num_words(object);
    if (n == 0) continue;
    fill_rank(object, next);
    object.words = next;
    next += n;
  }
  return true;
}

SIGHTLINE_INLINE double overlap(const Toggles& dt, int64_t dt_area, int64_t height, int64_t width,
                                const Object& object, bool crowd) {
  if (object.height != height || object.width != width) [[unlikely]]
    return box_of(dt, height).meets(box_of(object.toggles, object.height)) ? -1 : 0;
  if (dt.size == 0 || object.toggles.size == 0 || dt.data[0] >= object.end ||
      dt.data[dt.size - 1] <= object.begin)
    return 0;
  const int64_t both =
      object.words != nullptr ? intersect_bits(dt, object) : intersect_runs(dt, object.toggles);
  if (both == 0) return 0;
  const int64_t either = crowd ? dt_area : dt_area + object.area - both;
  return static_cast<double>(both) / static_cast<double>(either);
}

struct OverlapsOfGroups {
  SIGHTLINE_INLINE static void run(const MaskOverlapsInput* in, const MaskOverlapsOutput* out,
                                   const int64_t* cells /* [S + 1] */, int64_t begin, int64_t end,
                                   ParallelFor parallel_for) {
    GroupScratch scratch;
    for (int64_t s = begin; s < end; ++s) {
      if (in->dt_offsets[s] == in->dt_offsets[s + 1]) continue;
      if (!read_objects(*in, *out, s, scratch)) continue;
      const int64_t num_gt = in->gt_offsets[s + 1] - in->gt_offsets[s];
      double* values = out->overlaps + cells[s];
      for (int64_t k = in->dt_offsets[s]; k < in->dt_offsets[s + 1]; ++k, values += num_gt) {
        if (parallel_for.should_stop()) return;
        const int64_t row = in->dt_rows[k];
        Toggles dt;
        const MaskFault fault = scratch.reader.read(in->dt, row, dt);
        if (fault != MaskFault::kNone) {
          out->dt_fault->note(row, fault);
          continue;
        }
        const int64_t area = static_cast<int64_t>(dt.area());
        out->dt_area[row] = static_cast<double>(area);
        for (int64_t g = 0; g < num_gt; ++g)
          values[g] = overlap(dt, area, in->dt.size[2 * row], in->dt.size[2 * row + 1],
                              scratch.objects[g], in->gt_crowd[in->gt_rows[in->gt_offsets[s] + g]]);
      }
    }
  }
};

int64_t bytes_of(const MaskColumns& masks, int64_t row) {
  switch (static_cast<MaskKind>(masks.kind[row])) {
    case MaskKind::kPolygons:
      return kBytesPerMask + kBytesPerRing * masks.count[row];
    case MaskKind::kCounts:
      return kBytesPerMask + kBytesPerRun * masks.count[row];
    default:
      return kBytesPerMask + masks.count[row];
  }
}

}  // namespace

void mask_overlaps_cpu(const MaskOverlapsInput& in, const MaskOverlapsOutput& out,
                       ParallelFor parallel_for) {
  const int64_t n = in.num_groups;
  // cells[s]: where the overlaps of group s begin; work[s]: how much there is before it
  std::vector<int64_t> cells(n + 1, 0), work(n + 1, 0);
  for (int64_t s = 0; s < n; ++s) {
    const int64_t num_dt = in.dt_offsets[s + 1] - in.dt_offsets[s];
    const int64_t num_gt = in.gt_offsets[s + 1] - in.gt_offsets[s];
    cells[s + 1] = cells[s] + num_dt * num_gt;
    work[s + 1] = work[s];
    if (num_dt == 0) continue;
    for (int64_t k = in.dt_offsets[s]; k < in.dt_offsets[s + 1]; ++k)
      work[s + 1] += bytes_of(in.dt, in.dt_rows[k]);
    for (int64_t k = in.gt_offsets[s]; k < in.gt_offsets[s + 1]; ++k)
      work[s + 1] += bytes_of(in.gt, in.gt_rows[k]);
  }
  // the threads share the work evenly: classes, and so groups, differ much
  parallel_for(work[n], kBytesPerTask, [&](int64_t begin, int64_t end) {
    const auto group_at = [&](int64_t amount) {
      return std::lower_bound(work.begin(), work.end() - 1, amount) - work.begin();
    };
    run_for_isa<OverlapsOfGroups>(&in, &out, cells.data(), int64_t(group_at(begin)),
                                  int64_t(group_at(end)), parallel_for);
  });
}

}  // namespace sightline::evaluation::masks
