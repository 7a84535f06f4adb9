// SPDX-License-Identifier: MIT
/// The dense factorizations everything rests on: by LAPACK where the backend has it; otherwise by products,
/// recursion and panels of reflectors, with Eigen's solver for what is tridiagonal.
#pragma once

#include "../matrix.hpp"
#include "blas.hpp"
#include "householder.hpp"

#include <Eigen/Core>
#if defined(NSVD_USE_LAPACK)
#include "lapacke.hpp"
#else
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#endif

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// The Cholesky factor of a symmetric matrix, of which only the lower triangle is read, over that triangle;
/// false where a pivot was not positive. n³/3 flops.
template <class Real>
[[gnu::noinline]] bool cholesky_lower(dense_out<Real> a) {
#if defined(NSVD_USE_LAPACK)
    return lapack::potrf<Real>(a) == 0;
#else
    // L₁₁ of A₁₁, L₂₁ = A₂₁ L₁₁⁻ᵀ, L₂₂ of A₂₂ − L₂₁ L₂₁ᵀ
    const index n = a.rows();
    if (n <= recursion_ends) {
        for (index k = 0; k < n; ++k) {
            const Real pivot = a(k, k);
            if (!(pivot > Real(0) && std::isfinite(pivot))) return false;
            Real* const column = a.col(k);
            for (index i = k + 1; i < n; ++i)
                column[i] /= std::sqrt(pivot);
            column[k] = std::sqrt(pivot);
            for (index j = k + 1; j < n; ++j)
                for (index i = j; i < n; ++i)
                    a.col(j)[i] -= column[i] * column[j];
        }
        return true;
    }
    const index half = n / 2;
    const index rest = n - half;
    const dense_span<Real> leading = a.block(0, 0, half, half);
    const dense_span<Real> below = a.block(half, 0, rest, half);
    if (!cholesky_lower<Real>(leading)) return false;
    solve_right_transposed<Real>(leading, below);
    add_gram_lower<Real>(a.block(half, half, rest, rest), below, op::none, into::subtract);
    return cholesky_lower<Real>(a.block(half, half, rest, rest));
#endif
}

#if !defined(NSVD_USE_LAPACK)
/// Estimate of `‖A⁻¹‖₁` from the Cholesky factor of A, nearly always within a factor of 3 (Higham, 1988, as
/// LAPACK's `lacon`); a few solves with one right-hand side.
template <class Real>
[[nodiscard]] double inverse_norm(dense_ref<Real> l) {
    const index n = l.rows();
    // Lᵀ, read from its other end, is lower triangular.
    dense_matrix<Real> reversed = transposed<Real>(l);
    std::reverse(reversed.data(), reversed.data() + reversed.size());
    const auto solve = [&](vector<Real>& x) {
        solve_lower<Real>(l, x);
        std::reverse(x.begin(), x.end());
        solve_lower<Real>(reversed, x);
        std::reverse(x.begin(), x.end());
    };
    const auto size_of = [](const vector<Real>& x) {
        return std::accumulate(x.begin(), x.end(), 0.0,
                               [](double sum, Real entry) { return sum + std::abs(entry); });
    };
    const auto is_smaller = [](Real x, Real y) { return std::abs(x) < std::abs(y); };
    vector<Real> x(n);
    // One that no cancellation makes small.
    for (index i = 0; i < n; ++i)
        x(i) =
            (i % 2 == 0 ? 1 : -1) * (1 + static_cast<Real>(i) / static_cast<Real>(std::max<index>(n - 1, 1)));
    solve(x);
    double estimate = 2.0 * size_of(x) / (3.0 * static_cast<double>(n));
    set_constant<Real>(x, Real(1) / static_cast<Real>(n));
    index last = -1;
    for (int step = 0; step < 5; ++step) {
        solve(x);
        const double size = size_of(x);
        if (step > 0 && size <= estimate) break;
        estimate = std::max(estimate, size);
        for (Real& entry : x)
            entry = entry < 0 ? Real(-1) : Real(1);
        solve(x);
        const index largest = std::max_element(x.begin(), x.end(), is_smaller) - x.begin();
        if (largest == last) break;
        last = largest;
        set_constant<Real>(x, Real(0));
        x(largest) = Real(1);
    }
    return estimate;
}
#endif

/// The lower Cholesky factor of the full symmetric matrix `a`, over `a`, with its upper triangle set to zero;
/// returns the reciprocal condition number (1-norm), 0 where a pivot was not positive.
/// n³/3 flops.
template <class Real>
[[gnu::noinline]] double cholesky_in_place(dense_matrix<Real>& a) {
    const index n = a.rows();
    double norm = 0.0;  // the largest sum of a column
    for (index j = 0; j < a.cols(); ++j) {
        const Real* const column = a.data() + j * n;
        norm = std::max(norm, std::transform_reduce(column, column + n, 0.0, std::plus<>(),
                                                    [](double x) { return std::abs(x); }));
    }
    double rcond = 0.0;
#if defined(NSVD_USE_LAPACK)
    if (!cholesky_lower<Real>(a) || lapack::pocon(a, norm, rcond) != 0) rcond = 0.0;
#else
    if (cholesky_lower<Real>(a)) rcond = 1.0 / (norm * inverse_norm<Real>(a));
#endif
    clear_above_diagonal<Real>(a);
    return rcond;
}

/// Eigenpairs of the symmetric matrix in the lower triangle of `a` by way of its tridiagonal form: all
/// eigenvalues, and as many of the leading eigenvectors as are asked for. (4/3)n³ flops, half of them bound
/// by memory, and up to (4/3)n³ for the tridiagonal problem; 2n²k more for k vectors. Memory: `a` and two of
/// its size; with Eigen alone, which works in double, four of that.
template <class Real>
class tridiagonal_eigen {
#if defined(NSVD_USE_LAPACK)
    using working = Real;
#else
    using working = double;  // one to compile; it takes a third longer than `float`
#endif

public:
    explicit tridiagonal_eigen(dense_matrix<Real>&& a) {
        if constexpr (std::same_as<Real, working>)
            reflectors_ = std::move(a);
        else
            reflectors_ = converted<working, Real>(a);
        const index n = reflectors_.rows();
        vector<working> diagonal(n);
        vector<working> off_diagonal(std::max<index>(n - 1, 0));
        tau_.resize(n);
#if defined(NSVD_USE_LAPACK)
        converged_ = lapack::sytrd<Real>(reflectors_, diagonal, off_diagonal, tau_) == 0 &&
                     lapack::stedc<Real>(diagonal, off_diagonal, vectors_) == 0;
#else
        tridiagonalize<working>(reflectors_, diagonal.data(), off_diagonal.data(), tau_.data());
        // What Eigen takes for zero off the diagonal depends on the scale.
        const int exponent =
            binary_exponent(std::max(largest_entry<working>(diagonal), largest_entry<working>(off_diagonal)));
        scale_by_power(diagonal, -exponent);
        scale_by_power(off_diagonal, -exponent);
        Eigen::SelfAdjointEigenSolver<dense_matrix<working>> solver;
        solver.computeFromTridiagonal(diagonal, off_diagonal);
        converged_ = solver.info() == Eigen::Success;
        if (converged_) {
            diagonal = solver.eigenvalues();
            vectors_ = solver.eigenvectors();
            scale_by_power(diagonal, exponent);
        }
#endif
        if (!converged_) diagonal = zeros<working>(n, 1);
        std::reverse(diagonal.data(), diagonal.data() + n);
        values_ = converted<Real, working>(diagonal);
    }

    [[nodiscard]] bool converged() const noexcept {
        return converged_;
    }
    /// All n, in descending order.
    [[nodiscard]] const vector<Real>& values() const noexcept {
        return values_;
    }
    /// The leading k eigenvectors, `n×k`.
    [[nodiscard]] dense_matrix<Real> vectors(index k) const {
        dense_matrix<working> result = reversed_columns<working>(leading(k));
        reflect(result, op::none);
        return to_real(std::move(result));
    }
    /// The last `count` rows of `vectors(k)`, without the others.
    [[nodiscard]] dense_matrix<Real> last_rows(index count, index k) const {
        dense_matrix<working> selected = zeros<working>(reflectors_.rows(), count);
        for (index j = 0; j < count; ++j)
            selected(selected.rows() - count + j, j) = working(1);
        reflect(selected, op::transpose);
        return to_real(
            reversed_columns<working>(multiply<working>(selected, op::transpose, leading(k), op::none)));
    }
    [[nodiscard]] static constexpr std::string_view name() noexcept {
#if defined(NSVD_USE_LAPACK)
        return std::same_as<Real, float> ? "ssytrd + sstedc" : "dsytrd + dstedc";
#else
        return "Eigen::SelfAdjointEigenSolver";
#endif
    }

private:
    /// Those of the tridiagonal form, ascending.
    [[nodiscard]] dense_ref<working> leading(index k) const {
        return dense_ref<working>(vectors_).rightCols(k);
    }
    void reflect(dense_out<working> c, op direction) const {
        apply_reflectors<working>(reflectors_, tau_.data(), reflectors_.rows() - 1, 1, c, direction);
    }
    [[nodiscard]] static dense_matrix<Real> to_real(dense_matrix<working>&& a) {
        if constexpr (std::same_as<Real, working>)
            return std::move(a);
        else
            return converted<Real, working>(a);
    }

    dense_matrix<working> reflectors_;
    dense_matrix<working> vectors_;
    vector<Real> values_;
    vector<working> tau_;
    bool converged_ = false;
};

/// `A = V diag(values) Vᵀ`, values in descending order.
template <class Real>
struct symmetric_eigen {
    vector<Real> values;
    dense_matrix<Real> vectors;
    std::string_view solver;
    bool converged = true;
};

/// All eigenpairs of the symmetric matrix in the lower triangle of `a`; about 9n³ flops. If no solver of the
/// chain converges, `converged` is false and the vectors are coordinates.
template <class Real>
[[gnu::noinline]] [[nodiscard]] symmetric_eigen<Real> eigen_decompose(dense_matrix<Real> a) {
    const index n = a.rows();
    symmetric_eigen<Real> result;
    result.values.resize(n);
#if defined(NSVD_USE_LAPACK)
    const dense_matrix<Real> original = a;  // dsyevd and dsyev destroy it even when they fail
    result.solver = "dsyevd";
    lapack_int info = lapack::syevd(a, result.values);
    if (info != 0) {
        a = original;
        result.solver = "dsyev";
        info = lapack::syev(a, result.values);
    }
    result.converged = info == 0;
    if (result.converged) {
        result.vectors = reversed_columns<Real>(a);
        std::reverse(result.values.data(), result.values.data() + n);
    } else {
        a = original;
    }
#else
    const tridiagonal_eigen<Real> solver{dense_matrix<Real>(a)};
    result.solver = solver.name();
    result.converged = solver.converged();
    if (result.converged) {
        result.values = solver.values();
        result.vectors = solver.vectors(n);
    }
#endif
    if (!result.converged) {
        // The coordinates, by descending diagonal entry.
        result.vectors = zeros<Real>(n, n);
        std::vector<bool> taken(static_cast<std::size_t>(n));
        for (index j = 0; j < n; ++j) {
            index largest = -1;
            for (index i = 0; i < n; ++i)
                if (!taken[static_cast<std::size_t>(i)] && (largest < 0 || a(i, i) > a(largest, largest)))
                    largest = i;
            taken[static_cast<std::size_t>(largest)] = true;
            result.values(j) = a(largest, largest);
            result.vectors(largest, j) = Real(1);
        }
    }
    return result;
}

/// Householder QR over the m×k matrix `a` (k ≤ m): R, and reflectors below its diagonal, as
/// `apply_reflectors` takes them with an offset of 0. 2mk² flops.
template <class Real>
[[gnu::noinline]] void qr_in_place(dense_out<Real> a, Real* tau) {
#if defined(NSVD_USE_LAPACK)
    lapack::geqrf<Real>(a, tau);
#else
    householder_qr<Real>(a, tau);
#endif
}

/// Householder QR: overwrites `a` (m×k, k ≤ m) with an orthonormal basis whose leading columns span those of
/// `a` as far as they are independent; the others complete the basis. No diagonal entry of R is negative, as
/// with CholeskyQR: what was orthonormal stays what it was. 4mk² flops.
template <class Real>
[[gnu::noinline]] void householder_orthonormalize(dense_matrix<Real>& a) {
    if (a.cols() == 0) return;
#if defined(NSVD_USE_LAPACK)
    vector<Real> diagonal;
    lapack::thin_q<Real>(a, diagonal);
#else
    // In double: one to compile, and where this is called little else helps.
    dense_matrix<double> reflectors = converted<double, Real>(a);
    vector<double> tau(a.cols());
    householder_qr<double>(reflectors, tau.data());
    const vector<double> diagonal = reflectors.diagonal();
    dense_matrix<double> q = zeros<double>(a.rows(), a.cols());
    for (index j = 0; j < a.cols(); ++j)
        q(j, j) = 1.0;
    apply_reflectors<double>(reflectors, tau.data(), a.cols(), 0, q, op::none);
    assign<Real, double>(a, q);
#endif
    for (index j = 0; j < a.cols(); ++j)
        if (diagonal(j) < 0)
            for (index i = 0; i < a.rows(); ++i)
                a(i, j) = -a(i, j);
}

/// Column-pivoted QR `A P = Q R` (Businger and Golub): overwrites `a` (k×m, k ≤ m) with R, its columns in the
/// order of the pivots, which is returned. 4mk² flops at most, half of them bound by memory.
template <class Real>
[[nodiscard]] std::vector<index> column_pivoted_r(dense_matrix<Real>& a) {
#if !defined(NSVD_USE_LAPACK)
    using qr_type = Eigen::ColPivHouseholderQR<dense_matrix<Real>>;
    (void)narrow<typename qr_type::PermutationType::StorageIndex>(a.cols(), "a matrix dimension", "Eigen");
#endif
    std::vector<index> order(static_cast<std::size_t>(a.cols()));
#if defined(NSVD_USE_LAPACK)
    std::vector<lapack_int> pivots;
    lapack::geqp3(a, pivots);
    std::transform(pivots.begin(), pivots.end(), order.begin(), [](lapack_int p) { return index{p} - 1; });
#else
    const qr_type qr(a);
    a = qr.matrixQR();
    const auto& pivots = qr.colsPermutation().indices();
    std::copy(pivots.begin(), pivots.end(), order.begin());
#endif
    for (index j = 0; j < a.rows(); ++j)
        for (index i = j + 1; i < a.rows(); ++i)
            a(i, j) = Real(0);
    return order;
}

/// One step of CholeskyQR, `A ← A L⁻ᵀ` with `L Lᵀ = Aᵀ A`: 2mk² flops, all in products. Returns the smallest
/// over the largest pivot, an estimate of 1/κ(A); 0, with `A` untouched, where `Aᵀ A` is not positive
/// definite in working precision. The result is orthonormal to κ²·eps.
template <class Real>
[[gnu::noinline]] double cholesky_qr_step(dense_out<Real> a) {
    dense_matrix<Real> gram = zeros<Real>(a.cols(), a.cols());
    add_gram_lower<Real>(gram, a, op::transpose);
    if (!cholesky_lower<Real>(gram)) return 0.0;
    Real least = gram(0, 0);
    Real most = gram(0, 0);
    for (index j = 1; j < gram.cols(); ++j) {
        least = std::min(least, gram(j, j));
        most = std::max(most, gram(j, j));
    }
    const double ratio = static_cast<double>(least / most);
    if (!(ratio * ratio > 8.0 * std::numeric_limits<Real>::epsilon())) return 0.0;
    solve_right_transposed<Real>(gram, a);
    return ratio;
}

/// Overwrites the m×k matrix `a` (k ≤ m) with an orthonormal basis of m×k: its leading columns span those of
/// `a` as far as they are independent, the others complete the basis. CholeskyQR, repeated until its last
/// step started from a well-conditioned matrix, and Householder QR where `a` is too ill-conditioned for it.
/// Returns the estimate of 1/κ of the first step; 0 where Householder QR did it.
template <class Real>
[[gnu::noinline]] double orthonormalize(dense_out<Real> a) {
    if (a.cols() == 0) return 1.0;
    const double first = cholesky_qr_step<Real>(a);
    // κ² eps of a step that started from κ ≤ 2 is as good as orthonormal.
    double last = first;
    while (last > 0.0 && last < 0.5)
        last = cholesky_qr_step<Real>(a);
    if (last > 0.0) return first;
    dense_matrix<Real> q = converted<Real, Real>(a);
    householder_orthonormalize<Real>(q);
    assign<Real, Real>(a, q);
    return 0.0;
}

}  // namespace nsvd::inline NSVD_ABI::detail
