#include <cmath>
#include <memory>

#include "check.h"
#include "evaluation/masks/masks.h"

namespace sightline::native {

using namespace evaluation::masks;
namespace {

using Mask = std::vector<uint8_t>;  // [W, H]

struct Table {
  Buffer<int64_t> size, first, count, ring_offsets;
  Buffer<uint8_t> kind, strings;
  Buffer<double> coordinates;
  Buffer<uint32_t> counts;

  Table(int64_t rows, int64_t rings, int64_t num_strings, int64_t num_counts)
      : size(2 * rows),
        first(rows),
        count(rows),
        ring_offsets(rings + 1),
        kind(rows),
        strings(num_strings),
        coordinates(0),
        counts(num_counts) {
    ring_offsets[0] = 0;
  }
  MaskColumns columns() const {
    return {size.data(),        kind.data(),    first.data(),  count.data(), ring_offsets.data(),
            coordinates.data(), strings.data(), counts.data(), kind.size()};
  }
};

Mask random_mask(Random& random, int64_t pixels) {
  Mask mask(pixels);
  const double change = random.pick<double>({0, 0.02, 0.5, 1});
  uint8_t value = random.chance(0.3);
  for (uint8_t& pixel : mask) {
    if (random.chance(change)) value = !value;
    pixel = value;
  }
  return mask;
}

// Masks [N, W, H] as strings and lists of counts in turn.
std::unique_ptr<Table> tabulate(const std::vector<Mask>& masks, int64_t height, int64_t width) {
  const int64_t n = masks.size(), pixels = height * width;
  Buffer<uint8_t> all(n * pixels);
  for (int64_t i = 0; i < n; ++i) std::copy(masks[i].begin(), masks[i].end(), &all[i * pixels]);
  const auto serial = [](int64_t m, int64_t, Range body) {
    if (m > 0) body(0, m);
  };
  const Runs<uint32_t> runs =
      encode_masks_cpu(all.data(), n, height, width, pixels, 1, height, serial);
  const Runs<uint8_t> strings = compress_counts_cpu(runs, serial);
  auto out = std::make_unique<Table>(n, 0, strings.values.size(), runs.values.size());
  Table& table = *out;
  std::copy(strings.values.begin(), strings.values.end(), table.strings.data());
  std::copy(runs.values.begin(), runs.values.end(), table.counts.data());
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<int64_t>& offsets = i % 2 ? runs.offsets : strings.offsets;
    table.size[2 * i] = height, table.size[2 * i + 1] = width;
    table.kind[i] = static_cast<uint8_t>(i % 2 ? MaskKind::kCounts : MaskKind::kString);
    table.first[i] = offsets[i];
    table.count[i] = offsets[i + 1] - offsets[i];
  }
  return out;
}

void check_overlaps(const Table& table, const std::vector<Mask>& masks, Random& random) {
  const int64_t n = masks.size(), groups = 1 + random.below(4);
  std::vector<int64_t> rows(n), dt_offsets(groups + 1), gt_offsets(groups + 1);
  for (int64_t i = 0; i < n; ++i) rows[i] = n - 1 - i;
  for (int64_t s = 1; s < groups; ++s) {
    dt_offsets[s] = dt_offsets[s - 1] + random.below(n - dt_offsets[s - 1] + 1);
    gt_offsets[s] = gt_offsets[s - 1] + random.below(n - gt_offsets[s - 1] + 1);
  }
  dt_offsets[groups] = gt_offsets[groups] = n;
  const Buffer<bool> crowd(n);
  fill(crowd, [&] { return random.chance(0.3); });
  int64_t cells = 0;
  for (int64_t s = 0; s < groups; ++s)
    cells += (dt_offsets[s + 1] - dt_offsets[s]) * (gt_offsets[s + 1] - gt_offsets[s]);
  const Buffer<double> overlaps(cells), area(n);
  FirstFault dt_fault, gt_fault;
  mask_overlaps_cpu({table.columns(), table.columns(), rows.data(), dt_offsets.data(), rows.data(),
                     gt_offsets.data(), crowd.data(), groups},
                    {overlaps.data(), area.data(), &dt_fault, &gt_fault}, Parallel(random));
  std::vector<double> expected;
  for (int64_t s = 0; s < groups; ++s)
    for (int64_t d = dt_offsets[s]; d < dt_offsets[s + 1]; ++d)
      for (int64_t g = gt_offsets[s]; g < gt_offsets[s + 1]; ++g) {
        const Mask &a = masks[rows[d]], &b = masks[rows[g]];
        double both = 0, either = 0;
        for (size_t p = 0; p < a.size(); ++p) {
          both += a[p] && b[p];
          either += crowd[rows[g]] ? a[p] : a[p] || b[p];
        }
        expected.push_back(both == 0 ? 0 : both / either);
      }
  require_equal(overlaps, expected, "mask_overlaps");
}

const Check whole("mask", 150, [](Random& random) {
  const int64_t height = random.pick<int64_t>({0, 1, 2, 7, 64, 100}), width = random.below(40);
  const int64_t n = 1 + random.below(9), pixels = height * width;
  std::vector<Mask> masks;
  for (int64_t i = 0; i < n; ++i) masks.push_back(random_mask(random, pixels));
  const std::unique_ptr<Table> owner = tabulate(masks, height, width);
  const Table& table = *owner;
  FirstFault fault;
  const Buffer<uint8_t> decoded(n * pixels);
  decode_masks_cpu(table.columns(), decoded.data(), fault, Parallel(random));
  std::vector<uint8_t> all;
  for (const Mask& mask : masks) all.insert(all.end(), mask.begin(), mask.end());
  require_equal(decoded, all, "decode_masks");
  const Buffer<int64_t> area(n);
  const Buffer<double> boxes(4 * n);
  measure_masks_cpu(table.columns(), area.data(), boxes.data(), fault, Parallel(random));
  std::vector<int64_t> sums;
  for (const Mask& mask : masks) sums.push_back(std::count(mask.begin(), mask.end(), 1));
  require_equal(area, sums, "mask area");
  check_overlaps(table, masks, random);
  const std::vector<int64_t> sets = {0, 1 + random.below(n), n};
  const int64_t num_sets = sets[1] == n ? 1 : 2;
  merge_masks_cpu(table.columns(), sets.data(), num_sets, random.chance(0.5), fault,
                  Parallel(random));
  require(fault.fault() == MaskFault::kNone, "whole masks are read");
});

// Bytes of any kind end where their allocation ends; whatever they mean, nothing else is read.
const Check malformed("malformed mask", 400, [](Random& random) {
  const int64_t height = random.below(20), width = random.below(20), n = random.below(60);
  const std::unique_ptr<Table> owner =
      tabulate({random_mask(random, height * width)}, height, width);
  const Table& table = *owner;
  const int64_t kept = table.strings.size();
  const bool mutate = random.chance(0.5) && kept > 0;
  const Buffer<uint8_t> bytes(mutate ? kept : n);
  if (mutate) {
    std::copy_n(table.strings.data(), kept, bytes.data());
    bytes[random.below(kept)] = static_cast<uint8_t>(random.below(256));
  } else {
    const bool digits = random.chance(0.7), more = random.chance(0.3);
    fill(bytes, [&] {
      if (!digits) return random.below(256);
      return more ? 80 + random.below(32) : 48 + random.below(64);
    });
  }
  MaskColumns columns = table.columns();
  columns.strings = bytes.data();
  const Buffer<int64_t> first(1), count(1), area(1), sets(2);
  const Buffer<double> boxes(4), overlaps(1), dt_area(1);
  first[0] = 0, count[0] = bytes.size(), sets[0] = 0, sets[1] = 1;
  columns.first = first.data(), columns.count = count.data();
  const Buffer<uint8_t> decoded(height * width);
  const Buffer<bool> crowd(1);
  crowd[0] = false;
  FirstFault fault, other;
  decode_masks_cpu(columns, decoded.data(), fault, Parallel(random));
  measure_masks_cpu(columns, area.data(), boxes.data(), fault, Parallel(random));
  mask_counts_cpu(columns, fault, Parallel(random));
  merge_masks_cpu(columns, sets.data(), 1, false, fault, Parallel(random));
  mask_overlaps_cpu(
      {columns, columns, first.data(), sets.data(), first.data(), sets.data(), crowd.data(), 1},
      {overlaps.data(), dt_area.data(), &fault, &other}, Parallel(random));
  require((fault.fault() == MaskFault::kNone) == (other.fault() == MaskFault::kNone),
          "every function reads a string alike");
});

// Polygons far and near, of numbers that are none, of few points: inside the picture or refused.
const Check polygons("mask of polygons", 300, [](Random& random) {
  const int64_t height = random.below(70), width = random.below(70), rings = random.below(4);
  const Table table(1, rings, 0, 0);
  table.size[0] = height, table.size[1] = width;
  table.kind[0] = static_cast<uint8_t>(MaskKind::kPolygons);
  table.first[0] = 0, table.count[0] = rings;
  for (int64_t r = 0; r < rings; ++r)
    table.ring_offsets[r + 1] = table.ring_offsets[r] + random.below(30);
  const Buffer<double> coordinates(table.ring_offsets[rings]);
  const double reach = random.pick<double>({1, 70, 1e4, 1e8});
  const bool bad = random.chance(0.1);
  fill(coordinates, [&] {
    return bad && random.chance(0.1) ? random.pick<double>({NAN, INFINITY, -INFINITY, 1e300, 2e8})
                                     : random.uniform(-reach, reach);
  });
  MaskColumns columns = table.columns();
  columns.coordinates = coordinates.data();
  const Buffer<uint8_t> decoded(height * width);
  FirstFault fault;
  decode_masks_cpu(columns, decoded.data(), fault, Parallel(random));
  const bool finite = std::all_of(coordinates.data(), coordinates.data() + coordinates.size(),
                                  [](double c) { return std::abs(c) <= 1e8; });
  require((fault.fault() == MaskFault::kNone) == finite, "what is not finite is refused");
});

}  // namespace
}  // namespace sightline::native
