// SPDX-License-Identifier: MIT
// Two ways to store a rank-k matrix at equal numbers, in single precision and rounded to bfloat16.
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstdio>

int main() {
    // Singular values that fall like those of a trained layer; inputs with a few large channels.
    constexpr Eigen::Index m = 256, n = 192;
    Eigen::VectorXf lengths(n);
    for (Eigen::Index j = 0; j < n; ++j)
        lengths(j) = std::exp(-0.02F * static_cast<float>(j));
    const Eigen::MatrixXf W =
        Eigen::MatrixXf::Random(m, n) * lengths.asDiagonal() * Eigen::MatrixXf::Random(n, n);
    Eigen::MatrixXf X = Eigen::MatrixXf::Random(n, 1000);
    X.topRows(6) *= 20.0F;
    nsvd::calibration<float> calib(n);
    calib.update(X);

    //! [storage]
    const nsvd::compression plain{0.30};
    const nsvd::compression pivoted{0.30, nsvd::storage::pivoted};
    const auto d = nsvd::nested(W, calib, plain);                 // k(m + n) numbers
    const auto p = nsvd::pivot(nsvd::nested(W, calib, pivoted));  // k(m + n − k), and k indices
    //! [storage]

    //! [bfloat16]
    // What is written to a file: the numbers rounded. A pivoted matrix has the same members.
    const auto rounded = [](auto factors) {
        factors.left = factors.left.template cast<Eigen::bfloat16>().template cast<float>().eval();
        factors.right = factors.right.template cast<Eigen::bfloat16>().template cast<float>().eval();
        return factors;
    };
    //! [bfloat16]
    std::printf("%-22s %5s %8s %10s %10s\n", "", "rank", "numbers", "error", "bfloat16");
    const double error = nsvd::weighted_error(W, d, calib);
    const double pivoted_error = nsvd::weighted_error(W, p.plain(), calib);
    const double rounded_error = nsvd::weighted_error(W, rounded(d), calib);
    const double rounded_pivoted = nsvd::weighted_error(W, rounded(p).plain(), calib);
    std::printf("%-22s %5td %8td %10.4f %10.4f\n", "two factors", d.rank(), d.parameters(), error,
                rounded_error);
    std::printf("%-22s %5td %8td %10.4f %10.4f\n", "pivoted", p.rank(), p.parameters(), pivoted_error,
                rounded_pivoted);

    // The product never multiplies the factors out.
    const Eigen::VectorXf y = p * X.col(0);
    const float difference = (y - p.dense() * X.col(0)).norm() / y.norm();
    std::printf("kept %s, largest coefficient %.2f\n", p.kept == nsvd::lines::rows ? "rows" : "columns",
                p.growth());
    return p.rank() > d.rank() && pivoted_error < error && rounded_pivoted < rounded_error &&
                   p.parameters() <= 7 * W.size() / 10 && difference < 1e-5F
               ? 0
               : 1;
}
