// Objects of one list, whose members mostly come in one order and spelling.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "evaluation/coco_json/number.h"
#include "evaluation/coco_json/scan.h"
#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {

// How the members of the last object began: the text from the end of one value to the begin of the
// next, such as `, "category_id": `. Where the next object has the same text there, nothing of it
// needs to be read again.
class Shape {
 public:
  // Past the beginning of member k at p, as far as it is known; else null.
  SIGHTLINE_INLINE const char* match(int k, const char* p, int* field) const {
    if (k >= known_) return nullptr;
    const Beginning& begin = beginnings_[k];
    uint64_t differs = 0;
    for (int i = 0; i < kWords; ++i)
      differs |= (load_bytes(p + 8 * i) & begin.mask[i]) ^ begin.text[i];
    if (differs != 0) return nullptr;
    *field = begin.field;
    return p + begin.length;
  }

  void learn(int k, const char* first, const char* last, int field) {
    if (k > known_ || k >= kMost) return;
    if (k == known_) ++known_;
    Beginning& begin = beginnings_[k];
    begin = {};
    begin.field = field;
    const int64_t length = last - first;
    if (length > 8 * kWords) {
      begin.text[0] = 1;  // outside the mask: matches nothing
      return;
    }
    begin.length = int(length);
    for (int i = 0; i < length; ++i) {
      begin.text[i / 8] |= uint64_t(uint8_t(first[i])) << (8 * (i % 8));
      begin.mask[i / 8] |= uint64_t{0xFF} << (8 * (i % 8));
    }
  }

 private:
  static constexpr int kMost = 16, kWords = 4;
  struct Beginning {
    uint64_t text[kWords], mask[kWords];
    int length, field;
  };

  Beginning beginnings_[kMost];
  int known_ = 0;
};

// Reads the object at p. `handler.field(key)` is the number of a key, negative if it is not wanted,
// and `handler.read(field, p)` reads its value.
template <class Handler>
SIGHTLINE_INLINE const char* read_object(const char* p, Shape& shape, Handler& handler) {
  for (int k = 0;; ++k) {
    int field;
    const char* value = shape.match(k, p, &field);
    if (value == nullptr) [[unlikely]] {
      const char* const first = p;
      if (k == 0) {
        p = skip_space(p + 1);
        if (*p == '}') return p + 1;
      } else {
        p = skip_space(p);
        if (*p == '}') return p + 1;
        if (*p != ',') throw Malformed{p, "',' or '}'"};
        p = skip_space(p + 1);
      }
      if (*p != '"') throw Malformed{p, "a key in double quotes"};
      std::string key;
      p = skip_space(read_string(p + 1, &key));
      if (*p != ':') throw Malformed{p, "':'"};
      value = skip_space(p + 1);
      field = handler.field(key);
      shape.learn(k, first, value, field);
    } else if (uint8_t(*value) <= ' ') [[unlikely]] {
      value = skip_space(value);
    }
    p = field < 0 ? skip_value(value) : handler.read(field, value);
  }
}

// Reads the objects of a list from the one at p on, until the list ends or an object begins at or
// behind the offset `watch`; p is then behind the list, or at that object. True: it ended. Where
// something is thrown, p is the object at fault. `handler.begin(p)` comes before each object, also
// before one that is read again, and `handler.push(end)` when it and what follows it is right;
// `end` is behind it.
template <class Handler>
bool read_objects(Window& window, const char*& p, Shape& shape, Handler& handler, int64_t watch) {
  constexpr int64_t kMargin = 4096;  // more than most objects take
  for (;;) {
    const char* const margin = window.at_end_of_file() ? window.end() + 1 : window.end() - kMargin;
    try {
      do {
        if (window.offset(p) >= watch) return false;
        handler.begin(p);
        if (*p != '{') {
          skip_value(p);
          throw BadValue{p, -1, "must be an object"};
        }
        const char* const end = read_object(p, shape, handler);
        const char* next = skip_space(end);
        const bool more = *next == ',';
        if (!more && *next != ']') throw Malformed{next, "',' or ']'"};
        next = skip_space(next + 1);
        handler.push(end);
        p = next;
        if (!more) return true;
      } while (p < margin);
    } catch (const Malformed& malformed) {
      if (!window.may_be_cut(malformed.at)) throw;
    }
    p = window.fill(p);
  }
}

}  // namespace sightline::evaluation::coco_json
