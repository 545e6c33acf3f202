#include "common/numpy.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/store/store.h"

namespace sightline::evaluation::store {
namespace {

// A Python string that lives as long as the process, so that dict lookups need not hash it again.
PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

std::optional<ElementType> element_type(const py::dtype& dtype) {
  const char order = dtype.byteorder();
  if (order != '=' && order != '|') return std::nullopt;
  int level = 0;
  while (level < 4 && dtype.itemsize() != 1 << level) ++level;
  if (level == 4) return std::nullopt;
  switch (dtype.kind()) {
    case 'b':
      return ElementType::kBool;
    case 'i':
      return static_cast<ElementType>(static_cast<int>(ElementType::kInt8) + level);
    case 'u':
      return static_cast<ElementType>(static_cast<int>(ElementType::kUint8) + level);
    case 'f':
      if (level == 0) return std::nullopt;
      return static_cast<ElementType>(static_cast<int>(ElementType::kFloat16) + level - 1);
    default:
      return std::nullopt;
  }
}

// What Python code may do while values are turned into arrays: nothing is appended until all are
// in `alive`.
struct Reader {
  py::object as_array;  // any value -> ndarray of a number type, or an exception
  std::vector<py::object> alive;

  // False where it is no array of numbers.
  bool read(PyObject* value, StridedArray& out) {
    py::object array = py::reinterpret_borrow<py::object>(value);
    if (!describe(array, out) && !describe(of_tensor(value), array, out)) {
      try {
        array = as_array(array);
      } catch (const py::error_already_set& error) {
        // anything else, as a tensor on another device, is for the caller
        if (error.matches(PyExc_TypeError) || error.matches(PyExc_ValueError)) return false;
        throw;
      }
      if (!describe(array, out)) return false;
    }
    alive.push_back(std::move(array));
    return true;
  }

  // What most tensors give; null where it takes more than this to make an array.
  static py::object of_tensor(PyObject* value) {
    static PyObject* const name = interned("numpy");
    PyObject* array = PyObject_CallMethodNoArgs(value, name);
    if (array == nullptr) PyErr_Clear();
    return py::reinterpret_steal<py::object>(array);
  }

  static bool describe(const py::object& made, py::object& array, StridedArray& out) {
    if (!made || !describe(made, out)) return false;
    array = made;
    return true;
  }

  static bool describe(const py::object& object, StridedArray& out) {
    if (!py::isinstance<py::array>(object)) return false;
    const auto array = py::reinterpret_borrow<py::array>(object);
    const auto type = element_type(array.dtype());
    if (!type || array.ndim() > StridedArray::kMaxDims) return false;
    out.data = static_cast<const char*>(array.data());
    out.type = *type;
    out.ndim = static_cast<int>(array.ndim());
    std::copy_n(array.shape(), out.ndim, out.shape);
    std::copy_n(array.strides(), out.ndim, out.strides);
    return true;
  }
};

struct Entry {
  PyObject* key;
  StridedArray RowsInput::* array;
  bool required;
};

// The keys of a dict of one image; `ignored` are those of other shapes than the store's, and what
// loaders and models write that an evaluation does not need (PASSED_OVER in detection/_inputs.py).
struct Keys {
  std::vector<Entry> entries;
  std::vector<PyObject*> ignored;
};

Keys keys_of(const StoreRules& rules, bool objects) {
  Keys keys{.entries = {{interned("labels"), &RowsInput::labels, true}}, .ignored = {}};
  const auto add = [&](const char* key, StridedArray RowsInput::* array, bool required) {
    keys.entries.push_back({interned(key), array, required});
  };
  if (objects) {
    add("iscrowd", &RowsInput::crowd, false);
    add("difficult", &RowsInput::ignore, false);
    for (const char* key : {"image_id", "orig_size", "index"})
      keys.ignored.push_back(interned(key));
  } else {
    add("scores", &RowsInput::scores, true);
    keys.ignored.push_back(interned("keypoints_scores"));
  }
  if (objects || rules.shapes == Shapes::kMasks) add("area", &RowsInput::area, !objects);
  if (rules.shapes == Shapes::kMasks) {
    add("mask_strings", &RowsInput::mask_strings, true);
    add("mask_ends", &RowsInput::mask_ends, true);
    add("mask_size", &RowsInput::mask_size, true);
  } else {
    keys.ignored.push_back(interned("masks"));
    keys.ignored.push_back(interned("image_size"));
  }
  if (rules.shapes == Shapes::kKeypoints) {
    add("keypoints", &RowsInput::keypoints, true);
    if (objects) add("num_keypoints", &RowsInput::num_keypoints, true);
  } else {
    keys.ignored.push_back(interned("keypoints"));
    keys.ignored.push_back(interned("num_keypoints"));
  }
  return keys;
}

template <class T>
py::array view_of(const Column<T>& column, std::vector<py::ssize_t> shape) {
  using Owner = std::shared_ptr<const void>;
  const py::capsule base(new Owner(column.owner()),
                         [](void* owner) { delete static_cast<Owner*>(owner); });
  py::array_t<T> array(std::move(shape), column.data(), base);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

class PyDetectionStore {
 public:
  PyDetectionStore(int64_t shapes, int64_t num_keypoints, int64_t num_labels, bool any_score,
                   py::object as_array)
      : store_({.shapes = static_cast<Shapes>(shapes),
                .num_keypoints = num_keypoints,
                .num_labels = num_labels,
                .any_score = any_score}),
        detection_keys_(keys_of(store_.rules(), false)),
        object_keys_(keys_of(store_.rules(), true)),
        as_array_(std::move(as_array)) {
    require(0 <= shapes && shapes <= 2, "shapes must be 0, 1 or 2");
    require(0 <= num_labels && num_labels <= int64_t{1} << 31, "num_labels must be below 2^31");
    require(0 <= num_keypoints && num_keypoints < 1 << 20, "num_keypoints must be below 2^20");
  }

  // None, or the first image that was refused; all of the batch is taken or nothing.
  py::object update(const py::sequence& ids, const py::sequence& detections,
                    const py::sequence& objects) {
    const auto count = static_cast<int64_t>(ids.size());
    require(static_cast<int64_t>(detections.size()) == count &&
                static_cast<int64_t>(objects.size()) == count,
            "a batch must have as many ids as detections and targets");
    Reader reader{.as_array = as_array_, .alive = {}};
    reader.alive.reserve(12 * count);
    std::vector<Image> images(count);
    for (int64_t i = 0; i < count; ++i) {
      const py::object id = ids[i], dt = detections[i], gt = objects[i];
      if (!read_id(id, images[i].id, reader) ||
          !read_dict(dt, detection_keys_, reader, images[i].detections) ||
          !read_dict(gt, object_keys_, reader, images[i].objects))
        return py::int_(i);
    }
    return append(images);
  }

  // Images that lie one after another in columns: `ends` says where each ends in them.
  py::object extend(const py::sequence& ids, const Array<int64_t>& detection_ends,
                    const Array<int64_t>& object_ends, const py::dict& detections,
                    const py::dict& objects) {
    Reader reader{.as_array = as_array_, .alive = {}};
    RowsInput dt, gt;
    const auto count = static_cast<int64_t>(ids.size());
    require(detection_ends.ndim() == 1 && detection_ends.size() == count &&
                object_ends.ndim() == 1 && object_ends.size() == count,
            "ends must have an entry for each image");
    require(read_dict(detections, detection_keys_, reader, dt) &&
                read_dict(objects, object_keys_, reader, gt),
            "columns are missing or of a wrong type");
    std::vector<Image> images(count);
    for (int64_t i = 0; i < count; ++i) {
      const py::object id = ids[i];
      if (!read_id(id, images[i].id, reader)) return py::int_(i);
    }
    slice(dt, detection_ends, images, &Image::detections);
    slice(gt, object_ends, images, &Image::objects);
    return append(images);
  }

  py::object merge(const PyDetectionStore& other, bool keep_first) {
    const StoreRules &a = store_.rules(), &b = other.store_.rules();
    require(
        a.shapes == b.shapes && a.num_keypoints == b.num_keypoints && a.num_labels == b.num_labels,
        "stores must have the same rules");
    const int64_t refused = store_.merge(other.store_, keep_first);
    if (refused < 0) return py::none();
    return id_object(other.store_.ids()[refused]);
  }

  bool contains(const py::object& value) {
    Reader reader{};
    ImageId id;
    return read_id(value, id, reader) && store_.ids().find(id) >= 0;
  }

  void sort() { store_.sort_by_id(); }

  py::object image_ids() const {
    if (!store_.ids().is_text()) return view_of(store_.ids().numbers(), {store_.num_images()});
    py::list list;
    for (int64_t i = 0; i < store_.num_images(); ++i) list.append(id_object(store_.ids()[i]));
    return list;
  }

  // Views of the columns; they keep their memory when the store grows on.
  py::dict columns(bool objects) const {
    const Rows& rows = objects ? store_.objects() : store_.detections();
    const int64_t n = rows.size();
    const Shapes shapes = store_.rules().shapes;
    py::dict out;
    out["image_ends"] = view_of(rows.image_ends, {store_.num_images()});
    out["boxes_xywh"] = view_of(rows.boxes, {n, 4});
    out["labels"] = view_of(rows.labels, {n});
    if (!objects) out["scores"] = view_of(rows.scores, {n});
    if (objects) out["flags"] = view_of(rows.flags, {n});
    if (objects || shapes == Shapes::kMasks) out["area"] = view_of(rows.area, {n});
    if (shapes == Shapes::kMasks) {
      out["mask_strings"] = view_of(rows.mask_strings, {rows.mask_strings.size()});
      out["mask_ends"] = view_of(rows.mask_ends, {n});
      out["mask_size"] = view_of(rows.mask_size, {n, 2});
    }
    if (shapes == Shapes::kKeypoints) {
      out["keypoints"] = view_of(rows.keypoints, {n, store_.rules().num_keypoints, 3});
      if (objects) out["num_keypoints"] = view_of(rows.num_keypoints, {n});
    }
    return out;
  }

  // (labels that occur [K], class of each detection [D], class of each object [G])
  py::tuple classes() const {
    const auto &dt = store_.detections().labels, &gt = store_.objects().labels;
    Array<int64_t> dt_class(dt.size()), gt_class(gt.size());
    const auto labels = number_labels(dt, gt, dt_class.mutable_data(), gt_class.mutable_data());
    return py::make_tuple(Array<int64_t>(static_cast<py::ssize_t>(labels.size()), labels.data()),
                          dt_class, gt_class);
  }

  int64_t num_images() const { return store_.num_images(); }
  int64_t nbytes() const { return store_.nbytes(); }

 private:
  struct Image {
    ImageId id;
    RowsInput detections, objects;
  };

  static py::object id_object(const ImageId& id) {
    if (!id.is_text) return py::int_(id.number);
    return py::str(id.text.data(), id.text.size());
  }

  // An int of 64 bits or a str; not a bool.
  static bool read_id(const py::object& value, ImageId& id, Reader& reader) {
    PyObject* object = value.ptr();
    if (PyUnicode_Check(object)) {
      Py_ssize_t length = 0;
      const char* text = PyUnicode_AsUTF8AndSize(object, &length);
      if (text == nullptr) {  // lone surrogates
        PyErr_Clear();
        return false;
      }
      id = {.is_text = true, .number = 0, .text = {text, static_cast<std::size_t>(length)}};
      reader.alive.push_back(value);
      return true;
    }
    if (PyBool_Check(object) || !PyIndex_Check(object)) return false;
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
    int overflow = 0;
    const int64_t value_64 = number ? PyLong_AsLongLongAndOverflow(number.ptr(), &overflow) : 0;
    if (!number || PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      return false;
    }
    id = {.is_text = false, .number = value_64, .text = {}};
    return overflow == 0;
  }

  // False where a key is missing or unknown, or a value no array of numbers. None: not given.
  bool read_dict(const py::object& dict, const Keys& keys, Reader& reader, RowsInput& out) const {
    if (!PyDict_Check(dict.ptr())) return false;
    Py_ssize_t known = 0;
    const auto read = [&](PyObject* key, StridedArray& array, bool required) {
      PyObject* value = PyDict_GetItemWithError(dict.ptr(), key);
      if (value == nullptr) return PyErr_Occurred() == nullptr && !required;
      ++known;
      if (value == Py_None) return !required;
      return reader.read(value, array);
    };
    if (!read(boxes_key_, out.boxes, false)) return false;
    out.xyxy = out.boxes.present();
    if (!out.xyxy && !read(boxes_xywh_key_, out.boxes, false)) return false;
    if (!out.boxes.present()) return false;
    for (const Entry& entry : keys.entries)
      if (!read(entry.key, out.*entry.array, entry.required)) return false;
    for (PyObject* key : keys.ignored) known += PyDict_Contains(dict.ptr(), key) == 1;
    return known == PyDict_Size(dict.ptr());  // both kinds of boxes are one too many
  }

  py::object append(const std::vector<Image>& images) {
    const int64_t before = store_.num_images();
    for (std::size_t i = 0; i < images.size(); ++i) {
      bool good = false;
      try {
        good = store_.append(images[i].id, images[i].detections, images[i].objects);
      } catch (...) {
        store_.truncate(before);
        throw;
      }
      if (!good) {
        store_.truncate(before);
        return py::int_(i);
      }
    }
    return py::none();
  }

  static StridedArray part(const StridedArray& array, int64_t begin, int64_t end) {
    StridedArray out = array;
    if (!array.present()) return out;
    out.data += begin * array.strides[0];
    out.shape[0] = end - begin;
    return out;
  }

  // Gives each image its rows of `all`.
  static void slice(const RowsInput& all, const Array<int64_t>& ends, std::vector<Image>& images,
                    RowsInput Image::* side) {
    static constexpr StridedArray RowsInput::* kRowArrays[] = {
        &RowsInput::boxes,     &RowsInput::labels,    &RowsInput::scores,
        &RowsInput::area,      &RowsInput::crowd,     &RowsInput::ignore,
        &RowsInput::mask_size, &RowsInput::keypoints, &RowsInput::num_keypoints};
    const int64_t rows = all.labels.ndim == 1 ? all.labels.shape[0] : -1;
    for (const auto array : kRowArrays) {
      const StridedArray& column = all.*array;
      require(!column.present() || (column.ndim > 0 && column.shape[0] == rows),
              "columns must have the same number of rows");
    }
    const int64_t* end = ends.data();
    require(images.empty() ? rows == 0 : end[images.size() - 1] == rows,
            "the last end must be the number of rows");
    int64_t begin = 0;
    for (std::size_t i = 0; i < images.size(); begin = end[i], ++i) {
      require(begin <= end[i], "ends must ascend");
      RowsInput& out = images[i].*side;
      for (const auto array : kRowArrays) out.*array = part(all.*array, begin, end[i]);
    }
    if (all.mask_ends.present()) slice_masks(all, ends, images, side);
  }

  static void slice_masks(const RowsInput& all, const Array<int64_t>& ends,
                          std::vector<Image>& images, RowsInput Image::* side) {
    const StridedArray &mask_ends = all.mask_ends, &counts = all.mask_strings;
    require(mask_ends.type == ElementType::kInt64 && mask_ends.is_vector(all.labels.shape[0]) &&
                counts.ndim == 1,
            "mask_ends must be int64 [N]");
    const auto end_of = [&](int64_t rows) {
      return rows == 0 ? 0 : load<int64_t>(mask_ends.data + (rows - 1) * mask_ends.strides[0]);
    };
    int64_t begin = 0;
    for (std::size_t i = 0; i < images.size(); begin = ends.data()[i], ++i) {
      RowsInput& out = images[i].*side;
      const int64_t first = end_of(begin), last = end_of(ends.data()[i]);
      require(0 <= first && first <= last && last <= counts.shape[0], "mask_ends must ascend");
      out.mask_ends = part(mask_ends, begin, ends.data()[i]);
      out.mask_strings = part(counts, first, last);
      out.mask_base = first;
    }
  }

  DetectionStore store_;
  Keys detection_keys_, object_keys_;
  PyObject* boxes_key_ = interned("boxes");
  PyObject* boxes_xywh_key_ = interned("boxes_xywh");
  py::object as_array_;
};

const AddToModule add([](py::module_& m) {
  py::class_<PyDetectionStore>(m, "DetectionStore")
      .def(py::init<int64_t, int64_t, int64_t, bool, py::object>(), py::arg("shapes"),
           py::arg("num_keypoints"), py::arg("num_labels"), py::arg("any_score"),
           py::arg("as_array"))
      .def("update", &PyDetectionStore::update)
      .def("extend", &PyDetectionStore::extend, py::arg("ids"), py::arg("detection_ends"),
           py::arg("object_ends"), py::arg("detections"), py::arg("objects"))
      .def("merge", &PyDetectionStore::merge, py::arg("other"), py::arg("keep_first"))
      .def("sort", &PyDetectionStore::sort)
      .def("image_ids", &PyDetectionStore::image_ids)
      .def("columns", &PyDetectionStore::columns, py::arg("objects"))
      .def("classes", &PyDetectionStore::classes)
      .def("__contains__", &PyDetectionStore::contains)
      .def("__len__", &PyDetectionStore::num_images)
      .def_property_readonly("nbytes", &PyDetectionStore::nbytes);
});

}  // namespace
}  // namespace sightline::evaluation::store
