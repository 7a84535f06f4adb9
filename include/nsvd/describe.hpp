// SPDX-License-Identifier: MIT
/// Results as text: `to_string(x)` and `stream << x` for whatever a user would print.
///
/// One function for each type writes it, in one line or, for `decomposition_info`, a small table; the stream
/// operator below and fmt (ext/fmt.hpp) print what it gives. Numbers are written with a decimal point
/// whatever the locale; flags and precision of the stream neither matter nor change, but width, fill and
/// alignment do what they do for strings.
#pragma once

#include "accuracy.hpp"
#include "allocation.hpp"
#include "calibration.hpp"
#include "error.hpp"
#include "every_rank.hpp"
#include "interpolative.hpp"
#include "low_rank.hpp"
#include "metric.hpp"
#include "nested.hpp"
#include "pivoted_low_rank.hpp"
#include "progress.hpp"
#include "rank/compression.hpp"
#include "rank/energy.hpp"
#include "rank/fixed_rank.hpp"
#include "rank/policy.hpp"
#include "rank/tolerance.hpp"
#include "similarity.hpp"
#include "storage.hpp"
#include "tune.hpp"
#include "whitening.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nsvd::inline NSVD_ABI {

// Much below is a template without need: who prints nothing does not pay for compiling it.

namespace detail {

template <class Enum>
[[nodiscard]] constexpr std::string_view name_of(Enum value,
                                                 std::initializer_list<std::string_view> names) noexcept {
    const auto i = static_cast<std::size_t>(value);
    return i < names.size() ? names.begin()[i] : "unknown";
}

}  // namespace detail

/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(accuracy a) noexcept {
    return detail::name_of(a, {"exact", "balanced", "fast"});
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(whitening w) noexcept {
    return detail::name_of(w, {"cholesky", "eigen", "diagonal"});
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(moments m) noexcept {
    return m == moments::raw ? "raw" : "central";
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(statistic s) noexcept {
    return s == statistic::mean ? "mean" : "max";
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(residual r) noexcept {
    return r == residual::svd ? "svd" : "interpolative";
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(storage s) noexcept {
    return s == storage::plain ? "plain" : "pivoted";
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(lines l) noexcept {
    return l == lines::rows ? "rows" : "columns";
}
/// The name of an enumerator, as it is written in a program.
[[nodiscard]] constexpr std::string_view to_string(allocation_rule r) noexcept {
    return detail::name_of(r, {"uniform", "greedy", "effective_rank", "loss_group"});
}

namespace detail {

/// A number with that many significant digits, with a decimal point in every locale.
template <class = void>
[[nodiscard]] std::string brief(double value, int digits = 4) {
    char buffer[40];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits);
    return {buffer, end.ptr};
}

/// "69.73 %"
template <class = void>
[[nodiscard]] std::string percent(double part) {
    return brief(100.0 * part) + " %";
}

/// "1, 2, 3", and of more than `most` how many there are besides.
template <class = void>
[[nodiscard]] std::string list(std::span<const std::string> items, std::size_t most) {
    std::string line;
    const std::size_t shown = std::min(items.size(), most);
    for (std::size_t i = 0; i < shown; ++i)
        line += (i > 0 ? ", " : "") + items[i];
    if (shown < items.size()) line += " and " + std::to_string(items.size() - shown) + " more";
    return line;
}

/// Of a squared error the part that it is of the whole, where the whole is known.
template <class = void>
[[nodiscard]] std::string relative_loss(const stage_info& s) {
    return s.total > 0.0 ? brief(std::max(s.loss, 0.0) / s.total) : std::string("0");
}

/// What both forms of a low-rank matrix say of themselves.
template <class = void>
[[nodiscard]] std::string matrix_text(std::string_view form, const shape& s, index rank, index parameters,
                                      const decomposition_info& info) {
    const double all = static_cast<double>(s.rows) * static_cast<double>(s.cols);
    std::string line = std::string(form) + " " + shape_text(s.rows, s.cols) + ": rank " +
                       std::to_string(rank) + ", " + std::to_string(parameters) + " numbers";
    if (all > 0.0) line += " (" + percent(static_cast<double>(parameters) / all) + " of dense)";
    if (info.stages.empty() && info.solver.empty()) return line;
    if (!info.stages.empty()) {
        const stage_info& first = info.stages.front();
        line += ", relative loss " + relative_loss(first) + " in " + first.metric;
    }
    return line + ", " + info.solver + ", status " + std::string(to_string(info.status));
}

/// Cells of a table, by rows, with columns of equal width; the first column and numbers as they come.
template <std::size_t Columns>
[[nodiscard]] std::string table(std::span<const std::array<std::string, Columns>> rows) {
    std::array<std::size_t, Columns> width{};
    for (const auto& row : rows)
        for (std::size_t j = 0; j < Columns; ++j)
            width[j] = std::max(width[j], row[j].size());
    std::string text;
    for (const auto& row : rows) {
        text += '\n';
        for (std::size_t j = 0; j < Columns; ++j) {
            text += row[j];
            if (j + 1 < Columns) text.append(width[j] - row[j].size() + 2, ' ');
        }
    }
    return text;
}

}  // namespace detail

/// "512×384"
template <std::same_as<shape> T>
[[nodiscard]] std::string to_string(const T& s) {
    return detail::shape_text(s.rows, s.cols);
}

template <std::same_as<compression> T>
[[nodiscard]] std::string to_string(const T& p) {
    return "compression " + detail::percent(p.ratio) + (p.storage == storage::pivoted ? ", pivoted" : "");
}
template <std::same_as<rank> T>
[[nodiscard]] std::string to_string(const T& p) {
    return "rank " + std::to_string(p.value);
}
template <std::same_as<energy> T>
[[nodiscard]] std::string to_string(const T& p) {
    return "energy " + detail::percent(p.fraction);
}
template <std::same_as<tolerance> T>
[[nodiscard]] std::string to_string(const T& p) {
    return "tolerance " + detail::percent(p.relative_error);
}

/// "12 values from 3.1 to 0.02, total 9.5"
template <std::same_as<spectrum> T>
[[nodiscard]] std::string to_string(const T& s) {
    std::string line = std::to_string(s.size()) + (s.size() == 1 ? " value" : " values");
    if (s.size() > 0) line += " from " + detail::brief(s[0]) + " to " + detail::brief(s[s.size() - 1]);
    return line + ", total " + detail::brief(s.total());
}

/// "stage 1: gram (cholesky): 37 %"
template <std::same_as<progress> T>
[[nodiscard]] std::string to_string(const T& p) {
    return std::string(p.what) + ": " + detail::brief(100.0 * p.done, 3) + " %";
}

/// "gram (cholesky): rank 145, share 0.95, relative loss 0.0109, syevd, certified, 0.12 s"
template <std::same_as<stage_info> T>
[[nodiscard]] std::string to_string(const T& s) {
    std::string line = s.metric + ": rank " + std::to_string(s.rank);
    line += s.filler ? ", filler" : ", share " + detail::brief(s.share);
    if (s.total > 0.0) line += ", relative loss " + detail::relative_loss(s);
    if (!s.solver.empty()) line += ", " + s.solver;
    if (s.gap > 0.0) line += ", gap " + detail::brief(s.gap);
    if (s.certified) line += ", certified";
    return line + ", " + detail::brief(s.seconds, 3) + " s";
}

/// A line for the whole, and a table with a line for each stage; no newline at the end.
template <std::same_as<decomposition_info> T>
[[nodiscard]] std::string to_string(const T& info) {
    std::string text = "status " + std::string(to_string(info.status)) + ", numerical rank " +
                       std::to_string(info.numerical_rank) + ", gap " + detail::brief(info.gap) +
                       (info.certified ? ", certified, " : ", not certified, ") +
                       detail::brief(info.seconds, 3) + " s";
    if (info.stages.empty()) return text;
    std::vector<std::array<std::string, 7>> rows{
        {"metric", "rank", "share", "relative loss", "gap", "seconds", "solver"}};
    for (const stage_info& s : info.stages)
        rows.push_back({s.metric, std::to_string(s.rank), s.filler ? "filler" : detail::brief(s.share),
                        detail::relative_loss(s), detail::brief(s.gap), detail::brief(s.seconds, 3),
                        s.solver});
    return text + detail::table<7>(rows);
}

/// "low_rank 512×384: rank 153, 137088 numbers (69.73 % of dense), relative loss 0.0109 in gram (cholesky),
/// syevd, status ok". The relative loss is `‖(W − W′) S‖²/‖W S‖²` in the metric of the first stage, by that
/// stage.
template <factor_scalar Scalar>
[[nodiscard]] std::string to_string(const low_rank<Scalar>& d) {
    return detail::matrix_text("low_rank", {d.rows(), d.cols()}, d.rank(), d.parameters(), d.info);
}

/// "pivoted_low_rank 512×384 by rows: rank 153, …"
template <factor_scalar Scalar>
[[nodiscard]] std::string to_string(const pivoted_low_rank<Scalar>& d) {
    return detail::matrix_text("pivoted_low_rank by " + std::string(to_string(d.kept)), {d.rows(), d.cols()},
                               d.rank(), d.parameters(), d.info);
}

/// "every_rank: ranks 1 to 384 in gram (cholesky), syevd, status ok"
template <factor_scalar Scalar>
[[nodiscard]] std::string to_string(const every_rank<Scalar>& all) {
    return "every_rank: ranks 1 to " + std::to_string(all.full_rank()) + " in " +
           all.info().stages.front().metric + ", " + all.info().solver + ", status " +
           std::string(to_string(all.info().status));
}

template <std::same_as<interpolative_decomposition> T>
[[nodiscard]] std::string to_string(const T& d) {
    return "interpolative: " + std::to_string(d.rank()) + " of " + std::to_string(d.coefficients.cols()) +
           " columns, relative error " + detail::brief(d.error) + ", numerical rank " +
           std::to_string(d.numerical_rank) + ", status " + std::string(to_string(d.status));
}

/// "calibration: 384 features, 2000 tokens, raw moments"; the sum of the weights where it isn't the tokens.
template <real_scalar Scalar>
[[nodiscard]] std::string to_string(const calibration<Scalar>& c) {
    std::string line = "calibration: " + std::to_string(c.features()) + " features, " +
                       std::to_string(c.tokens()) + (c.has_cross() ? " pairs" : " tokens");
    if (c.weight() != static_cast<double>(c.tokens())) line += " of weight " + detail::brief(c.weight());
    return line + ", " + std::string(to_string(c.about())) + " moments";
}

/// "cholesky factor of 384×384: rank 384, rcond 0.002"
template <std::same_as<whitening_factor> T>
[[nodiscard]] std::string to_string(const T& f) {
    std::string line = std::string(to_string(f.kind)) + " factor of " +
                       detail::shape_text(f.size(), f.size()) + ": rank " + std::to_string(f.rank) +
                       ", rcond " + detail::brief(f.rcond);
    if (f.ridge > 0.0) line += ", ridge " + detail::brief(f.ridge);
    if (!f.converged) line += ", not converged";
    return line;
}

/// "metric gram (cholesky) of 384×384"; looks at no factor, which might have to be made.
template <std::same_as<metric> T>
[[nodiscard]] std::string to_string(const T& m) {
    std::string line = "metric " + m.name();
    if (m.is_identity()) return line;
    line += " of " + detail::shape_text(m.size(), m.size());
    if (m.has_matrix() && m.shift() > 0.0) line += ", shift " + detail::brief(m.shift());
    return line;
}

/// "allocation of 3 layers: cost 12000, loss 0.31, ranks 12, 40, dense"; at most 32 ranks.
template <std::same_as<allocation> T>
[[nodiscard]] std::string to_string(const T& a) {
    std::vector<std::string> ranks;
    for (const std::optional<index>& k : a.ranks)
        ranks.push_back(k ? std::to_string(*k) : "dense");
    return "allocation of " + std::to_string(ranks.size()) + (ranks.size() == 1 ? " layer" : " layers") +
           ": cost " + std::to_string(a.cost) + ", loss " + detail::brief(a.loss) +
           (ranks.empty() ? "" : ", ranks " + detail::list(ranks, 32));
}

/// "similarity: means 0.98, mean_abs 0.99, grams 0.97, principal cosines 1, 0.99"; at most eight of these.
template <std::same_as<calibration_similarity> T>
[[nodiscard]] std::string to_string(const T& s) {
    std::vector<std::string> cosines;
    for (index i = 0; i < s.principal_cosines.size(); ++i)
        cosines.push_back(detail::brief(s.principal_cosines.data()[i]));
    return "similarity: means " + detail::brief(s.means) + ", mean_abs " + detail::brief(s.mean_abs) +
           ", grams " + detail::brief(s.grams) +
           (cosines.empty() ? "" : ", principal cosines " + detail::list(cosines, 8));
}

/// "cholesky, share 0.95, blend 0.001"
template <std::same_as<tuning> T>
[[nodiscard]] std::string to_string(const T& t) {
    return std::string(to_string(t.whitening)) + ", share " + detail::brief(t.share) +
           (t.whitening == whitening::diagonal ? ", alpha " + detail::brief(t.alpha)
                                               : ", blend " + detail::brief(t.blend));
}

/// What `to_string` of this namespace makes text of.
template <class T>
concept describable = requires(const T& x) {
    { nsvd::to_string(x) } -> std::convertible_to<std::string_view>;
};

/// Prints `to_string(x)`, as a string.
template <describable T>
std::ostream& operator<<(std::ostream& out, const T& x) {
    return out << std::string_view(nsvd::to_string(x));
}

}  // namespace nsvd::inline NSVD_ABI
