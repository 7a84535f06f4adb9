// SPDX-License-Identifier: MIT
/// Memory that one decomposition leaves to the next.
#pragma once

#include "detail/dense_span.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

namespace detail {
class scratch;
}

/// The large intermediate matrices of a decomposition, kept for the next one, so that a loop over the layers
/// of a model asks the system for memory once. Give it to calls by the option `workspace`; without one each
/// call allocates and frees its own. Results never depend on it. Not thread-safe: one for each thread.
class workspace {
public:
    workspace() = default;
    workspace(const workspace&) = delete;
    workspace& operator=(const workspace&) = delete;

    /// Gives the memory back to the system.
    void release() noexcept { free_.clear(); }
    /// Bytes held for the next call.
    [[nodiscard]] std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (const Eigen::VectorXf& block : free_)
            sum += static_cast<std::size_t>(block.size()) * sizeof(float);
        return sum;
    }

private:
    friend class detail::scratch;
    std::vector<Eigen::VectorXf> free_;
};

namespace detail {

/// A `float` matrix on loan from a workspace. Its entries are undefined at first.
class scratch {
public:
    [[gnu::noinline]] scratch(workspace& pool, index rows, index cols)
        : pool_(&pool), rows_(rows), cols_(cols) {
        auto& free = pool.free_;
        const index size = rows * cols;
        // The smallest block that is large enough, else the largest of all, which grows.
        auto best = free.end();
        for (auto block = free.begin(); block != free.end(); ++block) {
            const bool fits = block->size() >= size;
            if (best == free.end() || (fits ? best->size() < size || block->size() < best->size()
                                            : best->size() < size && block->size() > best->size()))
                best = block;
        }
        if (best != free.end()) {
            memory_ = std::move(*best);
            free.erase(best);
        }
        if (memory_.size() >= size) return;
        // Freed before more is asked for. In two steps: Eigen would keep the freed pointer where that fails.
        memory_.resize(0);
        memory_.resize(size);
    }
    scratch(scratch&& other) noexcept { *this = std::move(other); }
    scratch& operator=(scratch&& other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(rows_, other.rows_);
        std::swap(cols_, other.cols_);
        memory_.swap(other.memory_);
        return *this;
    }
    ~scratch() {
        if (pool_ == nullptr || memory_.size() == 0) return;
        try {
            pool_->free_.push_back(std::move(memory_));
        } catch (...) {  // no memory for the list: the block is freed
        }
    }

    [[nodiscard]] dense_span<float> span() { return {memory_.data(), rows_, cols_, rows_}; }
    [[nodiscard]] dense_span<const float> span() const { return {memory_.data(), rows_, cols_, rows_}; }

private:
    workspace* pool_ = nullptr;
    index rows_ = 0;
    index cols_ = 0;
    Eigen::VectorXf memory_;
};

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
