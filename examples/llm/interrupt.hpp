// SPDX-License-Identifier: MIT
/// Ctrl-C ends a run where nothing is half written.
#pragma once

#include <atomic>
#include <csignal>
#include <exception>

namespace llm {

/// Thrown by a run that is to end; not an error.
class interrupted : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

namespace detail {
inline std::atomic<bool> interrupt_wanted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // what a signal handler may write
}

/// From now on the first SIGINT or SIGTERM is only noted; a second one kills.
inline void note_interrupts() {
    const auto note = [](int signal) {
        detail::interrupt_wanted = true;
        std::signal(signal, SIG_DFL);
    };
    std::signal(SIGINT, note);
    std::signal(SIGTERM, note);
}

/// Throws `interrupted` once a signal has been noted.
inline void check_interrupt() {
    if (detail::interrupt_wanted) throw interrupted();
}

}  // namespace llm
