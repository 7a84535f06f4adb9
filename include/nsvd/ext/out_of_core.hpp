// SPDX-License-Identifier: MIT
/// Decompositions of a matrix, and in metrics, that memory has no room for. Needs nlohmann-json and POSIX.
#pragma once

#include "../decompose.hpp"
#include "atomic_file.hpp"
#include "out_of_core_options.hpp"
#include "panel_decomposition.hpp"
#include "safetensors.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// `decompose` for one layer that is larger than memory: `W` (`m×n`) is read a panel at a time, wherever its
/// numbers lie (a mapped file, say).
///
/// The longer side l is reduced to the shorter one, s, by an orthogonal factorization in panels of rows of
/// `W` (m > n), or of columns: no Gram matrix of `W` is formed and nothing inverted. With `W = Q_w R` the
/// stages' metrics stay as they are, `decompose(R)` has the same right factor and spectrum, and left = Q_w
/// Q_R. With `W = L Q_wᵀ` the metrics become `Q_wᵀ M Q_w` (`s×s`), made in one pass over the lower triangle
/// of M, and `decompose(L)` has the same Q; right = Qᵀ W is one more pass. Reflectors, or Q_w, lie in a
/// scratch file of 8·l·s bytes, if any metric wants them. Everything is in double, whatever the scalar of
/// `W`.
namespace nsvd::inline NSVD_ABI::out_of_core {

namespace detail {

/// Throws where the factors have left the range of their scalar.
template <factor_scalar Scalar>
void require_range(dense_span<const double> rows, const char* where) {
    if (!(largest_entry<double>(rows) <= static_cast<double>(std::numeric_limits<Scalar>::max())))
        throw error(std::string(where) + ": the factors exceed the range of their scalar; scale W down");
}

template <matrix W, rank_policy Policy>
[[nodiscard]] decomposition_info run(const W& w, std::span<const stage> stages, const Policy& policy,
                                     const options& how, const char* where, const factor_sink& sink) {
    return with_expression(w, [&](const auto& expression) {
        const panel_source source = panels_of(expression);
        panel_decomposition all(source, stages, how, where);
        std::optional<index> known;
        if constexpr (shape_policy<Policy>)
            known = choose_rank(
                policy, source.whole, [] { return spectrum{}; }, where);
        return all.run(
            known,
            [&](const spectrum& values) {
                return choose_rank(
                    policy, source.whole, [&] { return values; }, where);
            },
            sink);
    });
}

}  // namespace detail

/// `nsvd::decompose`, with factors in memory. `W` is any matrix; what it says of rows and columns is read a
/// panel at a time. Flops beside those of `decompose` at s×s, for a rank k: 2ls² of the factorization; for
/// m > n 4lsk more; for n > m 2lsk, and with a metric other than I another 4ls², and l²s + 2ls² each.
///
/// Throws as `decompose` does, and nsvd::error where `options.memory` is less than `memory_needed`, where the
/// scratch file has no room, where a stage selects columns and n > m, and where a Gram matrix has entries
/// that are not finite. `info` is that of the small matrix; a metric of less than full rank is reported as
/// `decompose` would, for n > m where it comes of fewer tokens than n.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<nsvd::detail::factor_scalar_t<W>> decompose(const W& w, std::span<const stage> stages,
                                                                   const Policy& policy,
                                                                   const options& how = {}) {
    using scalar = nsvd::detail::factor_scalar_t<W>;
    constexpr const char* where = "out_of_core::decompose";
    low_rank<scalar> result;
    const auto size = nsvd::detail::extent(w);
    result.info = detail::run(
        w, stages, policy, how, where,
        {.single = std::same_as<scalar, float>,
         .begin =
             [&](index rank) {
                 result.left.resize(size.first, rank);
                 result.right.resize(rank, size.second);
             },
         .left =
             [&](index first, nsvd::detail::dense_span<const double> rows) {
                 detail::require_range<scalar>(rows, where);
                 nsvd::detail::assign<scalar, double>(
                     nsvd::detail::dense_span<scalar>(result.left).middleRows(first, rows.rows()), rows);
             },
         .right =
             [&](index first, nsvd::detail::dense_span<const double> rows) {
                 detail::require_range<scalar>(rows, where);
                 nsvd::detail::assign<scalar, double>(
                     nsvd::detail::transposed_span(result.right).middleRows(first, rows.rows()), rows);
             }});
    return result;
}

/// The same with the factors in a safetensors file: `left` (`m×k`) and `right` (`k×n`) of the factors'
/// scalar, written as they come; nothing of the size of `W` is in memory. The file appears under its name
/// complete or not at all. Throws nsvd::error also where it can't be written or the disk has no room for it.
template <matrix W, rank_policy Policy>
decomposition_info decompose_into(const std::filesystem::path& path, const W& w,
                                  std::span<const stage> stages, const Policy& policy,
                                  const options& how = {}) {
    using scalar = nsvd::detail::factor_scalar_t<W>;
    using span = nsvd::detail::dense_span<const double>;
    constexpr const char* where = "out_of_core::decompose_into";
    const auto [m, n] = nsvd::detail::extent(w);
    atomic_file file(path);
    std::uint64_t start = 0;
    index k = 0;
    std::vector<scalar> numbers;
    const auto write = [&](index at, std::span<const scalar> row) {
        file.write_at(start + sizeof(scalar) * static_cast<std::uint64_t>(at), std::as_bytes(row));
    };
    const decomposition_info info =
        detail::run(w, stages, policy, how, where,
                    {.single = std::same_as<scalar, float>,
                     .begin =
                         [&, m = m, n = n](index rank) {
                             using safetensors::dtype;
                             k = rank;
                             const auto type = std::same_as<scalar, float> ? dtype::F32 : dtype::F64;
                             const std::vector<safetensors::entry> entries{{"left", type, {m, k}},
                                                                           {"right", type, {k, n}}};
                             const std::string header = safetensors::writer::header(
                                 path, entries, {{"format", "nsvd.factors"}, {"version", "1"}});
                             start = header.size();
                             file.reserve(start + sizeof(scalar) * static_cast<std::uint64_t>(k * (m + n)));
                             file.write_at(0, std::as_bytes(std::span(header)));
                         },
                     .left =
                         [&](index first, span rows) {
                             detail::require_range<scalar>(rows, where);
                             numbers.resize(static_cast<std::size_t>(k));
                             for (index i = 0; i < rows.rows(); ++i) {
                                 for (index j = 0; j < k; ++j)
                                     numbers[static_cast<std::size_t>(j)] = static_cast<scalar>(rows(i, j));
                                 write((first + i) * k, numbers);
                             }
                         },
                     .right =
                         [&, m = m, n = n](index first, span rows) {
                             detail::require_range<scalar>(rows, where);
                             numbers.resize(static_cast<std::size_t>(rows.rows()));
                             for (index j = 0; j < k; ++j) {
                                 for (index i = 0; i < rows.rows(); ++i)
                                     numbers[static_cast<std::size_t>(i)] = static_cast<scalar>(rows(i, j));
                                 write(m * k + j * n + first, numbers);
                             }
                         }});
    file.commit();
    return info;
}

}  // namespace nsvd::inline NSVD_ABI::out_of_core
