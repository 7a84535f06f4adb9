// SPDX-License-Identifier: MIT
#include "shrinkage.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace llm {

using calibration = nsvd::calibration<float>;

calibration scaled(const calibration& calib, double factor) {
    auto state = calib.state();
    state.gram *= factor;
    state.sum *= factor;
    state.sum_abs *= factor;
    state.weight *= factor;
    state.cross *= factor;
    state.sum_original *= factor;
    return calibration(std::move(state));
}

calibration shrunk_to_pool(const calibration& own, const calibration& pool) {
    auto result = own;
    if (pool.tokens() > 0)
        result.merge(scaled(pool, static_cast<double>(own.features()) / static_cast<double>(pool.tokens())));
    return result;
}

calibration shrunk_to_diagonal(const calibration& own, const calibration& like) {
    const auto n = own.features();
    double square = like.mean_square().mean(), magnitude = like.mean_abs().mean();
    if (!(square > 0)) square = magnitude = 1;
    const double weight = like.tokens() > 0 ? like.weight() / static_cast<double>(like.tokens()) : 1;
    const double sum = static_cast<double>(n) * weight;
    nsvd::calibration_state more;
    more.gram = (sum * square) * Eigen::MatrixXd::Identity(n, n);
    more.sum.setZero(n);
    more.sum_abs.setConstant(n, sum * magnitude);
    more.max_abs.setConstant(n, std::sqrt(square));
    more.tokens = n + 1;  // n independent ones beside their mean
    more.weight = sum;
    more.about = own.about();
    if (like.has_cross()) {
        more.cross = more.gram;
        more.sum_original.setZero(n);
    }
    auto result = own;
    result.merge(calibration(std::move(more)));
    return result;
}

calibration for_metric(const model& m, const site& where, const site_lookup& at) {
    const auto& own = at(where);
    const auto experts = m.shape().experts;
    if (experts == 0 || !is_of_experts(where.kind)) return own;
    const auto pooled = [&] {
        calibration pool(own.features(), own.about());
        for (std::size_t e = 0; e < experts; ++e)
            pool.merge(at({where.kind, e}));
        return pool;
    };
    if (where.kind == site_kind::feed_forward) return shrunk_to_pool(own, pooled());
    return shrunk_to_diagonal(own, own.tokens() > 0 ? own : pooled());
}

}  // namespace llm
