// SPDX-License-Identifier: MIT
/// One line on the terminal that says how far a long run is.
#pragma once

#include "interrupt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <unistd.h>

namespace llm {

/// Shows done, total and time left on standard error, only on a terminal and only once the run takes more
/// than two seconds; the line is cleared at the end. A default-constructed one is silent. Steps may come from
/// any thread.
class progress {
public:
    progress() = default;
    explicit progress(std::size_t total) : total_(on_terminal() ? total : 0) {}
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;
    ~progress() {
        if (shown_) fmt::print(stderr, "\r\033[K");
    }

    /// Whether bars are shown: at first where standard error is a terminal.
    static bool& on_terminal() {
        static bool shown = isatty(STDERR_FILENO) != 0;
        return shown;
    }

    /// More steps than were known of.
    void expect(std::size_t more) {
        const std::lock_guard lock(mutex_);
        if (total_ != 0) total_ += more;
    }

    /// What the next steps belong to, for example "NSVD-I at 30 %".
    void label(std::string text) {
        const std::lock_guard lock(mutex_);
        label_ = std::move(text);
    }

    /// Throws `interrupted` after Ctrl-C.
    void step() {
        check_interrupt();
        if (total_ == 0) return;
        const std::lock_guard lock(mutex_);
        ++done_;
        const auto now = clock::now();
        if (now - start_ < std::chrono::seconds(2) || now - last_ < std::chrono::milliseconds(200)) return;
        last_ = now;
        shown_ = true;
        const auto part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
        const auto left = std::chrono::duration<double>(now - start_).count() * (1 / part - 1);
        constexpr std::size_t width = 24;
        const auto filled = static_cast<std::size_t>(part * width);
        fmt::print(stderr, "\r[{}{}] {}/{}, {:.0f} s left  {}\033[K", std::string(filled, '#'),
                   std::string(width - filled, '.'), done_, total_, left, label_);
        std::fflush(stderr);
    }

private:
    using clock = std::chrono::steady_clock;

    std::mutex mutex_;
    std::string label_;
    std::size_t total_ = 0, done_ = 0;
    clock::time_point start_ = clock::now(), last_{};
    bool shown_ = false;
};

}  // namespace llm
