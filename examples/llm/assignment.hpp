// SPDX-License-Identifier: MIT
/// Work of known cost dealt out to processes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace llm {

/// Who does which job: the longest first, each to the one that has least to do so far, the first of equals
/// (Graham, 1969: at most 4/3 of the best). The same for the same costs everywhere.
[[nodiscard]] std::vector<int> assign(std::span<const double> costs, std::size_t processes);

/// What the busiest has to do over what all have on average: 1 is best.
[[nodiscard]] double imbalance(std::span<const double> costs, std::span<const int> owners,
                               std::size_t processes);

}  // namespace llm
