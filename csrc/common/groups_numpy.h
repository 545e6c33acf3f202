// What adapters check of rows that are laid out in groups.
#pragma once

#include <algorithm>

#include "common/numpy.h"

namespace sightline {

// The groups of a layout: group s owns rows[offsets[s]] to rows[offsets[s + 1]], of num_rows rows.
inline void check_groups(const Array<int64_t>& rows, const Array<int64_t>& offsets, int64_t groups,
                         int64_t num_rows) {
  const int64_t* const o = offsets.data();
  require(rows.ndim() == 1 && offsets.ndim() == 1 && offsets.size() == groups + 1 && o[0] == 0 &&
              o[groups] == rows.size() && std::is_sorted(o, o + groups + 1),
          "offsets must ascend from 0 to the number of rows");
  const int64_t* const r = rows.data();
  require(std::all_of(r, r + rows.size(), [&](int64_t row) { return row >= 0 && row < num_rows; }),
          "a group has a row that is not there");
}

// Of the matrices [D_s, G_s] of all groups, whose offsets have been checked.
inline int64_t count_cells(const Array<int64_t>& dt_offsets, const Array<int64_t>& gt_offsets) {
  const int64_t *const dt = dt_offsets.data(), *const gt = gt_offsets.data();
  int64_t cells = 0;
  for (int64_t s = 0; s + 1 < dt_offsets.size(); ++s)
    cells += (dt[s + 1] - dt[s]) * (gt[s + 1] - gt[s]);
  return cells;
}

}  // namespace sightline
