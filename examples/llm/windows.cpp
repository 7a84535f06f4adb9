// SPDX-License-Identifier: MIT
#include "windows.hpp"

#include <utility>

namespace llm {

void weighted_windows::add(std::vector<std::vector<token>> more, double weight) {
    std::size_t tokens = 0;
    for (const auto& window : more)
        tokens += window.size();
    for (auto& window : more) {
        windows.push_back(std::move(window));
        weights.push_back(weight / static_cast<double>(tokens));
    }
}

weighted_windows weighted_windows::share(std::size_t own, std::size_t processes) const {
    weighted_windows mine;
    for (std::size_t i = own; i < windows.size(); i += processes) {
        mine.windows.push_back(windows[i]);
        mine.weights.push_back(weights[i]);
    }
    return mine;
}

double weighted_windows::weight() const {
    double sum = 0;
    for (std::size_t i = 0; i < windows.size(); ++i)
        sum += weights[i] * static_cast<double>(windows[i].size());
    return sum;
}

std::vector<std::vector<token>> weighted_windows::spread(std::size_t count) const {
    const double step = weight() / static_cast<double>(count);
    std::vector<std::vector<token>> chosen;
    double passed = 0;
    double next = step / 2;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        passed += weights[i] * static_cast<double>(windows[i].size());
        if (passed < next) continue;
        chosen.push_back(windows[i]);
        while (next <= passed)
            next += step;
    }
    return chosen;
}

weighted_windows draw_text(std::span<const token> tokens, const sampling& sample, const std::string& name) {
    const auto list = windows(tokens, sample.context, name);
    weighted_windows result;
    for (const auto i : draw_windows(list.size(), sample.windows, sample.seed)) {
        result.windows.emplace_back(list[i].begin(), list[i].end());
        result.weights.push_back(1);
    }
    return result;
}

}  // namespace llm
