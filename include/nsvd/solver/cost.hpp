// SPDX-License-Identifier: MIT
/// What a decomposition is predicted to cost, for dealing out layers.
#pragma once

#include "../accuracy.hpp"
#include "../error.hpp"
#include "../matrix.hpp"
#include "choose.hpp"

#include <algorithm>
#include <string>

namespace nsvd::inline NSVD_ABI {

/// Flops of products of large matrices in single precision that take as long as one stage of a decomposition:
/// the leading `rank` left singular vectors of `W S` (`W` is `rows × cols`) by the solver that
/// `choose_solver` picks, and the factor `Qᵀ W`, 2·rows·cols·rank flops. `weighted`: whether the metric has
/// an inner matrix (a Gram matrix) beside a diagonal one. A stage after the first costs the residual as well,
/// 2·rows·cols·rank.
///
/// A prediction for dealing out work and for planning, not a promise: spectra that fall fast take less. Costs
/// nothing. Throws `nsvd::error` unless rows and cols are at least 1 and the rank is in [0, min(rows, cols)].
[[nodiscard]] inline double predicted_flops(index rows, index cols, index rank, bool weighted,
                                            accuracy level = accuracy::balanced) {
    if (rows < 1 || cols < 1)
        throw error("predicted_flops: W is " + detail::shape_text(rows, cols) + ": it must not be empty");
    if (rank < 0 || rank > std::min(rows, cols))
        throw error("predicted_flops: rank = " + std::to_string(rank) + " must be in [0, " +
                    std::to_string(std::min(rows, cols)) + "]");
    const double product = 2.0 * static_cast<double>(rows) * static_cast<double>(cols);
    if (rank == 0) return 0.0;
    return detail::choose_solver(
               {.rows = rows, .cols = cols, .rank = rank, .inner = weighted, .level = level})
               .flops +
           product * static_cast<double>(rank);
}

}  // namespace nsvd::inline NSVD_ABI
