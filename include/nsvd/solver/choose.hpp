// SPDX-License-Identifier: MIT
/// The rule that picks a solver, in one place.
#pragma once

#include "../accuracy.hpp"
#include "../matrix.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace nsvd::inline NSVD_ABI::detail {

/// The ways to the leading left singular subspace of `A = B S` (`m×n`), and where each shines.
enum class route : std::uint8_t {
    /// deflated_eigen: everything in double, the whole spectrum where it is asked for. Small matrices, and
    /// whatever the others can't answer to the accuracy asked for.
    double_precision,
    /// block_krylov on products with B and M, no Gram matrix formed: ranks of up to a fifth or so of the
    /// smaller side.
    krylov,
    /// block_krylov on the Gram matrix of the smaller side, in single precision: larger ranks.
    gram_krylov,
    /// tridiagonal_eigen of that Gram matrix: about half of the spectrum and more, or all of its values.
    gram_direct,
};

/// What the rule looks at.
struct solver_question {
    index rows = 0;
    index cols = 0;
    std::optional<index> rank;  ///< none: the whole spectrum is wanted
    bool inner = false;         ///< whether the metric has an inner matrix, beside a diagonal one
    accuracy level = accuracy::balanced;
    /// Where the Gram matrix of the columns of an earlier residual is known: directions that were taken off
    /// since.
    std::optional<index> taken_since = {};
};

struct solver_choice {
    nsvd::detail::route route = route::double_precision;
    bool right = false;   ///< the Gram matrix is that of the columns: m > n
    index block = 0;      ///< of Krylov iterations: vectors a step
    index dimension = 0;  ///< and the dimension at which convergence is looked at first
    /// The trace is estimated: exactly it would cost as much as all else.
    bool estimate_trace = false;
    /// Flops of matrix products that would take as long as all of it, in single precision (twice as many
    /// where the route is in double).
    double flops = 0.0;
};

/// Up to this smaller side everything is done in double: it costs little there, and every singular value is
/// told from rounding.
inline constexpr index double_up_to = 512;

/// Whether `B C Bᵀ` (`m×m`, with `C` `n×n`) is formed at less cost from a Cholesky factor of C, n³/3 flops at
/// little more than half the speed of a product, than by halves of C, m²n flops.
[[nodiscard]] constexpr bool worth_factoring(index rows, index cols) noexcept {
    return cols * cols < 2 * rows * rows;
}

/// Cheapest first by the count of flops, in which those of the tridiagonal eigensolver weigh more, as it is
/// measured to be that far from the speed of a product (docs/performance.md).
[[nodiscard]] inline solver_choice choose_solver(const solver_question& q) {
    const index side = std::min(q.rows, q.cols);
    solver_choice choice;
    const auto m = static_cast<double>(q.rows);
    const auto n = static_cast<double>(q.cols);
    const auto s = static_cast<double>(side);
#if defined(NSVD_USE_LAPACK)
    constexpr double eigen_weight = 6.5;  // flops of a product in the time of n³ of the eigensolver
#else
    constexpr double eigen_weight = 40.0;
#endif
    const bool right = q.rows > q.cols;
    // Forming the Gram matrix of the smaller side, and coming back from it.
    const double inner = q.inner ? 1.0 : 0.0;
    const double factored = n * n * n / 3.0;
    const double form =
        right ? (q.taken_since ? static_cast<double>(*q.taken_since) : m) * n * n +
                    inner * (n * n * n + factored)
              : m * m * n + inner * (m * n * n + (worth_factoring(q.rows, q.cols) ? factored : m * m * n));
    const auto k = static_cast<double>(q.rank.value_or(side));
    const double back = right ? 2.0 * m * n * k + 2.0 * m * k * k + inner * n * n * k : 0.0;
    double& least = choice.flops;
    least = form + back + eigen_weight * s * s * s + 2.0 * s * s * k;
    if (side <= double_up_to) {
        least *= 2.0;
        return choice;
    }
    choice.right = right;
    choice.route = route::gram_direct;
    if (!q.rank) return choice;

    // The dimension in which a Krylov space holds what is asked for where the spectrum is flat around the
    // cut: measured. Where it falls less will do; a look is cheap as long as the dimension is far below the
    // side.
    const bool exact = side <= exact_up_to || q.level == accuracy::exact;
    const double factor = exact ? 2.4 : q.level == accuracy::balanced ? 2.1 : 1.8;
    const index narrowest = std::min<index>(side <= 2048 ? 32 : 48, (*q.rank + 15) / 16 * 16);
    choice.block = std::clamp<index>(*q.rank / 160 * 16, narrowest, 128);
    const double d = factor * k + static_cast<double>((exact ? 6 : 4) * choice.block);
    if (d > 0.9 * s) return choice;
    const auto iterate = [&](double rows, double product) {
        constexpr double narrow = 1.3;  // products with blocks of 48 to 128 columns are that much slower
        return narrow * (d * product + 2.0 * rows * d * d + 2.0 * rows * d * k) + eigen_weight * d * d * d +
               2.0 * d * d * k;
    };
    const double by_gram = form + back + iterate(s, 2.0 * s * s);
    const double direct = inner * m * n * n + iterate(m, 4.0 * m * n + inner * 2.0 * n * n);
    choice.dimension = static_cast<index>(d > 0.3 * s ? d : 1.5 * k) + choice.block;
    if (by_gram < least) {
        least = by_gram;
        choice.route = route::gram_krylov;
    }
    if (direct < least) {
        choice.route = route::krylov;
        choice.right = false;
        choice.estimate_trace = q.inner && !exact && side > 2048;
    }
    return choice;
}

}  // namespace nsvd::inline NSVD_ABI::detail
