// Images and categories as `read_object` reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "evaluation/coco_json/coco_json.h"
#include "evaluation/coco_json/number.h"
#include "evaluation/coco_json/scan.h"
#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {

// What the readers of images and categories share: an integer id, and which members are there.
class ListReader {
 public:
  void begin(const char*) {
    present_ = 0;
    bad_ = false;
  }

 protected:
  // An integer; refused later, by require(), where it is none.
  const char* read_id(const char* p, int field, int64_t* value) {
    bad_ = false;
    present_ |= 1u << field;
    Integer outcome = Integer::kFraction;
    at_ = p;
    if (starts_number(*p) && p[1] != 'I') {
      p = read_integer(p, value, &outcome);
    } else {
      p = skip_value(p);
    }
    bad_ = outcome != Integer::kFits;
    return p;
  }
  void require(const char* problem) const {
    if (bad_) throw BadValue{at_, 0, problem};
    if ((present_ & 1) == 0) throw BadValue{nullptr, 0, "is missing"};
  }

  uint32_t present_ = 0;
  bool bad_ = false;
  const char* at_ = nullptr;
};

class ImageReader : public ListReader {
 public:
  // With a window, reads the file names, and where in it the images are.
  ImageReader(Images& images, const Window* window) : images_(images), window_(window) {}
  static std::string_view field_name(int field) { return kNames[field]; }
  int field(std::string_view key) const {
    for (int i = 0; i < kNumNames; ++i)
      if (key == kNames[i]) return i != kFileName || window_ != nullptr ? i : -1;
    return -1;
  }
  int64_t size() const { return images_.size; }

  const char* read(int field, const char* p) {
    if (field == kFileName) {
      has_name_ = *p == '"';
      return has_name_ ? read_string(p + 1, &name_) : skip_value(p);
    }
    if (field > 2) {
      images_.are_lvis = true;
      return skip_value(p);
    }
    if (field != 0) return read_side(p, field == 1 ? &width_ : &height_);
    if (*p != '"') return read_id(p, 0, &id_);
    at_ = p;
    bad_ = false;
    present_ |= 1 | kString;
    return read_string(p + 1, &text_);
  }
  void begin(const char* p) {
    ListReader::begin(p);
    begin_ = p;
    width_ = height_ = 0;
    has_name_ = false;
  }
  void push(const char* end) {
    require("must be an integer of 64 bits or a string");
    const bool is_string = (present_ & kString) != 0;
    if (images_.size > 0 && is_string != images_.id.are_strings)
      throw BadValue{at_, 0, "must be of one kind with the others, integers or strings"};
    images_.id.are_strings = is_string;
    images_.id.values.push(is_string ? images_.id.names.intern(text_) : id_);
    images_.width.push(width_);
    images_.height.push(height_);
    if (window_ != nullptr) {
      if (!has_name_) throw BadValue{begin_, kFileName, "must be a string"};
      images_.names.append(reinterpret_cast<const uint8_t*>(name_.data()), int64_t(name_.size()));
      images_.name_ends.push(images_.names.size());
      images_.object.push(window_->offset(begin_));
      images_.object.push(window_->offset(end));
    }
    ++images_.size;
  }

 private:
  static constexpr int kNumNames = 6, kFileName = 5;
  static constexpr std::string_view kNames[kNumNames] = {
      "id", "width", "height", "neg_category_ids", "not_exhaustive_category_ids", "file_name"};
  static constexpr uint32_t kString = 8;

  static const char* read_side(const char* p, int64_t* side) {
    *side = 0;
    if (!starts_number(*p) || p[1] == 'I') return skip_value(p);
    Integer outcome;
    p = read_integer(p, side, &outcome);
    if (outcome != Integer::kFits || *side < 0) *side = 0;
    return p;
  }

  Images& images_;
  const Window* const window_;
  const char* begin_ = nullptr;
  int64_t id_ = 0, width_ = 0, height_ = 0;
  bool has_name_ = false;
  std::string text_, name_;
};

class CategoryReader : public ListReader {
 public:
  explicit CategoryReader(Categories& categories) : categories_(categories) {}
  static std::string_view field_name(int field) { return kNames[field]; }
  int field(std::string_view key) const {
    for (int i = 0; i < kNumNames; ++i)
      if (key == kNames[i]) return i;
    return -1;
  }
  int64_t size() const { return int64_t(categories_.names.size()); }

  void begin(const char* p) {
    ListReader::begin(p);
    name_.clear();
  }
  // A name that is no string stands as the file has it; null is none.
  const char* read(int field, const char* p) {
    if (field == 0) return read_id(p, 0, &id_);
    if (field == 2) {  // rare, common or frequent: LVIS spells it "r", "c" or "f"
      const bool is_letter = p[0] == '"' && p[1] != '"' && p[2] == '"';
      categories_.are_lvis |= is_letter && (p[1] == 'r' || p[1] == 'c' || p[1] == 'f');
      return skip_value(p);
    }
    present_ |= 2;
    if (*p == '"') return read_string(p + 1, &name_);
    const char* const end = skip_value(p);
    name_.assign(p, end);
    if (name_ == "null") present_ &= ~2u;
    return end;
  }
  void push(const char*) {
    require("must be an integer of 64 bits");
    categories_.id.push(id_);
    categories_.names.push_back(name_);
    categories_.named.push_back((present_ & 2) != 0);
  }

 private:
  static constexpr int kNumNames = 3;
  static constexpr std::string_view kNames[kNumNames] = {"id", "name", "frequency"};

  Categories& categories_;
  int64_t id_ = 0;
  std::string name_;
};

}  // namespace sightline::evaluation::coco_json
