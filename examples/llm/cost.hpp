// SPDX-License-Identifier: MIT
/// What compressing a unit is predicted to cost.
#pragma once

#include "recipe.hpp"
#include "unit.hpp"

#include <Eigen/Core>

#include <vector>

namespace llm {

/// Flops of matrix products that take as long as decomposing W (m×n) to rank k by the method of a recipe: the
/// stages by their solvers (nsvd::predicted_flops), for a Gram matrix its Cholesky factor.
[[nodiscard]] double predicted_flops(const recipe& r, const nsvd::shape& shape, Eigen::Index k);

/// The rank of plain factors at the recipe's compression, at least 1.
[[nodiscard]] Eigen::Index rank_by_itself(const recipe& r, const nsvd::shape& shape);

/// What each unit costs at the rank that the recipe's compression would give it by itself.
[[nodiscard]] std::vector<double> predicted_flops(const recipe& r, const std::vector<unit>& units);

}  // namespace llm
