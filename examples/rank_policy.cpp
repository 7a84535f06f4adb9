// SPDX-License-Identifier: MIT
// How many directions to keep: the policies there are, and three of your own.
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstdio>
#include <optional>
#include <random>

//! [struct]
// A policy that needs the shape only: the rank of a compression, rounded down to full tiles of a kernel.
struct tiles {
    double ratio = 0.0;
    Eigen::Index tile = 16;

    Eigen::Index operator()(const nsvd::shape& s) const {
        return nsvd::compression{ratio}(s) / tile * tile;  // 0 would be refused with an error
    }
};
//! [struct]

int main() {
    // A signal of rank 12 under noise of standard deviation 1.
    constexpr Eigen::Index m = 400, n = 300, signal = 12;
    std::mt19937 random(1);
    std::normal_distribution<double> draw;
    const auto normal = [&](Eigen::Index rows, Eigen::Index cols) {
        return Eigen::MatrixXd::NullaryExpr(rows, cols, [&] { return draw(random); }).eval();
    };
    const Eigen::MatrixXd A = normal(m, signal) * normal(signal, n) + normal(m, n);

    //! [lambda]
    // Policies that look at the spectrum. Noise alone has singular values up to about √m + √n.
    const auto above_noise = [](const nsvd::spectrum& squares, const nsvd::shape& s) {
        const double edge = std::sqrt(static_cast<double>(s.rows)) + std::sqrt(static_cast<double>(s.cols));
        Eigen::Index k = 0;
        for (const double square : squares)
            k += square > 1.02 * edge * edge;
        return std::max<Eigen::Index>(k, 1);
    };
    // The widest gap among the first values; an empty optional asks for more of them.
    const auto widest_gap = [](const nsvd::spectrum& squares,
                               const nsvd::shape& s) -> std::optional<Eigen::Index> {
        const auto looked_at = static_cast<std::size_t>(s.full_rank() / 2);
        if (squares.size() < looked_at && !squares.complete) return {};
        std::size_t best = 1;
        for (std::size_t k = 2; k < looked_at; ++k)
            if (squares[k - 1] / squares[k] > squares[best - 1] / squares[best]) best = k;
        return static_cast<Eigen::Index>(best);
    };
    //! [lambda]

    const auto row = [&](const char* name, const auto& policy) {
        const auto d = nsvd::svd(A, policy);
        std::printf("%-20s rank %3td, error %.3f\n", name, d.rank(), nsvd::plain_error(A, d));
        return d.rank();
    };
    //! [policies]
    row("compression{0.5}", nsvd::compression{0.5});  // floor(0.5·m·n / (m + n))
    row("rank{20}", nsvd::rank{20});                  // that rank
    row("energy{0.9}", nsvd::energy{0.9});            // the least with 90 % of Σσ²
    row("tolerance{0.3}", nsvd::tolerance{0.3});      // the least with an error of at most 30 %
    const auto full_tiles = row("tiles{0.5}", tiles{0.5});
    const auto found = row("above the noise", above_noise);
    const auto gap = row("widest gap", widest_gap);
    //! [policies]
    return full_tiles == 80 && found == signal && gap == signal ? 0 : 1;
}
