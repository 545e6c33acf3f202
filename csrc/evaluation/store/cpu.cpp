#include <algorithm>
#include <cstring>

#include "evaluation/store/cpu_rows.h"
#include "evaluation/store/store.h"

namespace sightline::evaluation::store {
namespace {

// Whether a row's column is asked for, and how many elements a row has in it.
struct Widths {
  int64_t scores, area, flags, mask, keypoints, num_keypoints;
};

Widths widths_of(const StoreRules& rules, bool objects) {
  const bool masks = rules.shapes == Shapes::kMasks, points = rules.shapes == Shapes::kKeypoints;
  return {.scores = !objects,
          .area = objects || masks,
          .flags = objects,
          .mask = masks,
          .keypoints = points ? 3 * rules.num_keypoints : 0,
          .num_keypoints = objects && points};
}

// Calls use(column, elements a row) for every column with a fixed number of them.
template <class Use>
void for_each_column(const Widths& widths, const Use& use) {
  use(&Rows::boxes, int64_t{4});
  use(&Rows::labels, int64_t{1});
  use(&Rows::scores, widths.scores);
  use(&Rows::area, widths.area);
  use(&Rows::flags, widths.flags);
  use(&Rows::mask_size, 2 * widths.mask);
  use(&Rows::mask_ends, widths.mask);
  use(&Rows::keypoints, widths.keypoints);
  use(&Rows::num_keypoints, widths.num_keypoints);
}

int64_t string_begin(const Rows& rows, int64_t row) {
  return row == 0 ? 0 : rows.mask_ends[row - 1];
}

bool append_masks(Rows& rows, const RowsInput& in, int64_t n) {
  if (!in.mask_ends.is_vector(n) || !in.mask_strings.is_vector(in.mask_strings.size()) ||
      in.mask_size.ndim != 2 || in.mask_size.shape[0] != n || in.mask_size.shape[1] != 2)
    return false;
  if (in.mask_ends.type != ElementType::kInt64 || in.mask_strings.type != ElementType::kUint8 ||
      in.mask_size.type != ElementType::kInt32)
    return false;
  const int64_t base = rows.mask_strings.size(), total = in.mask_strings.shape[0];
  if (total > 0 && in.mask_strings.strides[0] != 1) return false;
  rows.mask_strings.append(reinterpret_cast<const uint8_t*>(in.mask_strings.data), total);
  int64_t* ends = rows.mask_ends.extend(n);
  int32_t* size = rows.mask_size.extend(2 * n);
  bool good = true;
  int64_t previous = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t end =
        load<int64_t>(in.mask_ends.data + i * in.mask_ends.strides[0]) - in.mask_base;
    good &= previous <= end && end <= total;
    ends[i] = base + end;
    previous = end;
    for (int64_t c = 0; c < 2; ++c)
      size[2 * i + c] = load<int32_t>(in.mask_size.data + i * in.mask_size.strides[0] +
                                      c * in.mask_size.strides[1]);
  }
  return good && previous == total;
}

bool append_keypoints(Rows& rows, const RowsInput& in, int64_t n, const Widths& widths) {
  const int64_t points = widths.keypoints / 3;
  const StridedArray& xyv = in.keypoints;
  if (xyv.ndim != 3 || xyv.shape[0] != n || xyv.shape[1] != points || xyv.shape[2] != 3)
    return false;
  double* out = rows.keypoints.extend(n * widths.keypoints);
  bool good =
      with_element_type(xyv.type, [&]<class T>() { return copy_keypoints<T>(xyv, points, out); });
  if (widths.num_keypoints == 0) return good;
  if (!in.num_keypoints.is_vector(n)) return false;
  int32_t* count = rows.num_keypoints.extend(n);
  return good & with_element_type(in.num_keypoints.type, [&]<class T>() {
           return copy_labels<T>(in.num_keypoints, points + 1, count);
         });
}

bool append_flags(Rows& rows, const RowsInput& in, int64_t n) {
  uint8_t* flags = rows.flags.extend(n);
  if (n > 0) std::memset(flags, 0, n);
  const auto add = [&](const StridedArray& array, uint8_t flag) {
    return !array.present() || (array.is_vector(n) && with_element_type(array.type, [&]<class T>() {
                                  return add_flag<T>(array, flag, flags);
                                }));
  };
  return add(in.crowd, kCrowd) && add(in.ignore, kIgnore);
}

bool append_area(Rows& rows, const RowsInput& in, int64_t n) {
  if (in.area.present()) {
    if (!in.area.is_vector(n)) return false;
    double* area = rows.area.extend(n);
    return with_element_type(in.area.type,
                             [&]<class T>() { return copy_finite<T>(in.area, false, area); });
  }
  double* area = rows.area.extend(n);
  const double* box = rows.boxes.data() + rows.boxes.size() - 4 * n;
  for (int64_t i = 0; i < n; ++i, box += 4) area[i] = box[2] * box[3];
  return true;
}

// May leave columns of different lengths where it returns false.
bool append_rows(Rows& rows, const RowsInput& in, const StoreRules& rules, const Widths& widths) {
  const bool empty = in.boxes.present() && in.boxes.ndim <= 2 && in.boxes.size() == 0;
  if (!empty && (in.boxes.ndim != 2 || in.boxes.shape[1] != 4)) return false;
  const int64_t n = empty ? 0 : in.boxes.shape[0];
  if (!in.labels.is_vector(n) || (n > 0 && !is_integer(in.labels.type))) return false;
  if (widths.scores > 0 && !in.scores.is_vector(n)) return false;
  if (n > 0) {
    double* boxes = rows.boxes.extend(4 * n);
    int32_t* labels = rows.labels.extend(n);
    bool good = with_element_type(
        in.boxes.type, [&]<class T>() { return copy_boxes<T>(in.boxes, in.xyxy, boxes); });
    good &= with_element_type(in.labels.type, [&]<class T>() {
      return copy_labels<T>(in.labels, rules.num_labels, labels);
    });
    if (widths.scores > 0) {
      double* scores = rows.scores.extend(n);
      good &= with_element_type(in.scores.type, [&]<class T>() {
        return copy_finite<T>(in.scores, rules.any_score, scores);
      });
    }
    if (!good) return false;
  }
  if (widths.flags > 0 && !append_flags(rows, in, n)) return false;
  if (widths.area > 0 && !append_area(rows, in, n)) return false;
  if (widths.mask > 0 && !append_masks(rows, in, n)) return false;
  if (widths.keypoints > 0 && !append_keypoints(rows, in, n, widths)) return false;
  rows.image_ends.append(rows.labels.size());
  return true;
}

void truncate_rows(Rows& rows, int64_t num_images, const Widths& widths) {
  const int64_t n = num_images == 0 ? 0 : rows.image_ends[num_images - 1];
  rows.mask_strings.truncate(widths.mask > 0 ? string_begin(rows, n) : 0);
  for_each_column(widths, [&](auto column, int64_t width) { (rows.*column).truncate(n * width); });
  rows.image_ends.truncate(num_images);
}

void append_image(Rows& rows, const Rows& from, int64_t image, const Widths& widths) {
  const int64_t begin = from.begin(image), n = from.image_ends[image] - begin;
  if (widths.mask > 0) {
    const int64_t first = string_begin(from, begin), base = rows.mask_strings.size();
    const int64_t old = rows.mask_ends.size();
    rows.mask_strings.append(from.mask_strings.data() + first,
                             string_begin(from, begin + n) - first);
    int64_t* ends = rows.mask_ends.extend(n);
    for (int64_t i = 0; i < n; ++i) ends[i] = from.mask_ends[begin + i] - first + base;
    rows.mask_ends.truncate(old);  // the loop below counts them
  }
  for_each_column(widths, [&](auto column, int64_t width) {
    auto& to = rows.*column;
    if constexpr (std::is_same_v<decltype(column), Column<int64_t> Rows::*>) {
      to.extend(n * width);  // mask_ends, written above
    } else {
      to.append((from.*column).data() + begin * width, n * width);
    }
  });
  rows.image_ends.append(rows.labels.size());
}

bool same_image(const Rows& a, int64_t i, const Rows& b, int64_t j, const Widths& widths) {
  const int64_t from = a.begin(i), other = b.begin(j), n = a.image_ends[i] - from;
  if (n != b.image_ends[j] - other) return false;
  bool same = true;
  for_each_column(widths, [&](auto column, int64_t width) {
    if constexpr (!std::is_same_v<decltype(column), Column<int64_t> Rows::*>)
      same = same && (n * width == 0 || std::memcmp((a.*column).data() + from * width,
                                                    (b.*column).data() + other * width,
                                                    n * width * sizeof((a.*column)[0])) == 0);
  });
  if (!same || widths.mask == 0) return same;
  const int64_t first_a = string_begin(a, from), first_b = string_begin(b, other);
  for (int64_t k = 0; k < n; ++k)
    if (a.mask_ends[from + k] - first_a != b.mask_ends[other + k] - first_b) return false;
  const int64_t total = string_begin(a, from + n) - first_a;
  return total == 0 ||
         std::memcmp(a.mask_strings.data() + first_a, b.mask_strings.data() + first_b, total) == 0;
}

Rows reordered(const Rows& rows, const std::vector<int64_t>& order, const Widths& widths) {
  Rows sorted;
  for (const int64_t image : order) append_image(sorted, rows, image, widths);
  return sorted;
}

int64_t nbytes_of(const Rows& rows) {
  return 8 * (rows.boxes.size() + rows.scores.size() + rows.area.size() + rows.mask_ends.size() +
              rows.keypoints.size() + rows.image_ends.size()) +
         4 * (rows.labels.size() + rows.mask_size.size() + rows.num_keypoints.size()) +
         rows.flags.size() + rows.mask_strings.size();
}

}  // namespace

bool DetectionStore::append(const ImageId& id, const RowsInput& detections,
                            const RowsInput& objects) {
  const int64_t images = num_images();
  bool good = false;
  try {
    good = ids_.append(id) &&
           append_rows(detections_, detections, rules_, widths_of(rules_, false)) &&
           append_rows(objects_, objects, rules_, widths_of(rules_, true));
  } catch (...) {
    truncate(images);
    throw;
  }
  if (!good) truncate(images);
  return good;
}

void DetectionStore::truncate(int64_t num_images) {
  ids_.truncate(num_images);
  truncate_rows(detections_, num_images, widths_of(rules_, false));
  truncate_rows(objects_, num_images, widths_of(rules_, true));
}

int64_t DetectionStore::merge(const DetectionStore& other, bool keep_first) {
  const Widths of_detections = widths_of(rules_, false), of_objects = widths_of(rules_, true);
  const int64_t before = num_images();
  try {
    for (int64_t image = 0, count = other.num_images(); image < count; ++image) {
      const ImageId id = other.ids_[image];
      const int64_t mine = ids_.find(id);
      bool good = true;
      if (mine < 0) {
        good = ids_.append(id);
        if (good) {
          append_image(detections_, other.detections_, image, of_detections);
          append_image(objects_, other.objects_, image, of_objects);
        }
      } else {
        good =
            same_image(objects_, mine, other.objects_, image, of_objects) &&
            (keep_first || same_image(detections_, mine, other.detections_, image, of_detections));
      }
      if (!good) {
        truncate(before);
        return image;
      }
    }
  } catch (...) {
    truncate(before);
    throw;
  }
  return -1;
}

void DetectionStore::sort_by_id() {
  if (ids_.ascending()) return;
  const std::vector<int64_t> order = ids_.order();
  Rows detections = reordered(detections_, order, widths_of(rules_, false));
  Rows objects = reordered(objects_, order, widths_of(rules_, true));
  ids_.reorder(order);
  detections_ = std::move(detections);
  objects_ = std::move(objects);
}

int64_t DetectionStore::nbytes() const {
  return ids_.nbytes() + nbytes_of(detections_) + nbytes_of(objects_);
}

std::vector<int64_t> number_labels(const Column<int32_t>& detections,
                                   const Column<int32_t>& objects, int64_t* detection_classes,
                                   int64_t* object_classes) {
  // a table up to this label, which costs less than sorting a few thousand rows
  constexpr int64_t kTable = int64_t{1} << 16;
  const std::initializer_list<const Column<int32_t>*> columns = {&detections, &objects};
  int64_t limit = 0;
  for (const auto* column : columns)
    for (int64_t i = 0; i < column->size(); ++i)
      limit = std::max<int64_t>(limit, int64_t{(*column)[i]} + 1);
  std::vector<int64_t> labels;
  std::vector<int64_t> place(std::min(limit, kTable));
  if (limit <= kTable) {
    for (const auto* column : columns)
      for (int64_t i = 0; i < column->size(); ++i) place[(*column)[i]] = 1;
    for (int64_t label = 0; label < limit; ++label)
      if (place[label] != 0) {
        place[label] = static_cast<int64_t>(labels.size());
        labels.push_back(label);
      }
  } else {
    for (const auto* column : columns)
      labels.insert(labels.end(), column->data(), column->data() + column->size());
    std::sort(labels.begin(), labels.end());
    labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  }
  const auto number = [&](const Column<int32_t>& column, int64_t* classes) {
    const int32_t* label = column.data();
    for (int64_t i = 0; i < column.size(); ++i)
      classes[i] = limit <= kTable
                       ? place[label[i]]
                       : std::lower_bound(labels.begin(), labels.end(), label[i]) - labels.begin();
  };
  number(detections, detection_classes);
  number(objects, object_classes);
  return labels;
}

}  // namespace sightline::evaluation::store
