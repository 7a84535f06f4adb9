// SPDX-License-Identifier: MIT
// One budget for several layers: the same fraction for each, or where it does the most good.
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

int main() {
    // Four layers of different shapes; from the first to the last their singular values fall more steeply.
    const std::vector<std::pair<Eigen::Index, Eigen::Index>> shapes{{96, 96}, {48, 96}, {256, 96}, {96, 256}};
    std::vector<Eigen::MatrixXf> weights;
    std::vector<nsvd::calibration<float>> inputs;
    for (std::size_t l = 0; l < shapes.size(); ++l) {
        const auto [m, n] = shapes[l];
        Eigen::VectorXf lengths(n);
        for (Eigen::Index j = 0; j < n; ++j)
            lengths(j) = std::exp(-0.01F * static_cast<float>((l + 1) * static_cast<std::size_t>(j)));
        weights.push_back(Eigen::MatrixXf::Random(m, n) * lengths.asDiagonal() *
                          Eigen::MatrixXf::Random(n, n));
        inputs.emplace_back(n).update(Eigen::MatrixXf::Random(n, 1000));
    }

    //! [profiles]
    // One decomposition of each layer in the metric of its inputs serves all ranks that may be tried.
    std::vector<nsvd::every_rank<float>> layers;
    std::vector<nsvd::layer_profile> profiles;
    for (std::size_t l = 0; l < weights.size(); ++l)
        layers.emplace_back(weights[l], nsvd::gram_metric(inputs[l]));
    for (std::size_t l = 0; l < weights.size(); ++l)
        profiles.push_back({.name = "layer " + std::to_string(l),
                            .shape = {weights[l].rows(), weights[l].cols()},
                            .spectrum = layers[l].spectrum()});
    //! [profiles]

    //! [allocate]
    nsvd::storage_budget budget;  // in numbers; per_number = 2 would be bytes of half precision
    for (const auto& w : weights)
        budget.amount += static_cast<std::int64_t>(0.7 * static_cast<double>(w.size()));
    const auto uniform = nsvd::allocate(profiles, budget, nsvd::allocation_rule::uniform);
    const auto greedy = nsvd::allocate(profiles, budget, nsvd::allocation_rule::greedy);
    //! [allocate]

    const auto text = [](const std::optional<nsvd::index>& k) { return k ? std::to_string(*k) : "dense"; };
    std::printf("%-10s %9s %9s %9s %9s\n", "", "uniform", "error", "greedy", "error");
    for (std::size_t l = 0; l < weights.size(); ++l) {
        const auto error = [&](const std::optional<nsvd::index>& k) {
            return k ? nsvd::weighted_error(weights[l], layers[l].take(*k), inputs[l]) : 0.0;
        };
        std::printf("%-10s %9s %9.4f %9s %9.4f\n", profiles[l].name.c_str(), text(uniform.ranks[l]).c_str(),
                    error(uniform.ranks[l]), text(greedy.ranks[l]).c_str(), error(greedy.ranks[l]));
    }
    std::printf("%-10s %9lld %9.4f %9lld %9.4f   of %lld\n", "sum", static_cast<long long>(uniform.cost),
                uniform.loss, static_cast<long long>(greedy.cost), greedy.loss,
                static_cast<long long>(budget.amount));
    return greedy.loss < uniform.loss && greedy.cost <= budget.amount ? 0 : 1;
}
