#include "evaluation/coco_json/coco_json.h"

#include <cstdlib>
#include <optional>
#include <string>

#include "check.h"

namespace sightline::native {

using namespace evaluation::coco_json;
namespace {

constexpr uint32_t kAll = (1u << kNumFields) - 1;

std::string pick(Random& random, std::initializer_list<const char*> texts) {
  return random.pick<const char*>(texts);
}

std::string space(Random& random) { return pick(random, {"", "", "", " ", "\n", "\t ", "\r\n"}); }

std::string number(Random& random) {
  if (random.chance(0.3))
    return pick(random, {"0", "-0", "1e3", "1E-2", "12345678", "0.1", "NaN", "-Infinity", "1e999",
                         "9223372036854775807", "123456789012345678901", "0.09876543283462524"});
  std::string text = std::to_string(random.below(1 << random.below(30)));
  if (random.chance(0.5))
    text += "." + std::to_string(random.below(int64_t(1) << random.below(60)));
  return text;
}

std::string value(Random& random, int depth) {
  if (depth > 4 || random.chance(0.6))
    return random.chance(0.6) ? number(random)
                              : pick(random, {"true", "null", "\"\"", "\"a\\u00e9\\\\\"",
                                              "\"}, {\"", "\"\xC3\xA9\"", "\"\\ud83d\\ude00\"",
                                              "[]", "{}", "\"a string longer than a word\""});
  const bool object = random.chance(0.5);
  std::string text = object ? "{" : "[";
  for (int64_t i = random.below(4); i >= 0; --i) {
    if (object) text += "\"k" + std::to_string(i) + "\"" + space(random) + ":";
    text += space(random) + value(random, depth + 1) + space(random) + (i ? "," : "");
  }
  return text + (object ? "}" : "]");
}

std::string list(Random& random, int64_t n) {
  std::string text = "[";
  for (int64_t i = 0; i < n; ++i) text += (i ? ", " : "") + number(random);
  return text + "]";
}

std::string record(Random& random) {
  std::string text = "{";
  bool more = false;
  const auto add = [&](const std::string& key, const std::string& what) {
    text += (more ? "," : "") + space(random) + "\"" + key + "\"" + space(random) + ":" +
            space(random) + what;
    more = true;
  };
  if (random.chance(0.95)) add("image_id", std::to_string(random.below(50)));
  if (random.chance(0.95)) add("category_id", std::to_string(random.below(9)));
  if (random.chance(0.95)) add(random.chance(0.9) ? "bbox" : "b\\u0062ox", list(random, 4));
  if (random.chance(0.8)) add("score", number(random));
  if (random.chance(0.5)) add("id", random.chance(0.9) ? "17" : "\"seventeen\"");
  if (random.chance(0.5)) add("area", number(random));
  if (random.chance(0.5)) add("iscrowd", pick(random, {"0", "1", "true", "null"}));
  if (random.chance(0.3)) add("keypoints", list(random, 6));
  if (random.chance(0.3)) add("num_keypoints", "2");
  if (random.chance(0.2)) add("segmentation", "[" + list(random, 6) + "," + list(random, 8) + "]");
  if (random.chance(0.2)) add("segmentation", R"({"size": [3, 4], "counts": "PPYo0\\`1"})");
  if (random.chance(0.1)) add("segmentation", R"({"counts": [1, 2, 9], "size": [3, 4]})");
  if (random.chance(0.1)) add("segmentation", value(random, 0));
  if (random.chance(0.2)) add("other", value(random, 0));
  return text + "}";
}

std::string records(Random& random, int64_t n) {
  std::string text = "[";
  for (int64_t i = 0; i < n; ++i) text += (i ? "," : "") + space(random) + record(random);
  return text + "]";
}

std::string document(Random& random, bool results) {
  const int64_t n = random.chance(0.05) ? 4000 : random.below(40);
  if (results) return records(random, n);
  std::string images = "\"images\": [", categories = "\"categories\": [";
  for (int64_t i = random.below(9); i >= 0; --i)
    images += "{\"id\": " + std::to_string(i) + ", \"file_name\": \"\u00e9.png\", \"width\": 5}" +
              (i ? "," : "");
  for (int64_t i = random.below(4); i >= 0; --i)
    categories += "{\"name\": \"c\\n\", \"id\": " + std::to_string(i) + "}" + (i ? ",\n" : "");
  const std::string rows = "\"annotations\":" + records(random, n);
  images += "]", categories += "]";
  return random.chance(0.5) ? "{" + images + "," + rows + ", \"info\": {}," + categories + "}"
                            : "{" + rows + "," + categories + "," + images + "}";
}

// Bytes changed, taken out, doubled, or cut off.
void spoil(std::string& text, Random& random) {
  for (int64_t i = random.below(4); i >= 0 && !text.empty(); --i) {
    const size_t at = size_t(random.below(int64_t(text.size())));
    switch (random.below(5)) {
      case 0:
        text[at] = char(random.below(256));
        break;
      case 1:
        text[at] = random.pick({'"', '\\', '{', '}', '[', ']', ',', ':', '0', '.', 'e', '-'});
        break;
      case 2:
        text.erase(at, size_t(random.below(20)));
        break;
      case 3:
        text.insert(at, text.substr(at, size_t(random.below(60))));
        break;
      default:
        if (random.chance(0.3)) text.resize(at);
    }
  }
}

// Every piece of the range a task of its own, one after the other, the first of them last.
constexpr auto in_pieces = [](int64_t n, int64_t, Range body) {
  for (int64_t i = n - 1; i >= 0; --i) body(i, i + 1);
};

std::optional<GroundTruth> read(const Buffer<char>& text, bool results, uint32_t wanted,
                                ParallelFor parallel, std::string* error) {
  const Source source{-1, text.data(), text.size()};
  try {
    if (!results) return read_ground_truth(source, "text", wanted, parallel);
    GroundTruth truth{{}, {}, read_results(source, "text", wanted, parallel)};
    return truth;
  } catch (const FileError& failure) {
    *error = failure.what();
    return std::nullopt;
  }
}

template <class T>
bool same(const Column<T>& a, const Column<T>& b, int64_t n) {
  return n == 0 || (a.data() == nullptr && b.data() == nullptr) ||
         std::memcmp(a.data(), b.data(), n * sizeof(T)) == 0;
}

const Check check("coco_json", 1000, [](Random& random) {
  const bool results = random.chance(0.5);
  std::string text = document(random, results);
  if (random.chance(0.7)) spoil(text, random);
  const Buffer<char> exact{int64_t(text.size())};
  std::copy(text.begin(), text.end(), exact.data());
  const uint32_t wanted = random.chance(0.5) ? kAll : uint32_t(random.below(kAll + 1));
  const auto serially = [](int64_t n, int64_t, Range body) {
    if (n > 0) body(0, n);
  };
  std::string error, other_error;
  const auto serial = read(exact, results, wanted, serially, &error);
  const auto parallel = read(exact, results, wanted, in_pieces, &other_error);
  require(serial.has_value() == parallel.has_value(), "in pieces: '", error, "', '", other_error,
          "'");
  require(error == other_error, "in pieces the error is '", other_error, "', not '", error, "'");
  if (!serial) return;
  const Rows &a = serial->annotations, &b = parallel->annotations;
  require(a.size == b.size, "in pieces ", b.size, " rows, not ", a.size);
  const SegmentationColumns &s = a.segmentation, &t = b.segmentation;
  require(same(a.present, b.present, a.size) && same(a.bbox, b.bbox, 4 * a.size) &&
              same(a.score, b.score, a.size) && same(a.area, b.area, a.size) &&
              same(a.image_id.values, b.image_id.values, a.size) &&
              same(a.id.values, b.id.values, a.size) &&
              same(a.category_id, b.category_id, a.size) && same(a.iscrowd, b.iscrowd, a.size) &&
              same(a.keypoint_count, b.keypoint_count, a.size) &&
              same(a.keypoints, b.keypoints, a.keypoints.size()) && same(s.kind, t.kind, a.size) &&
              same(s.size, t.size, 2 * a.size) && same(s.count, t.count, a.size) &&
              same(a.object, b.object, 2 * a.size) && same(a.outline, b.outline, a.size),
          "in pieces other rows");
  const Images &images = serial->images, &others = parallel->images;
  require(same(images.object, others.object, 2 * images.size) &&
              same(images.names, others.names, images.names.size()),
          "in pieces other images");
  const auto is_object = [&](const Column<int64_t>& offsets, int64_t i) {
    const int64_t begin = offsets[2 * i], end = offsets[2 * i + 1];
    return begin >= 0 && end <= exact.size() && begin < end && exact.data()[begin] == '{' &&
           exact.data()[end - 1] == '}';
  };
  for (int64_t i = 0; (wanted >> kObject & 1) != 0 && i < a.size; ++i)
    require(is_object(a.object, i), "row ", i, " is at no object");
  for (int64_t i = 0; (wanted >> kObject & 1) != 0 && i < images.size; ++i)
    require(is_object(images.object, i), "image ", i, " is at no object");
  for (int64_t i = 0; (wanted >> kSegmentation & 1) != 0 && i < a.size; ++i) {
    if (s.kind[i] == kRleString) {
      require(s.first[i] + s.count[i] <= s.strings.size(), "a string beyond its table");
    } else if (s.kind[i] == kPolygons) {
      require(s.first[i] + s.count[i] < s.ring_offsets.size(), "rings beyond their table");
    } else if (s.kind[i] == kRleCounts) {
      require(s.first[i] + s.count[i] <= s.counts.size(), "run lengths beyond their table");
    }
  }
});

}  // namespace
}  // namespace sightline::native
