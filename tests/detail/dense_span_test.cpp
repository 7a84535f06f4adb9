// SPDX-License-Identifier: MIT
// What is done entry by entry, against Eigen's expressions, on blocks of larger matrices whose other entries
// must stay.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/dense_span.hpp>

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::detail::dense_span;
using support::generator;

template <class Scalar>
using matrix_of = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

constexpr std::pair<Index, Index> shapes[] = {{0, 0}, {0, 3}, {3, 0},  {1, 1},
                                              {1, 5}, {5, 1}, {40, 7}, {33, 65}};

/// A block of a larger matrix, and that matrix less the block.
template <class Scalar>
struct framed {
    matrix_of<Scalar> all;
    Index rows;
    Index cols;

    framed(generator& g, Index m, Index n)
        : all(g.gaussian(m + 3, n + 2).template cast<Scalar>()), rows(m), cols(n) {}
    auto block() { return all.block(2, 1, rows, cols); }
    matrix_of<Scalar> frame() {
        matrix_of<Scalar> copy = all;
        copy.block(2, 1, rows, cols).setZero();
        return copy;
    }
};

template <class Matrix>
constexpr bool spans = std::is_constructible_v<dense_span<const double>, const Matrix&>;

}  // namespace

TEST_CASE("dense_span: what it can and can't refer to", "[detail]") {
    STATIC_REQUIRE(spans<MatrixXd>);
    STATIC_REQUIRE(spans<VectorXd>);
    STATIC_REQUIRE(spans<Eigen::Block<MatrixXd>>);
    STATIC_REQUIRE(
        spans<Eigen::Transpose<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>>);
    STATIC_REQUIRE(!spans<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>);
    STATIC_REQUIRE(!spans<Eigen::Map<MatrixXd, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>>);
    STATIC_REQUIRE(!spans<decltype(std::declval<MatrixXd>() + std::declval<MatrixXd>())>);
    STATIC_REQUIRE(!std::is_constructible_v<dense_span<double>, const MatrixXd&>);
    STATIC_REQUIRE(!std::is_constructible_v<dense_span<double>, dense_span<const double>>);
}

TEST_CASE("dense_span: blocks", "[detail]") {
    generator g(1);
    MatrixXd a = g.gaussian(9, 8);
    const dense_span<const double> s(a);
    CHECK(s.block(2, 3, 4, 5).matrix() == a.block(2, 3, 4, 5));
    CHECK(s.leftCols(3).matrix() == a.leftCols(3));
    CHECK(s.middleCols(2, 4).rightCols(3).matrix() == a.middleCols(3, 3));
    CHECK(s.middleRows(2, 5).topRows(3).matrix() == a.middleRows(2, 3));
    CHECK(s.bottomRows(2).matrix() == a.bottomRows(2));
    CHECK(s.bottomRows(2)(1, 7) == a(8, 7));
    CHECK(s.rightCols(0).size() == 0);
    // Without entries there may be no memory to point into.
    const MatrixXd none(9, 0);
    CHECK(dense_span<const double>(none).bottomRows(4).data() == none.data());
}

TEMPLATE_TEST_CASE("dense_span: copies, scaling, sums", "[detail]", float, double) {
    generator g(2);
    for (const auto& [m, n] : shapes) {
        CAPTURE(m, n);
        framed<TestType> from(g, m, n);
        const MatrixXd a = from.block().template cast<double>();
        const VectorXd d = g.gaussian(n, 1);
        const matrix_of<TestType> rows = g.gaussian(m, 1).template cast<TestType>();
        const auto near = [](const auto& x, const MatrixXd& y) {
            return x.size() == 0 ||
                   (x.template cast<double>() - y).norm() <=
                       8.0 * static_cast<double>(std::numeric_limits<TestType>::epsilon()) * (1.0 + y.norm());
        };

        framed<double> copy(g, m, n);
        const MatrixXd frame = copy.frame();
        nsvd::detail::assign<double, TestType>(copy.block(), from.block());
        CHECK(MatrixXd(copy.block()) == a);
        CHECK(copy.frame() == frame);
        CHECK(nsvd::detail::converted<float, TestType>(from.block()) == a.cast<float>());

        framed<TestType> scaled(g, m, n);
        nsvd::detail::assign_scaled<TestType, TestType>(scaled.block(), from.block(), d.data());
        CHECK(near(scaled.block(), a * d.asDiagonal()));
        scaled.block() = from.block();
        nsvd::detail::scale_rows<TestType>(scaled.block(), rows.data());
        CHECK(near(scaled.block(), rows.template cast<double>().col(0).asDiagonal() * a));
        scaled.block() = from.block();
        nsvd::detail::add_multiple<TestType>(scaled.block(), TestType(-0.5), from.block());
        CHECK(near(scaled.block(), 0.5 * a));

        CHECK(nsvd::detail::squared_norm<TestType>(from.block()) == Approx(a.squaredNorm()));
        CHECK(nsvd::detail::inner_product<TestType>(from.block(), scaled.block()) ==
              Approx(0.5 * a.squaredNorm()));
        CHECK(near(nsvd::detail::squared_norms_of_columns<TestType>(from.block()),
                   a.colwise().squaredNorm().transpose()));
        CHECK(nsvd::detail::largest_entry<TestType>(from.block()) ==
              (a.size() > 0 ? a.cwiseAbs().maxCoeff() : 0.0));
        CHECK(MatrixXd(nsvd::detail::transposed<TestType>(from.block()).template cast<double>()) ==
              a.transpose());
        CHECK(MatrixXd(nsvd::detail::reversed_columns<TestType>(from.block()).template cast<double>()) ==
              a.rowwise().reverse());

        matrix_of<TestType> grown = from.block();
        nsvd::detail::set_constant<TestType>(nsvd::detail::append_columns<TestType>(grown, 2), TestType(3));
        CHECK(grown.cols() == n + 2);
        CHECK(MatrixXd(grown.leftCols(n).template cast<double>()) == a);
        CHECK((grown.rightCols(2).array() == TestType(3)).all());

        scaled.block() = from.block();
        nsvd::detail::clear_above_diagonal<TestType>(scaled.block());
        MatrixXd lower = a;
        lower.triangularView<Eigen::StrictlyUpper>().setZero();
        CHECK(MatrixXd(scaled.block().template cast<double>()) == lower);
    }
}

TEMPLATE_TEST_CASE("dense_span: both triangles, not a number, columns of length 1", "[detail]", float,
                   double) {
    generator g(3);
    for (const Index n : {Index{1}, Index{2}, Index{31}, Index{33}, Index{70}}) {
        matrix_of<TestType> a = g.gaussian(n, n).template cast<TestType>();
        const matrix_of<TestType> full = a.template selfadjointView<Eigen::Lower>();
        nsvd::detail::mirror_lower<TestType>(a);
        CHECK(a == full);

        a(n / 2, n - 1) = std::numeric_limits<TestType>::quiet_NaN();
        CHECK(std::isnan(nsvd::detail::largest_entry<TestType>(a)));
        CHECK_THROWS_AS(nsvd::detail::require_finite_entries<TestType>(a, "a"), nsvd::error);
        a(n / 2, n - 1) = -std::numeric_limits<TestType>::infinity();
        CHECK(std::isinf(nsvd::detail::largest_entry<TestType>(a)));
        CHECK_THROWS_AS(nsvd::detail::require_finite_entries<TestType>(a, "a"), nsvd::error);

        // Squares of these leave the range of the scalar.
        for (const int exponent : {0, std::numeric_limits<TestType>::max_exponent - 8,
                                   std::numeric_limits<TestType>::min_exponent + 8}) {
            matrix_of<TestType> x = full * std::ldexp(TestType(1), exponent);
            x.col(n - 1).setZero();
            nsvd::detail::normalize_columns<TestType>(x);
            const VectorXd lengths = x.template cast<double>().colwise().norm().transpose();
            CHECK(lengths(n - 1) == 0.0);
            for (Index j = 0; j + 1 < n; ++j)
                CHECK(std::abs(lengths(j) - 1.0) <=
                      4.0 * static_cast<double>(std::numeric_limits<TestType>::epsilon()));
        }
    }
    matrix_of<TestType> denormal(2, 1);
    denormal << std::numeric_limits<TestType>::denorm_min() * 3, TestType(0);
    nsvd::detail::normalize_columns<TestType>(denormal);
    CHECK(denormal(0, 0) == Approx(1.0));
    CHECK(denormal(1, 0) == TestType(0));
}
