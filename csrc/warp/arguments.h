// What both adapters make of their arguments.
#pragma once

#include <stdexcept>
#include <vector>

#include "common/sizes.h"
#include "warp/warp.h"

namespace sightline::warp {

inline void check_shape(const WarpShape& shape, bool has_grid) {
  for (const int64_t side : {shape.height, shape.width, shape.out_height, shape.out_width})
    if (side < 0 || side > kMaxSide)
      throw std::invalid_argument("the sides of pictures must lie in [0, 2^22]");
  if (shape.channels != 1 && shape.channels != 3 && shape.channels != 4)
    throw std::invalid_argument("images must have 1, 3 or 4 channels");
  if (has_grid && (shape.grid_height < 1 || shape.grid_width < 1))
    throw std::invalid_argument("displacements must have a node");
  checked_product({shape.images, shape.out_height, shape.out_width, shape.channels},
                  "the pixels of the result");
}

// Without `scale` the output is uint8.
inline WarpRules rules_of(int64_t channels, const std::vector<double>& fill,
                          const std::vector<double>& scale, const std::vector<double>& offset,
                          bool nearest, bool antialias) {
  const size_t n = static_cast<size_t>(channels);
  if (fill.size() != n || scale.size() != offset.size() || (!scale.empty() && scale.size() != n))
    throw std::invalid_argument("fill, scale and offset must have one number per channel");
  WarpRules rules{nearest, antialias && !nearest, {}, {}, {}};
  for (size_t k = 0; k < n; ++k) {
    rules.fill[k] = static_cast<float>(fill[k]);
    rules.scale[k] = scale.empty() ? 1.0f : static_cast<float>(scale[k]);
    rules.offset[k] = scale.empty() ? 0.0f : static_cast<float>(offset[k]);
  }
  return rules;
}

// Of `count` entries of `numbers` numbers together, of which one serves all images.
template <class T>
OfImages<T> of_images(const T* data, int64_t count, int64_t numbers) {
  return {data, count > 1 ? numbers / count : 0};
}

}  // namespace sightline::warp
