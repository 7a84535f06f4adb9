// SPDX-License-Identifier: MIT
/// Factors `S` with `S Sᵀ = M` of a symmetric positive semi-definite matrix: Cholesky, eigen, diagonal.
#pragma once

#include "detail/blas.hpp"
#include "detail/factorizations.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Which factor of the metric a decomposition uses.
enum class whitening : std::uint8_t {
    cholesky,  ///< lower Cholesky factor of the Gram matrix (ASVD-I, SVD-LLM)
    eigen,     ///< eigen square root of the Gram matrix (ASVD-II)
    diagonal,  ///< channel statistics only (ASVD-0)
};

/// A factor `S` (`n×r`) of `M` (`n×n`), `S Sᵀ = M + ridge·diag(M)`, kept as `S = D B`: `D` is a diagonal
/// matrix of powers of two with `D² ≈ diag(M)`. Nothing is lost to channels of different scale, and every
/// tolerance is relative to the scale of each channel.
///
/// Channels with `m_ii = 0` (or denormal) are rows of zeros in `S`; `solve` leaves them out (`D⁺` in place of
/// `D⁻¹`).
struct whitening_factor {
    whitening kind = whitening::diagonal;  ///< which factor it is
    Eigen::VectorXd scale;                 ///< the diagonal of D; for a diagonal factor that of S itself
    Eigen::MatrixXd basis;                 ///< B, `n×r`; empty for diagonal factors
    index rank = 0;      ///< numerical rank of M: eigenvalues of `D⁻¹ M D⁻¹` above `2·max(n, 64)·eps`
    double ridge = 0.0;  ///< what was added to the diagonal, relative to it, before a Cholesky factor existed
    double rcond =
        0.0;  ///< estimate, from below, of the smallest over the largest nonzero singular value of S
    /// False if no solver did its work: S is then only that of the diagonal of M, or, of a Cholesky factor
    /// with a ridge, only `rank` is wrong.
    bool converged = true;

    /// Order n of `M`, the rows of `S`.
    [[nodiscard]] index size() const noexcept { return scale.size(); }
    /// Columns of `S`: n for Cholesky and diagonal factors, the numerical rank for eigen factors.
    [[nodiscard]] index cols() const noexcept { return kind == whitening::diagonal ? size() : basis.cols(); }

    /// `S`, `n×r`.
    [[nodiscard]] Eigen::MatrixXd dense() const {
        Eigen::MatrixXd s = kind == whitening::diagonal ? detail::zeros<double>(size(), size()) : basis;
        if (kind == whitening::diagonal)
            for (index i = 0; i < size(); ++i)
                s(i, i) = 1.0;
        detail::scale_rows<double>(s, scale.data());
        return s;
    }

    /// `S x` (`n×p`) for an `r×p` matrix; 2nrp flops.
    template <matrix X>
    [[nodiscard]] Eigen::MatrixXd apply(const X& matrix) const {
        const Eigen::MatrixXd& x = detail::read(matrix);
        require("apply: rows of x", x.rows(), cols());
        Eigen::MatrixXd y =
            kind == whitening::diagonal ? x : detail::multiply(basis, detail::op::none, x, detail::op::none);
        detail::scale_rows<double>(y, scale.data());
        return y;
    }

    /// `w S` (`m×r`) for an `m×n` matrix, the operand of an activation-aware decomposition; 2mnr flops.
    template <matrix X>
    [[nodiscard]] Eigen::MatrixXd apply_right(const X& matrix) const {
        const Eigen::MatrixXd& w = detail::read(matrix);
        require("apply_right: columns of w", w.cols(), size());
        Eigen::MatrixXd scaled(w.rows(), w.cols());
        detail::assign_scaled<double, double>(scaled, w, scale.data());
        if (kind == whitening::diagonal) return scaled;
        return detail::multiply(scaled, detail::op::none, basis, detail::op::none);
    }

    /// `S⁺ x` (`r×p`) for an `n×p` matrix, where `S⁺ S = I` (but for zero channels). The activations `x = X`
    /// become white: the Gram matrix of the result is the identity, but for a ridge. With full rank `S⁺ =
    /// S⁻¹`, else `S⁺` is a left inverse, not the Moore-Penrose one.
    template <matrix X>
    [[nodiscard]] Eigen::MatrixXd solve(const X& matrix) const {
        const Eigen::MatrixXd& x = detail::read(matrix);
        require("solve: rows of x", x.rows(), size());
        Eigen::MatrixXd y = x;
        detail::scale_rows<double>(y, inverse_scale().data());
        if (kind == whitening::cholesky) detail::solve_lower<double>(basis, y);
        if (kind == whitening::eigen) {
            y = detail::multiply(basis, detail::op::transpose, y, detail::op::none);
            detail::scale_rows<double>(y, inverse_values().data());
        }
        return y;
    }

    /// `a S⁺` (`m×n`) for an `m×r` matrix: what the published codes do to their right factor.
    template <matrix X>
    [[nodiscard]] Eigen::MatrixXd solve_right(const X& matrix) const {
        const Eigen::MatrixXd& a = detail::read(matrix);
        require("solve_right: columns of a", a.cols(), cols());
        Eigen::MatrixXd y = a;
        if (kind == whitening::cholesky) {
            // a L⁻¹ = (L⁻ᵀ aᵀ)ᵀ
            y = detail::transposed<double>(y);
            detail::solve_upper<double>(detail::transposed<double>(basis), y);
            y = detail::transposed<double>(y);
        } else if (kind == whitening::eigen) {
            detail::assign_scaled<double, double>(y, y, inverse_values().data());
            y = detail::multiply(y, detail::op::none, basis, detail::op::transpose);
        }
        detail::assign_scaled<double, double>(y, y, inverse_scale().data());
        return y;
    }

private:
    static void require(const char* what, index got, index wanted) {
        if (got != wanted)
            throw error(std::string("whitening_factor::") + what + ": " + std::to_string(got) + ", not " +
                        std::to_string(wanted));
    }
    [[nodiscard]] Eigen::VectorXd inverse_scale() const {
        Eigen::VectorXd inverse(scale.size());
        std::transform(scale.begin(), scale.end(), inverse.begin(),
                       [](double d) { return d == 0.0 ? 0.0 : 1.0 / d; });
        return inverse;
    }
    /// Λ⁻¹ of an eigen factor `B = P Λ^½`: the squared norms of its columns are Λ.
    [[nodiscard]] Eigen::VectorXd inverse_values() const {
        Eigen::VectorXd inverse = detail::squared_norms_of_columns<double>(basis);
        for (double& value : inverse)
            value = 1.0 / value;
        return inverse;
    }
};

namespace detail {

/// Eigenvalues of a unit-diagonal Gram matrix at or below this are rounding: 2·max(n, 64)·eps. The floor of
/// 64 covers inputs that were themselves rounded to `float`, which leaves eigenvalues of about (2⁻²⁴)².
[[nodiscard]] inline double gram_rank_tolerance(index n) noexcept {
    return 2.0 * static_cast<double>(std::max<index>(n, 64)) * std::numeric_limits<double>::epsilon();
}

[[nodiscard]] inline index count_above(const Eigen::VectorXd& v, double bound) {
    return std::count_if(v.begin(), v.end(), [bound](double x) { return x > bound; });
}

/// Smallest over largest entry of what is positive in v; 0 if nothing is.
[[nodiscard]] inline double spread(const Eigen::VectorXd& v) {
    double least = std::numeric_limits<double>::infinity();
    for (const double x : v)
        if (x > 0.0) least = std::min(least, x);
    return std::isfinite(least) ? least / *std::max_element(v.begin(), v.end()) : 0.0;
}

/// `M = D C D` with `D` powers of two and the diagonal of `C` in [¼, 1); both 0 where that of `M` is 0.
struct equilibrated {
    Eigen::VectorXd scale;
    Eigen::MatrixXd matrix;
};

[[nodiscard]] inline equilibrated equilibrate(const Eigen::MatrixXd& m) {
    if (m.rows() != m.cols() || m.rows() == 0)
        throw error("whitening: M is " + shape_text(index{m.rows()}, index{m.cols()}) + ", not square");
    require_finite_entries<double>(m, "whitening: M");
    const index n = m.rows();
    Eigen::VectorXd scale(n);
    // A denormal entry has lost digits, or all of them while m_ij has not: the channel counts as zero.
    constexpr double least = std::numeric_limits<double>::min();
    for (index i = 0; i < n; ++i) {
        if (m(i, i) < 0.0)
            throw error("whitening: M(" + std::to_string(i) + ", " + std::to_string(i) +
                        ") = " + text(m(i, i)) + " is negative: M is not positive semi-definite");
        scale(i) = m(i, i) < least ? 0.0 : std::ldexp(1.0, binary_exponent(std::sqrt(m(i, i))));
    }
    Eigen::VectorXd norms(n);
    for (index i = 0; i < n; ++i)
        norms(i) = std::sqrt(std::max(m(i, i), least));
    // |m_ij| ≤ √(m_ii m_jj) holds for every semi-definite matrix, so no quotient below can overflow.
    constexpr double slack = 1e-6;
    Eigen::MatrixXd c = zeros<double>(n, n);
    for (index j = 0; j < n; ++j)
        for (index i = 0; i < n; ++i) {
            const double bound = norms(i) * norms(j);
            if (std::abs(m(i, j) - m(j, i)) > slack * bound || std::abs(m(i, j)) > (1.0 + slack) * bound)
                throw error("whitening: M(" + std::to_string(i) + ", " + std::to_string(j) +
                            ") = " + text(m(i, j)) + ", M(" + std::to_string(j) + ", " + std::to_string(i) +
                            ") = " + text(m(j, i)) + ": M is not symmetric positive semi-definite");
            if (scale(i) != 0.0 && scale(j) != 0.0) c(i, j) = m(i, j) / scale(i) / scale(j);
        }
    return {std::move(scale), std::move(c)};
}

}  // namespace detail

/// The factor `S = diag(s)` of the metric `diag(s)²`. Throws `nsvd::error` unless every s_i is finite and ≥
/// 0.
template <matrix V>
[[nodiscard]] whitening_factor diagonal_factor(const V& entries) {
    if (detail::extent(entries).second != 1)
        throw error("diagonal_factor: s has " + std::to_string(detail::extent(entries).second) +
                    " columns, not 1");
    const Eigen::VectorXd s = detail::read(entries);
    detail::require_nonempty(s.rows(), s.cols(), "diagonal_factor: s");
    detail::require_finite_entries<double>(s, "diagonal_factor: s");
    if (const double least = *std::min_element(s.begin(), s.end()); least < 0.0)
        throw error("diagonal_factor: s has the negative entry " + detail::text(least));
    whitening_factor f;
    f.scale = s;
    f.rank = detail::count_above(s, 0.0);
    f.rcond = detail::spread(s);
    return f;
}

/// The eigen square root `S = D P Λ^½` (`n×r`) with `M = D (P Λ Pᵀ) D`, where eigenvalues that are rounding
/// are left out, so that r is the numerical rank; for `D = I` the factor of ASVD-II (2503.17101). 9n³ flops.
/// Throws `nsvd::error` unless `M` is square, finite and, to 1e-6 of its diagonal, symmetric semi-definite.
template <matrix M>
[[nodiscard]] whitening_factor eigen_factor(const M& m) {
    detail::equilibrated e = detail::equilibrate(detail::read(m));
    const auto eigen = detail::eigen_decompose<double>(std::move(e.matrix));
    const index n = eigen.values.size();  // in descending order
    if (const double least = eigen.values(n - 1); least < -1e-6 * std::abs(eigen.values(0)))
        throw error("whitening: M, scaled to unit diagonal, has the eigenvalue " + detail::text(least) +
                    ": M is not positive semi-definite");
    whitening_factor f;
    f.kind = whitening::eigen;
    f.converged = eigen.converged;
    f.scale = std::move(e.scale);
    f.rank = detail::count_above(eigen.values, detail::gram_rank_tolerance(f.size()));
    Eigen::VectorXd roots(f.rank);
    for (index i = 0; i < f.rank; ++i)
        roots(i) = std::sqrt(eigen.values(i));
    f.basis.resize(n, f.rank);
    detail::assign_scaled<double, double>(f.basis, detail::dense_ref<double>(eigen.vectors).leftCols(f.rank),
                                          roots.data());
    f.rcond = detail::spread(f.scale) * (f.rank > 0 ? detail::spread(roots) : 0.0);
    return f;
}

namespace detail {

/// Cholesky factor of the equilibrated `c + ridge·I` if it is numerically positive definite: its reciprocal
/// condition number is above the rank tolerance.
template <class Factor>
bool try_cholesky(const equilibrated& e, double ridge, Factor& f) {
    f.kind = whitening::cholesky;
    f.scale = e.scale;
    f.ridge = ridge;
    f.basis = e.matrix;
    // A zero channel has a zero row and column: any pivot will do, D takes it out again.
    for (index i = 0; i < e.scale.size(); ++i)
        f.basis(i, i) = e.scale(i) == 0.0 ? 1.0 : e.matrix(i, i) * (1.0 + ridge);
    f.rank = count_above(e.scale, 0.0);
    const double rcond = cholesky_in_place<double>(f.basis);
    f.rcond = spread(e.scale) * std::sqrt(rcond);
    return rcond > (ridge > 0.0 ? 0.0 : gram_rank_tolerance(e.scale.size()));
}

}  // namespace detail

/// The lower triangular Cholesky factor of `M`. Where `M` is numerically singular, `ridge·diag(M)` is added
/// with the smallest ridge of `2·max(n, 64)·eps·10^j` that makes it positive definite; `ridge` reports it and
/// `rank` the numerical rank. n³/3 flops, 9n³ more where a ridge is needed.
/// Throws `nsvd::error` unless `M` is square, finite and, to 1e-6 of its diagonal, symmetric semi-definite.
template <matrix M>
[[nodiscard]] whitening_factor cholesky_factor(const M& m) {
    const detail::equilibrated e = detail::equilibrate(detail::read(m));
    whitening_factor f;
    if (detail::try_cholesky(e, 0.0, f)) return f;
    const whitening_factor eigen = eigen_factor(m);
    double ridge = detail::gram_rank_tolerance(f.size());
    // With a ridge of 1 no semi-definite matrix is singular.
    while (ridge <= 10.0 && !detail::try_cholesky(e, ridge, f))
        ridge *= 10.0;
    f.rank = eigen.rank;
    f.converged = eigen.converged && ridge <= 10.0;
    if (ridge <= 10.0) return f;
    f.ridge = 0.0;
    f.basis = detail::zeros<double>(f.size(), f.size());
    for (index i = 0; i < f.size(); ++i)
        f.basis(i, i) = std::sqrt(e.matrix(i, i));
    return f;
}

/// The factor that decompositions use: Cholesky or eigen as asked, but the eigen factor also where `M` is
/// numerically singular. Both give the same left singular subspace of `W S`, and only the eigen factor leaves
/// the null space of `M` out instead of filling it with rounding. `kind` may not be `diagonal`.
template <matrix M>
[[nodiscard]] whitening_factor whiten(const M& m, whitening kind = whitening::cholesky) {
    if (kind == whitening::diagonal)
        throw error("whiten: a Gram matrix has a cholesky or an eigen factor; see diagonal_factor");
    whitening_factor f;
    if (kind == whitening::cholesky && detail::try_cholesky(detail::equilibrate(detail::read(m)), 0.0, f))
        return f;
    return eigen_factor(m);
}

}  // namespace nsvd::inline NSVD_ABI
