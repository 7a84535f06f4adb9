// SPDX-License-Identifier: MIT
#include "recipe.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

namespace llm {
namespace {

template <class Value>
using entry = std::pair<std::string_view, Value>;

constexpr std::array<entry<nsvd::storage>, 2> storages{
    {{"plain", nsvd::storage::plain}, {"pivoted", nsvd::storage::pivoted}}};

constexpr std::array<entry<rank_rule>, 6> rank_rules{{{"uniform", rank_rule::uniform},
                                                      {"greedy", rank_rule::greedy},
                                                      {"effective-rank", rank_rule::effective_rank},
                                                      {"loss-group", rank_rule::loss_group},
                                                      {"sensitivity", rank_rule::sensitivity},
                                                      {"measured", rank_rule::measured}}};

constexpr std::array<entry<bool recipe::*>, 6> switches{{{"anchored", &recipe::anchored},
                                                         {"bias", &recipe::bias},
                                                         {"joint", &recipe::joint},
                                                         {"own-text", &recipe::own_text},
                                                         {"tuned", &recipe::tuned},
                                                         {"tuned-once", &recipe::tuned_once}}};

template <class Table>
std::vector<std::string_view> names_of(const Table& table) {
    std::vector<std::string_view> names;
    for (const auto& e : table)
        names.push_back(e.first);
    return names;
}

template <class Table>
auto look_up(const Table& table, std::string_view name) {
    return std::find_if(table.begin(), table.end(), [&](const auto& e) { return e.first == name; });
}

template <class Table>
auto find_in(const Table& table, std::string_view name, const char* what) {
    const auto found = look_up(table, name);
    if (found == table.end())
        throw nsvd::error(
            fmt::format("unknown {} '{}': known are {}", what, name, fmt::join(names_of(table), ", ")));
    return found->second;
}

void add_feature(recipe& r, std::string_view name) {
    if (const auto found = look_up(storages, name); found != storages.end())
        r.storage = found->second;
    else if (const auto rule = look_up(rank_rules, name); rule != rank_rules.end())
        r.ranks = rule->second;
    else if (const auto flag = look_up(switches, name); flag != switches.end())
        r.*flag->second = true;
    else
        throw nsvd::error(fmt::format(
            "unknown feature '{}': known are {}, {}, {}", name, fmt::join(names_of(storages), ", "),
            fmt::join(names_of(rank_rules), ", "), fmt::join(names_of(switches), ", ")));
}

/// The features that differ from those of a method alone, in the order of the tables.
std::vector<std::string_view> features_of(const recipe& r) {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : storages)
        if (r.storage == value && value != nsvd::storage::plain) names.push_back(name);
    for (const auto& [name, value] : rank_rules)
        if (r.ranks == value && value != rank_rule::uniform) names.push_back(name);
    for (const auto& [name, member] : switches)
        if (r.*member) names.push_back(name);
    return names;
}

void parse_into(recipe& r, std::string_view text) {
    const auto end = std::min(text.find('+'), text.size());
    if (const auto name = text.substr(0, end); name == "best")
        parse_into(r, best_recipe);
    else
        r.how = &find_method(name);
    for (auto plus = end; plus < text.size();) {
        const auto next = std::min(text.find('+', plus + 1), text.size());
        add_feature(r, text.substr(plus + 1, next - plus - 1));
        plus = next;
    }
}

}  // namespace

recipe named(recipe r) {
    const auto features = features_of(r);
    recipe best;
    parse_into(best, best_recipe);
    r.name = r.how->name;
    r.label = r.how->label;
    if (r.how == best.how && features == features_of(best)) {
        r.name = r.label = "best";
        return r;
    }
    for (const auto feature : features) {
        r.name += fmt::format("+{}", feature);
        r.label += fmt::format(" + {}", feature);
    }
    return r;
}

recipe parse_recipe(std::string_view text, const recipe& base) {
    recipe result = base;
    parse_into(result, text);
    return named(std::move(result));
}

nsvd::storage find_storage(std::string_view name) {
    return find_in(storages, name, "storage");
}

rank_rule find_rank_rule(std::string_view name) {
    return find_in(rank_rules, name, "allocation");
}

}  // namespace llm
