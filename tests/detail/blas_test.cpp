// SPDX-License-Identifier: MIT
// Products against naive loops: every mode, on blocks of larger matrices, with the triangles that must not be
// read set to NaN.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/blas.hpp>

#include <algorithm>
#include <limits>
#include <tuple>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::detail::into;
using nsvd::detail::op;
using support::generator;

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

template <class Scalar>
constexpr double tolerance = 50.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon());

template <class Scalar>
MatrixXd naive_product(const matrix_of<Scalar>& a, const matrix_of<Scalar>& b) {
    MatrixXd c = MatrixXd::Zero(a.rows(), b.cols());
    for (Index i = 0; i < a.rows(); ++i)
        for (Index j = 0; j < b.cols(); ++j)
            for (Index l = 0; l < a.cols(); ++l)
                c(i, j) += static_cast<double>(a(i, l)) * static_cast<double>(b(l, j));
    return c;
}

/// Largest difference, for entries of about unit size; infinite where one is not a number.
template <class Scalar>
double distance(const matrix_of<Scalar>& found, const MatrixXd& expected) {
    if (found.size() == 0) return 0.0;
    const MatrixXd difference = found.template cast<double>() - expected;
    return difference.allFinite() ? difference.cwiseAbs().maxCoeff()
                                  : std::numeric_limits<double>::infinity();
}

template <class Scalar>
matrix_of<Scalar> random(generator& g, Index rows, Index cols) {
    return g.gaussian(rows, cols).cast<Scalar>();
}

/// A lower triangle; what is above it is not a number.
template <class Scalar>
matrix_of<Scalar> lower_only(const matrix_of<Scalar>& a) {
    matrix_of<Scalar> result = a;
    result.template triangularView<Eigen::StrictlyUpper>().setConstant(
        std::numeric_limits<Scalar>::quiet_NaN());
    return result;
}

template <class Scalar>
matrix_of<Scalar> lower_part(const matrix_of<Scalar>& a) {
    return a.template triangularView<Eigen::Lower>();
}

// The last is more than what is done at a time.
constexpr Index sizes[] = {1, 2, 7, 33, 300};

/// Sums of n products are rounded more often.
double growth(Index n) {
    return std::max(1.0, static_cast<double>(n) / 33.0);
}

}  // namespace

TEMPLATE_TEST_CASE("blas: products set, add and subtract", "[detail]", float, double) {
    generator g(1);
    for (const auto& [m, n, depth] : {std::tuple<Index, Index, Index>{1, 1, 1},
                                      {5, 1, 9},
                                      {1, 6, 4},
                                      {17, 13, 21},
                                      {3, 40, 0},
                                      {0, 3, 2}})
        for (const op op_a : {op::none, op::transpose})
            for (const op op_b : {op::none, op::transpose}) {
                CAPTURE(m, n, depth, op_a == op::transpose, op_b == op::transpose);
                const auto a = random<TestType>(g, m, depth);
                const auto b = random<TestType>(g, depth, n);
                const auto c = random<TestType>(g, m, n);
                const MatrixXd ab = naive_product<TestType>(a, b);
                const MatrixXd start = c.template cast<double>();
                const matrix_of<TestType> as_a = op_a == op::none ? a : matrix_of<TestType>(a.transpose());
                const matrix_of<TestType> as_b = op_b == op::none ? b : matrix_of<TestType>(b.transpose());
                // As blocks of columns and rows of larger matrices.
                matrix_of<TestType> large = random<TestType>(g, m + 3, n + 2);
                const matrix_of<TestType> around = large;
                auto target = large.block(1, 1, m, n);
                const auto run = [&](into mode) {
                    target = c;
                    nsvd::detail::multiply_into<TestType>(target, as_a, op_a, as_b, op_b, mode);
                    return matrix_of<TestType>(target);
                };
                CHECK(distance<TestType>(run(into::set), ab) <= tolerance<TestType>);
                CHECK(distance<TestType>(run(into::add), start + ab) <= tolerance<TestType>);
                CHECK(distance<TestType>(run(into::subtract), start - ab) <= tolerance<TestType>);
                target = around.block(1, 1, m, n);
                CHECK((large.array() == around.array()).all());
                CHECK(distance<TestType>(nsvd::detail::multiply<TestType>(as_a, op_a, as_b, op_b), ab) <=
                      tolerance<TestType>);
                // What is overwritten may hold anything.
                target.setConstant(std::numeric_limits<TestType>::quiet_NaN());
                nsvd::detail::multiply_into<TestType>(target, as_a, op_a, as_b, op_b);
                CHECK(distance<TestType>(target, ab) <= tolerance<TestType>);
            }
}

TEMPLATE_TEST_CASE("blas: products with a symmetric matrix", "[detail]", float, double) {
    generator g(2);
    for (const Index n : sizes)
        for (const Index columns : {Index{0}, Index{1}, Index{5}}) {
            CAPTURE(n, columns);
            const auto a = random<TestType>(g, n, n);
            const matrix_of<TestType> symmetric = a + a.transpose();
            matrix_of<TestType> large = random<TestType>(g, n + 2, n + 2);
            large.block(1, 1, n, n) = lower_only<TestType>(symmetric);
            const auto b = random<TestType>(g, n, columns);
            matrix_of<TestType> c =
                matrix_of<TestType>::Constant(n, columns, std::numeric_limits<TestType>::quiet_NaN());
            nsvd::detail::multiply_symmetric_into<TestType>(c, large.block(1, 1, n, n), b);
            CHECK(distance<TestType>(c, naive_product<TestType>(symmetric, b)) <=
                  2.0 * growth(n) * tolerance<TestType>);
        }
}

TEMPLATE_TEST_CASE("blas: Gram matrices", "[detail]", float, double) {
    generator g(3);
    for (const Index n : sizes)
        for (const Index depth : {Index{0}, Index{1}, Index{19}})
            for (const op side : {op::none, op::transpose}) {
                CAPTURE(n, depth, side == op::transpose);
                const auto a = random<TestType>(g, n, depth);
                const auto c = random<TestType>(g, n, n);
                const MatrixXd gram = naive_product<TestType>(a, matrix_of<TestType>(a.transpose()));
                for (const into mode : {into::add, into::subtract}) {
                    matrix_of<TestType> found = lower_only<TestType>(c);
                    nsvd::detail::add_gram_lower<TestType>(
                        found, side == op::none ? a : matrix_of<TestType>(a.transpose()), side, mode);
                    const MatrixXd expected =
                        c.template cast<double>() + (mode == into::add ? 1.0 : -1.0) * gram;
                    CHECK(distance<TestType>(lower_part<TestType>(found), lower_part<double>(expected)) <=
                          growth(n) * tolerance<TestType>);
                }
            }
}

TEST_CASE("blas: symmetric updates of two factors", "[detail]") {
    generator g(4);
    for (const Index n : sizes)
        for (const Index depth : {Index{0}, Index{1}, Index{19}}) {
            CAPTURE(n, depth);
            const auto a = random<float>(g, n, depth);
            const auto b = random<float>(g, n, depth);
            const auto c = random<float>(g, n, n);
            Eigen::MatrixXf found = lower_only<float>(c);
            nsvd::detail::add_symmetric_lower(found, a, b);
            const MatrixXd ab = naive_product<float>(a, b.transpose());
            CHECK(distance<float>(lower_part<float>(found),
                                  lower_part<double>(c.cast<double>() + ab + ab.transpose())) <=
                  2.0 * growth(n) * tolerance<float>);
        }
}

TEMPLATE_TEST_CASE("blas: projections", "[detail]", float, double) {
    generator g(5);
    const auto q = matrix_of<TestType>(g.orthonormal(30, 8).template cast<TestType>());
    const auto a = random<TestType>(g, 30, 5);
    matrix_of<TestType> rest = a;
    nsvd::detail::project_out<TestType>(rest, q);
    const MatrixXd wide = q.template cast<double>();
    const MatrixXd expected =
        a.template cast<double>() - wide * (wide.transpose() * a.template cast<double>());
    CHECK(distance<TestType>(rest, expected) <= tolerance<TestType>);
    nsvd::detail::project_out<TestType>(rest, matrix_of<TestType>(30, 0));
    CHECK(distance<TestType>(rest, expected) <= tolerance<TestType>);
}

TEMPLATE_TEST_CASE("blas: triangular solves from the right", "[detail]", float, double) {
    generator g(6);
    for (const Index n : sizes)
        for (const Index rows : {Index{0}, Index{1}, Index{12}}) {
            CAPTURE(n, rows);
            matrix_of<TestType> l = TestType(0.1) * lower_part<TestType>(random<TestType>(g, n, n));
            l.diagonal().array() += TestType(2);
            const auto x = random<TestType>(g, rows, n);
            // B = X Lᵀ
            matrix_of<TestType> b =
                naive_product<TestType>(x, matrix_of<TestType>(l.transpose())).template cast<TestType>();
            nsvd::detail::solve_right_transposed<TestType>(lower_only<TestType>(l), b);
            CHECK(distance<TestType>(b, x.template cast<double>()) <= growth(n) * tolerance<TestType>);
        }
}

TEST_CASE("blas: triangular products from either side", "[detail]") {
    generator g(7);
    for (const Index n : sizes)
        for (const Index other : {Index{0}, Index{1}, Index{12}}) {
            CAPTURE(n, other);
            const Eigen::MatrixXf l = lower_part<float>(random<float>(g, n, n));
            const auto a = random<float>(g, other, n);
            Eigen::MatrixXf large = random<float>(g, other + 1, n + 1);
            large.topLeftCorner(other, n) = a;
            nsvd::detail::multiply_lower<float>(l, large.topLeftCorner(other, n), false);
            CHECK(distance<float>(large.topLeftCorner(other, n), naive_product<float>(a, l)) <=
                  growth(n) * tolerance<float>);

            const auto b = random<float>(g, n, other);
            large = random<float>(g, n + 1, other + 1);
            large.topLeftCorner(n, other) = b;
            nsvd::detail::multiply_lower<float>(l, large.topLeftCorner(n, other), true);
            CHECK(distance<float>(large.topLeftCorner(n, other), naive_product<float>(l, b)) <=
                  growth(n) * tolerance<float>);
        }
}
