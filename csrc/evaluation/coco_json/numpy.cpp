#include "common/numpy.h"

#include <algorithm>
#include <system_error>

#include "evaluation/coco_json/coco_json.h"

namespace sightline::evaluation::coco_json {
namespace {

// An array over the column's own memory.
template <class T>
py::array_t<T> take(Column<T>& column, int64_t rows, int64_t width = 1) {
  std::vector<py::ssize_t> shape{rows};
  if (width > 1) shape.push_back(width);
  T* const memory = column.release();
  if (memory == nullptr) return py::array_t<T>(shape);
  const py::capsule owner(memory, [](void* p) { std::free(p); });
  return py::array_t<T>(shape, memory, owner);
}

// Strings as Python has them: lone surrogates are allowed there.
py::str text_of(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), py::ssize_t(text.size()), "surrogatepass"));
}

// Integers [N], or places [N] in a list of strings, and that list.
py::tuple take_ids(Ids& ids, int64_t rows) {
  py::object names = py::none();
  if (ids.are_strings) {
    py::list list;
    for (const std::string& name : ids.names.list()) list.append(text_of(name));
    names = std::move(list);
  }
  return py::make_tuple(take(ids.values, rows), names);
}

py::dict take_rows(Rows& rows) {
  const int64_t n = rows.size;
  SegmentationColumns& masks = rows.segmentation;
  py::dict columns;
  columns["present"] = take(rows.present, n);
  const auto wanted = [&](Field field) { return (rows.wanted >> field & 1) != 0; };
  const auto add = [&](Field field, auto make) {
    if (wanted(field)) columns[py::str(std::string(kFieldNames[field]))] = make();
  };
  add(kId, [&] { return take_ids(rows.id, n); });
  add(kImageId, [&] { return take_ids(rows.image_id, n); });
  add(kCategoryId, [&] { return take(rows.category_id, n); });
  add(kBbox, [&] { return take(rows.bbox, n, 4); });
  add(kScore, [&] { return take(rows.score, n); });
  add(kArea, [&] { return take(rows.area, n); });
  add(kIsCrowd, [&] { return take(rows.iscrowd, n); });
  add(kIgnore, [&] { return take(rows.ignore, n); });
  add(kNumKeypoints, [&] { return take(rows.num_keypoints, n); });
  add(kKeypoints, [&] {
    const int64_t numbers = rows.keypoints.size();
    return py::make_tuple(take(rows.keypoint_count, n), take(rows.keypoints, numbers));
  });
  add(kSegmentation, [&] {
    const int64_t offsets = masks.ring_offsets.size(), numbers = masks.coordinates.size();
    const int64_t bytes = masks.strings.size(), runs = masks.counts.size();
    return py::make_tuple(take(masks.size, n, 2), take(masks.kind, n), take(masks.first, n),
                          take(masks.count, n), take(masks.ring_offsets, offsets),
                          take(masks.coordinates, numbers), take(masks.strings, bytes),
                          take(masks.counts, runs));
  });
  add(kObject, [&] { return take(rows.object, n, 2); });
  add(kOutline, [&] { return take(rows.outline, n); });
  return columns;
}

uint32_t bits_of(const py::sequence& fields) {
  uint32_t bits = 0;
  for (const py::handle& field : fields) {
    const auto name = field.cast<std::string>();
    const auto at = std::find(std::begin(kFieldNames), std::end(kFieldNames), name);
    require(at != std::end(kFieldNames), "unknown field");
    bits |= 1u << (at - std::begin(kFieldNames));
  }
  return bits;
}

// The file of a descriptor and its size, or text.
Source source_of(int descriptor, int64_t size, const py::object& text, bool has_places) {
  if (text.is_none()) return {descriptor, nullptr, size};
  require(py::isinstance<py::bytes>(text), "text must be bytes");
  const std::string_view view = py::reinterpret_borrow<py::bytes>(text);
  return {-1, view.data(), int64_t(view.size()), has_places};
}

template <class Read>
auto without_gil(Read read) {
  const py::gil_scoped_release release;
  return read();
}

const AddToModule add([](py::module_& m) {
  py::register_exception<FileError>(m, "CocoFileError", PyExc_ValueError);
  m.def(
      "read_coco_results",
      [](int descriptor, int64_t size, const py::object& text, const std::string& name,
         bool has_places, const py::sequence& fields) {
        const Source source = source_of(descriptor, size, text, has_places);
        const uint32_t wanted = bits_of(fields);
        Rows rows = without_gil([&] { return read_results(source, name, wanted, OwnThreads()); });
        return take_rows(rows);
      },
      py::arg("descriptor"), py::arg("size"), py::arg("text"), py::arg("name"),
      py::arg("has_places"), py::arg("fields"));
  m.def(
      "read_coco_ground_truth",
      [](int descriptor, int64_t size, const py::object& text, const std::string& name,
         bool has_places, const py::sequence& fields) {
        const Source source = source_of(descriptor, size, text, has_places);
        const uint32_t wanted = bits_of(fields);
        GroundTruth truth =
            without_gil([&] { return read_ground_truth(source, name, wanted, OwnThreads()); });
        const int64_t images = truth.images.size;
        py::dict image_columns, category_columns;
        image_columns["id"] = take_ids(truth.images.id, images);
        image_columns["width"] = take(truth.images.width, images);
        image_columns["height"] = take(truth.images.height, images);
        image_columns["are_lvis"] = truth.images.are_lvis;
        const bool keeps_objects = (wanted >> kObject & 1) != 0;
        if (keeps_objects) {
          const int64_t bytes = truth.images.names.size();
          image_columns["object"] = take(truth.images.object, images, 2);
          image_columns["file_name"] =
              py::make_tuple(take(truth.images.names, bytes), take(truth.images.name_ends, images));
          category_columns["object"] = py::make_tuple(truth.categories_begin, truth.categories_end);
        }
        py::list names;
        for (size_t i = 0; i < truth.categories.names.size(); ++i) {
          py::object name = py::none();
          if (truth.categories.named[i]) name = text_of(truth.categories.names[i]);
          names.append(std::move(name));
        }
        category_columns["id"] = take(truth.categories.id, int64_t(names.size()));
        category_columns["name"] = std::move(names);
        category_columns["are_lvis"] = truth.categories.are_lvis;
        py::dict sections;
        if (truth.has_images) sections["images"] = std::move(image_columns);
        if (truth.has_categories) sections["categories"] = std::move(category_columns);
        if (truth.has_annotations) sections["annotations"] = take_rows(truth.annotations);
        return sections;
      },
      py::arg("descriptor"), py::arg("size"), py::arg("text"), py::arg("name"),
      py::arg("has_places"), py::arg("fields"));
});

}  // namespace
}  // namespace sightline::evaluation::coco_json
