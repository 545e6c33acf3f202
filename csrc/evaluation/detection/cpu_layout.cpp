#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "common/sort.h"
#include "evaluation/detection/detection.h"

namespace sightline::evaluation::detection {
namespace {

using Row = int32_t;

// What is sorted of a row: classes are far apart in memory, so that it travels along.
struct Item {
  double score;
  Row row;
  Row image;  // or the group, once there are groups
};

// Items by bucket, in the order they come in within one.
struct Buckets {
  Column<Item> items;            // [N]
  std::vector<int64_t> offsets;  // [buckets + 1]

  std::span<Item> operator[](int64_t k) {
    return std::span(items).subspan(offsets[k], offsets[k + 1] - offsets[k]);
  }
};

// item_at(i) is the i-th item to come, bucket_of(row) where it belongs. Parts of the items are
// counted and moved at once: each knows where its own begin in every bucket.
Buckets into_buckets(int64_t n, int64_t num_buckets, auto&& item_at, auto&& bucket_of,
                     ParallelFor parallel_for) {
  constexpr int64_t kRowsPerPart = 1 << 16, kMostParts = 8;
  const int64_t parts = std::min(n / kRowsPerPart + 1, kMostParts);
  const auto part_begin = [=](int64_t p) { return n / parts * p + std::min(p, n % parts); };
  Buckets out{Column<Item>(n), std::vector<int64_t>(num_buckets + 1)};
  std::vector<int64_t> next(parts * num_buckets);
  dynamic_for(parallel_for, parts, [&](int64_t p) {
    int64_t* const count = next.data() + p * num_buckets;
    for (int64_t i = part_begin(p); i < part_begin(p + 1); ++i) ++count[bucket_of(item_at(i).row)];
  });
  int64_t begin = 0;
  for (int64_t k = 0; k < num_buckets; ++k) {
    out.offsets[k] = begin;
    for (int64_t p = 0; p < parts; ++p) begin += std::exchange(next[p * num_buckets + k], begin);
  }
  out.offsets[num_buckets] = begin;
  dynamic_for(parallel_for, parts, [&](int64_t p) {
    int64_t* const place = next.data() + p * num_buckets;
    for (int64_t i = part_begin(p); i < part_begin(p + 1); ++i) {
      const Item item = item_at(i);
      out.items[place[bucket_of(item.row)]++] = item;
    }
  });
  return out;
}

// Rows by class, by image within a class, and by label within an image where labels are given.
// Without scores they are 0.
Buckets by_class(const int64_t* image, const int64_t* label, const int64_t* classes,
                 const double* scores, int64_t n, int64_t num_images, int64_t num_classes,
                 ParallelFor parallel_for) {
  const auto item = [=](int64_t row) {
    return Item{scores ? scores[row] : 0, static_cast<Row>(row), static_cast<Row>(image[row])};
  };
  const auto class_of = [=](int64_t row) { return classes[row]; };
  if (label == nullptr && std::is_sorted(image, image + n))
    return into_buckets(n, num_classes, item, class_of, parallel_for);
  std::vector<Row> order(n);
  std::iota(order.begin(), order.end(), Row(0));
  if (label != nullptr)
    std::stable_sort(order.begin(), order.end(), [=](Row a, Row b) { return label[a] < label[b]; });
  const Buckets by_image = into_buckets(
      n, num_images, [&](int64_t i) { return item(order[i]); },
      [=](int64_t row) { return image[row]; }, parallel_for);
  return into_buckets(
      n, num_classes, [&](int64_t i) { return by_image.items[i]; }, class_of, parallel_for);
}

// The groups of one class, as offsets into its items, which are in the order of images.
struct ClassGroups {
  std::vector<Row> image;       // [groups]
  std::vector<Row> gt_begin;    // [groups + 1]
  std::vector<Row> kept_begin;  // [groups + 1] the same for detections within the cap
};

// Detections name their group from then on, where they named their image.
ClassGroups group_items(std::span<Item> dt, std::span<const Item> gt, int64_t cap) {
  ClassGroups out;
  size_t d = 0, g = 0;
  Row kept = 0;
  const auto begin_group = [&] {
    out.gt_begin.push_back(static_cast<Row>(g));
    out.kept_begin.push_back(kept);
  };
  while (d < dt.size() || g < gt.size()) {
    begin_group();
    constexpr Row kNone = std::numeric_limits<Row>::max();
    const Row image =
        std::min(d < dt.size() ? dt[d].image : kNone, g < gt.size() ? gt[g].image : kNone);
    const Row group = static_cast<Row>(out.image.size());
    out.image.push_back(image);
    const size_t first = d;
    for (; d < dt.size() && dt[d].image == image; ++d) dt[d].image = group;
    while (g < gt.size() && gt[g].image == image) ++g;
    kept += static_cast<Row>(std::min<int64_t>(d - first, cap));
  }
  begin_group();
  return out;
}

// Places of items from the best score down, ties as they stand. Most scores differ in the upper
// half of their keys: that is sorted by digits, and what ties in it is then put right.
class ScoreOrder {
 public:
  using Place = Keyed<uint32_t, Row>;

  std::span<const Place> sort(std::span<const Item> items) {
    const int64_t n = items.size();
    places_.resize(n);
    scratch_.resize(n);
    const auto key = [&](int64_t i) { return score_key(items[i].score); };
    for (int64_t i = 0; i < n; ++i)
      places_[i] = {static_cast<uint32_t>(key(i) >> 32), static_cast<Row>(i)};
    sort_keyed(places_.data(), scratch_.data(), n);
    for (int64_t begin = 0, end; begin < n; begin = end) {
      bool sorted = true;
      for (end = begin + 1; end < n && places_[end].key == places_[begin].key; ++end)
        sorted &= key(places_[end - 1].index) <= key(places_[end].index);
      if (!sorted)
        std::sort(places_.begin() + begin, places_.begin() + end,
                  [&](const auto& a, const auto& b) {
                    const uint64_t key_a = key(a.index), key_b = key(b.index);
                    return key_a < key_b || (key_a == key_b && a.index < b.index);
                  });
    }
    return places_;
  }

 private:
  Column<Place> places_, scratch_;
};

Column<int64_t> offsets_of(int64_t n, auto&& size) {
  Column<int64_t> offsets(n + 1);
  offsets[0] = 0;
  for (int64_t i = 0; i < n; ++i) offsets[i + 1] = offsets[i] + size(i);
  return offsets;
}

// The largest first, so that none of them is left for the end.
std::vector<int64_t> by_size(const std::vector<int64_t>& offsets) {
  std::vector<int64_t> order(offsets.size() - 1);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b];
  });
  return order;
}

}  // namespace

Layout lay_out(const LayoutInput& in, ParallelFor given) {
  const ParallelFor parallel_for = worth_threads(in.num_dt, given);
  const int64_t num_k = in.num_classes;
  Buckets dt = by_class(in.dt_image, in.dt_label, in.dt_class, in.dt_scores, in.num_dt,
                        in.num_images, num_k, parallel_for);
  Buckets gt = by_class(in.gt_image, in.gt_label, in.gt_class, nullptr, in.num_gt, in.num_images,
                        num_k, parallel_for);
  const std::vector<int64_t> tasks = by_size(dt.offsets);

  std::vector<ClassGroups> groups(num_k);
  dynamic_for(parallel_for, num_k, [&](int64_t i) {
    groups[tasks[i]] = group_items(dt[tasks[i]], gt[tasks[i]], in.max_detections);
  });
  Layout out;
  out.class_groups = offsets_of(num_k, [&](int64_t k) { return groups[k].image.size(); });
  out.class_offsets = offsets_of(num_k, [&](int64_t k) { return groups[k].kept_begin.back(); });
  const int64_t num_kept = out.class_offsets.back(), num_groups = out.class_groups.back();
  for (auto* rows : {&out.dt_rows, &out.class_rows}) rows->resize(num_kept);
  for (auto* rows : {&out.dt_places, &out.class_ranks, &out.class_images}) rows->resize(num_kept);
  out.class_scores.resize(num_kept);
  out.dt_offsets.resize(num_groups + 1);
  out.gt_offsets.resize(num_groups + 1);
  out.dt_offsets.back() = num_kept;
  out.gt_offsets.back() = in.num_gt;
  out.gt_rows.resize(in.num_gt);
  for (int64_t i = 0; i < in.num_gt; ++i) out.gt_rows[i] = gt.items[i].row;

  dynamic_for(parallel_for, num_k, [&](int64_t i) {
    const int64_t k = tasks[i], first_kept = out.class_offsets[k];
    const std::span<const Item> items = dt[k];
    const ClassGroups& group = groups[k];
    std::vector<Row> next(group.kept_begin);
    for (size_t s = 0; s < group.image.size(); ++s) {
      out.dt_offsets[out.class_groups[k] + s] = first_kept + group.kept_begin[s];
      out.gt_offsets[out.class_groups[k] + s] = gt.offsets[k] + group.gt_begin[s];
    }
    ScoreOrder order;
    int64_t place = first_kept;
    for (const auto& sorted : order.sort(items)) {
      const Item& item = items[sorted.index];
      const Row s = item.image;
      if (next[s] == group.kept_begin[s + 1]) continue;
      const int64_t slot = first_kept + next[s];
      out.dt_rows[slot] = item.row;
      out.dt_places[slot] = static_cast<int32_t>(place);
      out.class_rows[place] = item.row;
      out.class_ranks[place] = next[s]++ - group.kept_begin[s];
      out.class_images[place] = group.image[s];
      out.class_scores[place] = item.score;
      ++place;
    }
  });
  return out;
}

}  // namespace sightline::evaluation::detection
