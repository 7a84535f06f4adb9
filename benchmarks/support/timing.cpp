// SPDX-License-Identifier: MIT
#include "timing.hpp"

#include <algorithm>
#include <chrono>
#include <map>

namespace bench {

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

stopwatch::stopwatch() : start_(now()) {}

double stopwatch::seconds() const {
    return now() - start_;
}

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    std::ranges::sort(values);
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<double>& recorded(const std::string& key) {
    static std::map<std::string, std::vector<double>> all;
    return all[key];
}

double recorded_median(const std::string& key) {
    return median(recorded(key));
}

}  // namespace bench
