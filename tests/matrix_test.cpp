// SPDX-License-Identifier: MIT
// What counts as a matrix, and that its layout never changes a result.
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/naive.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <array>
#include <complex>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

/// A matrix type that knows nothing of nsvd: a table of rows with some padding.
struct table {
    nsvd::index rows = 0;
    nsvd::index cols = 0;
    std::vector<double> numbers;

    static constexpr nsvd::index padding = 3;
    explicit table(const Eigen::MatrixXd& m)
        : rows(m.rows()),
          cols(m.cols()),
          numbers(static_cast<std::size_t>(rows * (cols + padding)),
                  std::numeric_limits<double>::quiet_NaN()) {
        for (nsvd::index i = 0; i < rows; ++i)
            for (nsvd::index j = 0; j < cols; ++j)
                numbers[static_cast<std::size_t>(i * (cols + padding) + j)] = m(i, j);
    }
};

}  // namespace

template <>
struct nsvd::matrix_traits<table> {
    static strided_view<double> view(const table& t) {
        return {t.numbers.data(), t.rows, t.cols, t.cols + table::padding, 1};
    }
};

namespace {

using row_major = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using fixed_product = Eigen::Product<Eigen::Matrix3f, Eigen::Matrix3f>;
struct unknown {};

static_assert(nsvd::matrix<Eigen::MatrixXf> && nsvd::matrix<Eigen::MatrixXd> && nsvd::matrix<row_major>);
static_assert(nsvd::matrix<Eigen::Matrix<Eigen::half, 3, 4>> &&
              nsvd::matrix<Eigen::VectorX<Eigen::bfloat16>>);
static_assert(nsvd::matrix<Eigen::Block<const Eigen::MatrixXf>> && nsvd::matrix<Eigen::Transpose<row_major>>);
static_assert(nsvd::matrix<Eigen::Map<const Eigen::MatrixXf>> && nsvd::matrix<Eigen::Ref<Eigen::MatrixXd>>);
static_assert(nsvd::matrix<fixed_product> && nsvd::matrix<Eigen::MatrixXd::IdentityReturnType>);
static_assert(nsvd::matrix<nsvd::strided_view<Eigen::half>> && nsvd::matrix<table>);
static_assert(!nsvd::matrix<std::string> && !nsvd::matrix<int> && !nsvd::matrix<double*>);
static_assert(!nsvd::matrix<std::vector<float>> && !nsvd::matrix<unknown> && !nsvd::matrix<void*>);
static_assert(!nsvd::matrix<Eigen::MatrixXi> && !nsvd::matrix<Eigen::MatrixXcf>);
static_assert(!nsvd::matrix<Eigen::Matrix<long double, 3, 3>> && !nsvd::matrix<Eigen::Matrix<bool, 3, 3>>);
static_assert(!nsvd::real_scalar<int> && !nsvd::real_scalar<std::complex<double>>);
static_assert(!nsvd::real_scalar<long double> && !nsvd::real_scalar<const float>);

/// Whether `svd` accepts a type: the concept guards the calls, not only itself.
template <class W, class Policy>
concept decomposable = requires(const W& w, const Policy& p) {
    nsvd::svd(w, p);
};
static_assert(decomposable<Eigen::MatrixXf, nsvd::rank> && decomposable<table, nsvd::energy>);
static_assert(!decomposable<std::string, nsvd::rank> && !decomposable<Eigen::MatrixXi, nsvd::rank>);
static_assert(!decomposable<Eigen::MatrixXcd, nsvd::rank> && !decomposable<Eigen::MatrixXf, std::string>);
static_assert(!decomposable<Eigen::MatrixXf, int>);

/// Factors have the scalar of W, float for the half precisions.
template <class W>
using factor_scalar = typename decltype(nsvd::svd(std::declval<const W&>(), nsvd::rank{1}))::scalar;
static_assert(std::is_same_v<factor_scalar<Eigen::MatrixXd>, double>);
static_assert(std::is_same_v<factor_scalar<Eigen::MatrixXf>, float>);
static_assert(std::is_same_v<factor_scalar<Eigen::MatrixX<Eigen::half>>, float>);
static_assert(std::is_same_v<factor_scalar<nsvd::strided_view<Eigen::bfloat16>>, float>);
static_assert(std::is_same_v<factor_scalar<table>, double>);

const Eigen::MatrixXd w = support::gaussian(7, 11, 1);
const Eigen::MatrixXd inputs = support::activations(11, 60, 2, 30.0);

/// Every method gives for `x`, bit for bit, what it gives for the plain column-major matrix `same`.
template <class W, class Same>
void check_identical(const W& x, const Same& same) {
    nsvd::calibration<double> calib(11);
    calib.update(inputs);
    const auto equal = [](const auto& a, const auto& b) {
        CHECK(a.left == b.left);
        CHECK(a.right == b.right);
    };
    equal(nsvd::svd(x, nsvd::rank{3}), nsvd::svd(same, nsvd::rank{3}));
    equal(nsvd::asvd(x, calib, nsvd::energy{0.8}), nsvd::asvd(same, calib, nsvd::energy{0.8}));
    const nsvd::nested_options nid{.share = 0.5, .residual = nsvd::residual::interpolative};
    const auto d = nsvd::nested(same, calib, nsvd::rank{4}, nid);
    equal(nsvd::nested(x, calib, nsvd::rank{4}, nid), d);
    const auto a = nsvd::interpolative(x, nsvd::rank{4});
    const auto b = nsvd::interpolative(same, nsvd::rank{4});
    CHECK(a.columns == b.columns);
    CHECK(a.coefficients == b.coefficients);
    CHECK(nsvd::plain_error(x, d) == nsvd::plain_error(same, d));
    CHECK(nsvd::weighted_error(x, d, calib) == nsvd::weighted_error(same, d, calib));
}

}  // namespace

TEST_CASE("matrix: the results for every Eigen expression of W are the same numbers", "[matrix]") {
    const row_major rows = w;
    const Eigen::MatrixXd transposed = w.transpose();
    Eigen::MatrixXd padded = Eigen::MatrixXd::Constant(12, 15, std::numeric_limits<double>::quiet_NaN());
    padded.block(3, 2, 7, 11) = w;
    check_identical(rows, w);
    check_identical(transposed.transpose(), w);
    check_identical(padded.block(3, 2, 7, 11), w);
    check_identical(padded.block<7, 11>(3, 2), w);
    check_identical(Eigen::Map<const row_major>(rows.data(), 7, 11), w);
    check_identical(Eigen::Ref<const Eigen::MatrixXd>(w), w);
    check_identical(Eigen::Matrix<double, 7, 11>(w), w);
    check_identical(Eigen::Matrix<double, 7, 11, Eigen::RowMajor>(w), w);
    check_identical(2.0 * w - w, w);
    check_identical(w.rowwise().reverse().rowwise().reverse(), w);
    const Eigen::MatrixXd a = support::gaussian(7, 5, 3);
    const Eigen::MatrixXd b = support::gaussian(5, 11, 4);
    check_identical(a * b, Eigen::MatrixXd(a * b));
    check_identical(a.lazyProduct(b), Eigen::MatrixXd(a.lazyProduct(b)));
    check_identical(w.array().abs().matrix(), Eigen::MatrixXd(w.cwiseAbs()));
}

TEST_CASE("matrix: own types and strided views are read where they lie", "[matrix]") {
    check_identical(table(w), w);
    // Odd strides: every third number of every second "row" of a larger buffer.
    for (const auto& [row_stride, col_stride] :
         {std::pair(3, 2 * 3 * 7), std::pair(40, 3), std::pair(1, 7)}) {
        std::vector<double> buffer(static_cast<std::size_t>(7 * row_stride + 11 * col_stride),
                                   std::numeric_limits<double>::quiet_NaN());
        for (nsvd::index i = 0; i < 7; ++i)
            for (nsvd::index j = 0; j < 11; ++j)
                buffer[static_cast<std::size_t>(i * row_stride + j * col_stride)] = w(i, j);
        check_identical(nsvd::strided_view<double>{buffer.data(), 7, 11, row_stride, col_stride}, w);
    }
    // A stride of 0 repeats: a rank-1 matrix from one row of numbers.
    const std::array<float, 4> row{1.0F, 2.0F, 3.0F, 4.0F};
    const auto d = nsvd::svd(nsvd::strided_view<float>{row.data(), 5, 4, 0, 1}, nsvd::rank{1});
    const Eigen::RowVector4d expected(1.0, 2.0, 3.0, 4.0);
    CHECK(support::product(d).isApprox(expected.replicate(5, 1), 1e-6));
}

TEST_CASE("matrix: half precisions are the matrix they round to", "[matrix]") {
    const auto check = [](auto zero) {
        using scalar = decltype(zero);
        const Eigen::MatrixX<scalar> rounded = w.cast<scalar>();
        const Eigen::MatrixXf same = rounded.template cast<float>();
        check_identical(rounded, same);
        check_identical(Eigen::Matrix<scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>(rounded),
                        same);
        check_identical(rounded.transpose().eval().transpose(), same);
        check_identical(nsvd::strided_view<scalar>{rounded.data(), 7, 11, 1, 7}, same);
    };
    check(Eigen::half());
    check(Eigen::bfloat16());
}

TEST_CASE("matrix: vectors are matrices", "[matrix]") {
    const Eigen::VectorXd column = w.col(0);
    const Eigen::RowVectorXd row = w.row(0);
    CHECK(support::product(nsvd::svd(column, nsvd::rank{1})).isApprox(column, 1e-14));
    CHECK(support::product(nsvd::svd(row, nsvd::rank{1})).isApprox(row, 1e-14));
    CHECK(support::product(nsvd::svd(w.col(3), nsvd::rank{1})).isApprox(w.col(3), 1e-14));
    nsvd::calibration<double> one(1);
    one.update(row);
    CHECK(one.gram()(0, 0) == Approx(row.squaredNorm()).epsilon(1e-14));
    CHECK(one.tokens() == 11);
}

TEST_CASE("matrix: views that are no matrix throw", "[matrix]") {
    using view = nsvd::strided_view<double>;
    const auto refused = [](const view& v, std::initializer_list<std::string_view> words) {
        support::expect_error([&] { (void)nsvd::svd(v, nsvd::rank{1}); }, words);
        nsvd::calibration<double> calib(7);
        support::expect_error([&] { calib.update(v); }, words);
    };
    refused(view{nullptr, 7, 11, 1, 7}, {"7×11", "null"});
    refused(view{w.data(), -7, 11, 1, 7}, {"-7×11"});
    refused(view{w.data(), 7, 11, -1, 7}, {"7×11", "(-1, 7)"});
    refused(view{w.data(), 7, 11, 1, -7}, {"7×11", "(1, -7)"});
    support::expect_error([] { (void)nsvd::svd(view{}, nsvd::rank{1}); }, {"W", "empty", "0×0"});
}

TEST_CASE("matrix: a strided view without a column stride is column-major", "[matrix]") {
    const Eigen::MatrixXd dense = Eigen::MatrixXd::Random(5, 4);
    const nsvd::strided_view<double> view{dense.data(), 5, 4};
    CHECK(nsvd::svd(view, nsvd::rank{3}).dense() == nsvd::svd(dense, nsvd::rank{3}).dense());
}

TEST_CASE("matrix: columns that overlap", "[matrix]") {
    const Eigen::VectorXd numbers = support::gaussian(9, 1, 5);
    for (const nsvd::index col_stride : {0, 1, 2}) {
        const nsvd::strided_view<double> view{numbers.data(), 5, 3, 1, col_stride};
        Eigen::MatrixXd same(5, 3);
        for (nsvd::index j = 0; j < 3; ++j)
            same.col(j) = numbers.segment(j * col_stride, 5);
        CHECK(nsvd::svd(view, nsvd::rank{2}).dense() == nsvd::svd(same, nsvd::rank{2}).dense());
    }
}

TEST_CASE("matrix: numbers that follow each other", "[matrix]") {
    const std::array<float, 6> numbers{1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
    const std::vector<float> same(numbers.begin(), numbers.end());
    const std::span<const float> view(same);
    const Eigen::MatrixXd rows{{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}};
    const Eigen::MatrixXd cols{{1.0, 3.0, 5.0}, {2.0, 4.0, 6.0}};
    CHECK(nsvd::detail::read(nsvd::row_major(numbers, 2, 3)) == rows);
    CHECK(nsvd::detail::read(nsvd::row_major(same, 2, 3)) == rows);
    CHECK(nsvd::detail::read(nsvd::row_major(view, 2, 3)) == rows);
    CHECK(nsvd::detail::read(nsvd::column_major(view, 2, 3)) == cols);
    const nsvd::detail::scaled_source<float> source(nsvd::column_major(same, 2, 3), "x");
    CHECK(source.values().data() == same.data());
    nsvd::calibration<float> calib(3);
    calib.update(nsvd::column_major(same, 3, 2));
    CHECK(calib.gram() == rows.transpose() * rows);
    CHECK(nsvd::row_major(std::vector<float>(), 0, 4).cols == 4);
    for (const auto& [m, n] : {std::pair<nsvd::index, nsvd::index>(2, 4),
                               {4, 2},
                               {-2, -3},
                               {0, 6},
                               {6, 0},
                               {nsvd::index{1} << 62, 6}}) {
        const std::string shape = std::to_string(m) + "×" + std::to_string(n);
        support::expect_error([&, m = m, n = n] { (void)nsvd::row_major(same, m, n); },
                              {"row_major", "6 numbers", shape});
        support::expect_error([&, m = m, n = n] { (void)nsvd::column_major(same, m, n); },
                              {"column_major", shape});
    }
}

TEST_CASE("matrix: a class derived from an Eigen matrix is one", "[matrix]") {
    struct named : Eigen::MatrixXf {
        using Eigen::MatrixXf::MatrixXf;
    };
    named derived(4, 3);
    derived.setRandom();
    const Eigen::MatrixXf plain = derived;
    CHECK(nsvd::svd(derived, nsvd::rank{2}).dense() == nsvd::svd(plain, nsvd::rank{2}).dense());
}
