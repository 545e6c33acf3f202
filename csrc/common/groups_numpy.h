// What adapters check of rows that are laid out in groups.
#pragma once

#include <algorithm>

#include "common/numpy.h"

namespace sightline {

// The groups of a layout: group s owns rows[offsets[s]] to rows[offsets[s + 1]], of num_rows rows.
inline void check_groups(const Array<int64_t>& rows, const Array<int64_t>& offsets, int64_t groups,
                         int64_t num_rows) {
  const int64_t* const o = offsets.data();
  require(offsets.ndim() == 1 && offsets.size() == groups + 1 && o[0] == 0 &&
              o[groups] == rows.size() && std::is_sorted(o, o + groups + 1),
          "offsets must ascend from 0 to the number of rows");
  const int64_t* const r = rows.data();
  require(std::all_of(r, r + rows.size(), [&](int64_t row) { return row >= 0 && row < num_rows; }),
          "a group has a row that is not there");
}

}  // namespace sightline
