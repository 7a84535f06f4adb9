#include "report.hpp"
#include "statistics.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace llm {
namespace {

using json = nlohmann::ordered_json;

json number(double value) {
    return std::isfinite(value) ? json(value) : json(nullptr);
}

double number(const json& value) {
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

json dense_texts(const comparison& c) {
    auto texts = json::object();
    for (std::size_t i = 0; i < c.text_names.size(); ++i) {
        const auto& text = c.dense[i];
        const auto windows =
            text.record ? text.record->windows : static_cast<std::int64_t>(text.window_nll.size());
        texts[c.text_names[i]] = {{"perplexity", number(text.perplexity)},
                                  {"nll", number(text.nll)},
                                  {"windows", windows},
                                  {"counted", c.counted.empty() || c.counted[i]}};
    }
    return texts;
}

json row_texts(const comparison& c, const comparison_row& row) {
    auto texts = json::object();
    for (std::size_t i = 0; i < c.text_names.size(); ++i) {
        const auto gain = text_improvement(c, row, i);
        texts[c.text_names[i]] = {{"perplexity", number(row.texts[i].perplexity)},
                                  {"nll", number(row.texts[i].nll)},
                                  {"improvement", number(gain.value)},
                                  {"standard_error", number(gain.standard_error)}};
    }
    return texts;
}

json to_json(const comparison& c, const comparison_row& row) {
    const auto average = average_improvement(c, row);
    json result{{"method", row.method},
                {"label", row.label},
                {"compression", number(row.compression)},
                {"parameters", row.parameters},
                {"bytes", row.bytes},
                {"weighted_error", number(row.weighted_error)},
                {"plain_error", number(row.plain_error)},
                {"seconds", number(row.seconds)},
                {"inflation", number(inflation(c, row))},
                {"texts", row_texts(c, row)},
                {"improvement", number(average.value)},
                {"standard_error", number(average.standard_error)}};
    for (const auto& layer : row.layers)
        result["layers"].push_back(to_json(layer));
    return result;
}

json to_json(const text_similarity& similarity) {
    auto values = json::array();
    for (const auto& row : similarity.values) {
        auto& made = values.emplace_back(json::array());
        for (const double value : row)
            made.push_back(number(value));
    }
    return {{"names", similarity.names}, {"windows", similarity.windows}, {"values", values}};
}

text_similarity read_similarity(const json& from) {
    text_similarity similarity;
    from.at("names").get_to(similarity.names);
    from.at("windows").get_to(similarity.windows);
    for (const auto& row : from.at("values")) {
        auto& made = similarity.values.emplace_back();
        for (const auto& value : row)
            made.push_back(number(value));
    }
    return similarity;
}

/// nll and perplexity; a null perplexity beside a known nll is one that overflowed.
text_result read_text(const json& from) {
    text_result text;
    text.nll = number(from.at("nll"));
    const auto& perplexity = from.at("perplexity");
    text.perplexity = perplexity.is_null() ? std::exp(text.nll) : perplexity.get<double>();
    return text;
}

comparison_row read_row(const json& from, const std::vector<std::string>& names) {
    comparison_row row;
    from.at("method").get_to(row.method);
    from.at("label").get_to(row.label);
    row.compression = number(from.at("compression"));
    from.at("parameters").get_to(row.parameters);
    from.at("bytes").get_to(row.bytes);
    row.weighted_error = number(from.at("weighted_error"));
    row.plain_error = number(from.at("plain_error"));
    row.seconds = number(from.at("seconds"));
    for (const auto& name : names) {
        const auto& text = from.at("texts").at(name);
        row.texts.push_back(read_text(text));
        row.texts.back().record =
            text_record{0, {number(text.at("improvement")), number(text.at("standard_error"))}};
    }
    if (from.contains("layers"))
        for (const auto& layer : json_reader(from).at("layers").items())
            row.layers.push_back(read_layer_result(layer));
    return row;
}

comparison read(const json& from) {
    comparison c;
    from.at("model").get_to(c.model);
    from.at("calibration").get_to(c.calibration);
    if (!from.at("in_domain").is_null()) c.in_domain = from.at("in_domain").get<std::string>();
    from.at("context").get_to(c.context);
    from.at("seed").get_to(c.seed);
    c.share = number(from.at("share"));
    from.at("reference").get_to(c.reference);
    from.at("calibration_windows").get_to(c.calibration_windows);
    from.at("calibration_tokens").get_to(c.calibration_tokens);
    const auto& dense = from.at("dense");
    dense.at("label").get_to(c.baseline);
    dense.at("parameters").get_to(c.dense_parameters);
    dense.at("bytes").get_to(c.dense_bytes);
    for (const auto& [name, text] : dense.at("texts").items()) {
        c.text_names.push_back(name);
        c.dense.push_back(read_text(text));
        c.dense.back().record = text_record{text.at("windows").get<std::int64_t>(), {}};
        c.counted.push_back(text.at("counted").get<bool>());
    }
    for (const auto& row : from.at("rows"))
        c.rows.push_back(read_row(row, c.text_names));
    if (from.contains("similarity")) c.similarity = read_similarity(from.at("similarity"));
    from.at("machine").get_to(c.machine);
    from.at("date").get_to(c.date);
    from.at("version").get_to(c.version);
    from.at("command").get_to(c.command);
    return c;
}

}  // namespace

json to_json(const comparison& c) {
    check(c);
    auto rows = json::array();
    for (const auto& row : c.rows)
        rows.push_back(to_json(c, row));
    json result{{"model", c.model},
                {"calibration", c.calibration},
                {"in_domain", c.in_domain ? json(*c.in_domain) : json(nullptr)},
                {"context", c.context},
                {"seed", c.seed},
                {"share", number(c.share)},
                {"reference", c.reference},
                {"calibration_windows", c.calibration_windows},
                {"calibration_tokens", c.calibration_tokens},
                {"dense",
                 {{"label", c.baseline},
                  {"parameters", c.dense_parameters},
                  {"bytes", c.dense_bytes},
                  {"texts", dense_texts(c)}}},
                {"rows", rows},
                {"machine", c.machine},
                {"date", c.date},
                {"version", c.version},
                {"command", c.command}};
    if (c.similarity) result["similarity"] = to_json(*c.similarity);
    return result;
}

comparison from_json(const json& from) {
    try {
        auto c = read(from);
        check(c);
        return c;
    } catch (const nsvd::error& e) {
        throw std::invalid_argument(fmt::format("not a comparison written by nsvd-llm: {}", e.what()));
    } catch (const nlohmann::json::exception& e) {
        throw std::invalid_argument(fmt::format("not a comparison written by nsvd-llm: {}", e.what()));
    }
}

}  // namespace llm
