// SPDX-License-Identifier: MIT
// Text that a model folder, dense or compressed, continues.
#include "../generate.hpp"

#include "../cells.hpp"
#include "../detokenize.hpp"
#include "../files.hpp"
#include "../machine.hpp"
#include "../model_size.hpp"
#include "../threads.hpp"
#include "commands.hpp"
#include "options.hpp"

#include <nsvd/version.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <unistd.h>

namespace llm::commands {
namespace {

namespace fs = std::filesystem;

struct generate_arguments {
    fs::path model, prompt_file, json;
    std::string prompt;
    unsigned threads = 0;
    bool low_memory = false;
    generation_options options;
};

/// 0 where nothing was timed.
double per_second(std::size_t count, double seconds) {
    return count == 0 ? 0 : static_cast<double>(count) / seconds;
}

/// None where the model's is not supported and the prompt did without.
std::unique_ptr<tokenizer> tokenizer_for(const generate_arguments& a, const fs::path& folder) {
    try {
        return find_tokenizer(folder);
    } catch (const nsvd::error&) {
        if (a.prompt_file.empty()) throw;
        return nullptr;
    }
}

void run(const generate_arguments& a) {
    const output json_out(a.json);
    const auto model = read_model(a.model, residence_of(a.low_memory));
    const auto vocab_size = model.shape().vocab_size;
    const auto prompt = a.prompt_file.empty() ? encode(a.prompt, "--prompt", model.folder(), vocab_size)
                                              : read_tokens(a.prompt_file, model.folder(), vocab_size);
    const blas_threads guard(a.threads);
    const auto words_of_model = tokenizer_for(a, model.folder());
    detokenizer words(words_of_model.get(), prompt);
    std::string text;
    const bool streams = !json_out.is_standard_output();
    const auto put = [&](const std::string& more) {
        text += more;
        if (!streams || more.empty()) return;
        fmt::print("{}", more);
        std::fflush(stdout);
    };
    const auto result = [&] {
        progress prompt_bar(pieces_of(prompt.size()));
        // On a terminal the text itself shows how far it is.
        progress bar(streams && isatty(STDOUT_FILENO) != 0 ? 0 : a.options.tokens);
        return generate(
            model, prompt, a.options, [&](token id) { put(words.add(id)); }, prompt_bar, bar);
    }();
    put(words.rest());
    if (streams) fmt::print("\n");

    const auto prompt_speed = per_second(prompt.size(), result.prompt_seconds);
    const auto speed = per_second(result.ids.size() - 1, result.seconds);
    json_out.write(dump({{"nsvd", NSVD_VERSION},
                         {"model", a.model.string()},
                         {"machine", machine_description(a.threads)},
                         {"date", today()},
                         {"temperature", a.options.temperature},
                         {"seed", a.options.seed},
                         {"kv_latent", a.options.latent_memory},
                         {"prompt_ids", prompt},
                         {"ids", result.ids},
                         {"text", text},
                         {"prompt_seconds", result.prompt_seconds},
                         {"prompt_tokens_per_second", prompt_speed},
                         {"seconds", result.seconds},
                         {"tokens_per_second", speed},
                         {"cache_bytes", result.cache_bytes},
                         {"feature_cache_bytes", result.feature_cache_bytes},
                         {"weight_bytes", weight_bytes(model)}}));
    if (!streams) return;
    std::fflush(stdout);
    fmt::print(stderr, "prompt: {} tokens, {:.4g} tokens/s\nmade: {} tokens, {:.4g} tokens/s\n",
               prompt.size(), prompt_speed, result.ids.size(), speed);
    fmt::print(
        stderr, "weights: {}; cache: {}{}\n", bytes_text(weight_bytes(model)), bytes_text(result.cache_bytes),
        a.options.latent_memory
            ? fmt::format(" of latents, {} without --kv-latent", bytes_text(result.feature_cache_bytes))
            : std::string());
}

}  // namespace

void add_generate(CLI::App& app) {
    const auto a = std::make_shared<generate_arguments>();
    auto* generate =
        app.add_subcommand("generate", "continue a text with a model folder, dense or compressed");
    generate->add_option("--model", a->model, "model folder: config.json and safetensors")->required();
    auto* prompt = generate->add_option_group("prompt", "what to continue: one of");
    prompt->add_option("--prompt", a->prompt, "text");
    prompt->add_option("--prompt-file", a->prompt_file, "text, or token ids: .u16, .u32, .safetensors")
        ->check(given("the name of a file"));
    prompt->require_option(1);
    generate->add_option("--tokens", a->options.tokens, "how many to make")->required()->check(positive());
    generate
        ->add_option("--temperature", a->options.temperature,
                     "draw from softmax(logits / temperature); 0: the likeliest token")
        ->capture_default_str();
    generate->add_option("--seed", a->options.seed, "of the draws")
        ->capture_default_str()
        ->check(seed_number());
    generate->add_flag("--kv-latent", a->options.latent_memory,
                       "keep the latents of factored k and v in the cache, where they are fewer");
    generate->add_flag("--low-memory", a->low_memory,
                       "weights stay in the file and are read anew for each token: far slower");
    generate->add_option("--threads", a->threads, "threads (default: one a processor)")->check(positive());
    generate
        ->add_option("--json", a->json,
                     "write text, ids and speed as JSON; - is standard output, without the text")
        ->check(given("the name of a file"));
    generate->footer(
        "The text goes to standard output, speed and sizes to standard error.\n\n"
        "Example: nsvd-llm generate --model DIR-30 --prompt \"Once upon a time\" --tokens 100 --temperature "
        "0.8");
    generate->callback([a] { run(*a); });
}

}  // namespace llm::commands
