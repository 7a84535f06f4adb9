// SPDX-License-Identifier: MIT
/// Interpolative decomposition: a few columns of a matrix, and coefficients that give the others from them.
#pragma once

#include "detail/pivoted_qr.hpp"
#include "matrix.hpp"
#include "progress.hpp"
#include "rank/policy.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// `A ≈ A_J T`: k columns `J` of an `m×n` matrix and coefficients `T` (`k×n`) with `T(:, J) = I`.
struct interpolative_decomposition {
    std::vector<index> columns;    ///< J, in the order of the pivots
    Eigen::MatrixXd coefficients;  ///< T, `k×n`
    double error = 0.0;            ///< `‖A − A_J T‖_F / ‖A‖_F`; 0 for A = 0
    index numerical_rank = 0;      ///< independent columns found; less than k only where `A` has no more
    nsvd::status status = nsvd::status::ok;  ///< `rank_deficient` if columns ran out

    /// k.
    [[nodiscard]] index rank() const noexcept { return static_cast<index>(columns.size()); }
};

/// Options of `interpolative`.
struct interpolative_options {
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// Interpolative decomposition of an `m×n` matrix by column-pivoted QR (Businger-Golub pivoting; coefficients
/// are bounded in practice, not in theory). 4mnk flops for a policy of the shape, 4mn·min(m, n)
/// for one that looks at the spectrum, in double; one copy of `A`.
///
/// The rank is picked by any rank policy; one that looks at the spectrum sees the energy `‖R(i, :)‖_F²` that
/// each further column takes out of `A` (not always in descending order), so that `tolerance` bounds the
/// error that is reached. Throws `nsvd::error` for an empty or non-finite matrix or a rank outside [1, min(m,
/// n)]; `nsvd::cancelled` where `options.cancel` asks for it.
template <matrix A, rank_policy Policy>
[[nodiscard]] interpolative_decomposition interpolative(const A& a, const Policy& policy,
                                                        const interpolative_options& options = {}) {
    detail::scaled_matrix scaled = detail::read_scaled(a, "interpolative: a");
    const shape s{scaled.values.rows(), scaled.values.cols()};
    const double norm = std::sqrt(detail::squared_norm<double>(scaled.values));
    index most = s.full_rank();
    if constexpr (shape_policy<Policy>)
        most = detail::choose_rank(
            policy, s, [] { return spectrum{}; }, "interpolative");
    detail::observer watch(options.progress, options.cancel, "interpolative");
    watch.enter("pivoted QR", 0.0, 1.0);
    const detail::pivoted_qr<double> qr(std::move(scaled.values),
                                        detail::rounding_floor(s.rows, s.cols, norm), most, -1, &watch);
    index k = most;
    Eigen::VectorXd energies;
    if constexpr (!shape_policy<Policy>) {
        energies = qr.energies();
        detail::restore_units(energies, scaled.exponent);
        const auto values = [&] {
            return spectrum{.leading = {energies.data(), static_cast<std::size_t>(energies.size())}};
        };
        k = detail::choose_rank(policy, s, values, "interpolative");
    }
    interpolative_decomposition result;
    result.columns.assign(qr.pivots().begin(), qr.pivots().begin() + k);
    result.coefficients = qr.coefficients(k);
    result.numerical_rank = qr.steps();
    result.error = norm > 0.0 ? std::sqrt(qr.squared_error(std::min(k, qr.steps()))) / norm : 0.0;
    if (qr.steps() < most) result.status = status::rank_deficient;
    watch.finish();
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
