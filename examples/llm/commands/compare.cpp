// SPDX-License-Identifier: MIT
// Table of perplexities: methods, compressions, texts.
#include "../compare.hpp"

#include "../files.hpp"
#include "../methods.hpp"
#include "../report.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace llm::commands {
namespace {

namespace fs = std::filesystem;

struct compare_arguments {
    model_options model;
    recipe_options recipe;
    std::vector<std::string> texts, methods;
    std::vector<double> compressions;
    std::string in_domain, against;
    fs::path html;
    bool similarity = false;
    std::string command_line;
};

void run(const compare_arguments& a) {
    compare_options options{.model = a.model.model,
                            .calibration = a.recipe.calibration,
                            .texts = named_texts(a.texts),
                            .compressions = a.compressions,
                            .recipes = {},
                            .context = a.model.context,
                            .windows = a.recipe.windows,
                            .seed = a.recipe.seed,
                            .share = a.recipe.share,
                            .in_domain = {},
                            .reference = {},
                            .held_out = a.recipe.tune,
                            .keep_dense = a.recipe.keep_dense,
                            .threads = a.model.threads,
                            .similarity = a.similarity};
    std::for_each(a.compressions.begin(), a.compressions.end(), check_compression);
    check_distinct(a.compressions, "--compression");
    for (const auto& name : a.methods)
        options.recipes.push_back(a.recipe.find(name));
    // The reference goes last, to be treated like the others.
    if (!a.against.empty()) options.recipes.push_back(a.recipe.find(a.against));
    a.recipe.tune_all(options.recipes);
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
    if (a.similarity && a.model.json.empty() && a.html.empty())
        throw nsvd::error("--similarity: it is shown by --html and --json: give one of them");
    const output json_out(a.model.json), html_out(a.html);
    auto result = llm::compare(options);
    result.command = a.command_line;
    json_out.write(dump(to_json(result)));
    html_out.write(html_report(result));
    if (!json_out.is_standard_output() && !html_out.is_standard_output())
        fmt::print("{}", print_table(result));
}

}  // namespace

void add_compare(CLI::App& app, const std::string& command_line) {
    const auto a = std::make_shared<compare_arguments>();
    a->command_line = command_line;
    auto* compare = app.add_subcommand("compare", "table of perplexities: methods, compressions, texts");
    a->model.declare(*compare);
    a->recipe.declare(*compare);
    compare->add_option("--text", a->texts, "NAME=FILE; may be given again")->required();
    compare->add_option("--compression", a->compressions, "shares of the parameters to remove: 0.1,0.2,…")
        ->required()
        ->delimiter(',')
        ->check(given("a share, like 0.3"));
    for (const auto& method : methods)
        a->methods.emplace_back(method.name);
    compare
        ->add_option("--methods", a->methods,
                     "METHOD[+FEATURE...]: one of the methods or best, and features: the values of --storage "
                     "and --allocation, anchored, bias, joint, own-text, tuned, tuned-once")
        ->capture_default_str()
        ->delimiter(',');
    compare->add_option("--against", a->against, "method that the others are measured against");
    compare->add_option("--in-domain", a->in_domain,
                        "text of the calibration's kind, left out of the average");
    compare->add_option("--html", a->html, "write the table and its plots as a page");
    compare->add_flag(
        "--similarity", a->similarity,
        "how alike calibration and texts are, in --html and --json: one more pass over 16 windows "
        "of each");
    compare->footer(
        about_best() +
        "Example: nsvd-llm compare --model DIR --calibration calibration.txt --text news=news.txt "
        "--compression 0.2,0.3 --methods asvd-1,nsvd-1,nsvd-1+pivoted+greedy,best");
    compare->callback([a] { run(*a); });
}

}  // namespace llm::commands
