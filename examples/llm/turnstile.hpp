// SPDX-License-Identifier: MIT
/// Order among threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

namespace llm {

/// Lets the windows update a site in their order. Windows start in order and meet the sites in order, so the
/// first one still on its way never waits, and the others follow close behind it.
class turnstile {
public:
    explicit turnstile(std::size_t sites) : next_(sites, 0) {}

    template <class Update>
    void pass(std::size_t site, std::size_t window, const Update& update) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return next_[site] == window || closed_; });
            if (closed_) return;
        }
        update();
        const std::lock_guard lock(mutex_);
        ++next_[site];
        changed_.notify_all();
    }

    /// Nobody waits any more: for a window that failed.
    void close() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::size_t> next_;
    bool closed_ = false;
};

}  // namespace llm
