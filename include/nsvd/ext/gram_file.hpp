// SPDX-License-Identifier: MIT
/// Statistics of a layer's inputs whose Gram matrix memory has no room for. Needs nlohmann-json and POSIX.
#pragma once

#include "../calibration.hpp"
#include "../detail/blas.hpp"
#include "../detail/dense_span.hpp"
#include "atomic_file.hpp"
#include "calibration_file.hpp"
#include "checksum.hpp"
#include "safetensors.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace nsvd::inline NSVD_ABI {

/// `calibration` with the Gram matrix in a file: the file that `save_calibration` writes (raw moments, no
/// pairs), with the same numbers but for rounding, and read by the same readers.
///
/// Tokens are gathered in memory, t = memory/8n of them less a panel of the matrix, before the lower triangle
/// is read, added to and written, a panel of columns at a time: t·n² flops for 8n² bytes of reading and
/// writing together, t/8 flops a byte. (At 50 Gflop/s and a disk of 200 MB/s that wants t = 2000.) The
/// program's own memory for it is at most `memory`, beside 7 vectors of n and some kilobytes; what the system
/// keeps of the file in its cache is the system's to give up.
///
/// The file appears under its name with `commit`, complete; before that nothing of that name is touched. To
/// go on with one, make another and `merge` the first. Where reading or writing fails half-way the sums are
/// lost, and whatever is called afterwards says so (a `commit` that failed last, in flushing the folder, has
/// left the complete file). Not thread-safe.
class gram_file {
public:
    /// Empty statistics of `features` = n channels. Throws nsvd::error unless n ≥ 1, where `memory` bytes
    /// don't hold a token and a column of the matrix, where the file can't be written, and where the disk has
    /// no room for 8n² bytes.
    gram_file(std::filesystem::path path, index features, std::size_t memory = std::size_t{1} << 30);

    /// Adds the tokens in the columns of `x` (`n×t`); t·n² flops, some of them in later calls. Throws
    /// nsvd::error as `calibration::update` does, with the statistics as they were, and where the file can't
    /// be read or written.
    template <matrix X>
    void update(const X& x) {
        add(x, [](index) { return 1.0; });
    }
    /// The same with a weight for each token, as `calibration::update` takes them.
    template <matrix X, class Weights>
    requires detail::weight_range<Weights>
    void update(const X& x, const Weights& weights);

    /// Adds the statistics of a calibration in a file; reads its matrix three times. Throws nsvd::error, with
    /// nothing added, if it has another n, central moments or pairs, numbers that are not finite, more than
    /// 2^53 tokens together with those seen, or not the checksum that it says.
    void merge(const safetensors::file& other, const std::string& prefix = {});

    /// n, the channels of an input.
    [[nodiscard]] index features() const noexcept { return sum_.size(); }
    /// Columns seen, those of weight 0 excepted.
    [[nodiscard]] std::int64_t tokens() const noexcept { return tokens_; }
    /// Sum of the weights.
    [[nodiscard]] double weight() const noexcept { return weight_; }

    /// Completes the file, its checksum included, and gives it its name; nothing can be added afterwards. One
    /// more time of reading half the matrix and writing all of it. Throws nsvd::error where that fails, and
    /// where a sum has left the range of double.
    void commit();

private:
    [[nodiscard]] index width() const { return panel_.cols(); }
    [[nodiscard]] std::uint64_t place(index row, index col) const {
        return start_ + sizeof(double) * static_cast<std::uint64_t>(col * features() + row);
    }
    template <matrix X, class Weight>
    void add(const X& x, const Weight& weight);
    void require_usable() const;
    void transfer(index first, detail::dense_out<double> panel, bool write);
    template <class Add>
    void for_each_panel(const Add& add);
    void add_gathered();

    std::filesystem::path path_;
    atomic_file file_;
    std::vector<safetensors::entry> entries_;
    std::uint64_t start_ = 0;  ///< of the numbers of the matrix
    Eigen::MatrixXd gathered_;
    index count_ = 0;  ///< columns of `gathered_` that are still to be added
    Eigen::MatrixXd panel_;
    Eigen::VectorXd sum_, sum_abs_, max_abs_;
    std::int64_t tokens_ = 0;
    double weight_ = 0.0;
    bool committed_ = false;
    bool broken_ = false;  ///< something was added to a part of the sums alone
};

inline gram_file::gram_file(std::filesystem::path path, index features, std::size_t memory)
    : path_(std::move(path)), file_(path_) {
    using safetensors::dtype;
    if (features < 1)
        throw error("gram_file: features = " + std::to_string(features) + " must be at least 1");
    if (static_cast<std::size_t>(features) > memory / (2 * sizeof(double)))
        throw error("gram_file: memory = " + std::to_string(memory) + " bytes: two vectors of " +
                    std::to_string(features) + " features need " +
                    detail::text(16.0 * static_cast<double>(features)));
    const std::size_t column = sizeof(double) * static_cast<std::size_t>(features);
    const auto columns = static_cast<index>(memory / column);
    // In the order of their checksum.
    entries_ = {{"gram", dtype::F64, {features, features}},
                {"sum", dtype::F64, {features}},
                {"sum_abs", dtype::F64, {features}},
                {"max_abs", dtype::F64, {features}},
                {"weight", dtype::F64, {1}},
                {"tokens", dtype::I64, {1}},
                {"xxh3", dtype::U64, {1}}};
    const std::string header =
        safetensors::writer::header(path_, entries_, detail::calibration_metadata("2"));
    sum_ = sum_abs_ = max_abs_ = detail::zeros<double>(features, 1);
    start_ = header.size();
    file_.reserve(place(0, features) + 3 * column + 3 * sizeof(double));
    file_.write_at(0, std::as_bytes(std::span(header)));
    panel_.resize(features, std::min<index>({features, 256, std::max<index>(columns / 4, 1)}));
    gathered_.resize(features, columns - width());
}

inline void gram_file::require_usable() const {
    if (committed_) throw error("gram_file: " + path_.string() + " is committed");
    if (broken_) throw error("gram_file: " + path_.string() + ": an error before this ended it: begin again");
}

/// The columns of the matrix from `first`, below and on the diagonal.
inline void gram_file::transfer(index first, detail::dense_out<double> panel, bool write) {
    for (index j = 0; j < panel.cols(); ++j) {
        const std::span<double> numbers(panel.col(j) + j, static_cast<std::size_t>(panel.rows() - j));
        if (write)
            file_.write_at(place(first + j, first + j), std::as_bytes(numbers));
        else
            file_.read_at(place(first + j, first + j), std::as_writable_bytes(numbers));
    }
}

/// Calls `add` with each panel of the lower triangle and the number of its first column.
template <class Add>
void gram_file::for_each_panel(const Add& add) {
    const index n = features();
    for (index first = 0; first < n; first += width()) {
        const detail::dense_span<double> panel =
            detail::dense_span<double>(panel_).block(0, 0, n - first, std::min(width(), n - first));
        transfer(first, panel, false);
        add(panel, first);
        transfer(first, panel, true);
    }
}

inline void gram_file::add_gathered() {
    if (count_ == 0) return;
    broken_ = true;
    const detail::dense_span<const double> x = detail::dense_span<const double>(gathered_).leftCols(count_);
    for_each_panel([&](detail::dense_out<double> panel, index first) {
        const index width = panel.cols();
        const detail::dense_span<const double> rows = x.middleRows(first, width);
        detail::add_gram_lower<double>(panel.topRows(width), rows, detail::op::none);
        detail::multiply_into<double>(panel.bottomRows(panel.rows() - width),
                                      x.bottomRows(panel.rows() - width), detail::op::none, rows,
                                      detail::op::transpose, detail::into::add);
    });
    count_ = 0;
    broken_ = false;
}

template <matrix X, class Weights>
requires detail::weight_range<Weights>
void gram_file::update(const X& x, const Weights& weights) {
    add(x, detail::checked_weights(weights, detail::extent(x).second, "gram_file.update"));
}

template <matrix X, class Weight>
void gram_file::add(const X& x, const Weight& weight) {
    require_usable();
    detail::with_expression(x, [&](const auto& b) {
        detail::require_inputs(b, features(), weight, "gram_file.update", "x");
        Eigen::VectorXd token(features());
        for (index t = 0; t < b.cols(); ++t) {
            const double w = weight(t);
            if (w == 0.0) continue;
            if (count_ == gathered_.cols()) add_gathered();
            token = b.col(t).template cast<double>();
            double* const column = gathered_.data() + count_++ * features();
            for (index i = 0; i < features(); ++i) {
                const double value = token.data()[i];
                const double size = std::abs(value);
                sum_.data()[i] += w * value;
                sum_abs_.data()[i] += w * size;
                max_abs_.data()[i] = std::max(max_abs_.data()[i], size);
                column[i] = std::sqrt(w) * value;
            }
            ++tokens_;
            weight_ += w;
        }
    });
}

inline void gram_file::merge(const safetensors::file& other, const std::string& prefix) {
    require_usable();
    const std::string where = "gram_file.merge: " + other.path().string();
    check_calibration(other, prefix);
    for (const char* name : {"central_gram", "cross", "central_cross", "sum_original"})
        if (other.contains(prefix + name)) throw error(where + ": has '" + prefix + name + "'");
    const auto tensor = [&](const char* name, std::vector<std::int64_t> shape,
                            safetensors::dtype type = safetensors::dtype::F64) -> const auto& {
        const safetensors::view& t = other.at(prefix + name);
        if (t.dtype != type || t.shape != shape)
            throw error(where + ": '" + prefix + name + "' does not belong to a calibration of " +
                        std::to_string(features()) + " features");
        return t;
    };
    const index n = features();
    const auto vector = [&](const char* name, index size) {
        Eigen::MatrixXd values = safetensors::to_matrix<double>(tensor(name, {size}));
        detail::require_finite_entries<double>(values, (where + ": " + name).c_str());
        return values;
    };
    const Eigen::MatrixXd sum = vector("sum", n);
    const Eigen::MatrixXd sum_abs = vector("sum_abs", n);
    const Eigen::MatrixXd max_abs = vector("max_abs", n);
    const double weight = vector("weight", 1)(0, 0);
    std::int64_t tokens = 0;
    std::memcpy(&tokens, tensor("tokens", {1}, safetensors::dtype::I64).bytes.data(), sizeof tokens);
    if (weight < 0.0 || tokens < 0 || (tokens == 0) != (weight == 0.0) ||
        weight > detail::weight_limit * static_cast<double>(tokens))
        throw error(where + ": tokens = " + std::to_string(tokens) + " with weight " + detail::text(weight));
    if (tokens > detail::most_tokens - tokens_)
        throw error(where + ": tokens = " + std::to_string(tokens) + " beside " + std::to_string(tokens_) +
                    " are too many");
    safetensors::visit_matrix(tensor("gram", {n, n}), [&](const auto& gram) {
        // Symmetric: its rows are columns.
        const auto columns = [&](index first, index count) {
            return detail::dense_span<const double>(reinterpret_cast<const double*>(gram.data), n, n, n)
                .block(first, first, n - first, count);
        };
        for (index first = 0; first < n; first += width())
            detail::require_finite_entries<double>(columns(first, std::min(width(), n - first)),
                                                   (where + ": gram").c_str());
        broken_ = true;
        for_each_panel([&](detail::dense_out<double> panel, index first) {
            detail::add_multiple<double>(panel, 1.0, columns(first, panel.cols()));
        });
    });
    detail::add_multiple<double>(sum_, 1.0, sum);
    detail::add_multiple<double>(sum_abs_, 1.0, sum_abs);
    for (index i = 0; i < n; ++i)
        max_abs_(i) = std::max(max_abs_(i), max_abs(i, 0));
    tokens_ += tokens;
    weight_ += weight;
    broken_ = false;
}

inline void gram_file::commit() {
    require_usable();
    add_gathered();
    broken_ = true;  // until there is no more to fail
    const index n = features();
    // Above the diagonal, as many columns at a time as there is memory for: a read for each row of them.
    const index columns = std::min(n, width() + gathered_.cols());
    panel_.resize(0, 0);
    gathered_.resize(0, 0);
    Eigen::MatrixXd memory(n, columns);
    checksum sum;
    const auto add_head = [&](const safetensors::entry& e) { sum.add_head(e.name, e.dtype, e.shape); };
    add_head(entries_.front());
    sum.begin(place(0, n) - start_);
    std::vector<double> row(static_cast<std::size_t>(columns));
    for (index first = 0; first < n; first += columns) {
        const index width = std::min(columns, n - first);
        const detail::dense_span<double> panel = detail::dense_span<double>(memory).leftCols(width);
        transfer(first, panel.bottomRows(n - first), false);
        detail::mirror_lower<double>(panel.block(first, 0, width, width));
        for (index i = 0; i < first; ++i) {
            file_.read_at(place(first, i),
                          std::as_writable_bytes(std::span(row).first(static_cast<std::size_t>(width))));
            for (index j = 0; j < width; ++j)
                panel(i, j) = row[static_cast<std::size_t>(j)];
        }
        detail::require_finite_entries<double>(panel, "gram_file: gram");  // sums may leave the range
        const auto bytes = std::as_bytes(std::span(panel.data(), static_cast<std::size_t>(panel.size())));
        file_.write_at(place(0, first), bytes);
        sum.go_on(bytes);
    }
    std::uint64_t end = place(0, n);
    auto entry = entries_.begin();
    const auto append = [&](const auto* numbers, index count) {
        const auto bytes = std::as_bytes(std::span(numbers, static_cast<std::size_t>(count)));
        add_head(*++entry);
        sum.add(bytes);
        file_.write_at(end, bytes);
        end += bytes.size();
    };
    for (const Eigen::VectorXd* vector : {&sum_, &sum_abs_, &max_abs_}) {
        detail::require_finite_entries<double>(*vector, "gram_file: channel sums");
        append(vector->data(), n);
    }
    append(&weight_, 1);
    append(&tokens_, 1);
    const std::uint64_t value = sum.value();
    file_.write_at(end, std::as_bytes(std::span(&value, 1)));
    file_.commit();
    committed_ = true;
}

}  // namespace nsvd::inline NSVD_ABI
