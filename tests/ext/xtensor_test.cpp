// SPDX-License-Identifier: MIT
// xtensor's arrays, views and transposes are read where they lie.
#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/xtensor.hpp>

#if __has_include(<xtensor/views/xview.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xfixed.hpp>
#include <xtensor/misc/xmanipulation.hpp>
#include <xtensor/views/xstrided_view.hpp>
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xfixed.hpp>
#include <xtensor/xmanipulation.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xview.hpp>
#endif

#include <complex>
#include <cstddef>
#include <numeric>
#include <vector>

namespace {

static_assert(nsvd::matrix<xt::xarray<float>> && nsvd::matrix<xt::xtensor<double, 2>>);
static_assert(nsvd::matrix<xt::xtensor_fixed<float, xt::xshape<3, 4>>>);
static_assert(!nsvd::matrix<xt::xtensor<float, 1>> && !nsvd::matrix<xt::xtensor<float, 3>>);
static_assert(!nsvd::matrix<xt::xarray<int>> && !nsvd::matrix<xt::xarray<std::complex<double>>>);
static_assert(!nsvd::matrix<decltype(xt::xarray<float>() + xt::xarray<float>())>);

template <class Tensor>
[[nodiscard]] Tensor tensor(nsvd::index rows, nsvd::index cols) {
    Tensor x = Tensor::from_shape({static_cast<std::size_t>(rows), static_cast<std::size_t>(cols)});
    const Eigen::MatrixXd numbers = support::gaussian(rows, cols, 5);
    for (nsvd::index j = 0; j < cols; ++j)
        for (nsvd::index i = 0; i < rows; ++i)
            x(i, j) = static_cast<typename Tensor::value_type>(numbers(i, j));
    return x;
}

/// xtensor's own element access.
template <class X>
[[nodiscard]] auto elements(const X& x) {
    return [&x](auto i, auto j) { return x(i, j); };
}

template <class Tensor>
void check_layout(bool column_major) {
    for (const auto& [rows, cols] : {std::pair(9, 6), std::pair(6, 9)}) {
        const auto x = tensor<Tensor>(rows, cols);
        support::check_adapter(x, rows, cols, x.data(), column_major, elements(x));
        const auto transposed = xt::transpose(x);
        support::check_adapter(transposed, cols, rows, x.data(), !column_major, elements(transposed));
        const auto part = xt::view(x, xt::range(2, 6), xt::range(1, 4));
        support::check_adapter(part, 4, 3, &x(2, 1), column_major, elements(part));
        const auto skipping = xt::view(x, xt::range(1, 6, 2), xt::range(0, 6, 3));
        support::check_adapter(skipping, 3, 2, &x(1, 0), false, elements(skipping));
        const auto strided = xt::strided_view(x, {xt::range(2, 5), xt::all()});
        support::check_adapter(strided, 3, cols, &x(2, 0), column_major, elements(strided));
    }
}

}  // namespace

TEST_CASE("xtensor: arrays, views and transposes", "[xtensor]") {
    check_layout<xt::xarray<float>>(false);
    check_layout<xt::xarray<double, xt::layout_type::column_major>>(true);
    check_layout<xt::xtensor<float, 2, xt::layout_type::column_major>>(true);
    const xt::xtensor_fixed<float, xt::xshape<2, 3>> fixed{{1.0F, 2.0F, 3.0F}, {4.0F, 5.0F, 6.0F}};
    support::check_adapter(fixed, 2, 3, fixed.data(), false, elements(fixed));
    const std::vector<double> numbers{1.0, 2.0, 3.0, 4.0, 5.0, 6.0};
    const auto adapted = xt::adapt(numbers, std::vector<std::size_t>{3, 2});
    support::check_adapter(adapted, 3, 2, numbers.data(), false, elements(adapted));
    // A slice of three dimensions is a matrix again.
    xt::xarray<float> three = xt::xarray<float>::from_shape({2, 4, 3});
    std::iota(three.begin(), three.end(), 1.0F);
    const auto slice = xt::view(three, 1, xt::all(), xt::all());
    support::check_adapter(slice, 4, 3, &three(1, 0, 0), false, elements(slice));
    const auto across = xt::view(three, xt::all(), 2, xt::all());
    support::check_adapter(across, 2, 3, &three(0, 2, 0), false, elements(across));
}

TEST_CASE("xtensor: decompositions", "[xtensor]") {
    const auto x = tensor<xt::xarray<float>>(12, 8);
    support::check_decompositions(x);
    support::check_decompositions(xt::view(x, xt::range(1, 10), xt::range(2, 7)));
    const xt::xarray<float> twice = 2.0F * x;
    const xt::xtensor<double, 1> weights{0.5, 1.0, 2.0, 0.0, 1.5, 1.0, 1.0, 3.0};
    support::check_updates(x, twice, weights, Eigen::Map<const Eigen::VectorXd>(weights.data(), 8));
}

TEST_CASE("xtensor: the way back", "[xtensor]") {
    const auto d = nsvd::svd(tensor<xt::xtensor<double, 2>>(7, 5), nsvd::rank{2});
    const xt::xtensor<double, 2> left = nsvd::to_xtensor(d.left);
    const auto right = nsvd::to_xtensor<xt::layout_type::column_major>(d.right);
    CHECK(nsvd::detail::read(left) == d.left);
    CHECK(nsvd::detail::read(right) == d.right);
    CHECK(support::working_memory(right) == right.data());
}

TEST_CASE("xtensor: misuse", "[xtensor]") {
    const xt::xarray<float> one = xt::ones<float>({5});
    const xt::xarray<float> three = xt::ones<float>({2, 3, 4});
    support::expect_error([&] { (void)nsvd::svd(one, nsvd::rank{1}); }, {"1 dimensions", "(5)"});
    nsvd::calibration<float> calib(2);
    support::expect_error([&] { calib.update(three); }, {"3 dimensions", "2×3×4"});
    const auto x = tensor<xt::xarray<float>>(3, 4);
    const auto flipped = xt::flip(x, 1);
    support::expect_error([&] { (void)nsvd::svd(flipped, nsvd::rank{1}); }, {"3×4", "(4, -1)"});
    const auto upside_down = xt::flip(x, 0);
    support::expect_error([&] { (void)nsvd::svd(upside_down, nsvd::rank{1}); }, {"3×4", "(-4, 1)"});
    const auto empty = tensor<xt::xarray<float>>(0, 4);
    support::expect_error([&] { (void)nsvd::svd(empty, nsvd::rank{1}); }, {"W", "empty", "0×4"});
}
