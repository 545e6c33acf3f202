// The grammar of JSON on text in memory: what may stand where, and what it spells.
//
// Every function takes a place and returns the one after what it read. What Python's json accepts,
// NaN and Infinity included, is accepted here, at any depth; bytes must be UTF-8.
#pragma once

#include <cstdint>
#include <string>

#include "common/macros.h"
#include "evaluation/coco_json/malformed.h"

namespace sightline::evaluation::coco_json {

SIGHTLINE_INLINE const char* skip_space(const char* p) {
  while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') [[unlikely]]
    ++p;
  return p;
}

// A string, from behind its opening quote to behind the closing one.
const char* skip_string(const char* p);
// The same, and what it spells in UTF-8 (lone surrogates as three bytes, as Python has them).
const char* read_string(const char* p, std::string* text);

const char* skip_value(const char* p);

// true, false, null, NaN, Infinity and -Infinity; nullptr where the text is none of them.
const char* skip_word(const char* p);

}  // namespace sightline::evaluation::coco_json
