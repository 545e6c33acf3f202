#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "evaluation/coco_json/number.h"
#include "evaluation/coco_json/scan.h"

namespace sightline::evaluation::coco_json {
namespace {

// The high bit in the bytes that a string's fast path stops at: quote, backslash, control, and what
// is not ASCII. Bytes after the first such may be wrong.
SIGHTLINE_INLINE uint64_t find_special(uint64_t word) {
  const auto zero_bytes = [](uint64_t w) SIGHTLINE_LAMBDA { return (w - repeat(1)) & ~w; };
  const uint64_t found = zero_bytes(word ^ repeat('"')) | zero_bytes(word ^ repeat('\\')) |
                         ((word - repeat(0x20)) & ~word) | word;
  return found & repeat(0x80);
}

// Past one character of UTF-8 beyond ASCII.
const char* skip_character(const char* p) {
  const auto byte = [&](int i) { return uint8_t(p[i]); };
  const auto continues = [&](int i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead >= 0xC2 && lead <= 0xDF && continues(1)) return p + 2;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    if (byte(1) >= low && byte(1) <= high && continues(2)) return p + 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const uint8_t low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) >= low && byte(1) <= high && continues(2) && continues(3)) return p + 4;
  }
  throw Malformed{p, "UTF-8"};
}

// Past the digits of "\uXXXX", and their value.
const char* read_code_unit(const char* p, uint32_t* unit) {
  *unit = 0;
  for (int i = 0; i < 4; ++i, ++p) {
    const char c = *p, lower = char(c | 0x20);
    if (c >= '0' && c <= '9') {
      *unit = *unit * 16 + uint32_t(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      *unit = *unit * 16 + uint32_t(lower - 'a' + 10);
    } else {
      throw Malformed{p, "a hexadecimal digit"};
    }
  }
  return p;
}

void append_utf8(uint32_t code, std::string* text) {
  const auto add = [&](uint32_t byte) { text->push_back(char(byte)); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | code >> 6), add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12), add(0x80 | (code >> 6 & 0x3F)), add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | code >> 18), add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F)), add(0x80 | (code & 0x3F));
  }
}

// An escape, from behind its backslash.
const char* read_escape(const char* p, std::string* text) {
  constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  const char name = *p;
  if (name == 'u') {
    uint32_t unit, second;
    p = read_code_unit(p + 1, &unit);
    if (unit >= 0xD800 && unit < 0xDC00 && p[0] == '\\' && p[1] == 'u') {
      const char* const next = read_code_unit(p + 2, &second);
      if (second >= 0xDC00 && second < 0xE000) {
        append_utf8(0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00), text);
        return next;
      }
    }
    append_utf8(unit, text);
    return p;
  }
  const size_t at = name == '\0' ? std::string_view::npos : kNames.find(name);
  if (at == std::string_view::npos) throw Malformed{p, "one of \"\\/bfnrtu after a backslash"};
  text->push_back(kMeanings[at]);
  return p + 1;
}

const char* skip_escape(const char* p) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  if (*p == 'u') {
    uint32_t unit;
    return read_code_unit(p + 1, &unit);
  }
  if (*p == '\0' || kNames.find(*p) == std::string_view::npos)
    throw Malformed{p, "one of \"\\/bfnrtu after a backslash"};
  return p + 1;
}

// Which of the brackets around a place are objects: a bit each, since nesting may be deep.
class Brackets {
 public:
  void open(bool object) {
    if (depth_ % 64 == 0 && depth_ > 0) outer_.push_back(bits_);
    bits_ = bits_ << 1 | uint64_t(object);
    ++depth_;
  }
  void close() {
    --depth_;
    bits_ >>= 1;
    if (depth_ % 64 == 0 && depth_ > 0) {
      bits_ = outer_.back();
      outer_.pop_back();
    }
  }
  bool none() const { return depth_ == 0; }
  bool in_object() const { return bits_ & 1; }

 private:
  uint64_t bits_ = 0;
  int64_t depth_ = 0;
  std::vector<uint64_t> outer_;
};

// A key and its colon, up to the value.
const char* skip_key(const char* p) {
  if (*p != '"') throw Malformed{p, "a key in double quotes"};
  p = skip_space(skip_string(p + 1));
  if (*p != ':') throw Malformed{p, "':'"};
  return skip_space(p + 1);
}

}  // namespace

const char* skip_string(const char* p) {
  for (;;) {
    const uint64_t special = find_special(load_bytes(p));
    if (special == 0) {
      p += 8;
      continue;
    }
    p += std::countr_zero(special) / 8;
    if (*p == '"') return p + 1;
    if (*p == '\\') {
      p = skip_escape(p + 1);
    } else if (uint8_t(*p) >= 0x80) {
      p = skip_character(p);
    } else {
      throw Malformed{p, "the rest of a string (which holds no control characters)"};
    }
  }
}

const char* read_string(const char* p, std::string* text) {
  text->clear();
  for (;;) {
    const char* const plain = p;
    uint64_t special;
    while ((special = find_special(load_bytes(p))) == 0) p += 8;
    p += std::countr_zero(special) / 8;
    text->append(plain, p);
    if (*p == '"') return p + 1;
    if (*p == '\\') {
      p = read_escape(p + 1, text);
    } else if (uint8_t(*p) >= 0x80) {
      const char* const next = skip_character(p);
      text->append(p, next);
      p = next;
    } else {
      throw Malformed{p, "the rest of a string (which holds no control characters)"};
    }
  }
}

const char* skip_word(const char* p) {
  for (const std::string_view word : {"true", "false", "null", "NaN", "Infinity", "-Infinity"})
    if (std::strncmp(p, word.data(), word.size()) == 0) return p + word.size();
  return nullptr;
}

const char* skip_value(const char* p) {
  Brackets brackets;
  for (;;) {
    if (*p == '"') {
      p = skip_string(p + 1);
    } else if (*p == '{' || *p == '[') {
      const bool object = *p == '{';
      p = skip_space(p + 1);
      if (*p != (object ? '}' : ']')) {
        brackets.open(object);
        if (object) p = skip_key(p);
        continue;
      }
      ++p;
    } else if (starts_number(*p) && p[1] != 'I') {
      p = skip_number(p);
    } else {
      const char* const end = skip_word(p);
      if (end == nullptr) throw Malformed{p, "a value"};
      p = end;
    }
    for (;;) {
      if (brackets.none()) return p;
      p = skip_space(p);
      if (*p == ',') break;
      if (*p != (brackets.in_object() ? '}' : ']'))
        throw Malformed{p, brackets.in_object() ? "',' or '}'" : "',' or ']'"};
      ++p;
      brackets.close();
    }
    p = skip_space(p + 1);
    if (brackets.in_object()) p = skip_key(p);
  }
}

}  // namespace sightline::evaluation::coco_json
