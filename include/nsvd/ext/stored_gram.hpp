// SPDX-License-Identifier: MIT
/// The Gram matrix of a calibration in a file as a metric. Needs nlohmann-json and POSIX.
#pragma once

#include "../detail/dense_span.hpp"
#include "../metric.hpp"
#include "calibration_file.hpp"
#include "safetensors.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

namespace nsvd::inline NSVD_ABI {

/// The metric `C + blend·(tr C / n)·I` of a calibration file (`save_calibration`, `gram_file`), whose matrix
/// stays in the file: it is mapped, and read where it is needed. `C` is about what the file has moments
/// about. Cheap to copy. The whole file is read once, for its checksum; beyond that only shapes, the diagonal
/// and the count of tokens are looked at here. That a file without a checksum (version 1) has a number that
/// is not finite shows when it is used, and that it is symmetric is not checked: one triangle is read.
class stored_gram {
public:
    /// `prefix` precedes the names of the tensors. Throws nsvd::error for a file that can't be read, without
    /// such tensors, with another checksum or without tokens, a diagonal that is negative or not finite,
    /// `whitening::diagonal`, and a blend that is not finite and ≥ 0, or makes a shift that is not finite.
    explicit stored_gram(const std::filesystem::path& path, whitening kind = whitening::cholesky,
                         double blend = 0.0, const std::string& prefix = {})
        : file_(std::make_shared<const safetensors::file>(path)), kind_(kind) {
        const auto fail = [&](const std::string& what) {
            throw error("stored_gram: " + path.string() + ": " + what);
        };
        detail::require_not_negative("stored_gram: blend", blend);
        if (kind == whitening::diagonal) fail("a Gram matrix has a cholesky or an eigen factor");
        check_calibration(*file_, prefix);
        const bool central = file_->contains(prefix + "central_gram");
        const std::string gram = prefix + (central ? "central_gram" : "gram");
        const safetensors::view& t = file_->at(gram);
        const safetensors::view& count = file_->at(prefix + "tokens");
        if (t.dtype != safetensors::dtype::F64 || t.shape.size() != 2 || t.shape[0] != t.shape[1] ||
            t.shape[0] < 1)
            fail("tensor '" + gram + "' is not a square matrix of F64");
        std::int64_t tokens = 0;
        if (count.dtype != safetensors::dtype::I64 || count.bytes.size() != sizeof tokens)
            fail("tokens are not one number of I64");
        std::memcpy(&tokens, count.bytes.data(), sizeof tokens);
        if (tokens < 1) fail("no tokens");
        safetensors::visit_matrix(t, [&](const auto& view) {
            values_ = reinterpret_cast<const double*>(view.data);
            size_ = view.rows;
        });
        for (index i = 0; i < size_; ++i) {
            const double entry = values_[i * (size_ + 1)];
            if (!(entry >= 0.0 && std::isfinite(entry)))
                fail(gram + "(" + std::to_string(i) + ", " + std::to_string(i) +
                     ") = " + detail::text(entry));
        }
        shift_ = detail::blend_shift(blend, detail::dense_span<const double>(values_, size_, size_, size_),
                                     "stored_gram: " + path.string());
        const auto rank = std::min<std::int64_t>(tokens - (central ? 1 : 0), size_);
        rank_limit_ = shift_ > 0.0 ? size_ : static_cast<index>(rank);
        name_ = std::string(central ? "central gram" : "gram") +
                (kind == whitening::cholesky ? " (cholesky)" : " (eigen)");
    }

    /// n.
    [[nodiscard]] index size() const noexcept { return size_; }
    /// What is added to the diagonal.
    [[nodiscard]] double shift() const noexcept { return shift_; }
    /// What the rank of the metric is at most.
    [[nodiscard]] index rank_limit() const noexcept { return rank_limit_; }
    /// Which factor is made of it where one is needed.
    [[nodiscard]] whitening kind() const noexcept { return kind_; }
    /// What `info` calls it.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// The file.
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_->path(); }
    /// The matrix without the shift, both triangles, in the file.
    [[nodiscard]] strided_view<double> values() const noexcept { return {values_, size_, size_, 1, size_}; }

private:
    std::shared_ptr<const safetensors::file> file_;
    const double* values_ = nullptr;
    index size_ = 0;
    double shift_ = 0.0;
    index rank_limit_ = 0;
    whitening kind_;
    std::string name_;
};

}  // namespace nsvd::inline NSVD_ABI
