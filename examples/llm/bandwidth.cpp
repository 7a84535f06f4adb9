// SPDX-License-Identifier: MIT
#include "bandwidth.hpp"

#include "stopwatch.hpp"
#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

namespace llm {

bandwidth_meter::bandwidth_meter(unsigned threads)
    : threads_(threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency())),
      numbers_((std::size_t{1} << 30U) / sizeof(std::uint64_t), 1) {}

double bandwidth_meter::measure() const {
    const std::size_t part = numbers_.size() / threads_;
    std::atomic<std::uint64_t> sum = 0;  // or nothing would be read
    const stopwatch watch;
    parallel_for(threads_, static_cast<unsigned>(threads_), [&](std::size_t i) {
        const auto first = numbers_.begin() + static_cast<std::ptrdiff_t>(i * part);
        sum += std::accumulate(first, first + static_cast<std::ptrdiff_t>(part), std::uint64_t{0});
    });
    const double seconds = watch.seconds();
    const auto bytes = static_cast<double>(sum) * sizeof(std::uint64_t);  // of ones
    return bytes / seconds;
}

}  // namespace llm
