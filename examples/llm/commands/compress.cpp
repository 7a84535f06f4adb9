// SPDX-License-Identifier: MIT
// Writing a compressed model folder.
#include "../compress.hpp"

#include "../compare.hpp"
#include "../files.hpp"
#include "../perplexity.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <memory>
#include <utility>

namespace llm::commands {
namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct compress_arguments {
    model_options model;
    recipe_options recipe;
    std::string method;
    double compression = 0;
    fs::path output;
    bool force = false;
};

json to_json(const layer_record& layer) {
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

void run(const compress_arguments& a) {
    check_compression(a.compression);
    std::vector<recipe> recipes{a.recipe.find(a.method)};
    a.recipe.tune_all(recipes);
    auto& recipe = recipes.front();
    recipe.compression = a.compression;
    const output json_out(a.model.json);
    llm::model model(a.model.model);
    require_dense(model);
    check_output(model, a.output, a.force);
    const auto read = [&](const fs::path& path) {
        return read_tokens(path, model.folder(), model.shape().vocab_size);
    };
    compression_input input{
        .calibration = read(a.recipe.calibration),
        .calibration_name = a.recipe.calibration.string(),
        .sample = {context_of(model, a.model.context), a.recipe.windows, a.recipe.seed},
        .held_out = a.recipe.tune.empty() ? std::vector<token>() : read(a.recipe.tune),
        .held_out_name = a.recipe.tune.string(),
        .keep_dense = a.recipe.keep_dense,
        .threads = a.model.threads,
    };
    const auto context = input.sample.context;
    std::vector<layer_record> layers;
    std::int64_t calibration_tokens = 0;
    {
        progress bar(model.layers());
        compressor compress(model, std::move(input), bar);
        calibration_tokens = compress.calibration_tokens();
        layers = compress.run(recipe);
    }
    json about{{"version", NSVD_VERSION},
               {"method", recipe.name},
               {"compression", a.compression},
               {"share", a.recipe.share},
               {"epsilon", a.recipe.epsilon},
               {"seed", a.recipe.seed},
               {"context", context},
               {"calibration",
                {{"file", a.recipe.calibration.filename().string()}, {"tokens", calibration_tokens}}}};
    if (!a.recipe.tune.empty()) about["held_out"] = a.recipe.tune.filename().string();
    if (!a.recipe.keep_dense.empty()) about["keep_dense"] = a.recipe.keep_dense;
    std::int64_t before = 0, after = 0;
    double error = 0;
    for (const auto& layer : layers) {
        about["rank"][layer.name] = layer.rank;
        before += layer.m * layer.n;
        after += layer.parameters;
        error += layer.weighted_error / static_cast<double>(layers.size());
    }
    save_model(model, a.output, about, a.force);

    json result{{"nsvd", NSVD_VERSION}, {"model", a.model.model.string()}, {"output", a.output.string()}};
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

}  // namespace

void add_compress(CLI::App& app) {
    const auto a = std::make_shared<compress_arguments>();
    auto* compress = app.add_subcommand("compress", "write a compressed model folder");
    a->model.declare(*compress);
    a->recipe.declare(*compress);
    compress->add_option("--compression", a->compression, "share of the parameters to remove")
        ->required()
        ->check(given("a share, like 0.3"));
    compress
        ->add_option("--method", a->method, "one of " + method_names() + "; features after +, as in compare")
        ->required();
    compress->add_option("--output", a->output, "folder to write")->required();
    compress->add_flag("--force", a->force, "write into a folder that is not empty");
    compress->footer(about_best() +
                     "Example: nsvd-llm compress --model DIR --calibration calibration.txt --compression 0.3 "
                     "--method best --output DIR-30");
    compress->callback([a] { run(*a); });
}

}  // namespace llm::commands
