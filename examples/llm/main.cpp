// SPDX-License-Identifier: MIT
// nsvd-llm: compresses the linear layers of a language model and shows what that costs in perplexity.

#include "compare.hpp"
#include "compress.hpp"
#include "files.hpp"
#include "methods.hpp"
#include "model.hpp"
#include "perplexity.hpp"
#include "recipe.hpp"
#include "report.hpp"

#include <nsvd/error.hpp>
#include <nsvd/version.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

/// All options of all subcommands; each subcommand declares those it has.
struct arguments {
    fs::path model, calibration, text, output, json, html;
    std::vector<std::string> texts;
    std::vector<std::string> methods;
    std::vector<double> compressions;
    std::string method, in_domain, against;
    std::string storage, allocation;
    std::vector<std::string> keep_dense;
    fs::path tune;
    bool anchored = false, bias = false, joint = false, own_text = false;
    double compression = 0;
    double share = 0.95;
    double epsilon = llm::recipe{}.epsilon;
    std::size_t context = 0;
    std::size_t windows = 256;
    std::uint64_t seed = 0;
    unsigned threads = 0;
    bool force = false;
    std::string command;
};

std::string dump(const json& value) {
    return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

void check_compression(double compression) {
    if (!(compression >= 0 && compression < 1))
        throw nsvd::error(
            fmt::format("--compression is {}: want the share of the parameters to remove, at least 0 "
                        "and below 1",
                        compression));
}

template <class T>
void check_distinct(const std::vector<T>& values, const char* option) {
    for (std::set<T> seen; const auto& value : values)
        if (!seen.insert(value).second)
            throw nsvd::error(fmt::format("{}: {} is given twice", option, value));
}

std::vector<std::pair<std::string, fs::path>> named_texts(const std::vector<std::string>& arguments) {
    std::vector<std::pair<std::string, fs::path>> texts;
    std::vector<std::string> names;
    for (const auto& argument : arguments) {
        const auto split = argument.find('=');
        if (split == 0 || split == std::string::npos || split + 1 == argument.size())
            throw nsvd::error(fmt::format("--text {}: want NAME=FILE", argument));
        names.push_back(argument.substr(0, split));
        texts.emplace_back(names.back(), argument.substr(split + 1));
    }
    check_distinct(names, "--text");
    return texts;
}

/// A recipe by its name, on top of what the options say.
llm::recipe recipe_of(const arguments& a, const std::string& name) {
    if (!(a.epsilon >= 0 && std::isfinite(a.epsilon)))
        throw nsvd::error(fmt::format("--epsilon is {}: want a number, 0 or more", a.epsilon));
    llm::recipe base;
    base.share = a.share;
    base.epsilon = a.epsilon;
    base.anchored = a.anchored;
    base.bias = a.bias;
    base.joint = a.joint;
    base.own_text = a.own_text;
    auto result = llm::parse_recipe(name, base);
    if (!a.storage.empty()) result.storage = llm::find_storage(a.storage);
    if (!a.allocation.empty()) result.ranks = llm::find_rank_rule(a.allocation);
    return llm::named(result);
}

/// A second text is for the recipes that are tuned by name; for all where none is.
void tune_all(std::vector<llm::recipe>& recipes, const arguments& a) {
    const auto is_tuned = [](const llm::recipe& r) { return r.tuned || r.tuned_once; };
    if (a.tune.empty() || std::any_of(recipes.begin(), recipes.end(), is_tuned)) return;
    for (auto& r : recipes) {
        r.tuned = true;
        r = llm::named(r);
    }
}

void run_compare(const arguments& a) {
    llm::compare_options options{.model = a.model,
                                 .calibration = a.calibration,
                                 .texts = named_texts(a.texts),
                                 .compressions = a.compressions,
                                 .recipes = {},
                                 .context = a.context,
                                 .windows = a.windows,
                                 .seed = a.seed,
                                 .share = a.share,
                                 .in_domain = {},
                                 .reference = {},
                                 .held_out = a.tune,
                                 .keep_dense = a.keep_dense,
                                 .threads = a.threads};
    std::for_each(a.compressions.begin(), a.compressions.end(), check_compression);
    check_distinct(a.compressions, "--compression");
    for (const auto& name : a.methods)
        options.recipes.push_back(recipe_of(a, name));
    // The reference goes last, to be treated like the others.
    if (!a.against.empty()) options.recipes.push_back(recipe_of(a, a.against));
    tune_all(options.recipes, a);
    if (!a.against.empty()) {
        options.reference = options.recipes.back().name;
        options.recipes.pop_back();
    }
    std::vector<std::string> names;
    for (const auto& r : options.recipes)
        names.push_back(r.name);
    check_distinct(names, "--methods");
    if (!a.in_domain.empty()) {
        options.in_domain = a.in_domain;
        if (std::none_of(options.texts.begin(), options.texts.end(),
                         [&](const auto& text) { return text.first == a.in_domain; }))
            throw nsvd::error(fmt::format("--in-domain {}: no --text has this name", a.in_domain));
    }
    const llm::output json_out(a.json), html_out(a.html);
    auto result = llm::compare(options);
    result.command = a.command;
    json_out.write(dump(llm::to_json(result)));
    html_out.write(llm::html_report(result));
    if (!json_out.is_standard_output() && !html_out.is_standard_output())
        fmt::print("{}", llm::print_table(result));
}

json to_json(const llm::layer_record& layer) {
    return {{"name", layer.name},
            {"m", layer.m},
            {"n", layer.n},
            {"rank", layer.rank},
            {"parameters", layer.parameters},
            {"bytes", layer.bytes},
            {"weighted_error", layer.weighted_error},
            {"plain_error", layer.plain_error},
            {"seconds", layer.seconds},
            {"status", layer.status}};
}

void run_compress(const arguments& a) {
    check_compression(a.compression);
    std::vector<llm::recipe> recipes{recipe_of(a, a.method)};
    tune_all(recipes, a);
    auto& recipe = recipes.front();
    recipe.compression = a.compression;
    const llm::output json_out(a.json);
    llm::model model(a.model);
    llm::require_dense(model);
    llm::check_output(model, a.output, a.force);
    const auto read = [&](const fs::path& path) {
        return llm::read_tokens(path, model.folder(), model.shape().vocab_size);
    };
    llm::compression_input input{
        .calibration = read(a.calibration),
        .calibration_name = a.calibration.string(),
        .sample = {llm::context_of(model, a.context), a.windows, a.seed},
        .held_out = a.tune.empty() ? std::vector<llm::token>() : read(a.tune),
        .held_out_name = a.tune.string(),
        .keep_dense = a.keep_dense,
        .threads = a.threads,
    };
    const auto context = input.sample.context;
    std::vector<llm::layer_record> layers;
    std::int64_t calibration_tokens = 0;
    {
        llm::progress bar(model.layers());
        llm::compressor compress(model, std::move(input), bar);
        calibration_tokens = compress.calibration_tokens();
        layers = compress.run(recipe);
    }
    json about{
        {"version", NSVD_VERSION},
        {"method", recipe.name},
        {"compression", a.compression},
        {"share", a.share},
        {"epsilon", a.epsilon},
        {"seed", a.seed},
        {"context", context},
        {"calibration", {{"file", a.calibration.filename().string()}, {"tokens", calibration_tokens}}}};
    if (!a.tune.empty()) about["held_out"] = a.tune.filename().string();
    if (!a.keep_dense.empty()) about["keep_dense"] = a.keep_dense;
    std::int64_t before = 0, after = 0;
    double error = 0;
    for (const auto& layer : layers) {
        about["rank"][layer.name] = layer.rank;
        before += layer.m * layer.n;
        after += layer.parameters;
        error += layer.weighted_error / static_cast<double>(layers.size());
    }
    llm::save_model(model, a.output, about, a.force);

    json result{{"nsvd", NSVD_VERSION}, {"model", a.model.string()}, {"output", a.output.string()}};
    result.update(about);
    result.erase("version");
    result.erase("rank");
    for (const auto& layer : layers)
        result["layers"].push_back(to_json(layer));
    json_out.write(dump(result));
    if (!json_out.is_standard_output())
        fmt::print(
            "{} at {:g} %: {} layers, {} parameters where there were {}, mean weighted error {:.4f}: {}\n",
            recipe.label, 100 * a.compression, layers.size(), after, before, error, a.output.string());
}

void run_evaluate(const arguments& a) {
    const llm::output json_out(a.json);
    const llm::model model(a.model);
    const auto context = llm::context_of(model, a.context);
    const auto tokens = llm::read_tokens(a.text, model.folder(), model.shape().vocab_size);
    const auto result = [&] {
        llm::progress bar(tokens.size() / context);
        return llm::evaluate(model, tokens, context, a.text.string(), a.threads, bar);
    }();
    json_out.write(dump({{"nsvd", NSVD_VERSION},
                         {"model", a.model.string()},
                         {"text", a.text.string()},
                         {"context", context},
                         {"tokens", result.tokens},
                         {"windows", result.windows},
                         {"predictions", result.predictions},
                         {"nll", result.nll},
                         {"perplexity", result.perplexity}}));
    if (!json_out.is_standard_output())
        fmt::print("perplexity {:.6g} (nll {:.6f}; {} predictions in {} windows of {} tokens)\n",
                   result.perplexity, result.nll, result.predictions, result.windows, context);
}

/// A check for CLI11 with a message of one short line.
CLI::Validator require(const char* what, bool (*holds)(const std::string&)) {
    return CLI::Validator(
        [=](std::string& value) {
            return holds(value) ? std::string() : fmt::format("'{}': want {}", value, what);
        },
        "");
}

bool is_count(const std::string& value) {
    return !value.empty() && value.size() < 19 && value[0] != '0' &&
           std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_seed(const std::string& value) {
    return value == "0" || is_count(value);
}

bool is_given(const std::string& value) {
    return !value.empty();
}

std::string method_names() {
    std::vector<std::string_view> names;
    for (const auto& method : llm::methods)
        names.push_back(method.name);
    names.emplace_back("best");
    return fmt::format("{}", fmt::join(names, ", "));
}

void add_common(CLI::App& command, arguments& a) {
    command.add_option("--model", a.model, "model folder: config.json, model.safetensors")->required();
    command
        .add_option("--context", a.context, "tokens of a window (default: the model's context, at most 2048)")
        ->check(require("a positive integer", is_count));
    command.add_option("--threads", a.threads, "threads (default: one a processor)")
        ->check(require("a positive integer", is_count));
    command.add_option("--json", a.json, "write the result as JSON; - is standard output")
        ->check(require("the name of a file", is_given));
}

void add_calibration(CLI::App& command, arguments& a) {
    command.add_option("--calibration", a.calibration, "text, or token ids in a .u16 or .u32 file")
        ->required();
    command.add_option("--windows", a.windows, "calibrate on at most this many windows")
        ->capture_default_str()
        ->check(require("a positive integer", is_count));
    command.add_option("--seed", a.seed, "of the draw of calibration windows")
        ->capture_default_str()
        ->check(require("an integer, 0 or more", is_seed));
    command.add_option("--share", a.share, "the first stage's part of the rank in nested methods")
        ->capture_default_str();
    command.add_option("--storage", a.storage, "plain or pivoted factors (default: the method's own)");
    command.add_option("--allocation", a.allocation,
                       "ranks: uniform, greedy, effective-rank, loss-group, sensitivity, measured");
    command.add_option("--tune", a.tune, "second text, on which share and blend of each layer are chosen");
    command.add_flag("--anchored", a.anchored, "layer after layer, on the inputs compressed ones give");
    command.add_option("--epsilon", a.epsilon, "of --anchored: weight of the weights' own error")
        ->capture_default_str();
    command.add_flag("--bias", a.bias, "correct the mean of each layer's output");
    command.add_flag("--joint", a.joint, "q, k, v as one layer, gate and up as one");
    command.add_flag("--own-text", a.own_text, "calibrate on the model's own and random text as well");
    command
        .add_option("--keep-dense", a.keep_dense,
                    "layers to leave as they are: parts of names, or spiking; may be given again")
        ->delimiter(',');
}

/// Declares the command line; returns the subcommand's work.
void declare(CLI::App& app, arguments& a) {
    app.set_version_flag("--version", "nsvd-llm " NSVD_VERSION);
    app.require_subcommand(1);

    auto* compare = app.add_subcommand("compare", "table of perplexities: methods, compressions, texts");
    add_common(*compare, a);
    add_calibration(*compare, a);
    compare->add_option("--text", a.texts, "NAME=FILE; may be given again")->required();
    compare->add_option("--compression", a.compressions, "shares of the parameters to remove: 0.1,0.2,…")
        ->required()
        ->delimiter(',')
        ->check(require("a share, like 0.3", is_given));
    for (const auto& method : llm::methods)
        a.methods.emplace_back(method.name);
    compare
        ->add_option("--methods", a.methods,
                     "METHOD[+FEATURE...]: one of the methods or best, and features: the values of --storage "
                     "and --allocation, anchored, bias, joint, own-text, tuned, tuned-once")
        ->capture_default_str()
        ->delimiter(',');
    compare->add_option("--against", a.against, "method that the others are measured against");
    compare->add_option("--in-domain", a.in_domain,
                        "text of the calibration's kind, left out of the average");
    compare->add_option("--html", a.html, "write the table and its plots as a page");
    const auto about_best = fmt::format(
        "best is {}: more rank for the same bytes, ranks by what each layer alone does to the predictions, "
        "layers made for the inputs that compressed ones give, statistics of text the model writes itself. "
        "docs/ablation.md has the figures.\n\n",
        llm::best_recipe);
    compare->footer(
        about_best +
        "Example: nsvd-llm compare --model DIR --calibration calibration.txt --text news=news.txt "
        "--compression 0.2,0.3 --methods asvd-1,nsvd-1,nsvd-1+pivoted+greedy,best");
    compare->callback([&a] { run_compare(a); });

    auto* compress = app.add_subcommand("compress", "write a compressed model folder");
    add_common(*compress, a);
    add_calibration(*compress, a);
    compress->add_option("--compression", a.compression, "share of the parameters to remove")
        ->required()
        ->check(require("a share, like 0.3", is_given));
    compress
        ->add_option("--method", a.method, "one of " + method_names() + "; features after +, as in compare")
        ->required();
    compress->add_option("--output", a.output, "folder to write")->required();
    compress->add_flag("--force", a.force, "write into a folder that is not empty");
    compress->footer(about_best +
                     "Example: nsvd-llm compress --model DIR --calibration calibration.txt --compression 0.3 "
                     "--method best --output DIR-30");
    compress->callback([&a] { run_compress(a); });

    auto* evaluate = app.add_subcommand("evaluate", "perplexity of a model folder, dense or compressed");
    add_common(*evaluate, a);
    evaluate->add_option("--text", a.text, "text, or token ids in a .u16 or .u32 file")->required();
    evaluate->footer("Example: nsvd-llm evaluate --model DIR --text news.txt");
    evaluate->callback([&a] { run_evaluate(a); });
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Compresses the linear layers of a language model and shows what that costs in perplexity.");
    arguments a;
    for (int i = 0; i < argc; ++i)
        a.command += (i == 0 ? "" : " ") + std::string(argv[i]);
    try {
        declare(app, a);
        app.parse(argc, argv);
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
            throw nsvd::error("standard output: cannot be written");
        return 0;
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    } catch (const std::exception& e) {
        fmt::print(stderr, "nsvd-llm: {}\n", e.what());
        return 1;
    }
}
