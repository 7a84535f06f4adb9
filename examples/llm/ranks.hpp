// SPDX-License-Identifier: MIT
/// Which rank each unit gets from the bytes there are.
#pragma once

#include "effect.hpp"
#include "recipe.hpp"
#include "unit.hpp"

#include <nsvd/allocation.hpp>
#include <nsvd/ext/safetensors.hpp>

#include <Eigen/Core>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace llm {

/// The bytes for the layers of a model at a compression, the same for every recipe: what plain factors of
/// `nsvd::compression` take for each layer by itself; at 0, what the dense layers take. Biases are not
/// counted.
[[nodiscard]] std::int64_t byte_budget(const model& m, double compression);

/// What rank rules look at; each is asked for only where the rule does.
struct rank_evidence {
    std::function<const std::vector<Eigen::VectorXd>&()> spectra;  ///< of each unit, in its metric
    std::function<const std::vector<unit_effects>&()> effects;
};

/// The ranks at which effects are measured: of 0.1, 0.2, … 0.9 of the numbers, in the storage given.
[[nodiscard]] std::vector<Eigen::Index> tried_ranks(const unit& u, nsvd::storage how);

/// A rank for each unit, none where it stays dense, that take no more than the budget less the biases that
/// the recipe adds. `keep_dense` says which units are protected. Throws nsvd::error where the budget is too
/// small.
[[nodiscard]] std::vector<std::optional<Eigen::Index>> choose_ranks(const model& m,
                                                                    const std::vector<unit>& units,
                                                                    const recipe& r,
                                                                    const std::vector<bool>& keep_dense,
                                                                    const rank_evidence& evidence);

}  // namespace llm
