// SPDX-License-Identifier: MIT
#include "layer_case.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <ostream>
#include <utility>

namespace generated {

namespace {

template <class Enum, std::size_t Count>
Enum any_of(support::generator& g, const std::array<Enum, Count>& all) {
    return all[static_cast<std::size_t>(g.integer(0, Count - 1))];
}

/// 0 in half of the cases, near it or at one of the ends in the others. Far ends meet numbers that the scalar
/// can't hold, or denormal ones.
int draw_scale(support::generator& g, int least, int most) {
    switch (g.integer(0, 7)) {
        case 0:
            return least;
        case 1:
            return most;
        case 2:
            return static_cast<int>(g.integer(least, most));
        case 3:
            return static_cast<int>(g.integer(-8, 4));
        default:
            return 0;
    }
}

struct scales {
    int least_w, most_w, least_x, most_x;
};

scales scales_of(scalar s) {
    switch (s) {
        case scalar::f16:
            return {-20, 9, -16, 3};
        case scalar::f32:
        case scalar::bf16:
            return {-140, 110, -130, 100};
        case scalar::f64:
            break;
    }
    return {-1060, 1000, -400, 400};
}

const char* name_of(method m) {
    constexpr std::array names{"svd",     "diagonal", "diagonal_max", "cholesky", "eigen",
                               "blended", "central",  "nested",       "columns",  "anchored"};
    return names[static_cast<std::size_t>(m)];
}

const char* name_of(scalar s) {
    constexpr std::array names{"f64", "f32", "f16", "bf16"};
    return names[static_cast<std::size_t>(s)];
}

const char* name_of(layout l) {
    constexpr std::array names{"columns", "rows", "block", "strided"};
    return names[static_cast<std::size_t>(l)];
}

}  // namespace

layer_case draw(support::generator& g, int size) {
    layer_case c;
    c.method = static_cast<method>(g.integer(0, static_cast<Index>(method::anchored)));
    c.scalar = static_cast<scalar>(g.integer(0, 3));
    c.layout = static_cast<layout>(g.integer(0, 3));
    c.spectrum = any_of(g, support::all_spectra);
    const Index most = g.integer(0, 39) == 0 ? 130 : 1 + 39 * std::min(size, 100) / 100;
    c.m = g.integer(1, most);
    c.n = g.integer(1, most);
    c.tokens = g.integer(0, 3) == 0 ? g.integer(1, c.n) : g.integer(1, 3 * c.n);
    c.k = g.integer(1, c.full_rank());
    c.share = static_cast<int>(g.integer(0, 1000));
    c.condition = static_cast<int>(g.integer(0, 6));
    const auto [least_w, most_w, least_x, most_x] = scales_of(c.scalar);
    c.w_scale = draw_scale(g, least_w, most_w);
    c.x_scale = draw_scale(g, least_x, most_x);
    for (Index* defect : {&c.outliers, &c.dead_channels, &c.constant_channels, &c.equal_columns, &c.zero_rows,
                          &c.tiny_columns})
        if (g.integer(0, 5) == 0) *defect = g.integer(1, 3);
    c.seed = static_cast<std::uint64_t>(g.integer(1, 1000000));
    return c;
}

std::vector<layer_case> simpler(const layer_case& c) {
    std::vector<layer_case> cases;
    const auto with = [&](auto layer_case::*member, auto value) {
        layer_case other = c;
        other.*member = value;
        other.k = std::min(other.k, other.full_rank());
        if (other.*member != c.*member) cases.push_back(other);
    };
    const layer_case simplest;
    for (auto defect : {&layer_case::outliers, &layer_case::dead_channels, &layer_case::constant_channels,
                        &layer_case::equal_columns, &layer_case::zero_rows, &layer_case::tiny_columns})
        with(defect, Index{0});
    with(&layer_case::layout, simplest.layout);
    with(&layer_case::scalar, simplest.scalar);
    with(&layer_case::spectrum, simplest.spectrum);
    with(&layer_case::method, simplest.method);
    if (c.method > method::cholesky) with(&layer_case::method, method::cholesky);
    for (auto scale : {&layer_case::w_scale, &layer_case::x_scale, &layer_case::condition})
        for (const int value :
             {0, c.*scale / 2, c.*scale - c.*scale / 8, c.*scale - (c.*scale > 0) + (c.*scale < 0)})
            with(scale, value);
    for (auto side : {&layer_case::tokens, &layer_case::m, &layer_case::n, &layer_case::k})
        for (const Index value : {Index{1}, c.*side / 2, c.*side - 1})
            if (value >= 1 && value < c.*side) with(side, value);
    for (auto defect : {&layer_case::outliers, &layer_case::dead_channels, &layer_case::constant_channels,
                        &layer_case::equal_columns, &layer_case::zero_rows, &layer_case::tiny_columns})
        if (c.*defect > 1) with(defect, c.*defect - 1);
    for (const int share : {500, 1000, 0})
        if (c.share != 500 && (share == 500 || (c.share != 1000 && c.share != 0)))
            with(&layer_case::share, share);
    for (const std::uint64_t seed : {1U, 2U, 3U})
        if (seed < c.seed) with(&layer_case::seed, seed);
    return cases;
}

std::ostream& operator<<(std::ostream& out, const layer_case& c) {
    const layer_case simplest;
    const char* before = "{";
    const auto show = [&](const char* name, const auto& value, bool differs) {
        if (!differs) return;
        out << before << '.' << name << " = " << value;
        before = ", ";
    };
    const auto number = [&](const char* name, auto layer_case::*member) {
        show(name, c.*member, c.*member != simplest.*member);
    };
    const auto choice = [&](const char* name, const char* type, const auto& value, auto usual) {
        show(name, std::string(type) + "::" + value, value != usual);
    };
    choice("method", "method", std::string(name_of(c.method)), name_of(simplest.method));
    number("m", &layer_case::m);
    number("n", &layer_case::n);
    number("tokens", &layer_case::tokens);
    number("k", &layer_case::k);
    number("share", &layer_case::share);
    choice("scalar", "scalar", std::string(name_of(c.scalar)), name_of(simplest.scalar));
    choice("layout", "layout", std::string(name_of(c.layout)), name_of(simplest.layout));
    choice("spectrum", "shape_of_spectrum", support::name_of(c.spectrum),
           support::name_of(simplest.spectrum));
    number("condition", &layer_case::condition);
    number("w_scale", &layer_case::w_scale);
    number("x_scale", &layer_case::x_scale);
    number("outliers", &layer_case::outliers);
    number("dead_channels", &layer_case::dead_channels);
    number("constant_channels", &layer_case::constant_channels);
    number("equal_columns", &layer_case::equal_columns);
    number("zero_rows", &layer_case::zero_rows);
    number("tiny_columns", &layer_case::tiny_columns);
    number("seed", &layer_case::seed);
    return out << (*before == '{' ? "{}" : "}");
}

}  // namespace generated
