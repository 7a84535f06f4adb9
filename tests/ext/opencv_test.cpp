// SPDX-License-Identifier: MIT
// OpenCV's matrices and regions of them are read where they lie.
#include "support/adapter.hpp"
#include "support/catch.hpp"
#include "support/expect_error.hpp"
#include "support/random.hpp"

#include <nsvd/ext/opencv.hpp>

#include <array>
#include <opencv2/core.hpp>

namespace {

static_assert(nsvd::matrix<cv::Mat_<float>> && nsvd::matrix<cv::Mat_<double>>);
static_assert(!nsvd::matrix<cv::Mat> && !nsvd::matrix<cv::Mat_<int>> && !nsvd::matrix<cv::Mat_<cv::Vec3f>>);

template <class Scalar>
[[nodiscard]] cv::Mat_<Scalar> matrix(int rows, int cols) {
    cv::Mat_<Scalar> x(rows, cols);
    const Eigen::MatrixXd numbers = support::gaussian(rows, cols, 7);
    for (int j = 0; j < cols; ++j)
        for (int i = 0; i < rows; ++i)
            x(i, j) = static_cast<Scalar>(numbers(i, j));
    return x;
}

/// OpenCV's own element access.
template <class Scalar>
[[nodiscard]] auto elements(const cv::Mat& x) {
    return [&x](auto i, auto j) { return x.at<Scalar>(static_cast<int>(i), static_cast<int>(j)); };
}

}  // namespace

TEMPLATE_TEST_CASE("opencv: matrices and regions", "[opencv]", float, double) {
    for (const auto& [rows, cols] : {std::pair(9, 6), std::pair(6, 9)}) {
        const auto x = matrix<TestType>(rows, cols);
        support::check_adapter(x, rows, cols, x.data, false, elements<TestType>(x));
        const cv::Mat untyped = x;
        support::check_adapter(nsvd::opencv_view<TestType>(untyped), rows, cols, x.data, false,
                               elements<TestType>(x));
        const cv::Mat_<TestType> part = x(cv::Range(2, 6), cv::Range(1, 4));
        support::check_adapter(part, 4, 3, &x(2, 1), false, elements<TestType>(part));
        const cv::Mat column = x.col(3);
        support::check_adapter(nsvd::opencv_view<TestType>(column), rows, 1, &x(0, 3), false,
                               elements<TestType>(column));
        const cv::Mat_<TestType> transposed(x.t());
        support::check_adapter(transposed, cols, rows, transposed.data, false,
                               [&](auto i, auto j) { return elements<TestType>(x)(j, i); });
    }
}

TEST_CASE("opencv: half precision", "[opencv]") {
    const auto x = matrix<float>(5, 4);
    cv::Mat half;
    x.convertTo(half, CV_16F);
    support::check_adapter(nsvd::opencv_view<Eigen::half>(half), 5, 4, half.data, false,
                           [&](auto i, auto j) { return float(half.at<cv::float16_t>(int(i), int(j))); });
}

TEST_CASE("opencv: decompositions", "[opencv]") {
    const auto x = matrix<float>(12, 8);
    support::check_decompositions(x);
    const cv::Mat part = x(cv::Range(1, 10), cv::Range(2, 7));
    support::check_decompositions(nsvd::opencv_view<float>(part));
}

TEST_CASE("opencv: the way back", "[opencv]") {
    const auto d = nsvd::svd(matrix<double>(7, 5), nsvd::rank{2});
    CHECK(nsvd::detail::read(nsvd::to_opencv(d.left)) == d.left);
    CHECK(nsvd::detail::read(nsvd::to_opencv(d.right)) == d.right);
    const cv::Mat product = nsvd::to_opencv(d.left) * nsvd::to_opencv(d.right);
    CHECK(nsvd::detail::read(nsvd::opencv_view<double>(product)).isApprox(d.dense(), 1e-14));
}

TEST_CASE("opencv: misuse", "[opencv]") {
    const cv::Mat x = matrix<float>(3, 4);
    support::expect_error([&] { (void)nsvd::opencv_view<double>(x); }, {"3×4", "CV_32FC1", "CV_64FC1"});
    const cv::Mat colours(3, 4, CV_32FC3);
    support::expect_error([&] { (void)nsvd::opencv_view<float>(colours); }, {"CV_32FC3", "CV_32FC1"});
    const std::array<int, 3> shape{2, 3, 4};
    const cv::Mat cube(3, shape.data(), CV_32F);
    support::expect_error([&] { (void)nsvd::opencv_view<float>(cube); }, {"3 dimensions"});
    support::expect_error([] { (void)nsvd::svd(nsvd::opencv_view<float>(cv::Mat()), nsvd::rank{1}); },
                          {"W", "empty", "0×0"});
}
