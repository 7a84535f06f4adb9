// SPDX-License-Identifier: MIT
// Any bytes are calls of two calibrations: tokens of any bits and scalar, weights, masks, pairs, merges. What
// is refused changes nothing; what is not adds up, as sums in extended precision say.
#include "byte_reader.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using fuzz::byte_reader;
using fuzz::require;
using MatrixXl = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;

bool same(const nsvd::calibration_state& a, const nsvd::calibration_state& b) {
    const auto equal = [](const auto& x, const auto& y) { return x.size() == y.size() && x == y; };
    return equal(a.gram, b.gram) && equal(a.sum, b.sum) && equal(a.sum_abs, b.sum_abs) &&
           equal(a.max_abs, b.max_abs) && a.tokens == b.tokens && a.weight == b.weight &&
           (a.tokens == 0 || (equal(a.cross, b.cross) && equal(a.sum_original, b.sum_original)));
}

/// A calibration, and the same sums about zero.
struct watched {
    nsvd::calibration<float> calib;
    MatrixXl gram;
    long double weight = 0;
    std::int64_t tokens = 0;

    watched(Index n, nsvd::moments about) : calib(n, about), gram(MatrixXl::Zero(n, n)) {}

    void check() const {
        const auto& s = calib.state();
        require(s.gram.allFinite() && s.sum.allFinite() && s.sum_abs.allFinite() && s.max_abs.allFinite());
        require(calib.tokens() == tokens);
        require(std::abs(static_cast<double>(weight) - calib.weight()) <= 1e-12 * calib.weight());
        const Eigen::MatrixXd found = calib.gram();
        require(found == found.transpose());
        for (Index j = 0; j < gram.cols(); ++j)
            for (Index i = 0; i < gram.rows(); ++i) {
                // Squares of numbers below 2^-511 vanish.
                const long double size =
                    std::sqrt(gram(i, i)) * std::sqrt(gram(j, j)) + 1e-150L * std::sqrt(1 + weight);
                const long double vanishing =
                    1e-150L * (1 + weight) * (1 + std::sqrt(gram(i, i)) + std::sqrt(gram(j, j)));
                require(std::abs(gram(i, j) - static_cast<long double>(found(i, j))) <=
                        1e-12L * size + vanishing);
            }
        // What is stored is a calibration.
        require(same(nsvd::calibration<float>(s).state(), s));
    }
};

template <class Scalar>
void update(byte_reader& in, watched& to) {
    const Index n = to.calib.features(), tokens = in.below(6);
    const bool pairs = in.flag();
    const int kind = in.below(3);
    const auto x = in.matrix<Scalar>(in.below(40) == 0 ? n + 1 : n, tokens);
    std::vector<double> weights(static_cast<std::size_t>(tokens), 1.0);
    std::vector<bool> mask(weights.size(), true);
    for (std::size_t t = 0; kind == 1 && t < weights.size(); ++t)
        weights[t] = 4 * in.fraction();
    for (std::size_t t = 0; kind == 2 && t < weights.size(); ++t)
        weights[t] = (mask[t] = in.flag()) ? 1.0 : 0.0;
    if (pairs) {
        const auto a = in.matrix<Scalar>(n, tokens);
        if (kind == 0) to.calib.update(a, x);
        if (kind == 1) to.calib.update(a, x, weights);
        if (kind == 2) to.calib.update(a, x, mask);
    } else {
        if (kind == 0) to.calib.update(x);
        if (kind == 1) to.calib.update(x, weights);
        if (kind == 2) to.calib.update(x, mask);
    }
    for (Index t = 0; t < tokens; ++t) {
        const long double w = weights[static_cast<std::size_t>(t)];
        if (w == 0) continue;
        const MatrixXl column = x.col(t).template cast<double>().template cast<long double>();
        to.gram += w * column * column.transpose();
        to.weight += w;
        to.tokens += 1;
    }
}

void call(byte_reader& in, watched& one, watched& other) {
    switch (in.below(5)) {
        case 0:
            return update<float>(in, one);
        case 1:
            return update<double>(in, one);
        case 2:
            return update<Eigen::half>(in, one);
        case 3:
            return update<Eigen::bfloat16>(in, one);
        default:
            one.calib.merge(other.calib);
            one.gram += other.gram;
            one.weight += other.weight;
            one.tokens += other.tokens;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    byte_reader in(bytes, size);
    const Index n = 1 + in.below(6);
    const auto about = static_cast<nsvd::moments>(in.below(2));
    watched one(n, about),
        other(in.below(16) == 0 ? n + 1 : n, in.below(16) == 0 ? nsvd::moments::raw : about);
    for (int calls = 0; calls < 12 && !in.empty(); ++calls) {
        if (in.flag()) std::swap(one, other);
        const watched before = one;
        try {
            call(in, one, other);
        } catch (const nsvd::error&) {
            require(same(one.calib.state(), before.calib.state()));
            one = before;
        }
        one.check();
    }
    return 0;
}
