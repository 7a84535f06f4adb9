// SPDX-License-Identifier: MIT
// Which method? Errors of each on inputs like those of the calibration, on shifted inputs, and of the
// weights.
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstdio>
#include <random>

namespace {

// m×n numbers, drawn with a seed.
Eigen::MatrixXf normal(Eigen::Index m, Eigen::Index n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> draw;
    return Eigen::MatrixXf::NullaryExpr(m, n, [&] { return draw(random); });
}

// Inputs of 192 channels that fill few directions well and others hardly: i.i.d. columns times a mixing
// matrix.
Eigen::MatrixXf inputs(Eigen::Index tokens, unsigned mixing, unsigned seed) {
    Eigen::VectorXf lengths(192);
    for (Eigen::Index i = 0; i < 192; ++i)
        lengths(i) = std::exp(-0.04F * static_cast<float>(i));
    return normal(192, 192, mixing) * lengths.asDiagonal() * normal(192, tokens, seed);
}

}  // namespace

int main() {
    const Eigen::MatrixXf W = normal(256, 40, 1) * normal(40, 192, 2) + normal(256, 192, 3);
    nsvd::calibration<float> calib(192), like(192), other(192), shifted(192);
    calib.update(inputs(4000, 10, 20));
    like.update(inputs(4000, 10, 21));     // other tokens of the same kind
    other.update(inputs(4000, 11, 22));    // another kind
    shifted.update(inputs(4000, 11, 23));  // other tokens of that

    using enum nsvd::whitening;
    const nsvd::compression policy{0.30};
    std::printf("%-26s %10s %10s %10s\n", "", "like calib", "shifted", "weights");
    struct errors {
        double like, shifted, weights;
    };
    const auto row = [&](const char* name, const auto& d) {
        const errors e{nsvd::weighted_error(W, d, like), nsvd::weighted_error(W, d, shifted),
                       nsvd::plain_error(W, d)};
        std::printf("%-26s %10.4f %10.4f %10.4f\n", name, e.like, e.shifted, e.weights);
        return e;
    };
    //! [methods]
    const auto svd = row("svd", nsvd::svd(W, policy));
    row("asvd, diagonal (ASVD-0)", nsvd::asvd(W, calib, policy, {.whitening = diagonal}));
    const auto asvd = row("asvd, cholesky (ASVD-I)", nsvd::asvd(W, calib, policy));
    row("asvd, eigen (ASVD-II)", nsvd::asvd(W, calib, policy, {.whitening = eigen}));
    row("asvd, blend 0.1", nsvd::asvd(W, calib, policy, {.blend = 0.1}));
    const auto nsvd_1 = row("nested, share 0.95 (NSVD)", nsvd::nested(W, calib, policy));
    row("nested, share 0.80 (NSVD)", nsvd::nested(W, calib, policy, {.share = 0.80}));
    row("nested, columns (NID)", nsvd::nested(W, calib, policy, {.residual = nsvd::residual::interpolative}));
    //! [methods]
    //! [stages]
    // Any list of stages: half of the rank for each kind of inputs.
    const nsvd::stage stages[] = {{nsvd::gram_metric(calib), 0.5}, {nsvd::gram_metric(other), 0.5}};
    const auto both = row("decompose, a stage a kind", nsvd::decompose(W, stages, policy));
    //! [stages]

    // What of this must hold: ASVD-I is the best on inputs like its own, NSVD better than it elsewhere.
    return asvd.like < svd.like && svd.weights < asvd.weights && nsvd_1.shifted < asvd.shifted &&
                   nsvd_1.weights < asvd.weights && nsvd_1.like < svd.like && both.shifted < asvd.shifted
               ? 0
               : 1;
}
