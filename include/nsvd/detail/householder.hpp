// SPDX-License-Identifier: MIT
/// Householder reflectors in panels (Schreiber and Van Loan, 1989): almost all of their work is in products.
#pragma once

#include "../matrix.hpp"
#include "blas.hpp"
#include "dense_span.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace nsvd::inline NSVD_ABI::detail {

/// `C ← H C`, or `Hᵀ C`, for `H = H₁ H₂ …` with `H_i = I − τ_i v_i v_iᵀ`: reflector i has a one in row i +
/// offset, its other numbers lie below that in column i of `a`. 4mk flops a column of C for k reflectors of m
/// rows, in panels of 128 and nothing but products: LAPACK's `ormtr` takes 32, has triangles apart and
/// transposes in one thread, and takes half as long again.
template <class Real>
[[gnu::noinline]] void apply_reflectors(dense_ref<Real> a, const Real* tau, index count, index offset,
                                        dense_out<Real> c, op direction) {
    constexpr index panel = 128;
    if (count <= 0 || c.cols() == 0) return;
    const index panels = (count + panel - 1) / panel;
    for (index p = 0; p < panels; ++p) {
        // The last comes first, unless transposed.
        const index first = (direction == op::none ? panels - 1 - p : p) * panel;
        const index width = std::min(panel, count - first);
        const index rows = a.rows() - first - offset;
        dense_matrix<Real> v = converted<Real, Real>(a.block(first + offset, first, rows, width));
        clear_above_diagonal<Real>(v);
        for (index j = 0; j < width; ++j)
            v(j, j) = Real(1);
        // H_first … H_last = I − V T Vᵀ with an upper triangular T, column by column from VᵀV.
        const dense_matrix<Real> products = multiply<Real>(v, op::transpose, v, op::none);
        dense_matrix<Real> t = zeros<Real>(width, width);
        for (index j = 0; j < width; ++j) {
            const Real factor = tau[first + j];
            for (index k = 0; k < j; ++k)
                for (index i = 0; i <= k; ++i)
                    t(i, j) -= factor * t(i, k) * products(k, j);
            t(j, j) = factor;
        }
        const dense_span<Real> below = c.bottomRows(rows);
        const dense_matrix<Real> inner = multiply<Real>(v, op::transpose, below, op::none);
        multiply_into<Real>(below, v, op::none, multiply<Real>(t, direction, inner, op::none), op::none,
                            into::subtract);
    }
}

#if !defined(NSVD_USE_LAPACK)
/// The reflector `I − τ v vᵀ`, v₁ = 1, that takes `x` (`n` numbers) to `(β, 0, …)`; the rest of v over that
/// of x, β over its first number. Returns τ.
template <class Real>
[[nodiscard]] Real make_reflector(Real* x, index n) {
    const dense_span<Real> rest(x + 1, n - 1, 1, n);
    const Real below = static_cast<Real>(largest_entry<Real>(rest));
    if (below == Real(0)) return Real(0);
    const Real largest = std::max(below, std::abs(x[0]));
    double squares = 0.0;
    for (index i = 0; i < n; ++i)
        squares += std::pow(static_cast<double>(x[i] / largest), 2);
    const Real alpha = x[0];
    const Real beta = -std::copysign(largest * static_cast<Real>(std::sqrt(squares)), alpha);
    for (index i = 1; i < n; ++i)
        x[i] /= alpha - beta;
    x[0] = beta;
    return (beta - alpha) / beta;
}

/// Tridiagonal form `A = H T Hᵀ` of the symmetric matrix in the lower triangle of `a`: reflectors over what
/// is below the diagonal, as `apply_reflectors` takes them with an offset of 1, T in `diagonal` and
/// `off_diagonal` (n and n − 1 numbers). (4/3)n³ flops, half of them in products of A with a vector, half in
/// products (Dongarra, Sorensen and Hammarling, 1989).
template <class Real>
void tridiagonalize(dense_out<Real> a, Real* diagonal, Real* off_diagonal, Real* tau) {
    constexpr index panel = 32;
    const index n = a.rows();
    for (index first = 0; first < n; first += panel) {
        const index width = std::min(panel, n - first);
        // After j steps the trailing matrix is what A has there less V Wᵀ + W Vᵀ.
        dense_matrix<Real> v_memory = zeros<Real>(n - first, width);
        dense_matrix<Real> w_memory = zeros<Real>(n - first, width);
        const dense_span<Real> v(v_memory);
        const dense_span<Real> w(w_memory);
        const auto subtract_products = [&](dense_out<Real> from, index row, index j) {
            const index rows = from.rows();
            const index start = v.rows() - rows;
            const auto row_of = [&](dense_ref<Real> m) { return m.block(row, 0, 1, j); };
            multiply_into<Real>(from, v.block(start, 0, rows, j), op::none, row_of(w), op::transpose,
                                into::subtract);
            multiply_into<Real>(from, w.block(start, 0, rows, j), op::none, row_of(v), op::transpose,
                                into::subtract);
        };
        for (index j = 0; j < width; ++j) {
            const index column = first + j;
            const index below = n - column - 1;
            if (j > 0) subtract_products(a.block(column, column, below + 1, 1), j, j);
            diagonal[column] = a(column, column);
            if (below == 0) break;
            Real* const x = a.col(column) + column + 1;
            tau[column] = make_reflector<Real>(x, below);
            off_diagonal[column] = x[0];
            const dense_span<Real> reflector = v.block(j + 1, j, below, 1);
            assign<Real, Real>(reflector, a.block(column + 1, column, below, 1));
            reflector(0, 0) = Real(1);
            const dense_span<Real> product = w.block(j + 1, j, below, 1);
            using map = Eigen::Map<vector<Real>>;
            map(product.data(), below).noalias() = a.block(column + 1, column + 1, below, below)
                                                       .matrix()
                                                       .template selfadjointView<Eigen::Lower>() *
                                                   map(reflector.data(), below);
            if (j > 0) {
                const dense_ref<Real> v_before = v.block(j + 1, 0, below, j);
                const dense_ref<Real> w_before = w.block(j + 1, 0, below, j);
                const dense_matrix<Real> of_w = multiply<Real>(w_before, op::transpose, reflector, op::none);
                const dense_matrix<Real> of_v = multiply<Real>(v_before, op::transpose, reflector, op::none);
                multiply_into<Real>(product, v_before, op::none, of_w, op::none, into::subtract);
                multiply_into<Real>(product, w_before, op::none, of_v, op::none, into::subtract);
            }
            const double half =
                0.5 * static_cast<double>(tau[column]) * inner_product<Real>(product, reflector);
            add_multiple<Real>(product, static_cast<Real>(-half), reflector);
            const auto factor = static_cast<double>(tau[column]);
            assign_scaled<Real, Real>(product, product, &factor);
        }
        const index rest = n - first - width;
        if (rest == 0) continue;
        dense_matrix<Real> negative = converted<Real, Real>(w.bottomRows(rest));
        const std::vector<double> minus_one(static_cast<std::size_t>(width), -1.0);
        assign_scaled<Real, Real>(negative, negative, minus_one.data());
        add_symmetric_lower<Real>(a.block(first + width, first + width, rest, rest), v.bottomRows(rest),
                                  negative);
    }
}

/// Householder QR of the m×k matrix `a` (k ≤ m): R over its upper triangle, reflectors below it, as
/// `apply_reflectors` takes them with an offset of 0. 2mk² flops, in panels.
template <class Real>
void householder_qr(dense_out<Real> a, Real* tau) {
    constexpr index panel = 32;
    for (index first = 0; first < a.cols(); first += panel) {
        const index width = std::min(panel, a.cols() - first);
        const index rows = a.rows() - first;
        const dense_span<Real> columns = a.block(first, first, rows, width);
        for (index j = 0; j < width; ++j) {
            Real* const v = columns.col(j) + j + 1;  // after its one
            const index below = rows - j - 1;
            tau[first + j] = make_reflector<Real>(v - 1, below + 1);
            for (index k = j + 1; k < width; ++k) {
                Real* const x = columns.col(k) + j;
                const auto sum = static_cast<double>(x[0]) + inner_product_of_columns<Real>(v, x + 1, below);
                const auto factor = static_cast<Real>(sum * static_cast<double>(tau[first + j]));
                x[0] -= factor;
                for (index i = 0; i < below; ++i)
                    x[i + 1] -= factor * v[i];
            }
        }
        apply_reflectors<Real>(columns, tau + first, width, 0,
                               a.block(first, first + width, rows, a.cols() - first - width), op::transpose);
    }
}
#endif

}  // namespace nsvd::inline NSVD_ABI::detail
