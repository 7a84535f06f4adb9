// SPDX-License-Identifier: MIT
/// Work spread over threads, with BLAS kept to one thread meanwhile.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

// Null unless the program is linked to OpenBLAS.
extern "C" {
[[gnu::weak]] void openblas_set_num_threads(int);
[[gnu::weak]] int openblas_get_num_threads();
}

namespace llm {

/// OpenBLAS runs on so many threads while this lives; with another BLAS, or none, it does nothing.
class blas_threads {
public:
    /// 0: one a processor.
    explicit blas_threads(unsigned threads) {
        if (!openblas_set_num_threads || !openblas_get_num_threads) return;
        threads_ = openblas_get_num_threads();
        if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
        openblas_set_num_threads(static_cast<int>(threads));
    }
    blas_threads(const blas_threads&) = delete;
    blas_threads& operator=(const blas_threads&) = delete;
    ~blas_threads() {
        if (threads_ != 0) openblas_set_num_threads(threads_);
    }

private:
    int threads_ = 0;
};

/// OpenBLAS runs on one thread while any of these lives, from whatever thread; then on as many as before.
class single_threaded_blas {
public:
    single_threaded_blas() {
        const std::lock_guard lock(mutex_);
        if (alive_++ == 0) guard_.emplace(1U);
    }
    single_threaded_blas(const single_threaded_blas&) = delete;
    single_threaded_blas& operator=(const single_threaded_blas&) = delete;
    ~single_threaded_blas() {
        const std::lock_guard lock(mutex_);
        if (--alive_ == 0) guard_.reset();
    }

private:
    static inline std::mutex mutex_;
    static inline int alive_ = 0;
    static inline std::optional<blas_threads> guard_;
};

/// One a processor.
[[nodiscard]] inline unsigned default_threads() {
    return std::max(1U, std::thread::hardware_concurrency());
}

/// Whether this thread works for a loop.
inline thread_local bool in_parallel_for = false;

/// Calls `work(i)` for 0 … count−1, started in this order on `threads` threads (0: one a processor), or on
/// this one alone within another such loop. The first exception stops what has not started and is thrown
/// again here.
template <class Work>
void parallel_for(std::size_t count, unsigned threads, const Work& work) {
    const single_threaded_blas guard;
    std::atomic<std::size_t> next = 0;
    std::mutex mutex;
    std::exception_ptr failure;
    const bool within = in_parallel_for;
    const auto run = [&] {
        in_parallel_for = true;
        for (std::size_t i = next++; i < count; i = next++) {
            try {
                work(i);
            } catch (...) {
                const std::lock_guard lock(mutex);
                if (!failure) failure = std::current_exception();
                next = count;
            }
        }
    };
    if (threads == 0) threads = default_threads();
    if (within) threads = 1;
    const auto helpers = std::min<std::size_t>(threads, std::max<std::size_t>(count, 1)) - 1;
    {
        std::vector<std::jthread> pool;
        for (std::size_t i = 0; i < helpers; ++i)
            pool.emplace_back(run);
        run();
        in_parallel_for = within;
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace llm
