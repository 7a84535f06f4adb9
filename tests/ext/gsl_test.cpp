// SPDX-License-Identifier: MIT
// Matrices of the GNU Scientific Library and views of them are read where they lie.
#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/gsl.hpp>

#include <gsl/gsl_matrix.h>
#include <type_traits>

namespace {

static_assert(nsvd::matrix<gsl_matrix> && nsvd::matrix<gsl_matrix_float>);
static_assert(!nsvd::matrix<gsl_matrix_int> && !nsvd::matrix<gsl_matrix_complex>);
static_assert(!nsvd::matrix<gsl_matrix*>);

/// GSL's own element access.
[[nodiscard]] auto elements(const gsl_matrix& x) {
    return [&x](auto i, auto j) {
        return gsl_matrix_get(&x, static_cast<std::size_t>(i), static_cast<std::size_t>(j));
    };
}
[[nodiscard]] auto elements(const gsl_matrix_float& x) {
    return [&x](auto i, auto j) {
        return gsl_matrix_float_get(&x, static_cast<std::size_t>(i), static_cast<std::size_t>(j));
    };
}

}  // namespace

TEST_CASE("gsl: matrices, views and the way back", "[gsl]") {
    for (const auto& [rows, cols] : {std::pair(9, 6), std::pair(6, 9)}) {
        const Eigen::MatrixXd numbers = support::gaussian(rows, cols, 3);
        const auto x = nsvd::to_gsl(numbers);
        static_assert(std::is_same_v<decltype(x)::element_type, gsl_matrix>);
        support::check_adapter(*x, rows, cols, x->data, false, elements(*x));
        CHECK(nsvd::detail::read(*x) == numbers);
        const gsl_matrix_view part = gsl_matrix_submatrix(x.get(), 2, 1, 4, 3);
        support::check_adapter(part.matrix, 4, 3, gsl_matrix_ptr(x.get(), 2, 1), false,
                               elements(part.matrix));
        const auto single = nsvd::to_gsl(numbers.cast<float>());
        static_assert(std::is_same_v<decltype(single)::element_type, gsl_matrix_float>);
        support::check_adapter(*single, rows, cols, single->data, false, elements(*single));
        const gsl_matrix_float_const_view const_part =
            gsl_matrix_float_const_submatrix(single.get(), 1, 2, 3, 4);
        support::check_adapter(const_part.matrix, 3, 4, gsl_matrix_float_const_ptr(single.get(), 1, 2), false,
                               elements(const_part.matrix));
    }
}

TEST_CASE("gsl: decompositions", "[gsl]") {
    const auto x = nsvd::to_gsl(support::gaussian(12, 8, 4));
    support::check_decompositions(*x);
    support::check_decompositions(gsl_matrix_submatrix(x.get(), 1, 2, 9, 5).matrix);
}

TEST_CASE("gsl: misuse", "[gsl]") {
    support::expect_error([] { (void)nsvd::svd(gsl_matrix{}, nsvd::rank{1}); }, {"W", "empty", "0×0"});
    gsl_matrix null{};
    null.size1 = null.size2 = null.tda = 3;
    support::expect_error([&] { (void)nsvd::svd(null, nsvd::rank{1}); }, {"3×3", "null"});
}
