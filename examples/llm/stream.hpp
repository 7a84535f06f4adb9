// SPDX-License-Identifier: MIT
/// Text on its way through a model, block by block.
#pragma once

#include "journal.hpp"
#include "model.hpp"
#include "windows.hpp"

#include <Eigen/Core>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace llm {

/// Windows of tokens that all stand before the same block. Their residual streams (hidden_size × tokens of
/// single precision) lie in a file of the journal, or in memory where there is none. The files before the
/// last two blocks are kept, so that a run that is started again need not begin at the first.
class text_stream {
public:
    /// Before the first block. `name` tells the files of several streams apart.
    text_stream(const model& m, const weighted_windows& windows, const journal& kept, std::string name);
    ~text_stream();
    text_stream(const text_stream&) = delete;
    text_stream& operator=(const text_stream&) = delete;

    [[nodiscard]] std::size_t block() const { return block_; }
    [[nodiscard]] std::size_t size() const { return windows_.windows.size(); }
    [[nodiscard]] double weight(std::size_t window) const { return windows_.weights[window]; }

    /// Goes to the block given, or the nearest before it that is at hand. Throws nsvd::error where a file
    /// can't be read.
    void rewind(std::size_t block);
    /// Window number `window`, before the block. From any thread.
    [[nodiscard]] window_pass take(std::size_t window) const;
    /// Calls `pass` with all windows, which takes each through the block (and may look at it meanwhile), and
    /// stands before the next one. Windows start in order, on `threads` threads; `failed` is called where one
    /// doesn't get through, before the error is thrown, so that others need not wait for it.
    void advance(unsigned threads, const std::function<void(std::size_t window, window_pass&)>& pass,
                 const std::function<void()>& failed = {});

private:
    [[nodiscard]] std::string file_of(std::size_t block) const;
    /// In a file, all windows are followed by a checksum of each.
    [[nodiscard]] std::size_t checksum_place(std::size_t window) const {
        return size_ * sizeof(float) + window * sizeof(std::uint64_t);
    }
    void read(std::span<std::byte> bytes, std::size_t offset) const;

    const model& model_;
    const weighted_windows& windows_;
    const journal& journal_;
    std::string name_;
    std::vector<std::size_t> offsets_;  // of the windows, in numbers
    std::size_t size_ = 0;              // numbers of all windows
    std::size_t block_ = 0;
    std::vector<Eigen::MatrixXf> residuals_;  // without a journal, after the first block
    int file_ = -1;                           // with one, after the first block
};

}  // namespace llm
