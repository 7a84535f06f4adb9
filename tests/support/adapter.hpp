// SPDX-License-Identifier: MIT
/// What every adapter of ext/ must do for a matrix of its library.
#pragma once

#include "catch.hpp"

#include <nsvd/extern_templates.hpp>
#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <utility>

namespace support {

/// Where the solvers read `x`: its own memory, or that of a copy, which is gone by then.
template <class X>
[[nodiscard]] const void* working_memory(const X& x) {
    using scalar = nsvd::detail::scalar_t<X>;
    const nsvd::detail::scaled_source<scalar> source(x, "x");
    return source.values().data();
}

/// `x` is `rows×cols`, its numbers are those of `element(i, j)`, and they are read at `data`, where the
/// library has them. `column_major` says that even the solvers work there.
template <class X, class Element>
void check_adapter(const X& x, Eigen::Index rows, Eigen::Index cols, const void* data, bool column_major,
                   const Element& element, int line = __builtin_LINE()) {
    INFO("called at line " << line);
    static_assert(nsvd::matrix<X>);
    CHECK(nsvd::detail::extent(x) == std::pair<nsvd::index, nsvd::index>(rows, cols));
    const auto values = nsvd::detail::read(x);
    REQUIRE(values.rows() == rows);
    REQUIRE(values.cols() == cols);
    bool equal = true;
    for (Eigen::Index j = 0; j < cols; ++j)
        for (Eigen::Index i = 0; i < rows; ++i)
            equal = equal && values(i, j) == static_cast<double>(element(i, j));
    CHECK(equal);
    const void* const read =
        nsvd::detail::with_expression(x, [](const auto& e) -> const void* { return e.data(); });
    CHECK(read == data);
    if constexpr (nsvd::factor_scalar<nsvd::detail::scalar_t<X>>)
        CHECK((working_memory(x) == data) == column_major);
}

/// Decompositions of `x` and statistics of it as inputs are, bit for bit, those of the same numbers in Eigen.
template <class X>
void check_decompositions(const X& x, int line = __builtin_LINE()) {
    INFO("called at line " << line);
    using scalar = nsvd::detail::factor_scalar_t<X>;
    const Eigen::MatrixX<scalar> same = nsvd::detail::read(x).template cast<scalar>();
    nsvd::calibration<double> a(same.rows());
    nsvd::calibration<double> b(same.rows());
    a.update(x);
    b.update(same);
    CHECK(a.gram() == b.gram());
    CHECK(a.tokens() == same.cols());
    const auto check = [](const auto& d, const auto& e) {
        CHECK(d.left == e.left);
        CHECK(d.right == e.right);
    };
    check(nsvd::svd(x, nsvd::rank{2}), nsvd::svd(same, nsvd::rank{2}));
    nsvd::calibration<double> inputs(same.cols());
    inputs.update(same.transpose());
    const auto d = nsvd::nested(x, inputs, nsvd::rank{3}, {.share = 0.7});
    check(d, nsvd::nested(same, inputs, nsvd::rank{3}, {.share = 0.7}));
    CHECK(nsvd::weighted_error(x, d, inputs) == nsvd::weighted_error(same, d, inputs));
}

/// Updates with pairs and with weights take matrices and vectors of the library.
template <class A, class B, class Weights>
void check_updates(const A& a, const B& b, const Weights& weights, const Eigen::VectorXd& same_weights,
                   int line = __builtin_LINE()) {
    INFO("called at line " << line);
    const Eigen::MatrixXd original = nsvd::detail::read(a);
    const Eigen::MatrixXd compressed = nsvd::detail::read(b);
    nsvd::calibration<double> pairs(original.rows());
    nsvd::calibration<double> same(original.rows());
    pairs.update(a, b);
    same.update(original, compressed);
    CHECK(pairs.cross() == same.cross());
    nsvd::calibration<double> weighted(original.rows());
    nsvd::calibration<double> same_weighted(original.rows());
    weighted.update(a, weights);
    same_weighted.update(original, same_weights);
    CHECK(weighted.gram() == same_weighted.gram());
}

}  // namespace support
