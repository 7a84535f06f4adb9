#include "statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

namespace llm {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

void check_size(std::size_t found, std::size_t wanted, const std::string& what) {
    if (found != wanted) {
        throw std::invalid_argument(
            fmt::format("comparison: {} has {} entries for {} texts", what, found, wanted));
    }
}

bool is_counted(const comparison& c, std::size_t text) {
    return c.counted.empty() || c.counted.at(text);
}

}  // namespace

std::string reference_label(const comparison& c) {
    const auto found = std::find_if(c.rows.begin(), c.rows.end(),
                                    [&](const comparison_row& row) { return row.method == c.reference; });
    return found == c.rows.end() ? c.reference : found->label;
}

double inflation(const comparison& c, const comparison_row& row) {
    double sum = 0;
    double count = 0;
    for (std::size_t text = 0; text < c.text_names.size(); ++text) {
        if (!is_counted(c, text)) continue;
        sum += row.texts.at(text).nll - c.dense.at(text).nll;
        ++count;
    }
    return count == 0 ? unknown : std::exp(sum / count);
}

bool within_error(const improvement& gain) {
    return std::isfinite(gain.value) && std::abs(gain.value) <= 2 * gain.standard_error;
}

mean_and_error mean_of(std::span<const double> values) {
    if (values.empty()) return {unknown, unknown};
    const auto n = static_cast<double>(values.size());
    double sum = 0;
    for (const double v : values)
        sum += v;
    const double mean = sum / n;
    if (values.size() == 1) return {mean, unknown};
    double squares = 0;
    for (const double v : values)
        squares += (v - mean) * (v - mean);
    return {mean, std::sqrt(squares / (n - 1) / n)};
}

improvement improvement_over(const text_result& result, const text_result& reference) {
    const auto& a = result.window_nll;
    const auto& b = reference.window_nll;
    if (a.size() != b.size()) {
        throw std::invalid_argument(
            fmt::format("paired difference: {} windows against {} of the reference", a.size(), b.size()));
    }
    std::vector<double> differences(a.size());
    std::transform(a.begin(), a.end(), b.begin(), differences.begin(), std::minus<>());
    const auto d = mean_of(differences);
    const double ratio = std::exp(d.mean);
    return {1 - ratio, ratio * d.standard_error};
}

const comparison_row* reference_row(const comparison& c, double compression) {
    const auto found = std::find_if(c.rows.begin(), c.rows.end(), [&](const comparison_row& row) {
        return row.method == c.reference && row.compression == compression;
    });
    return found == c.rows.end() ? nullptr : &*found;
}

improvement text_improvement(const comparison& c, const comparison_row& row, std::size_t text) {
    const auto& result = row.texts.at(text);
    if (result.record) return result.record->gain;
    const auto* reference = reference_row(c, row.compression);
    if (reference == nullptr) return {};
    return improvement_over(result, reference->texts.at(text));
}

bool in_average(const comparison& c, std::size_t text) {
    return is_counted(c, text) && !(c.in_domain && *c.in_domain == c.text_names.at(text));
}

improvement average_improvement(const comparison& c, const comparison_row& row) {
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (std::size_t text = 0; text < c.text_names.size(); ++text) {
        if (!in_average(c, text)) continue;
        const auto gain = text_improvement(c, row, text);
        sum += gain.value;
        squares += gain.standard_error * gain.standard_error;
        ++count;
    }
    if (count == 0) return {};
    return {sum / count, std::sqrt(squares) / count};
}

void check(const comparison& c) {
    const auto texts = c.text_names.size();
    check_size(c.dense.size(), texts, "dense");
    if (!c.counted.empty()) check_size(c.counted.size(), texts, "counted");
    for (const auto& row : c.rows) {
        check_size(row.texts.size(), texts, fmt::format("row {} at {}", row.method, row.compression));
    }
    if (c.similarity) {
        const auto names = c.similarity->names.size();
        check_size(c.similarity->values.size(), names, "similarity");
        for (const auto& row : c.similarity->values)
            check_size(row.size(), names, "a row of similarity");
    }
}

}  // namespace llm
