// SPDX-License-Identifier: MIT
// Armadillo's matrices, submatrices and transposes are read where they lie.
#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/armadillo.hpp>

#include <armadillo>

namespace {

static_assert(nsvd::matrix<arma::mat> && nsvd::matrix<arma::fmat> && nsvd::matrix<arma::mat::fixed<3, 4>>);
static_assert(nsvd::matrix<arma::vec> && nsvd::matrix<arma::frowvec> && nsvd::matrix<arma::subview<float>>);
static_assert(!nsvd::matrix<arma::cx_mat> && !nsvd::matrix<arma::imat> && !nsvd::matrix<arma::sp_mat>);
static_assert(!nsvd::matrix<arma::cube> && !nsvd::matrix<decltype(arma::mat() * arma::mat())>);

template <class Scalar>
[[nodiscard]] arma::Mat<Scalar> matrix(arma::uword rows, arma::uword cols) {
    arma::Mat<Scalar> x(rows, cols);
    const Eigen::MatrixXd numbers =
        support::gaussian(static_cast<nsvd::index>(rows), static_cast<nsvd::index>(cols), rows);
    for (arma::uword j = 0; j < cols; ++j)
        for (arma::uword i = 0; i < rows; ++i)
            x(i, j) = static_cast<Scalar>(numbers(static_cast<nsvd::index>(i), static_cast<nsvd::index>(j)));
    return x;
}

/// Armadillo's own element access.
template <class X>
[[nodiscard]] auto elements(const X& x) {
    return [&x](auto i, auto j) { return x(static_cast<arma::uword>(i), static_cast<arma::uword>(j)); };
}

}  // namespace

TEMPLATE_TEST_CASE("armadillo: matrices, submatrices and transposes", "[armadillo]", float, double) {
    for (const auto& [rows, cols] : {std::pair(9, 6), std::pair(6, 9)}) {
        const auto x = matrix<TestType>(static_cast<arma::uword>(rows), static_cast<arma::uword>(cols));
        const TestType* const data = x.memptr();
        support::check_adapter(x, rows, cols, data, true, elements(x));
        support::check_adapter(x.t(), cols, rows, data, false,
                               [&](auto i, auto j) { return elements(x)(j, i); });
        const auto part = x.submat(2, 1, 5, 3);
        support::check_adapter(part, 4, 3, &x(2, 1), true, elements(part));
        support::check_adapter(part.t(), 3, 4, &x(2, 1), false,
                               [&](auto i, auto j) { return elements(part)(j, i); });
        support::check_adapter(x.cols(1, 4), rows, 4, &x(0, 1), true,
                               [&](auto i, auto j) { return elements(x)(i, j + 1); });
        support::check_adapter(x.row(3), 1, cols, &x(3, 0), true,
                               [&](auto, auto j) { return elements(x)(3, j); });
        support::check_adapter(x.col(2), rows, 1, &x(0, 2), true,
                               [&](auto i, auto) { return elements(x)(i, 2); });
    }
    const arma::Col<TestType> column = matrix<TestType>(5, 1);
    support::check_adapter(column, 5, 1, column.memptr(), true, elements(column));
    const arma::Row<TestType> row = matrix<TestType>(1, 5);
    support::check_adapter(row, 1, 5, row.memptr(), true, elements(row));
    const typename arma::Mat<TestType>::template fixed<3, 4> fixed(matrix<TestType>(3, 4));
    support::check_adapter(fixed, 3, 4, fixed.memptr(), true, elements(fixed));
    const arma::Cube<TestType> cube(3, 4, 2, arma::fill::ones);
    support::check_adapter(cube.slice(1), 3, 4, cube.slice_memptr(1), true, elements(cube.slice(1)));
}

TEST_CASE("armadillo: decompositions", "[armadillo]") {
    const arma::fmat x = matrix<float>(12, 8);
    support::check_decompositions(x);
    support::check_decompositions(x.submat(1, 2, 9, 6));
    support::check_updates(x, arma::fmat(2.0F * x), arma::vec(arma::linspace(0.5, 2.0, 8)),
                           Eigen::VectorXd::LinSpaced(8, 0.5, 2.0));
}

TEST_CASE("armadillo: the way back", "[armadillo]") {
    const auto d = nsvd::svd(matrix<double>(7, 5), nsvd::rank{2});
    const arma::mat left = nsvd::to_armadillo(d.left);
    const arma::mat right = nsvd::to_armadillo(d.right);
    CHECK(nsvd::detail::read(left) == d.left);
    CHECK(nsvd::detail::read(right) == d.right);
    CHECK(left.memptr() != d.left.data());
}

TEST_CASE("armadillo: misuse", "[armadillo]") {
    support::expect_error([] { (void)nsvd::svd(arma::mat(), nsvd::rank{1}); }, {"W", "empty", "0×0"});
    nsvd::calibration<float> calib(3);
    support::expect_error([&] { calib.update(matrix<float>(4, 5)); }, {"4×5", "3 features"});
}
