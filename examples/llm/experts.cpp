// SPDX-License-Identifier: MIT
#include "experts.hpp"

#include <cmath>

namespace llm {

using Eigen::Index;

routing route(const Eigen::MatrixXf& logits, std::size_t chosen) {
    const Index experts = logits.rows();
    routing result{std::vector<routing::share>(static_cast<std::size_t>(experts))};
    std::vector<std::vector<float>> weights(result.experts.size());
    for (Index t = 0; t < logits.cols(); ++t) {
        // Of the softmax over all experts only the ratios of those chosen are left by the division.
        const Eigen::VectorXf likely = (logits.col(t).array() - logits.col(t).maxCoeff()).exp();
        std::vector<Index> best;
        float sum = 0;
        while (best.size() < chosen) {
            Index next = -1;
            for (Index e = 0; e < experts; ++e) {
                bool taken = false;
                for (const auto b : best)
                    taken = taken || b == e;
                if (!taken && (next < 0 || likely(e) > likely(next))) next = e;
            }
            best.push_back(next);
            sum += likely(next);
        }
        for (const auto e : best) {
            const auto i = static_cast<std::size_t>(e);
            result.experts[i].tokens.push_back(t);
            weights[i].push_back(likely(e) / sum);
        }
    }
    for (std::size_t i = 0; i < weights.size(); ++i)
        result.experts[i].weights =
            Eigen::Map<const Eigen::VectorXf>(weights[i].data(), static_cast<Index>(weights[i].size()));
    return result;
}

}  // namespace llm
