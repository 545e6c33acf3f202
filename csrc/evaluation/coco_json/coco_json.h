// COCO's ground truth and results files, read into columns.
//
// Members may come in any order and unknown ones are skipped; of a key that is there twice the last
// counts, as for Python's json. Numbers are the doubles that Python gives. A row is an annotation
// or a result; what a row lacks is 0 in its columns, and not in its bits of `present`. An empty
// list is no bbox.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/parallel.h"
#include "evaluation/coco_json/column.h"
#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {

enum Field : int {
  kId,
  kImageId,
  kCategoryId,
  kBbox,
  kScore,
  kArea,
  kIsCrowd,
  kIgnore,
  kNumKeypoints,
  kKeypoints,
  kSegmentation,
  kNumKeys,
  kObject = kNumKeys,  // where the text of the row is
  kOutline,            // what its segmentation is, where that is not read itself
  kNumFields
};
inline constexpr std::string_view kFieldNames[kNumFields] = {
    "id",     "image_id",      "category_id", "bbox",         "score",  "area",   "iscrowd",
    "ignore", "num_keypoints", "keypoints",   "segmentation", "object", "outline"};

// Ids: integers, or strings as their places in `names`.
struct Ids {
  Column<int64_t> values;  // [N]
  Names names;
  bool are_strings = false;
};

enum SegmentationKind : uint8_t { kNoSegmentation, kPolygons, kRleString, kRleCounts };

// Row i has `count[i]` units of its kind from `first[i]` on: rings, bytes, or run lengths.
struct SegmentationColumns {
  Column<uint8_t> kind;          // [N]
  Column<int64_t> size;          // [N, 2] height and width of run lengths, 0 of polygons
  Column<int64_t> first, count;  // [N]
  Column<int64_t> ring_offsets;  // [P + 1], into coordinates
  Column<double> coordinates;
  Column<uint8_t> strings;
  Column<uint32_t> counts;
};

// A segmentation that is left in the file: none; finite polygons of three points or more, or run
// lengths that fill their image; or anything else, which a reader of more kinds may understand.
enum OutlineKind : uint8_t { kNoOutline, kOutlineIsRight, kOutlineIsOdd };

// Bits of `present` beside those of fields: a number of bbox, score or area may be NaN or infinite
// (of a key that is there twice, perhaps the one that does not count), a side may be negative.
// A flag may be NaN.
inline constexpr uint32_t kOddFlag = 1u << 13, kNotFinite = 1u << 14, kNegativeSide = 1u << 15;
static_assert(kNumFields <= 13);

// A column whose field is not wanted stays empty.
struct Rows {
  explicit Rows(uint32_t wanted) : wanted(wanted) {}

  uint32_t wanted;                 // bits of Field
  int64_t size = 0;                // N
  Column<uint16_t> present;        // [N] bits of Field, and those above
  Ids id, image_id;                // [N]
  Column<int64_t> category_id;     // [N]
  Column<double> bbox;             // [N, 4] x, y, w, h
  Column<double> score, area;      // [N]
  Column<bool> iscrowd, ignore;    // [N]
  Column<int64_t> num_keypoints;   // [N]
  Column<int64_t> keypoint_count;  // [N] numbers of a row, one row after the other
  Column<double> keypoints;        // x, y, visibility in turn
  SegmentationColumns segmentation;
  Column<int64_t> object;   // [N, 2] offsets in the file of its begin and end
  Column<uint8_t> outline;  // [N] OutlineKind
};

// What an image has beside its size is read with kObject only.
struct Images {
  int64_t size = 0;
  Ids id;                         // [I]
  Column<int64_t> width, height;  // [I], 0 where absent or no integer
  bool are_lvis = false;          // some list the classes that nobody looked for
  Column<int64_t> object;         // [I, 2] offsets in the file
  Column<int64_t> name_ends;      // [I] of file names in `names`
  Column<uint8_t> names;          // UTF-8
};

struct Categories {
  Column<int64_t> id;              // [C]
  std::vector<std::string> names;  // [C] UTF-8
  std::vector<bool> named;         // [C]
  bool are_lvis = false;           // some have LVIS's `frequency`
};

struct GroundTruth {
  Images images;
  Categories categories;
  Rows annotations;
  bool has_images = false, has_categories = false, has_annotations = false;
  // With kObject `categories` stay empty: offsets of the value in the file.
  int64_t categories_begin = 0, categories_end = 0;
};

// A file that is no JSON, or no file of the kind: "<name>: byte 12 (line 3), annotations[0].bbox:
// ...".
struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Reads in parallel over pieces of the file; the result does not depend on their number. Memory
// beside the columns: a window for each thread. Throws FileError, std::system_error,
// std::bad_alloc.
//
// With kObject, categories may be any value, and an image needs a file name.
GroundTruth read_ground_truth(const Source& source, std::string_view name, uint32_t wanted,
                              ParallelFor parallel_for);
Rows read_results(const Source& source, std::string_view name, uint32_t wanted,
                  ParallelFor parallel_for);

}  // namespace sightline::evaluation::coco_json
