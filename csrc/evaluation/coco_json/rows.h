// Annotations and results as `read_object` reads them into Rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "evaluation/coco_json/coco_json.h"
#include "evaluation/coco_json/number.h"
#include "evaluation/coco_json/scan.h"
#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {

class RowReader {
 public:
  // For rows from an object of the window on, up to an offset; both serve to foresee their number.
  RowReader(Rows& rows, const Window& window, const char* first, int64_t end);

  int field(std::string_view key) const;
  std::string_view field_name(int field) const { return kFieldNames[field]; }
  int64_t size() const { return rows_.size; }

  SIGHTLINE_INLINE void begin(const char* p) {
    row_ = rows_.size;
    if (row_ >= capacity_) [[unlikely]]
      grow(p);
    if (has_tables_) forget_tables();
    begin_ = p;
    present_ = rows_.wanted & (uint32_t{1} << kObject);
    bad_ = faults_ = 0;
  }

  SIGHTLINE_INLINE const char* read(int field, const char* p) {
    if (bad_ != 0) [[unlikely]]
      bad_ &= ~(uint32_t{1} << field);
    present_ |= uint32_t{1} << field;
    switch (field) {
      case kBbox:
        return read_bbox(p);
      case kScore:
        return read_one_double(p, field, rows_.score[row_]);
      case kImageId:
        return read_id(p, field, rows_.image_id);
      case kCategoryId:
        return read_one_integer(p, field, rows_.category_id[row_]);
      case kId:
        return read_id(p, field, rows_.id);
      case kArea:
        return read_one_double(p, field, rows_.area[row_]);
      default:
        return read_rare(field, p);
    }
  }

  SIGHTLINE_INLINE void push(const char* end) {
    if (bad_ != 0) [[unlikely]]
      throw BadValue(bad_value_);
    if (present_ != rows_.wanted) [[unlikely]]
      fill_missing();
    rows_.present[row_] = uint16_t(present_ | faults_);
    if (has_tables_) keep_tables();
    if (present_ & (uint32_t{1} << kObject)) {
      rows_.object[2 * row_] = window_.offset(begin_);
      rows_.object[2 * row_ + 1] = window_.offset(end);
    }
    rows_.size = row_ + 1;
  }

 private:
  // Remembers a value of a wrong type, and skips it: a later one of the same key replaces it.
  const char* refuse(const char* p, int field, const char* problem);

  // Any number of Python's json, NaN and infinities among them.
  SIGHTLINE_INLINE const char* read_float(const char* p, double* value) {
    bool is_integer;
    if (starts_number(*p) && p[1] != 'I') [[likely]]
      return read_double(p, value, &is_integer);
    return read_special(p, value);
  }
  const char* read_special(const char* p, double* value);  // null where p is at no number

  SIGHTLINE_INLINE const char* read_one_double(const char* p, int field, double& value) {
    const char* const next = read_float(p, &value);
    if (next == nullptr) [[unlikely]]
      return refuse(p, field, "must be a number");
    faults_ |= value - value == 0 ? 0 : kNotFinite;
    return next;
  }

  SIGHTLINE_INLINE const char* read_one_integer(const char* p, int field, int64_t& value) {
    if (!starts_number(*p) || p[1] == 'I') [[unlikely]]
      return refuse(p, field, "must be an integer");
    Integer outcome;
    const char* const next = read_integer(p, &value, &outcome);
    if (outcome != Integer::kFits) [[unlikely]] {
      const bool fraction = outcome == Integer::kFraction;
      return refuse(p, field, fraction ? "must be an integer" : "must be an integer of 64 bits");
    }
    return next;
  }

  SIGHTLINE_INLINE const char* read_id(const char* p, int field, Ids& ids) {
    if (*p == '"' || ids.are_strings) [[unlikely]]
      return read_string_id(p, field, ids);
    return read_one_integer(p, field, ids.values[row_]);
  }
  const char* read_string_id(const char* p, int field, Ids& ids);

  SIGHTLINE_INLINE const char* read_bbox(const char* p) {
    const char* const list = p;
    double* const box = rows_.bbox.data() + 4 * row_;
    if (*p != '[') [[unlikely]]
      return refuse(p, kBbox, kFourNumbers);
    p = skip_space(p + 1);
    if (*p == ']') [[unlikely]] {  // results of masks have such, and mean none
      present_ &= ~(uint32_t{1} << kBbox);
      return p + 1;
    }
    for (int i = 0;; ++i) {
      p = read_float(p, box + i);
      if (p == nullptr) [[unlikely]]
        break;
      if (i == 3) {
        if (*p != ']') p = skip_space(p);
        if (*p != ']') [[unlikely]]
          break;
        // The sum of infinities less themselves and of NaN is NaN.
        const double none =
            (box[0] - box[0]) + (box[1] - box[1]) + (box[2] - box[2]) + (box[3] - box[3]);
        faults_ |= none == 0 ? 0 : kNotFinite;
        faults_ |= box[2] < 0 || box[3] < 0 ? kNegativeSide : 0;
        return p + 1;
      }
      if (*p != ',') [[unlikely]] {
        p = skip_space(p);
        if (*p != ',') break;
      }
      ++p;
      p += *p == ' ';
      p = skip_space(p);
    }
    return refuse(list, kBbox, kFourNumbers);
  }
  static constexpr const char* kFourNumbers = "must be four numbers [x, y, w, h]";

  const char* read_rare(int field, const char* p);
  const char* read_flag(const char* p, int field, bool& value);
  const char* read_keypoints(const char* p);
  const char* read_segmentation(const char* p);
  const char* read_polygons(const char* p);
  const char* read_run_lengths(const char* p);
  template <class Size, class String, class Start, class Run>
  const char* read_run_length_members(const char* p, SegmentationKind* kind, Size size,
                                      String string, Start start, Run run);
  const char* read_outline(const char* p);
  const char* check_polygons(const char* p);
  const char* check_run_lengths(const char* p);
  template <class Take>
  const char* read_numbers(const char* p, Take take);
  void grow(const char* p);
  void fill_missing();
  void forget_tables();
  void keep_tables();

  Rows& rows_;
  const Window& window_;
  const int64_t first_row_, first_offset_, end_offset_;
  int64_t row_ = 0;
  int64_t capacity_ = 0;
  const char* begin_ = nullptr;  // of the row
  uint32_t present_ = 0, bad_ = 0, faults_ = 0;
  const bool has_tables_;
  // Sizes of the tables when the rows so far were whole.
  struct TableSizes {
    int64_t keypoints = 0, rings = 1, coordinates = 0, strings = 0, counts = 0;
  } kept_;
  BadValue bad_value_{};
};

// Appends the rows of the next piece of the file. False, and nothing is done, where one has
// strings as ids and the other integers.
bool append_rows(Rows& rows, Rows&& more);

}  // namespace sightline::evaluation::coco_json
