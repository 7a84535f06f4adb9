// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <fstream>
#include <string_view>
#include <thread>

namespace llm {
namespace {

std::string processor() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown processor";
}

}  // namespace

std::string machine_description(unsigned threads) {
#if defined(NSVD_USE_LAPACK)
    constexpr std::string_view backend = "LAPACK";
#else
    constexpr std::string_view backend = "Eigen";
#endif
    if (threads == 0) threads = std::thread::hardware_concurrency();
    return fmt::format("{}, {} thread{}, {}", processor(), threads, threads == 1 ? "" : "s", backend);
}

std::string today() {
    return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace llm
