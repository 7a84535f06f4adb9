// SPDX-License-Identifier: MIT
// Factors over powers of two against their product, scaled by hand.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/graded_factors.hpp>

#include <cmath>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::detail::graded_factors;

bool is_normalized(const Eigen::VectorXd& column) {
    const double largest = column.cwiseAbs().maxCoeff();
    return largest >= 0.5 && largest < 1.0;
}

}  // namespace

TEST_CASE("graded factors: the product, whatever the scales", "[detail]") {
    support::generator g(1);
    const MatrixXd left = g.gaussian(7, 4), right = g.gaussian(5, 4);
    const MatrixXd product = left * right.transpose();
    for (const int exponent : {-1000, -1, 0, 600, 1000}) {
        CAPTURE(exponent);
        MatrixXd l = left, r = right;
        // All of it left, all of it right, half and half; more of the inverse beside it.
        l.col(0) *= std::ldexp(1.0, exponent);
        r.col(1) *= std::ldexp(1.0, exponent);
        l.col(2) *= std::ldexp(1.0, exponent / 2);
        r.col(2) *= std::ldexp(1.0, exponent - exponent / 2);
        l.col(3) *= std::ldexp(1.0, exponent / 2 - 400);
        r.col(3) *= std::ldexp(1.0, exponent - exponent / 2 + 400);
        graded_factors factors(l, r);
        for (Index i = 0; i < 4; ++i)
            CHECK((is_normalized(factors.left().col(i)) && is_normalized(factors.right().col(i))));
        const int e = factors.exponent();
        // Powers of two round nothing.
        const double scale = std::ldexp(1.0, exponent - e);
        CHECK((factors.left() * factors.graded_right(e).transpose() - scale * product).norm() <=
              1e-15 * scale * product.norm());
        CHECK((factors.graded_left(e) * factors.right().transpose() - scale * product).norm() <=
              1e-15 * scale * product.norm());
        CHECK(factors.graded_right(e + 3) == 0.125 * factors.graded_right(e));
        const MatrixXd copy = factors.graded_right(e);
        CHECK(std::move(factors).graded_right(e) == copy);
    }
}

TEST_CASE("graded factors: directions that lack a vector are none", "[detail]") {
    MatrixXd l = MatrixXd::Ones(3, 3), r = MatrixXd::Ones(2, 3);
    l.col(0) *= 1e300;
    r.col(0).setZero();
    l.col(1).setZero();
    r.col(1) *= 1e300;
    const graded_factors factors(l, r);
    CHECK(factors.exponent() == 2);  // ½·½·2²
    CHECK(factors.left() * factors.graded_right(2).transpose() == MatrixXd::Constant(3, 2, 0.25));
    const graded_factors nothing(MatrixXd::Zero(3, 2), r.leftCols(2));
    CHECK(nothing.exponent() < -2200);
    CHECK(nothing.graded_right(0).isZero(0.0));
    CHECK(graded_factors(MatrixXd(3, 0), MatrixXd(2, 0)).graded_left(0).cols() == 0);
}
