// SPDX-License-Identifier: MIT
/// Models of any shape without a file: as fast, and as large, as real ones.
#pragma once

#include "model.hpp"
#include "progress.hpp"

#include <nsvd/rank/compression.hpp>

#include <optional>

namespace llm {

/// Random weights. Where a compression is given, all linear layers are factors, or pivots by rows, of the
/// rank that it leaves; they approximate nothing. One progress step a layer. Throws nsvd::error naming the
/// layer for a compression that leaves none.
[[nodiscard]] model random_model(const config& shape, const std::optional<nsvd::compression>& compression,
                                 progress& bar);

}  // namespace llm
