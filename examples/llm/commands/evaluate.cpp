// SPDX-License-Identifier: MIT
// Perplexity of a model folder, dense or compressed.
#include "../compare.hpp"
#include "../files.hpp"
#include "../perplexity.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <memory>

namespace llm::commands {
namespace {

struct evaluate_arguments {
    model_options model;
    std::filesystem::path text;
    bool low_memory = false;
};

void run(const evaluate_arguments& a) {
    const output json_out(a.model.json);
    const auto model = read_model(a.model.model, residence_of(a.low_memory));
    const auto context = context_of(model, a.model.context);
    const auto tokens = read_tokens(a.text, model.folder(), model.shape().vocab_size);
    const auto result = [&] {
        progress bar(evaluation_steps(model, tokens.size(), context));
        return evaluate(model, tokens, context, a.text.string(), a.model.threads, bar);
    }();
    json_out.write(dump({{"nsvd", NSVD_VERSION},
                         {"model", a.model.model.string()},
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

}  // namespace

void add_evaluate(CLI::App& app) {
    const auto a = std::make_shared<evaluate_arguments>();
    auto* evaluate = app.add_subcommand("evaluate", "perplexity of a model folder, dense or compressed");
    a->model.declare(*evaluate);
    evaluate->add_option("--text", a->text, "text, or token ids: .u16, .u32, .safetensors")->required();
    evaluate->add_flag("--low-memory", a->low_memory,
                       "weights stay in the file, and are read once for several windows: slower");
    evaluate->footer("Example: nsvd-llm evaluate --model DIR --text news.txt");
    evaluate->callback([a] { run(*a); });
}

}  // namespace llm::commands
