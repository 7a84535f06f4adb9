// SPDX-License-Identifier: MIT
// Truncated SVD of any matrix: error against rank, one decomposition cut to every smaller rank.
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstdio>
#include <string>

int main() {
    // A matrix with falling singular values: points on two lines, and one over their distance.
    Eigen::MatrixXd A(300, 200);
    for (Eigen::Index j = 0; j < A.cols(); ++j)
        for (Eigen::Index i = 0; i < A.rows(); ++i) {
            const double x = static_cast<double>(i) / 300.0;
            const double y = static_cast<double>(j) / 200.0;
            A(i, j) = 1.0 / std::sqrt((x - y) * (x - y) + 0.01);
        }

    //! [decompose]
    const auto d = nsvd::svd(A, nsvd::rank{16});
    const auto& [left, right] = d;  // 300×16, orthonormal columns, and 16×200
    //! [decompose]
    const double orthonormal = (left.transpose() * left - Eigen::MatrixXd::Identity(16, 16)).norm();

    //! [truncate]
    std::printf("rank   numbers   error     by the spectrum\n");
    bool good = orthonormal < 1e-12 && right.rows() == 16;
    const Eigen::VectorXd& squares = d.info.spectrum;  // σ², all of them up to min(m, n) = 512
    for (const Eigen::Index k : {1, 2, 4, 8, 16}) {
        const auto smaller = d.truncate(k);  // no second solve
        const double error = nsvd::plain_error(A, smaller);
        const double expected = std::sqrt(squares.tail(squares.size() - k).sum() / squares.sum());
        std::printf("%4td   %7td   %.2e  %.2e\n", k, smaller.parameters(), error, expected);
        good = good && std::abs(error - expected) < 1e-6 * expected + 1e-12;
    }
    //! [truncate]
    std::printf("%td of %td singular values are above rounding: status %s\n", d.info.numerical_rank,
                squares.size(), std::string(nsvd::to_string(d.info.status)).c_str());
    return good ? 0 : 1;
}
