// SPDX-License-Identifier: MIT
// Multidimensional views are read where they lie: those of the standard library and of Kokkos where there are
// such, and always a small class with their interface.
#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/mdspan.hpp>

#include <array>
#include <cstddef>
#include <version>
#if defined(__cpp_lib_mdspan)
#include <mdspan>
#endif
#if __has_include(<mdspan/mdspan.hpp>)
#include <mdspan/mdspan.hpp>
#endif

namespace {

/// A mapping of indices with strides, and one without.
struct strided {
    std::array<int, 2> strides{};
    [[nodiscard]] int stride(std::size_t i) const { return strides[i]; }
};
struct tiled {};

/// As much of the interface of std::mdspan as an adapter may use.
template <class Element, std::size_t Rank, class Mapping = strided, class Reference = Element&>
class view {
public:
    using element_type = Element;
    using value_type = std::remove_cv_t<Element>;
    using reference = Reference;
    using data_handle_type = Element*;
    using extents_type = std::array<int, Rank>;
    using mapping_type = Mapping;

    view(Element* data, extents_type extents, Mapping mapping, bool is_strided = true)
        : data_(data), extents_(extents), mapping_(mapping), is_strided_(is_strided) {}
    static constexpr std::size_t rank() noexcept { return Rank; }
    [[nodiscard]] int extent(std::size_t i) const { return extents_[i]; }
    [[nodiscard]] int stride(std::size_t i) const { return mapping_.stride(i); }
    [[nodiscard]] bool is_strided() const { return is_strided_; }
    [[nodiscard]] const Mapping& mapping() const { return mapping_; }
    [[nodiscard]] const data_handle_type& data_handle() const { return data_; }

private:
    Element* data_;
    extents_type extents_;
    Mapping mapping_;
    bool is_strided_;
};

static_assert(nsvd::matrix<view<float, 2>> && nsvd::matrix<view<const double, 2>>);
static_assert(!nsvd::matrix<view<float, 1>> && !nsvd::matrix<view<float, 3>> && !nsvd::matrix<view<int, 2>>);
static_assert(!nsvd::matrix<view<float, 2, strided, float>>, "an accessor that computes");

const Eigen::MatrixXd numbers = support::gaussian(12, 8, 3);
const Eigen::MatrixXf single = numbers.cast<float>();

/// The same for the mdspans of a library. In C++20 they have no common syntax for an element.
template <class Right, class Left, class Strided>
[[maybe_unused]] void check_library(const Right& right, const Left& left, const Strided& odd) {
    const auto elements = [](const auto& x) {
        return [&x](auto i, auto j) {
            return x.accessor().access(x.data_handle(), static_cast<std::size_t>(x.mapping()(i, j)));
        };
    };
    support::check_adapter(right, 12, 8, right.data_handle(), false, elements(right));
    support::check_adapter(left, 12, 8, left.data_handle(), true, elements(left));
    support::check_adapter(odd, 4, 3, odd.data_handle(), false, elements(odd));
    support::check_decompositions(right);
}

}  // namespace

TEST_CASE("mdspan: any class with its interface", "[mdspan]") {
    const auto at = [](nsvd::index offset, nsvd::index row_stride, nsvd::index col_stride) {
        return [=](auto i, auto j) { return single.data()[offset + i * row_stride + j * col_stride]; };
    };
    const float* const data = single.data();
    for (const int rows : {12, 8}) {
        const int cols = 96 / rows;
        support::check_adapter(view<const float, 2>(data, {rows, cols}, strided{{1, rows}}), rows, cols, data,
                               true, at(0, 1, rows));
        support::check_adapter(view<const float, 2>(data, {rows, cols}, strided{{cols, 1}}), rows, cols, data,
                               false, at(0, cols, 1));
    }
    support::check_adapter(view<const float, 2>(data + 5, {4, 3}, strided{{1, 12}}), 4, 3, data + 5, true,
                           at(5, 1, 12));
    support::check_adapter(view<const float, 2>(data + 1, {4, 3}, strided{{2, 24}}), 4, 3, data + 1, false,
                           at(1, 2, 24));
    support::check_adapter(view<const float, 2>(data, {3, 4}, strided{{0, 2}}), 3, 4, data, false,
                           at(0, 0, 2));
    support::check_decompositions(view<const float, 2>(data, {12, 8}, strided{{8, 1}}));
}

#if defined(__cpp_lib_mdspan)
TEST_CASE("mdspan: that of the standard library", "[mdspan]") {
    using extents = std::dextents<int, 2>;
    const std::layout_stride::mapping<extents> odd(extents(4, 3), std::array{2, 24});
    check_library(std::mdspan<const float, extents>(single.data(), 12, 8),
                  std::mdspan<const float, extents, std::layout_left>(single.data(), 12, 8),
                  std::mdspan<const float, extents, std::layout_stride>(single.data() + 1, odd));
}
#endif

#if __has_include(<mdspan/mdspan.hpp>)
TEST_CASE("mdspan: that of Kokkos", "[mdspan]") {
    using extents = Kokkos::dextents<int, 2>;
    const Kokkos::layout_stride::mapping<extents> odd(extents(4, 3), std::array{2, 24});
    check_library(Kokkos::mdspan<const float, extents>(single.data(), 12, 8),
                  Kokkos::mdspan<const float, extents, Kokkos::layout_left>(single.data(), 12, 8),
                  Kokkos::mdspan<const float, extents, Kokkos::layout_stride>(single.data() + 1, odd));
}
#endif

TEST_CASE("mdspan: misuse", "[mdspan]") {
    const float* const data = single.data();
    support::expect_error(
        [&] {
            (void)nsvd::svd(view<const float, 2>(data, {4, 3}, strided{{1, 4}}, false), nsvd::rank{1});
        },
        {"4×3", "no strides"});
    support::expect_error(
        [&] {
            (void)nsvd::svd(view<const float, 2, tiled>(data, {4, 3}, tiled{}, false), nsvd::rank{1});
        },
        {"4×3", "no strides"});
    support::expect_error(
        [&] {
            (void)nsvd::svd(view<const float, 2>(data + 3, {4, 3}, strided{{3, -1}}), nsvd::rank{1});
        },
        {"4×3", "(3, -1)", "negative"});
    support::expect_error(
        [] {
            (void)nsvd::svd(view<const float, 2>(nullptr, {4, 3}, strided{{1, 4}}), nsvd::rank{1});
        },
        {"4×3", "null"});
    support::expect_error(
        [&] {
            (void)nsvd::svd(view<const float, 2>(data, {0, 3}, strided{{1, 0}}), nsvd::rank{1});
        },
        {"W", "empty", "0×3"});
}
