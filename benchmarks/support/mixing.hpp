// SPDX-License-Identifier: MIT
/// Random orthogonal matrices of any order that are applied in n log n: no QR of a huge matrix.
#pragma once

#include "lapack.hpp"
#include "random.hpp"

#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

namespace bench {

/// A product of passes, each of which pairs all coordinates at random and rotates every pair by a random
/// angle. After log₂ n passes each coordinate depends on all.
class mixing {
public:
    mixing(Index n, std::uint64_t seed) {
        generator random(seed);
        const auto passes = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) + 1;
        std::vector<int> order(static_cast<std::size_t>(n));
        std::iota(order.begin(), order.end(), 0);
        for (int pass = 0; pass < passes; ++pass) {
            for (std::size_t i = order.size(); i > 1; --i)
                std::swap(order[i - 1], order[random.below(i)]);
            for (std::size_t i = 0; i + 1 < order.size(); i += 2) {
                const double angle = 2.0 * std::numbers::pi * random.uniform();
                rotations_.push_back({order[i], order[i + 1], static_cast<float>(std::cos(angle)),
                                      static_cast<float>(std::sin(angle))});
            }
        }
    }

    /// `A ← Q A`, column by column.
    void apply(Eigen::Ref<Eigen::MatrixXf> a) const {
        for (Index j = 0; j < a.cols(); ++j) {
            float* const x = a.col(j).data();
            for (const rotation& r : rotations_) {
                const float first = x[r.first];
                const float second = x[r.second];
                x[r.first] = r.cosine * first - r.sine * second;
                x[r.second] = r.sine * first + r.cosine * second;
            }
        }
    }

private:
    struct rotation {
        int first;
        int second;
        float cosine;
        float sine;
    };
    std::vector<rotation> rotations_;
};

}  // namespace bench
