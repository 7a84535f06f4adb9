// SPDX-License-Identifier: MIT
/// Leading eigenvectors of a symmetric positive semi-definite operator by block Lanczos iteration.
#pragma once

#include "../detail/blas.hpp"
#include "../detail/factorizations.hpp"
#include "../matrix.hpp"
#include "../workspace.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// `Y ← G X`.
using symmetric_operator = std::function<void(dense_out<float>, dense_ref<float>)>;

/// What a solver in single precision found.
struct eigen_estimate {
    Eigen::MatrixXf vectors;    ///< `s×k`, by descending eigenvalue
    Eigen::VectorXd values;     ///< Ritz values; the leading k are meant, the others lower bounds
    Eigen::VectorXd residuals;  ///< ‖G v_i − θ_i v_i‖² of the vectors
    index dimension = 0;        ///< of the subspace that was searched
    /// Σ‖r_i‖²/(θ_i − μ) over the k residuals `r_i = G v_i − θ_i v_i`: by how much the sum of the k leading
    /// eigenvalues exceeds that of the values, to second order, if all others are at most μ.
    double missing = std::numeric_limits<double>::infinity();
    double total = 0.0;        ///< trace of the operator, and
    double total_error = 0.0;  ///< its standard error; 0 where it was given
    bool converged = false;
};

/// How far a block Krylov iteration goes.
struct krylov_limits {
    index block = 0;              ///< vectors a step
    index first_check = 0;        ///< dimension at which convergence is looked at for the first time
    index largest = 0;            ///< dimension at which it gives up
    double tolerance = 0.0;       ///< converged when `missing ≤ tolerance·(total − Σ_{i≤k} θ_i)`
    std::optional<double> total;  ///< trace of the operator; estimated if it is not known
};

/// Fills a matrix with random numbers in [−1, 1).
template <class Real>
void fill_random(dense_out<Real> columns, std::mt19937_64& random) {
    for (index j = 0; j < columns.cols(); ++j)
        for (index i = 0; i < columns.rows(); ++i)
            columns(i, j) = Real(0x1p-23) * static_cast<Real>(static_cast<std::int64_t>(random() >> 40) -
                                                              (std::int64_t{1} << 23));
}

/// Estimates the trace of G outside of an orthonormal basis (`s×d`) by the Rayleigh quotients of 64 random
/// vectors there (Hutch++, 2010.09649, with quotients in place of forms). Returns it with its standard error,
/// for a flat spectrum a few parts in a thousand.
template <class Real = float>
std::pair<double, double> trace_outside(const symmetric_operator& apply, dense_ref<Real> basis,
                                        std::mt19937_64& random) {
    constexpr index probes = 64;
    dense_matrix<Real> x(basis.rows(), probes);
    dense_matrix<Real> y(basis.rows(), probes);
    fill_random<Real>(x, random);
    project_out<Real>(x, basis);
    normalize_columns<Real>(x);
    apply(y, x);
    double mean = 0.0;
    double quotients[probes];
    for (index j = 0; j < probes; ++j) {
        quotients[j] =
            inner_product<Real>(dense_ref<Real>(x).middleCols(j, 1), dense_ref<Real>(y).middleCols(j, 1));
        mean += quotients[j] / static_cast<double>(probes);
    }
    double variance = 0.0;
    for (const double quotient : quotients)
        variance += (quotient - mean) * (quotient - mean) / static_cast<double>(probes - 1);
    const auto count = static_cast<double>(basis.rows() - basis.cols());
    return {count * mean, count * std::sqrt(variance / static_cast<double>(probes))};
}

template <class Real = float>
double copies_missing(const symmetric_operator& apply, const eigen_estimate& found, index k, index block,
                      double negligible, workspace& pool);

/// Block Lanczos with full reorthogonalization from a random block (fixed seed) that was multiplied once, and
/// Rayleigh-Ritz on all of it. What counts is not whether the vectors converge but whether the sum of their
/// Ritz values does, so a flat spectrum around the cut needs no more than a falling one: about 1.8k
/// dimensions for 1e-3 of the rest, 2.1k for 1e-6.
///
/// `μ` of the gap estimate is the Ritz value at an eighth of the way from k to the dimension d: against the
/// truth that was measured to be right within a factor of 2 where it matters (1e-3 of the rest), for flat and
/// falling spectra, k/n from 0.02 to 0.35 and blocks from k/16 to k/2. What copies of multiple eigenvalues
/// may add (`copies_missing`) is added. With dimension d and block b: d products with the operator, 2sd²
/// flops for orthogonality, 2sdk for the vectors, and the eigenproblem of a d×d band matrix. Memory: `s×d`
/// and three `d×d`.
template <class Real = float>
eigen_estimate block_krylov(const symmetric_operator& apply, index side, index k, const krylov_limits& limits,
                            workspace& pool) {
    using dense = dense_matrix<Real>;
    const index block = limits.block;
    const index largest = std::min(limits.largest, side - side % block) / block * block;
    eigen_estimate result;
    if (largest < k + block) return result;
    scratch memory(pool, side, largest);
    const dense_span<Real> basis = memory.span();
    std::vector<dense> diagonal;  // of the block tridiagonal projection
    std::vector<dense> below;

    std::mt19937_64 random(20'250'317);
    dense current(side, block);
    fill_random<Real>(current, random);
    double longest = 0.0;  // of all columns that the operator gave
    dense next(side, block);
    apply(next, current);
    orthonormalize<Real>(next);
    assign<Real, Real>(basis.leftCols(block), next);

    index check = limits.first_check;
    for (index dimension = block;; dimension += block) {
        const dense_span<Real> last = basis.middleCols(dimension - block, block);
        const dense_span<Real> known = basis.leftCols(dimension);
        apply(next, last);
        const vector<double> before = squared_norms_of_columns<Real>(next);
        diagonal.push_back(multiply<Real>(last, op::transpose, next, op::none));
        multiply_into<Real>(next, last, op::none, diagonal.back(), op::none, into::subtract);
        if (!below.empty())
            multiply_into<Real>(next, basis.middleCols(dimension - 2 * block, block), op::none, below.back(),
                                op::transpose, into::subtract);
        // The three-term recurrence has taken out all but rounding; a full projection takes out that.
        project_out<Real>(next, known);
        // Little is left of directions that are known already, and less of it is not rounding: once more.
        const auto lost = [&](index j) {
            return squared_norm_of_column<Real>(dense_ref<Real>(next), j) < 0.05 * 0.05 * before(j);
        };
        for (index j = 0; j < block; ++j)
            if (lost(j)) {
                project_out<Real>(next, known);
                break;
            }
        current = next;
        for (const double length : before)
            longest = std::max(longest, std::sqrt(length));
        // What is only rounding is an invariant subspace found: go on from new directions, without coupling.
        const double rounding = 16.0 * static_cast<double>(std::numeric_limits<Real>::epsilon()) * longest;
        bool refilled = false;
        for (index j = 0; j < block; ++j) {
            const dense_span<Real> column = dense_span<Real>(next).middleCols(j, 1);
            if (!(std::sqrt(squared_norm<Real>(column)) > rounding)) {
                fill_random<Real>(column, random);
                refilled = true;
            }
        }
        if (refilled) {
            normalize_columns<Real>(next);
            project_out<Real>(next, known);
            project_out<Real>(next, known);
        }
        // Where a block has lost most of its rank its new directions are rounding, and need it once more.
        if (orthonormalize<Real>(next) < 1e-2) {
            project_out<Real>(next, known);
            orthonormalize<Real>(next);
        }
        below.push_back(multiply<Real>(next, op::transpose, current, op::none));

        const bool full = dimension + block > largest;
        if (dimension > k && (dimension >= check || full)) {
            dense projected = zeros<Real>(dimension, dimension);
            const dense_span<Real> square(projected);
            for (index i = 0, at = 0; at < dimension; ++i, at += block) {
                assign<Real, Real>(square.block(at, at, block, block), diagonal[static_cast<std::size_t>(i)]);
                if (at + block < dimension)
                    assign<Real, Real>(square.block(at + block, at, block, block),
                                       below[static_cast<std::size_t>(i)]);
            }
            const tridiagonal_eigen<Real> eigen(std::move(projected));
            if (!eigen.converged()) return result;
            // Not assigned: where memory fails, Eigen keeps a pointer that it has freed to make room.
            Eigen::VectorXd values(dimension);
            assign<double, Real>(values, eigen.values());
            result.values.swap(values);
            result.residuals = squared_norms_of_columns<Real>(
                multiply<Real>(below.back(), op::none, eigen.last_rows(block, k), op::none));
            result.dimension = dimension;
            const double mu = result.values(k + (dimension - k) / 8);
            result.missing = 0.0;
            for (index i = 0; i < k; ++i)
                result.missing += result.residuals(i) / std::max(result.values(i) - mu, 1e-30);
            if (limits.total) {
                result.total = *limits.total;
            } else if (result.total == 0.0) {
                std::tie(result.total, result.total_error) = trace_outside<Real>(apply, known, random);
                result.total += sum_of(result.values, 0, dimension);
            }
            const double rest = result.total - sum_of(result.values, 0, k);
            const double allowed = limits.tolerance * rest;
            result.converged = result.missing <= allowed;
            if (result.converged || full) {
                result.vectors = multiply<Real>(known, op::none, eigen.vectors(k), op::none);
                if (result.converged) {
                    result.missing += copies_missing<Real>(apply, result, k, block, allowed, pool);
                    result.converged = result.missing <= allowed;
                }
                return result;
            }
            // Convergence is geometric in the dimension, and slower for blocks that are large against it.
            const double decades = rest > 0.0 ? std::log10(result.missing / allowed) : 3.0;
            const double growth = 0.03 + 0.05 * std::clamp(decades, 0.0, 3.0);
            check = dimension + static_cast<index>(growth * static_cast<double>(dimension));
        }
        if (!full) assign<Real, Real>(basis.middleCols(dimension, block), next);
    }
}

/// By how much eigenvalues that were not found may exceed what was taken in their place. A Krylov space holds
/// no more copies of a multiple eigenvalue, nor much more of a narrow cluster, than its blocks have vectors,
/// and no residual shows that there are others: but as many Ritz values then lie together, here within 1 %.
/// Then all that was found after the first of them may be copies of it. Where these are well above the k-th,
/// and it is not `negligible`, a short iteration in the complement of what was found sees the largest that is
/// left, and that stands for all.
template <class Real>
double copies_missing(const symmetric_operator& apply, const eigen_estimate& found, index k, index block,
                      double negligible, workspace& pool) {
    const auto in_place_of = [&](double value, index first) {
        double sum = 0.0;
        for (index j = first; j < k; ++j)
            sum += std::max(value - found.values(j), 0.0);
        return sum;
    };
    double near = 0.0;
    double above = 0.0;
    for (index i = 0; i < k && i + block <= found.values.size(); ++i) {
        const double last = found.values(i + block - 1);
        if (last < 0.99 * found.values(i)) continue;
        double& most = last > 1.1 * found.values(k - 1) ? above : near;
        most = std::max(most, in_place_of(found.values(i), i + 1));
    }
    if (above <= negligible) return std::max(near, above);

    constexpr index probes = 8;
    constexpr index dimension = 11 * probes;
    dense_matrix<Real> outside(found.vectors.rows(), probes);
    const symmetric_operator complement = [&](dense_out<float> y, dense_ref<float> x) {
        assign<Real, Real>(outside, x);
        project_out<Real>(outside, found.vectors);
        apply(y, outside);
        project_out<Real>(y, found.vectors);
    };
    const eigen_estimate left = block_krylov<Real>(
        complement, outside.rows(), 1,
        {.block = probes, .first_check = dimension, .largest = dimension, .tolerance = 0.0, .total = 0.0},
        pool);
    if (left.values.size() == 0) return above;
    return std::max(near, in_place_of(left.values(0), 0));
}

}  // namespace nsvd::inline NSVD_ABI::detail
