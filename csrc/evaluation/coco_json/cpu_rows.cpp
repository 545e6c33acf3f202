#include <algorithm>
#include <cstring>
#include <limits>

#include "evaluation/coco_json/rows.h"
#include "evaluation/masks/read.h"

namespace sightline::evaluation::coco_json {
namespace {

constexpr uint32_t bit(int field) { return uint32_t{1} << field; }
constexpr uint32_t kTables = bit(kKeypoints) | bit(kSegmentation);

// Calls `visit(column, width)` for each column of rows that is wanted, ids and tables apart.
template <class Visit>
void for_each_column(Rows& rows, Visit visit) {
  const auto wanted = [&](Field field) { return (rows.wanted & bit(field)) != 0; };
  visit(rows.present, 1);
  if (wanted(kCategoryId)) visit(rows.category_id, 1);
  if (wanted(kBbox)) visit(rows.bbox, 4);
  if (wanted(kScore)) visit(rows.score, 1);
  if (wanted(kArea)) visit(rows.area, 1);
  if (wanted(kIsCrowd)) visit(rows.iscrowd, 1);
  if (wanted(kIgnore)) visit(rows.ignore, 1);
  if (wanted(kNumKeypoints)) visit(rows.num_keypoints, 1);
  if (wanted(kKeypoints)) visit(rows.keypoint_count, 1);
  if (wanted(kSegmentation)) {
    visit(rows.segmentation.kind, 1);
    visit(rows.segmentation.size, 2);
    visit(rows.segmentation.count, 1);
  }
  if (wanted(kObject)) visit(rows.object, 2);
  if (wanted(kOutline)) visit(rows.outline, 1);
}

}  // namespace

RowReader::RowReader(Rows& rows, const Window& window, const char* first, int64_t end)
    : rows_(rows),
      window_(window),
      first_row_(rows.size),
      first_offset_(window.offset(first)),
      end_offset_(std::min(end, window.source_size())),
      has_tables_((rows.wanted & kTables) != 0) {
  if (rows.segmentation.ring_offsets.size() == 0) rows.segmentation.ring_offsets.push(0);
  keep_tables();
}

int RowReader::field(std::string_view key) const {
  for (int field = 0; field < kNumKeys; ++field) {
    if (key != kFieldNames[field]) continue;
    if (rows_.wanted & bit(field)) return field;
    return field == kSegmentation && (rows_.wanted & bit(kOutline)) != 0 ? kOutline : -1;
  }
  return -1;
}

void RowReader::grow(const char* p) {
  constexpr int64_t kFirst = 1024;
  capacity_ = row_ + row_ / 4 + kFirst;
  const int64_t rows = row_ - first_row_, bytes = window_.offset(p) - first_offset_;
  if (rows > 0 && bytes > 0) {
    constexpr double kSpare = 1.03;  // a little more than records of the size of those so far
    const double left = double(end_offset_ - window_.offset(p)) * double(rows) / double(bytes);
    capacity_ = std::max(capacity_, row_ + int64_t(kSpare * left) + kFirst);
  }
  const auto reserve = [&](auto& column, int width) { column.reserve_huge(width * capacity_); };
  for_each_column(rows_, reserve);
  if (rows_.wanted & bit(kId)) reserve(rows_.id.values, 1);
  if (rows_.wanted & bit(kImageId)) reserve(rows_.image_id.values, 1);
  if (rows_.wanted & bit(kSegmentation)) reserve(rows_.segmentation.first, 1);
}

void RowReader::fill_missing() {
  const uint32_t missing = rows_.wanted & ~present_;
  const auto clear = [&](int field, auto& column, int width) {
    if (missing & bit(field))
      std::fill_n(column.data() + width * row_, width, std::remove_cvref_t<decltype(column[0])>{});
  };
  clear(kId, rows_.id.values, 1);
  clear(kImageId, rows_.image_id.values, 1);
  clear(kCategoryId, rows_.category_id, 1);
  clear(kBbox, rows_.bbox, 4);
  clear(kScore, rows_.score, 1);
  clear(kArea, rows_.area, 1);
  clear(kIsCrowd, rows_.iscrowd, 1);
  clear(kIgnore, rows_.ignore, 1);
  clear(kNumKeypoints, rows_.num_keypoints, 1);
  clear(kKeypoints, rows_.keypoint_count, 1);
  clear(kSegmentation, rows_.segmentation.kind, 1);
  clear(kSegmentation, rows_.segmentation.size, 2);
  clear(kSegmentation, rows_.segmentation.first, 1);
  clear(kSegmentation, rows_.segmentation.count, 1);
  clear(kOutline, rows_.outline, 1);
}

void RowReader::forget_tables() {
  SegmentationColumns& to = rows_.segmentation;
  rows_.keypoints.resize(kept_.keypoints);
  to.ring_offsets.resize(kept_.rings);
  to.coordinates.resize(kept_.coordinates);
  to.strings.resize(kept_.strings);
  to.counts.resize(kept_.counts);
}

void RowReader::keep_tables() {
  const SegmentationColumns& from = rows_.segmentation;
  kept_ = {rows_.keypoints.size(), from.ring_offsets.size(), from.coordinates.size(),
           from.strings.size(), from.counts.size()};
}

const char* RowReader::refuse(const char* p, int field, const char* problem) {
  bad_ |= bit(field);
  const char* const end = skip_value(p);
  std::string found(p, std::min<int64_t>(end - p, 40));
  if (end - p > 40) {
    while (!found.empty() && (uint8_t(found.back()) & 0xC0) == 0x80) found.pop_back();
    if (!found.empty() && uint8_t(found.back()) >= 0xC0) found.pop_back();
    found += "...";
  }
  bad_value_ = {p, field, std::string(problem) + ", got " + found};
  return end;
}

const char* RowReader::read_special(const char* p, double* value) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const char* const end = *p == '-' || *p == 'I' || *p == 'N' ? skip_word(p) : nullptr;
  if (end == nullptr) return nullptr;
  *value = *p == 'N'   ? std::numeric_limits<double>::quiet_NaN()
           : *p == '-' ? -kInfinity
                       : kInfinity;
  return end;
}

const char* RowReader::read_string_id(const char* p, int field, Ids& ids) {
  if (*p != '"') {
    if (row_ > 0) return refuse(p, field, "must be a string, as those before it are");
    ids.are_strings = false;  // the string was an earlier member of the same name
    return read_one_integer(p, field, ids.values[row_]);
  }
  if (!ids.are_strings && row_ > 0)
    return refuse(p, field, "must be an integer, as those before it are");
  std::string text;
  p = read_string(p + 1, &text);
  ids.are_strings = true;
  ids.values[row_] = ids.names.intern(text);
  return p;
}

const char* RowReader::read_rare(int field, const char* p) {
  switch (field) {
    case kIsCrowd:
      return read_flag(p, field, rows_.iscrowd[row_]);
    case kIgnore:
      return read_flag(p, field, rows_.ignore[row_]);
    case kNumKeypoints:
      return read_one_integer(p, field, rows_.num_keypoints[row_]);
    case kKeypoints:
      return read_keypoints(p);
    case kOutline:
      return read_outline(p);
    default:
      return read_segmentation(p);
  }
}

// What Python takes for true: numbers other than 0 too.
const char* RowReader::read_flag(const char* p, int field, bool& value) {
  double number = 0;
  const char* next = read_float(p, &number);
  value = number != 0;
  faults_ |= number == number ? 0 : kOddFlag;
  if (next != nullptr) return next;
  next = skip_word(p);
  if (next == nullptr) return refuse(p, field, "must be 0 or 1");
  value = *p == 't';
  return next;
}

// The numbers of the list at p, one by one. Null where it is no list of numbers.
template <class Take>
const char* RowReader::read_numbers(const char* p, Take take) {
  if (*p != '[') return nullptr;
  p = skip_space(p + 1);
  if (*p == ']') return p + 1;
  for (;;) {
    double value;
    p = read_float(p, &value);
    if (p == nullptr || !take(value)) return nullptr;
    if (*p != ',' && *p != ']') p = skip_space(p);
    if (*p == ']') return p + 1;
    if (*p != ',') return nullptr;
    ++p;
    p += *p == ' ';
    p = skip_space(p);
  }
}

const char* RowReader::read_keypoints(const char* p) {
  constexpr const char* kProblem = "must be a list of numbers x, y, visibility";
  rows_.keypoints.resize(kept_.keypoints);  // those of an earlier member of the same name
  const char* const next = read_numbers(p, [&](double value) {
    rows_.keypoints.push(value);
    return true;
  });
  const int64_t count = rows_.keypoints.size() - kept_.keypoints;
  rows_.keypoint_count[row_] = count;
  return next != nullptr && count % 3 == 0 ? next : refuse(p, kKeypoints, kProblem);
}

const char* RowReader::read_segmentation(const char* p) {
  SegmentationColumns& to = rows_.segmentation;
  to.kind[row_] = kNoSegmentation;
  to.size[2 * row_] = to.size[2 * row_ + 1] = 0;
  to.first[row_] = to.count[row_] = 0;
  const char* next = nullptr;
  if (*p == '[') {
    next = read_polygons(p);
  } else if (*p == '{') {
    next = read_run_lengths(p);
  } else if (std::strncmp(p, "null", 4) == 0) {
    next = p + 4;
  }
  if (next != nullptr) return next;
  return refuse(p, kSegmentation,
                "must be a list of polygons [[x, y, x, y, ...], ...] or "
                "{\"size\": [height, width], \"counts\": string or list}");
}

const char* RowReader::read_polygons(const char* p) {
  SegmentationColumns& to = rows_.segmentation;
  const int64_t first = to.ring_offsets.size() - 1;
  to.coordinates.resize(to.ring_offsets[first]);  // of a ring that was refused, where there was one
  p = skip_space(p + 1);
  for (bool more = *p != ']'; more;) {
    p = read_numbers(p, [&](double value) {
      to.coordinates.push(value);
      return true;
    });
    if (p == nullptr) return nullptr;
    const int64_t last = to.ring_offsets.size() - 1;
    if ((to.coordinates.size() - to.ring_offsets[last]) % 2 != 0) return nullptr;
    to.ring_offsets.push(to.coordinates.size());
    p = skip_space(p);
    more = *p == ',';
    if (more) {
      p = skip_space(p + 1);
    } else if (*p != ']') {
      return nullptr;
    }
  }
  to.kind[row_] = kPolygons;
  to.first[row_] = first;
  to.count[row_] = to.ring_offsets.size() - 1 - first;
  return p + 1;
}

// The members of the run lengths at p, in any order: `size(side)` and `run(length)` take numbers
// and say whether they are some, `start()` comes before the runs, `string(text)` takes them in one.
// Of a key that is there twice the last counts, so that a wrong one is no fault yet.
template <class Size, class String, class Start, class Run>
const char* RowReader::read_run_length_members(const char* p, SegmentationKind* kind, Size size,
                                               String string, Start start, Run run) {
  constexpr double kMostSide = double(int64_t{1} << 31);
  constexpr double kMostRun = std::numeric_limits<uint32_t>::max();
  bool has_size = false;
  *kind = kNoSegmentation;
  std::string text;
  p = skip_space(p + 1);
  for (bool more = *p != '}'; more;) {
    if (*p != '"') return nullptr;
    p = skip_space(read_string(p + 1, &text));
    if (*p != ':') return nullptr;
    p = skip_space(p + 1);
    const char* next = nullptr;
    if (text == "size") {
      int sides = 0;
      next = read_numbers(p, [&](double value) {
        if (sides == 2 || !(value >= 0 && value <= kMostSide) || value != double(int64_t(value)))
          return false;
        size(sides++, int64_t(value));
        return true;
      });
      has_size = next != nullptr && sides == 2;
    } else if (text == "counts" && *p == '"') {
      next = read_string(p + 1, &text);
      *kind = kRleString;
      string(text);
    } else if (text == "counts") {
      start();
      next = read_numbers(p, [&](double value) {
        if (!(value >= 0 && value <= kMostRun) || value != double(uint32_t(value))) return false;
        run(uint32_t(value));
        return true;
      });
      *kind = next != nullptr ? kRleCounts : kNoSegmentation;
    }
    p = next != nullptr ? next : skip_value(p);
    p = skip_space(p);
    more = *p == ',';
    if (more) {
      p = skip_space(p + 1);
    } else if (*p != '}') {
      return nullptr;
    }
  }
  return has_size && *kind != kNoSegmentation ? p + 1 : nullptr;
}

const char* RowReader::read_run_lengths(const char* p) {
  SegmentationColumns& to = rows_.segmentation;
  SegmentationKind kind;
  int64_t first = 0, count = 0;
  p = read_run_length_members(
      p, &kind, [&](int side, int64_t value) { to.size[2 * row_ + side] = value; },
      [&](const std::string& text) {
        first = to.strings.size(), count = int64_t(text.size());
        to.strings.append(reinterpret_cast<const uint8_t*>(text.data()), count);
      },
      [&] { first = to.counts.size(), count = 0; },
      [&](uint32_t run) {
        to.counts.push(run);
        ++count;
      });
  if (p == nullptr) return nullptr;
  to.kind[row_] = kind;
  to.first[row_] = first;
  to.count[row_] = count;
  return p;
}

const char* RowReader::read_outline(const char* p) {
  const char* next = nullptr;
  uint8_t outline = kOutlineIsRight;
  if (std::strncmp(p, "null", 4) == 0) {
    outline = kNoOutline;
    next = p + 4;
  } else if (*p == '[') {
    next = skip_space(p + 1);
    outline = *next == ']' ? kNoOutline : kOutlineIsRight;
    next = *next == ']' ? next + 1 : check_polygons(next);
  } else if (*p == '{') {
    next = check_run_lengths(p);
  }
  rows_.outline[row_] = next != nullptr ? outline : uint8_t{kOutlineIsOdd};
  return next != nullptr ? next : skip_value(p);
}

// Past the polygons from the first of a list on; null where they are not plainly right.
const char* RowReader::check_polygons(const char* p) {
  for (;;) {
    int64_t numbers = 0;
    p = read_numbers(p, [&](double value) {
      ++numbers;
      return value - value == 0;
    });
    if (p == nullptr || numbers < 6 || numbers % 2 != 0) return nullptr;
    p = skip_space(p);
    if (*p == ']') return p + 1;
    if (*p != ',') return nullptr;
    p = skip_space(p + 1);
  }
}

const char* RowReader::check_run_lengths(const char* p) {
  SegmentationKind kind;
  int64_t size[2] = {0, 0};
  uint64_t pixels = 0;
  bool right = true;
  p = read_run_length_members(
      p, &kind, [&](int side, int64_t value) { size[side] = value; },
      [&](const std::string& text) {
        const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
        const auto n = int64_t(text.size());
        pixels = 0;
        right = masks::check_characters(bytes, n) == masks::MaskFault::kNone &&
                masks::read_runs(bytes, n, [&](uint32_t run) { pixels += run; }) ==
                    masks::MaskFault::kNone;
      },
      [&] { pixels = 0, right = true; }, [&](uint32_t run) { pixels += run; });
  right = right && masks::MaskReader::check_size(size[0], size[1]) == masks::MaskFault::kNone;
  return right && pixels == uint64_t(size[0]) * uint64_t(size[1]) ? p : nullptr;
}

namespace {

void append_ids(Ids& ids, const Ids& more, int64_t n, int64_t added) {
  std::vector<int64_t> place;
  for (const std::string& name : more.names.list()) place.push_back(ids.names.intern(name));
  ids.values.reserve(n + added);
  for (int64_t i = 0; i < added; ++i) {
    const int64_t value = more.values[i];
    ids.values[n + i] = ids.are_strings ? place[value] : value;
  }
}

// The first offset of more is the last of column.
void append_offsets(Column<int64_t>& column, const Column<int64_t>& more) {
  const int64_t n = column.size(), shift = column[n - 1];
  column.resize(n + more.size() - 1);
  for (int64_t i = 1; i < more.size(); ++i) column[n + i - 1] = more[i] + shift;
}

}  // namespace

bool append_rows(Rows& rows, Rows&& more) {
  const int64_t n = rows.size, added = more.size;
  if (n == 0) {
    rows = std::move(more);
    return true;
  }
  if (added == 0) return true;
  if (rows.id.are_strings != more.id.are_strings ||
      rows.image_id.are_strings != more.image_id.are_strings)
    return false;
  if (rows.wanted & bit(kId)) append_ids(rows.id, more.id, n, added);
  if (rows.wanted & bit(kImageId)) append_ids(rows.image_id, more.image_id, n, added);
  std::vector<const void*> sources;
  for_each_column(more, [&](auto& column, int) { sources.push_back(column.data()); });
  size_t at = 0;
  for_each_column(rows, [&](auto& column, int width) {
    using T = std::remove_cvref_t<decltype(column[0])>;
    column.reserve(width * (n + added));
    std::memcpy(column.data() + width * n, sources[at++], width * added * sizeof(T));
  });
  rows.keypoints.append(more.keypoints.data(), more.keypoints.size());
  if (rows.wanted & bit(kSegmentation)) {
    SegmentationColumns &to = rows.segmentation, &from = more.segmentation;
    const int64_t shifts[] = {0, to.ring_offsets.size() - 1, to.strings.size(), to.counts.size()};
    to.first.reserve(n + added);
    for (int64_t i = 0; i < added; ++i) to.first[n + i] = from.first[i] + shifts[from.kind[i]];
    append_offsets(to.ring_offsets, from.ring_offsets);
    to.coordinates.append(from.coordinates.data(), from.coordinates.size());
    to.strings.append(from.strings.data(), from.strings.size());
    to.counts.append(from.counts.data(), from.counts.size());
  }
  rows.size = n + added;
  return true;
}

}  // namespace sightline::evaluation::coco_json
