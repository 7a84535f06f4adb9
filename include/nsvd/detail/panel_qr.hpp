// SPDX-License-Identifier: MIT
/// QR of a matrix of which a panel of rows at a time is in memory: a sequential TSQR (Demmel, Grigori,
/// Hoemmen and Langou, 2012).
///
/// Each step takes the triangle R so far and a panel P to a new triangle, `[R; P] = H [R′; 0]`. Reflector j
/// of H has a one in row j of R and all its other numbers in the panel, since R is zero below its diagonal:
/// what has to be kept of a step has the shape of the panel.
#pragma once

#include "../matrix.hpp"
#include "blas.hpp"
#include "dense_span.hpp"
#include "factorizations.hpp"

#include <algorithm>

namespace nsvd::inline NSVD_ABI::detail {

/// Columns whose reflectors are applied together.
inline constexpr index reflectors_together = 64;

/// The triangle T of `H₁ H₂ … = I − V T Vᵀ` for reflectors `v_j = [e_j; p_j]`, p_j the columns of `p`.
[[gnu::noinline]] [[nodiscard]] inline dense_matrix<double> triangle_of(dense_ref<double> p,
                                                                        const double* tau) {
    const index width = p.cols();
    const dense_matrix<double> products = multiply<double>(p, op::transpose, p, op::none);
    dense_matrix<double> t = zeros<double>(width, width);
    for (index j = 0; j < width; ++j) {
        for (index k = 0; k < j; ++k)
            for (index i = 0; i <= k; ++i)
                t(i, j) -= tau[j] * t(i, k) * products(k, j);
        t(j, j) = tau[j];
    }
    return t;
}

/// `[top; bottom] ← H [top; bottom]`, or Hᵀ, for the reflectors of one block of columns, `top` being the rows
/// in which they have their ones.
inline void apply_block(dense_ref<double> p, const double* tau, dense_out<double> top,
                        dense_out<double> bottom, op direction) {
    dense_matrix<double> inner = converted<double, double>(top);
    multiply_into<double>(inner, p, op::transpose, bottom, op::none, into::add);
    inner = multiply<double>(triangle_of(p, tau), direction, inner, op::none);
    add_multiple<double>(top, -1.0, inner);
    multiply_into<double>(bottom, p, op::none, inner, op::none, into::subtract);
}

/// Takes the panel (`b×n`) into the upper triangular `r` (`n×n`, zeros below), and overwrites it with its
/// reflectors; n numbers of `tau`. 2bn² flops.
[[gnu::noinline]] inline void absorb_panel(dense_out<double> r, dense_out<double> panel, double* tau) {
    const index n = r.cols();
    const index b = panel.rows();
    dense_matrix<double> memory(std::min(reflectors_together, n) + b, std::min(reflectors_together, n));
    for (index first = 0; first < n; first += reflectors_together) {
        const index width = std::min(reflectors_together, n - first);
        const dense_span<double> stack = dense_span<double>(memory).block(0, 0, width + b, width);
        const dense_span<double> triangle = r.block(first, first, width, width);
        const dense_span<double> columns = panel.middleCols(first, width);
        assign<double, double>(stack.topRows(width), triangle);
        assign<double, double>(stack.bottomRows(b), columns);
        qr_in_place<double>(stack, tau + first);
        for (index j = 0; j < width; ++j)
            std::copy_n(stack.col(j), j + 1, triangle.col(j));
        assign<double, double>(columns, stack.bottomRows(b));
        const index rest = n - first - width;
        if (rest > 0)
            apply_block(columns, tau + first, r.block(first, first + width, width, rest),
                        panel.rightCols(rest), op::transpose);
    }
}

/// `[c; d] ← H [c; d]` for what `absorb_panel` left of a panel (`b×n`); `c` is n×k, `d` b×k. 4bnk flops.
[[gnu::noinline]] inline void apply_panel(dense_ref<double> panel, const double* tau, dense_out<double> c,
                                          dense_out<double> d) {
    const index n = panel.cols();
    const index blocks = (n + reflectors_together - 1) / reflectors_together;
    for (index block = blocks - 1; block >= 0; --block) {
        const index first = block * reflectors_together;
        const index width = std::min(reflectors_together, n - first);
        apply_block(panel.middleCols(first, width), tau + first, c.middleRows(first, width), d, op::none);
    }
}

}  // namespace nsvd::inline NSVD_ABI::detail
