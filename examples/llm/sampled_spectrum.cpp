// SPDX-License-Identifier: MIT
#include "sampled_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace llm {

double sampled_spectrum::log_ratio(double at) const {
    const auto place = [&](std::size_t i) {
        const double ratio = value.front() > 0 ? value[i] / value.front() : 0;
        return ratio > 0 ? std::max(lowest, std::log10(ratio)) : lowest;
    };
    const auto after = static_cast<std::size_t>(
        std::lower_bound(index.begin(), index.end(), at,
                         [](std::int64_t i, double wanted) { return static_cast<double>(i) < wanted; }) -
        index.begin());
    if (after == 0) return place(0);
    if (after == index.size()) return place(index.size() - 1);
    const auto low = static_cast<double>(index[after - 1]);
    const auto high = static_cast<double>(index[after]);
    const double part = (at - low) / (high - low);
    return (1 - part) * place(after - 1) + part * place(after);
}

sampled_spectrum sample_spectrum(const Eigen::Ref<const Eigen::VectorXd>& squares) {
    constexpr double growth = 1.06;
    sampled_spectrum result;
    for (Eigen::Index i = 1; i <= squares.size();) {
        result.index.push_back(i);
        result.value.push_back(squares(i - 1));
        if (i == squares.size()) break;
        const auto next = static_cast<Eigen::Index>(static_cast<double>(i) * growth);
        i = std::min(squares.size(), std::max(i + 1, next));
    }
    return result;
}

}  // namespace llm
