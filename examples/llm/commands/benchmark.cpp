// SPDX-License-Identifier: MIT
// Speed and memory of a dense model and a compressed one.
#include "../benchmark.hpp"

#include "../cells.hpp"
#include "../files.hpp"
#include "../machine.hpp"
#include "../random_model.hpp"
#include "../recipe.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <memory>
#include <utility>

namespace llm::commands {
namespace {

namespace fs = std::filesystem;

struct benchmark_arguments {
    fs::path model, against, config, json;
    double compression = 0.3;
    std::string storage = "plain";
    benchmark_options options;
};

std::pair<llm::model, llm::model> random_models(const benchmark_arguments& a) {
    check_compression(a.compression);
    const nsvd::compression compression{a.compression, find_storage(a.storage)};
    const auto shape = read_config(a.config);
    progress bar(2 * shape.blocks * shape.layers_in_block());
    // In this order: a compression that leaves no rank is found at once.
    auto compressed = random_model(shape, compression, bar);
    return {random_model(shape, std::nullopt, bar), std::move(compressed)};
}

void run(const benchmark_arguments& a) {
    if (a.model.empty() == a.config.empty())
        throw CLI::ValidationError("benchmark", "want --model and --against, or --config");
    const output json_out(a.json);
    const auto [dense, compressed] =
        a.config.empty() ? std::pair<llm::model, llm::model>(a.model, a.against) : random_models(a);
    const auto result = [&, &dense = dense, &compressed = compressed] {
        progress bar(steps_of(a.options));
        return benchmark(dense, compressed, a.options, bar);
    }();
    nlohmann::ordered_json all{
        {"nsvd", NSVD_VERSION}, {"machine", machine_description(a.options.threads)}, {"date", today()}};
    if (a.config.empty())
        all.update({{"model", a.model.string()}, {"against", a.against.string()}});
    else
        all.update({{"config", a.config.string()}, {"compression", a.compression}, {"storage", a.storage}});
    all.update({{"prompt_tokens", a.options.prompt_tokens},
                {"tokens", a.options.tokens},
                {"repetitions", a.options.repetitions},
                {"kv_latent", a.options.latent_memory}});
    all.update(to_json(result));
    json_out.write(dump(all));
    if (json_out.is_standard_output()) return;
    fmt::print("{}\n", print_table(result));
    fmt::print(
        "Medians of {} repetitions: a prompt of {} tokens at once, then {} one by one, the models in turns; "
        "weights in single precision.\nMemory was read at {}/s; the program held {} at most, both models and "
        "a buffer of 1 "
        "GiB.\n"
        "{}; {}\n",
        a.options.repetitions, a.options.prompt_tokens, a.options.tokens,
        bytes_text(static_cast<std::int64_t>(result.bandwidth)), bytes_text(result.peak_memory_bytes),
        machine_description(a.options.threads), today());
}

}  // namespace

void add_benchmark(CLI::App& app) {
    const auto a = std::make_shared<benchmark_arguments>();
    auto* benchmark = app.add_subcommand("benchmark", "speed and memory of a dense and a compressed model");
    auto* model = benchmark->add_option("--model", a->model, "model folder, dense");
    auto* against = benchmark->add_option("--against", a->against, "folder of the compressed model");
    auto* config = benchmark->add_option("--config", a->config,
                                         "in place of folders: config.json of a model of random weights");
    auto* compression =
        benchmark
            ->add_option("--compression", a->compression, "of --config: share of the parameters to remove")
            ->capture_default_str();
    auto* storage = benchmark->add_option("--storage", a->storage, "of --config: plain or pivoted factors")
                        ->capture_default_str();
    model->needs(against)->excludes(config);
    against->needs(model);
    compression->needs(config);
    storage->needs(config);
    benchmark->add_option("--prompt-tokens", a->options.prompt_tokens, "length of the random prompt")
        ->capture_default_str()
        ->check(positive());
    benchmark->add_option("--tokens", a->options.tokens, "made one by one after it")
        ->capture_default_str()
        ->check(positive());
    benchmark->add_option("--repetitions", a->options.repetitions, "of which medians are taken")
        ->capture_default_str()
        ->check(positive());
    benchmark->add_flag("--kv-latent", a->options.latent_memory, "latents in the compressed model's cache");
    benchmark->add_option("--seed", a->options.seed, "of the prompt")
        ->capture_default_str()
        ->check(seed_number());
    benchmark->add_option("--threads", a->options.threads, "threads (default: one a processor)")
        ->check(positive());
    benchmark->add_option("--json", a->json, "write the result as JSON; - is standard output")
        ->check(given("the name of a file"));
    benchmark->footer(
        "Example: nsvd-llm benchmark --model DIR --against DIR-30\n"
        "Example: nsvd-llm benchmark --config examples/data/tinyllama-1.1b.json --compression 0.3");
    benchmark->callback([a] { run(*a); });
}

}  // namespace llm::commands
