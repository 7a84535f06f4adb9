// SPDX-License-Identifier: MIT
/// How `out_of_core::decompose` does it: one decomposition of a matrix that is read a panel at a time. Needs
/// nlohmann-json and POSIX.
#pragma once

#include "../decompose.hpp"
#include "../detail/panel_qr.hpp"
#include "../rank/fixed_rank.hpp"
#include "file_access.hpp"
#include "out_of_core_options.hpp"
#include "stored_gram.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace nsvd::inline NSVD_ABI::out_of_core::detail {

using namespace nsvd::detail;

/// A matrix as the panels of its longer side see it: `rows` of `W`, or of `Wᵀ` where that has more.
struct panel_source {
    shape whole;  ///< of W
    /// Rows of the taller of the two from `first` on.
    std::function<void(index first, dense_span<double> to)> read;

    [[nodiscard]] bool wide() const { return whole.cols > whole.rows; }
    [[nodiscard]] index side() const { return whole.full_rank(); }
    [[nodiscard]] index length() const { return std::max(whole.rows, whole.cols); }
};

template <class Expression>
[[nodiscard]] panel_source panels_of(const Expression& w) {
    return {{w.rows(), w.cols()}, [&w](index first, dense_span<double> to) {
                if (w.cols() > w.rows())
                    to.matrix() = w.middleCols(first, to.rows()).transpose().template cast<double>();
                else
                    to.matrix() = w.middleRows(first, to.rows()).template cast<double>();
            }};
}

/// What becomes of the factors: told their rank, then rows of `left` and of `rightᵀ`, in any order.
struct factor_sink {
    bool single = false;  ///< whether they are `float`
    std::function<void(index rank)> begin;
    std::function<void(index first, dense_span<const double> rows)> left;
    std::function<void(index first, dense_span<const double> rows)> right;
};

/// One decomposition.
class panel_decomposition {
public:
    panel_decomposition(const panel_source& w, std::span<const stage> stages, const options& how,
                        const char* where)
        : w_(w), stages_(stages), how_(how), where_(where) {
        check();
    }

    /// `known` and `choose` as `projection_builder` takes them.
    [[nodiscard]] decomposition_info run(std::optional<index> known,
                                         const std::function<index(const spectrum&)>& choose,
                                         const factor_sink& sink);

private:
    struct panel {
        index first;
        index count;
    };
    [[nodiscard]] dense_span<double> buffer(std::vector<double>& memory, index rows, index cols) const {
        memory.resize(static_cast<std::size_t>(rows * cols));
        return {memory.data(), rows, cols, rows};
    }
    /// Rows of the scratch file, which has panels one after the other.
    [[nodiscard]] std::uint64_t place(index row) const {
        return sizeof(double) * static_cast<std::uint64_t>(row * w_.side());
    }
    void save(index first, dense_span<const double> rows) {
        scratch_->write(place(first),
                        std::as_bytes(std::span(rows.data(), static_cast<std::size_t>(rows.size()))));
    }
    void load(index first, dense_span<double> rows) const {
        scratch_->read(place(first),
                       std::as_writable_bytes(std::span(rows.data(), static_cast<std::size_t>(rows.size()))));
    }
    [[nodiscard]] static std::vector<panel> panels(index first, index last, index rows) {
        std::vector<panel> all;
        for (; first < last; first += rows)
            all.push_back({first, std::min(rows, last - first)});
        return all;
    }
    void poll() const {
        if (how_.cancel.requested()) throw cancelled(std::string(where_) + ": cancelled");
    }
    [[nodiscard]] bool wants_basis() const;
    void check() const;
    static void scale(dense_span<double> a, int exponent);
    void read(index first, dense_span<double> to) const;
    void find_scale();
    [[nodiscard]] Eigen::MatrixXd triangle();
    void expand(dense_span<double> c, const std::function<void(index, dense_span<double>)>& take);
    [[nodiscard]] Eigen::MatrixXd reduced(dense_span<const double> lower);
    [[nodiscard]] Eigen::MatrixXd reduced(const whitening_factor& factor);
    [[nodiscard]] std::vector<nsvd::stage> metrics_of_side();

    const panel_source& w_;
    std::span<const stage> stages_;
    const options& how_;
    const char* where_;
    index rows_ = 0;    ///< of a panel
    int exponent_ = 0;  ///< what is read is W / 2^exponent
    std::optional<scratch_file> scratch_;
    std::vector<double> tau_;  ///< of the reflectors of one panel
    std::vector<panel> tall_;  ///< the panels after the first `side` rows
};

inline void panel_decomposition::check() const {
    require_nonempty(w_.whole.rows, w_.whole.cols, (std::string(where_) + ": W").c_str());
    std::vector<nsvd::stage> shares;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        const std::string name = std::string(where_) + ": stage " + std::to_string(i + 1);
        nsvd::stage like{nsvd::metric(), stages_[i].share};
        if (const auto* m = std::get_if<nsvd::metric>(&stages_[i].by)) like.by = *m;
        if (const auto* m = std::get_if<stored_gram>(&stages_[i].by);
            m != nullptr && m->size() != w_.whole.cols)
            throw error(name + ": the metric is for " + std::to_string(m->size()) + " features but W has " +
                        std::to_string(w_.whole.cols) + " columns");
        if (std::holds_alternative<column_selection>(stages_[i].by) && w_.wide())
            throw error(name + ": selects columns, of which " + shape_text(w_.whole.rows, w_.whole.cols) +
                        " has more than rows: they are not all in memory; only m ≥ n can do that");
        shares.push_back(std::move(like));
    }
    check_stages(shares, w_.whole.cols, where_);
}

/// Whether Q_w is needed for more than the triangle.
inline bool panel_decomposition::wants_basis() const {
    if (w_.length() == w_.side()) return false;
    if (!w_.wide()) return true;
    return std::any_of(stages_.begin(), stages_.end(), [](const stage& s) {
        const auto* m = std::get_if<nsvd::metric>(&s.by);
        return m == nullptr || !m->is_identity();
    });
}

/// `A ← A·2^exponent`. In two steps, since 2^exponent itself can be out of range where the product is not.
inline void panel_decomposition::scale(dense_span<double> a, int exponent) {
    for (const int part : {exponent / 2, exponent - exponent / 2}) {
        const std::vector<double> factor(static_cast<std::size_t>(a.cols()), std::ldexp(1.0, part));
        assign_scaled<double, double>(a, a, factor.data());
    }
}

inline void panel_decomposition::read(index first, dense_span<double> to) const {
    poll();
    w_.read(first, to);
    if (exponent_ != 0) scale(to, -exponent_);
}

/// One pass over W, which checks it.
inline void panel_decomposition::find_scale() {
    std::vector<double> memory;
    double largest = 0.0;
    for (const panel& p : panels(0, w_.length(), rows_)) {
        const dense_span<double> part = buffer(memory, p.count, w_.side());
        read(p.first, part);
        const double most = largest_entry<double>(part);
        largest = std::max(largest, most);
        if (std::isfinite(most)) continue;
        for (index j = 0; j < part.cols(); ++j)
            for (index i = 0; i < part.rows(); ++i)
                if (!std::isfinite(part(i, j)))
                    throw_not_finite((std::string(where_) + ": W").c_str(), w_.wide() ? j : p.first + i,
                                     w_.wide() ? p.first + i : j, part(i, j));
    }
    exponent_ = binary_exponent(largest);
}

/// R of the QR factorization of the taller of W and Wᵀ (`side×side`), zeros below; the reflectors are in the
/// scratch file. W itself where that is square.
inline Eigen::MatrixXd panel_decomposition::triangle() {
    const index side = w_.side();
    Eigen::MatrixXd r(side, side);
    read(0, r);
    if (w_.length() == side) return r;
    tall_ = panels(side, w_.length(), rows_);
    const auto count = static_cast<index>(tall_.size());
    if (wants_basis())
        scratch_.emplace(how_.scratch.empty() ? std::filesystem::temp_directory_path() : how_.scratch,
                         place(w_.length() + 1 + count));
    tau_.resize(static_cast<std::size_t>(side));
    const auto keep = [&](index first, dense_span<const double> reflectors, index number) {
        if (!scratch_) return;
        save(first, reflectors);
        save(w_.length() + number, {tau_.data(), 1, side, 1});
    };
    // The first rows as they are: a triangle of zeros to start from would take directions of a singular W.
    qr_in_place<double>(r, tau_.data());
    keep(0, r, 0);
    for (index j = 0; j < side; ++j)
        std::fill_n(r.data() + j * side + j + 1, side - j - 1, 0.0);
    std::vector<double> memory;
    for (index p = 0; p < count; ++p) {
        const auto [first, rows] = tall_[static_cast<std::size_t>(p)];
        const dense_span<double> part = buffer(memory, rows, side);
        read(first, part);
        absorb_panel(r, part, tau_.data());
        keep(first, part, p + 1);
    }
    return r;
}

/// Calls `take` with the rows of `Q_w C`, the last panel first. Overwrites `c` (`side×k`), and Q_w may take
/// the place of the reflectors.
inline void panel_decomposition::expand(dense_span<double> c,
                                        const std::function<void(index, dense_span<double>)>& take) {
    const index side = w_.side();
    std::vector<double> memory;
    std::vector<double> below;
    const auto load_tau = [&](index number) { load(w_.length() + number, {tau_.data(), 1, side, 1}); };
    for (auto p = static_cast<index>(tall_.size()) - 1; p >= 0; --p) {
        poll();
        const auto [first, rows] = tall_[static_cast<std::size_t>(p)];
        const dense_span<double> reflectors = buffer(memory, rows, side);
        const dense_span<double> d = buffer(below, rows, c.cols());
        load(first, reflectors);
        load_tau(p + 1);
        set_constant<double>(d, 0.0);
        apply_panel(reflectors, tau_.data(), c, d);
        take(first, d);
    }
    memory = {};
    below = {};
    Eigen::MatrixXd reflectors(side, side);
    load(0, reflectors);
    load_tau(0);
    apply_reflectors<double>(reflectors, tau_.data(), side, 0, c, op::none);
    take(0, c);
}

/// `Q_wᵀ M Q_w` for an M of which the lower triangle is read, once; Q_w is in the scratch file. l²s + 2ls²
/// flops.
inline Eigen::MatrixXd panel_decomposition::reduced(dense_span<const double> lower) {
    const index side = w_.side();
    Eigen::MatrixXd result = zeros<double>(side, side);
    std::vector<double> own, others, product, square;
    std::vector<panel> all = panels(0, side, rows_);
    all.insert(all.end(), tall_.begin(), tall_.end());
    for (const panel& row : all) {
        poll();
        const dense_span<double> q = buffer(own, row.count, side);
        const dense_span<double> y = buffer(product, row.count, side);
        load(row.first, q);
        // Half of M, with half of its diagonal: M is that and its transpose.
        const dense_span<double> half = buffer(square, row.count, row.count);
        assign<double, double>(half, lower.block(row.first, row.first, row.count, row.count));
        clear_above_diagonal<double>(half);
        for (index i = 0; i < row.count; ++i)
            half(i, i) *= 0.5;
        multiply_into<double>(y, half, op::none, q, op::none);
        for (const panel& column : all) {
            if (column.first >= row.first) break;
            const dense_span<double> other = buffer(others, column.count, side);
            load(column.first, other);
            multiply_into<double>(y, lower.block(row.first, column.first, row.count, column.count), op::none,
                                  other, op::none, into::add);
        }
        add_symmetric_lower<double>(result, q, y, op::transpose);
    }
    return result;
}

/// The same for a metric that is held as a factor.
inline Eigen::MatrixXd panel_decomposition::reduced(const whitening_factor& factor) {
    const index side = w_.side();
    const bool diagonal = factor.kind == whitening::diagonal;
    Eigen::MatrixXd result = zeros<double>(side, side);
    Eigen::MatrixXd product = zeros<double>(diagonal ? 0 : side, diagonal ? 0 : factor.cols());
    std::vector<double> memory;
    std::vector<panel> all = panels(0, side, rows_);
    all.insert(all.end(), tall_.begin(), tall_.end());
    for (const panel& row : all) {
        poll();
        const dense_span<double> q = buffer(memory, row.count, side);
        load(row.first, q);
        scale_rows<double>(q, factor.scale.data() + row.first);
        if (diagonal)
            add_gram_lower<double>(result, q, op::transpose);
        else
            multiply_into<double>(product, q, op::transpose,
                                  dense_span<const double>(factor.basis).middleRows(row.first, row.count),
                                  op::none, into::add);
    }
    add_gram_lower<double>(result, product, op::none);
    return result;
}

/// The stages as `decompose` takes them for the triangle.
inline std::vector<nsvd::stage> panel_decomposition::metrics_of_side() {
    std::vector<nsvd::stage> result;
    const index side = w_.side();
    const bool reduce = wants_basis() && w_.wide();
    if (reduce) {
        Eigen::MatrixXd c = zeros<double>(side, side);
        for (index i = 0; i < side; ++i)
            c(i, i) = 1.0;
        // Q_w in the place of the reflectors, the first `side` rows in panels too.
        std::vector<double> memory;
        expand(c, [&](index first, dense_span<double> rows) {
            for (const panel& p : panels(0, rows.rows(), rows_)) {
                const dense_span<double> part = buffer(memory, p.count, side);
                assign<double, double>(part, rows.middleRows(p.first, p.count));
                save(first + p.first, part);
            }
        });
    }
    for (const stage& s : stages_) {
        const auto* given = std::get_if<nsvd::metric>(&s.by);
        const auto* stored = std::get_if<stored_gram>(&s.by);
        if (given == nullptr && stored == nullptr) {
            result.push_back({column_selection{}, s.share});
            continue;
        }
        if (given != nullptr && (given->is_identity() || !reduce)) {
            result.push_back({*given, s.share});
            continue;
        }
        if (stored != nullptr) {
            const auto v = stored->values();
            const dense_span<const double> c(v.data, v.rows, v.cols, v.col_stride);
            Eigen::MatrixXd m = reduce ? reduced(c) : converted<double, double>(c);
            require_finite_entries<double>(
                m, (stored->path().string() + ": gram, reduced to the smaller side: M").c_str());
            result.push_back({nsvd::metric(std::move(m), stored->shift(), stored->kind(),
                                           std::min(side, stored->rank_limit()), stored->name()),
                              s.share});
            continue;
        }
        const index limit = std::min(side, given->rank_limit(given->size()));
        Eigen::MatrixXd m = given->has_matrix() ? reduced(dense_span<const double>(given->lower()))
                                                : reduced(given->factor());
        result.push_back({nsvd::metric(std::move(m), given->has_matrix() ? given->shift() : 0.0,
                                       whitening::cholesky, limit, given->name()),
                          s.share});
    }
    return result;
}

inline decomposition_info panel_decomposition::run(std::optional<index> known,
                                                   const std::function<index(const spectrum&)>& choose,
                                                   const factor_sink& sink) {
    const auto start = std::chrono::steady_clock::now();
    index count = 0;
    std::size_t factors = 0;  // of a metric that is held as one, times Q_w
    for (const stage& s : stages_) {
        const auto* m = std::get_if<nsvd::metric>(&s.by);
        if (std::holds_alternative<column_selection>(s.by) || (m != nullptr && m->is_identity())) continue;
        ++count;
        if (m != nullptr && !m->has_matrix() && m->factor().kind != whitening::diagonal && w_.wide())
            factors = std::max(factors, static_cast<std::size_t>(w_.side() * m->factor().cols()));
    }
    memory_plan plan(w_.side(), count);
    plan.fixed += factors;
    if (how_.memory < plan.needed())
        throw error(std::string(where_) + ": memory = " + std::to_string(how_.memory) +
                    " bytes: " + shape_text(w_.whole.rows, w_.whole.cols) + " with " + std::to_string(count) +
                    " metrics needs " + std::to_string(plan.needed()));
    rows_ = plan.rows(how_.memory, w_.side());
    find_scale();

    low_rank<double> small = [&] {
        Eigen::MatrixXd r = triangle();
        std::vector<nsvd::stage> metrics = metrics_of_side();
        if (w_.wide()) r.transposeInPlace();
        scale_by_power(r, exponent_);
        require_finite_entries<double>(
            r, (std::string(where_) + ": W is too large, the triangle of its QR").c_str());
        const decompose_options inner{
            .accuracy = how_.accuracy, .progress = how_.progress, .cancel = how_.cancel};
        if (known)
            return nsvd::detail::decompose(r, std::span<const nsvd::stage>(metrics), nsvd::rank{*known},
                                           inner, where_);
        return nsvd::detail::decompose(
            r, std::span<const nsvd::stage>(metrics),
            [&](const spectrum& values, const shape&) { return choose(values); }, inner, where_);
    }();
    if (w_.wide()) {
        // That a metric has less than full rank shows in the small one only where it is less than the side.
        const stage& first = stages_.front();
        const auto* m = std::get_if<nsvd::metric>(&first.by);
        const index rank =
            m != nullptr ? m->rank_limit(w_.whole.cols) : std::get<stored_gram>(first.by).rank_limit();
        if (rank < w_.whole.cols) small.info.status = std::max(small.info.status, status::singular_metric);
    }

    sink.begin(small.rank());
    if (sink.single) small.left = converted<double, float>(converted<float, double>(small.left));
    if (!w_.wide()) {
        sink.right(0, transposed_span(std::as_const(small.right)));
        if (wants_basis())
            expand(small.left, sink.left);
        else
            sink.left(0, small.left);
    } else {
        sink.left(0, small.left);
        small.right.resize(0, 0);
        std::vector<double> memory, product;
        for (const panel& p : panels(0, w_.length(), rows_)) {
            const dense_span<double> part = buffer(memory, p.count, w_.side());
            const dense_span<double> rows = buffer(product, p.count, small.rank());
            read(p.first, part);
            multiply_into<double>(rows, part, op::none, small.left, op::none);
            scale(rows, exponent_);
            sink.right(p.first, rows);
        }
    }
    small.info.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(small.info);
}

}  // namespace nsvd::inline NSVD_ABI::out_of_core::detail
