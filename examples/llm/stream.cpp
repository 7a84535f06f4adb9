// SPDX-License-Identifier: MIT
#include "stream.hpp"

#include "threads.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/atomic_file.hpp>
#include <nsvd/ext/checksum.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace llm {
namespace {

namespace fs = std::filesystem;
using nsvd::detail::uninterrupted;

[[noreturn]] void fail(const fs::path& path, const char* what) {
    throw nsvd::error(fmt::format("{}: {}: {}", path.string(), what, std::generic_category().message(errno)));
}

/// What another run may have left in part, or someone has changed.
[[noreturn]] void fail_damaged(const fs::path& path) {
    throw nsvd::error(
        fmt::format("{}: is damaged: remove it, and start the same command again", path.string()));
}

std::uint64_t checksum_of(const Eigen::MatrixXf& x, const journal& kept) {
    auto sum = kept.sum();
    sum.add(std::as_bytes(std::span(x.data(), static_cast<std::size_t>(x.size()))));
    return sum.value();
}

/// A descriptor that is closed, and its file removed, unless it is released.
class new_file {
public:
    explicit new_file(fs::path path) : path_(std::move(path)) {
        descriptor_ = uninterrupted(
            [&] { return ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); });
        if (descriptor_ < 0) fail(path_, "cannot be written");
    }
    new_file(const new_file&) = delete;
    new_file& operator=(const new_file&) = delete;
    ~new_file() {
        if (descriptor_ < 0) return;
        ::close(descriptor_);
        ::unlink(path_.c_str());
    }

    /// At a place counted in bytes.
    void write(std::span<const std::byte> bytes, std::size_t offset) const {
        for (auto place = static_cast<off_t>(offset); !bytes.empty();) {
            const auto written =
                uninterrupted([&] { return ::pwrite(descriptor_, bytes.data(), bytes.size(), place); });
            if (written == 0) errno = EIO;
            if (written <= 0) fail(path_, "cannot be written");
            place += written;
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
    }

    [[nodiscard]] int release_as(const fs::path& name) {
        if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0 ||
            ::rename(path_.c_str(), name.c_str()) != 0)
            fail(name, "cannot be written");
        return std::exchange(descriptor_, -1);
    }

private:
    fs::path path_;
    int descriptor_;
};

}  // namespace

text_stream::text_stream(const model& m, const weighted_windows& windows, const journal& kept,
                         std::string name)
    : model_(m), windows_(windows), journal_(kept), name_(std::move(name)) {
    for (const auto& window : windows_.windows) {
        offsets_.push_back(size_);
        size_ += window.size() * m.shape().hidden_size;
    }
}

text_stream::~text_stream() {
    if (file_ >= 0) ::close(file_);
}

std::string text_stream::file_of(std::size_t block) const {
    return fmt::format("{}-{:05}.stream", name_, block);
}

void text_stream::rewind(std::size_t block) {
    if (file_ >= 0) ::close(std::exchange(file_, -1));
    residuals_.clear();
    for (block_ = journal_.keeps() ? block : 0; block_ > 0; --block_) {
        if (!journal_.has(file_of(block_))) continue;
        const auto path = journal_.path(file_of(block_));
        if (std::error_code unreadable;
            fs::file_size(path, unreadable) != checksum_place(size()) && !unreadable)
            fail_damaged(path);
        file_ = uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
        if (file_ < 0) fail(path, "cannot be read");
        return;
    }
}

window_pass text_stream::take(std::size_t window) const {
    const auto& tokens = windows_.windows[window];
    if (block_ == 0) return model_.start(tokens);
    if (file_ < 0) return model_.start_from(residuals_[window]);
    Eigen::MatrixXf x(static_cast<Eigen::Index>(model_.shape().hidden_size),
                      static_cast<Eigen::Index>(tokens.size()));
    read(std::as_writable_bytes(std::span(x.data(), static_cast<std::size_t>(x.size()))),
         offsets_[window] * sizeof(float));
    std::uint64_t sum = 0;
    read(std::as_writable_bytes(std::span(&sum, 1)), checksum_place(window));
    if (sum != checksum_of(x, journal_)) fail_damaged(journal_.path(file_of(block_)));
    return model_.start_from(std::move(x));
}

void text_stream::read(std::span<std::byte> bytes, std::size_t offset) const {
    for (auto place = static_cast<off_t>(offset); !bytes.empty();) {
        const auto count = uninterrupted([&] { return ::pread(file_, bytes.data(), bytes.size(), place); });
        if (count < 0) fail(journal_.path(file_of(block_)), "cannot be read");
        if (count == 0)
            throw nsvd::error(journal_.path(file_of(block_)).string() + ": was cut off by another program");
        place += count;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
}

void text_stream::advance(unsigned threads, const std::function<void(std::size_t window, window_pass&)>& pass,
                          const std::function<void()>& failed) {
    const auto take_all = [&](const auto& keep) {
        parallel_for(size(), threads, [&](std::size_t i) {
            try {
                auto own = take(i);
                pass(i, own);
                keep(i, std::move(own.residual));
            } catch (...) {
                if (failed) failed();
                throw;
            }
        });
    };
    if (!journal_.keeps()) {
        std::vector<Eigen::MatrixXf> next(size());
        take_all([&](std::size_t i, Eigen::MatrixXf residual) { next[i] = std::move(residual); });
        residuals_ = std::move(next);
        ++block_;
        return;
    }
    const auto path = journal_.path(file_of(block_ + 1));
    auto temporary = path;
    temporary += ".new";
    new_file next(temporary);
    take_all([&](std::size_t i, const Eigen::MatrixXf& residual) {
        const auto numbers = std::span(residual.data(), static_cast<std::size_t>(residual.size()));
        next.write(std::as_bytes(numbers), offsets_[i] * sizeof(float));
        const auto sum = checksum_of(residual, journal_);
        next.write(std::as_bytes(std::span(&sum, 1)), checksum_place(i));
    });
    const int passed = std::exchange(file_, next.release_as(path));
    if (passed >= 0) ::close(passed);
    // The block that was just passed may have to be looked at again; those before it are done with.
    std::error_code ignored;
    if (block_ > 0) fs::remove(journal_.path(file_of(block_ - 1)), ignored);
    ++block_;
}

}  // namespace llm
