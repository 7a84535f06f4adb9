// SPDX-License-Identifier: MIT
/// Ctrl-C ends a run where nothing is half written.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <exception>

namespace llm {

/// Thrown by a run that is to end; not an error.
class interrupted : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

namespace detail {
inline std::atomic<std::int64_t> interrupted_at = 0;            // seconds since 1970; 0: not yet
static_assert(std::atomic<std::int64_t>::is_always_lock_free);  // what a signal handler may write
}  // namespace detail

/// From now on the first SIGINT or SIGTERM is only noted; one that comes a second later or more kills. (Some
/// programs send one to the process and one to its group.)
inline void note_interrupts() {
    const auto note = [](int signal) {
        const std::int64_t now = std::time(nullptr);
        std::int64_t before = 0;
        if (detail::interrupted_at.compare_exchange_strong(before, now) || now <= before + 1) return;
        std::signal(signal, SIG_DFL);
        std::raise(signal);
    };
    std::signal(SIGINT, note);
    std::signal(SIGTERM, note);
}

/// Whether a signal has been noted.
[[nodiscard]] inline bool is_interrupted() {
    return detail::interrupted_at != 0;
}

/// Throws `interrupted` once a signal has been noted.
inline void check_interrupt() {
    if (is_interrupted()) throw interrupted();
}

}  // namespace llm
