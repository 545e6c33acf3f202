#include <map>
#include <memory>
#include <string>

#include "check.h"
#include "evaluation/store/store.h"

namespace sightline::native {

using namespace evaluation::store;
namespace {

template <class T>
StridedArray array_of(const Buffer<T>& buffer, ElementType type, std::vector<int64_t> shape) {
  StridedArray out{.data = reinterpret_cast<const char*>(buffer.data()), .type = type};
  out.ndim = static_cast<int>(shape.size());
  int64_t stride = sizeof(T);
  for (int axis = out.ndim - 1; axis >= 0; --axis) {
    out.shape[axis] = shape[axis];
    out.strides[axis] = stride;
    stride *= shape[axis];
  }
  return out;
}

// Rows of one side of an image, in arrays that end where their allocation ends.
struct Side {
  Side(Random& random, bool objects)
      : n(random.below(5)), boxes(4 * n), labels(n), values(n), ends(n), size(2 * n), text(3 * n) {
    fill_boxes(boxes, random);
    fill(labels, [&] { return random.below(3) - (random.chance(0.02) ? 3 : 0); });
    fill(values, [&] { return random.uniform(0, 1); });
    fill(size, [&] { return random.below(9); });
    fill(text, [&] { return random.below(200); });
    for (int64_t i = 0; i < n; ++i) ends[i] = 3 * (i + 1);
    good = std::all_of(labels.data(), labels.data() + n, [](int64_t label) { return label >= 0; });
    for (int64_t i = 0; i < 4 * n; i += 4) {
      const double x = boxes[i], y = boxes[i + 1];
      const double w = boxes[i + 2] - x, h = boxes[i + 3] - y;
      good = good && std::isfinite(x) && std::isfinite(y) && std::isfinite(w) && w >= 0 &&
             std::isfinite(h) && h >= 0;
    }
    input.boxes = array_of(boxes, ElementType::kFloat32, {n, 4});
    input.xyxy = true;
    input.labels = array_of(labels, ElementType::kInt64, {n});
    (objects ? input.area : input.scores) = array_of(values, ElementType::kFloat64, {n});
    input.mask_strings = array_of(text, ElementType::kUint8, {3 * n});
    input.mask_ends = array_of(ends, ElementType::kInt64, {n});
    input.mask_size = array_of(size, ElementType::kInt32, {n, 2});
  }

  int64_t n;
  Buffer<float> boxes;
  Buffer<int64_t> labels;
  Buffer<double> values;
  Buffer<int64_t> ends;
  Buffer<int32_t> size;
  Buffer<uint8_t> text;
  RowsInput input;
  bool good = true;
};

struct Image {
  explicit Image(Random& random) : detections(random, false), objects(random, true) {}
  Side detections, objects;
};

void require_rows(const Rows& rows, int64_t image, const Side& side, bool masks) {
  const int64_t begin = rows.begin(image);
  require(rows.image_ends[image] - begin == side.n, "another number of rows");
  for (int64_t i = 0; i < side.n; ++i) {
    require(rows.boxes[4 * (begin + i) + 1] == side.boxes[4 * i + 1], "another box");
    require(rows.labels[begin + i] == side.labels[i], "another label");
    if (!masks) continue;
    const int64_t end = rows.mask_ends[begin + i];
    require(rows.mask_strings[end - 1] == side.text[3 * i + 2], "another mask");
    require(rows.mask_size[2 * (begin + i)] == side.size[2 * i], "another size");
  }
}

// Updates, refusals, merges and sorts against a map of images.
void check_life(Random& random) {
  const bool masks = random.chance(0.5), text = random.chance(0.5);
  const StoreRules rules{
      .shapes = masks ? Shapes::kMasks : Shapes::kBoxes, .num_keypoints = 0, .num_labels = 3};
  DetectionStore store(rules);
  std::map<std::string, std::shared_ptr<Image>> images;  // text of one length sorts as numbers do
  const auto id_of = [&](const std::string& name) {
    return ImageId{.is_text = text, .number = std::stoll(name), .text = name};
  };
  for (int64_t step = random.below(60); step > 0; --step) {
    const std::string name = std::to_string(1000 + random.below(300));
    const auto image = std::make_shared<Image>(random);
    const bool good =
        image->detections.good && image->objects.good && images.find(name) == images.end();
    if (random.chance(0.2)) {
      DetectionStore other(rules);
      if (!other.append(id_of(name), image->detections.input, image->objects.input)) continue;
      const bool merged = store.merge(other, false) < 0;
      require(merged == good || images.count(name) == 1, "a merge of a new image was refused");
    } else {
      const int64_t before = store.nbytes();
      const bool taken = store.append(id_of(name), image->detections.input, image->objects.input);
      require(taken == good, "an image was taken that breaks a rule, or the other way round");
      require(taken || store.nbytes() <= before + 4096, "a refused image left its rows");
    }
    if (good) images[name] = image;
    if (random.chance(0.1)) store.sort_by_id();
  }
  store.sort_by_id();
  require(store.num_images() == static_cast<int64_t>(images.size()), "another number of images");
  int64_t at = 0;
  for (const auto& [name, image] : images) {
    require(store.ids().find(id_of(name)) == at, "another place of image ", name);
    require_rows(store.detections(), at, image->detections, masks);
    require_rows(store.objects(), at, image->objects, masks);
    ++at;
  }
}

const Check check("detection_store", 300, check_life);

}  // namespace
}  // namespace sightline::native
