// SPDX-License-Identifier: MIT
// Matrices that are not Eigen's: a vector, a part of a buffer, a type of your own. Read where they lie.
#include <nsvd/nsvd.hpp>

#include <cstdio>
#include <vector>

//! [traits]
// A type of another library: rows of numbers, each with some padding behind.
struct padded_image {
    Eigen::Index height = 0, width = 0, pitch = 0;
    std::vector<float> pixels;
};

// Says where entry (i, j) lies: at data[i·row_stride + j·col_stride].
template <>
struct nsvd::matrix_traits<padded_image> {
    static nsvd::strided_view<float> view(const padded_image& image) {
        return {image.pixels.data(), image.height, image.width, image.pitch, 1};
    }
};
//! [traits]
static_assert(nsvd::matrix<padded_image>);

int main() {
    constexpr Eigen::Index m = 60, n = 40;
    const Eigen::MatrixXf W = Eigen::MatrixXf::Random(m, n);
    const nsvd::rank ten{10};
    const auto expected = nsvd::svd(W, ten).dense().cast<double>().eval();
    bool good = true;
    const auto row = [&](const char* name, const auto& d) {
        const double difference = (d.dense().template cast<double>() - expected).norm() / expected.norm();
        std::printf("%-34s differs by %.1e\n", name, difference);
        good = good && difference < 1e-5;
    };

    padded_image image{m, n, n + 8, std::vector<float>(m * (n + 8))};
    std::vector<float> by_rows(m * n);
    for (Eigen::Index i = 0; i < m; ++i)
        for (Eigen::Index j = 0; j < n; ++j)
            by_rows[static_cast<std::size_t>(i * n + j)] =
                image.pixels[static_cast<std::size_t>(i * (n + 8) + j)] = W(i, j);

    row("a type with matrix_traits", nsvd::svd(image, ten));
    //! [views]
    row("a vector, row after row", nsvd::svd(nsvd::row_major(by_rows, m, n), ten));
    // Pointer, shape and strides, as a program in C or Fortran has them.
    row("a pointer with strides", nsvd::svd(nsvd::strided_view<float>{by_rows.data(), m, n, n, 1}, ten));
    // Eigen expressions of any kind: a block of a larger matrix, a product, another scalar.
    Eigen::MatrixXf large = Eigen::MatrixXf::Zero(100, 100);
    large.block(7, 5, m, n) = W;
    row("a block of a larger matrix", nsvd::svd(large.block(7, 5, m, n), ten));
    row("in double", nsvd::svd(W.cast<double>(), ten));
    //! [views]
    return good ? 0 : 1;
}
