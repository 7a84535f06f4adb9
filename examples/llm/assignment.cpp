// SPDX-License-Identifier: MIT
#include "assignment.hpp"

#include <algorithm>
#include <numeric>

namespace llm {

std::vector<int> assign(std::span<const double> costs, std::size_t processes) {
    std::vector<std::size_t> order(costs.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return costs[a] > costs[b]; });
    std::vector<double> load(processes, 0.0);
    std::vector<int> owners(costs.size());
    for (const auto job : order) {
        const auto least = std::min_element(load.begin(), load.end());
        *least += costs[job];
        owners[job] = static_cast<int>(least - load.begin());
    }
    return owners;
}

double imbalance(std::span<const double> costs, std::span<const int> owners, std::size_t processes) {
    std::vector<double> load(processes, 0.0);
    double total = 0.0;
    for (std::size_t job = 0; job < costs.size(); ++job) {
        load[static_cast<std::size_t>(owners[job])] += costs[job];
        total += costs[job];
    }
    if (!(total > 0.0)) return 1.0;
    return *std::max_element(load.begin(), load.end()) * static_cast<double>(processes) / total;
}

}  // namespace llm
