// SPDX-License-Identifier: MIT
// The forward pass against logits that an independent double-precision implementation wrote down.
#include "llm_support.hpp"
#include "model.hpp"
#include "perplexity.hpp"
#include "support/catch.hpp"
#include "support/shared.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <vector>

TEST_CASE("forward pass agrees with golden logits", "[llm]") {
    const std::string name = GENERATE("llama", "llama-gqa-tied", "mistral", "opt", "qwen2");
    const auto folder = support::shared_folder(("reference/logits/" + name).c_str());
    if (folder.empty()) return;
    CAPTURE(name);
    std::ifstream in(folder / "golden.json");
    const auto golden = nlohmann::json::parse(in);
    const auto tokens = golden.at("tokens").get<std::vector<llm::token>>();
    const llm::model model(folder);

    const double difference = std::abs(llm::window_nll(model, tokens) - golden.at("nll").get<double>());
    CHECK(difference <= 1e-4);

    const Eigen::MatrixXf logits = model.forward(tokens);
    const auto rows = golden.at("logits").get<std::vector<std::vector<double>>>();
    REQUIRE(logits.cols() == static_cast<Eigen::Index>(tokens.size()));
    double worst = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto column = logits.cols() - static_cast<Eigen::Index>(rows.size() - i);
        REQUIRE(static_cast<Eigen::Index>(rows[i].size()) == logits.rows());
        for (std::size_t j = 0; j < rows[i].size(); ++j)
            worst = std::max(worst, std::abs(rows[i][j] - logits(static_cast<Eigen::Index>(j), column)));
    }
    CHECK(worst <= 1e-3);
}

// Only the right pieces, positions and grouped heads together give this figure, which comes with the model.
TEST_CASE("stories260K has a perplexity of 6 to 8 on TinyStories", "[llm]") {
    const auto folder = support::shared_folder("models/stories260K");
    const auto text = support::shared_folder("texts/tinystories.txt");
    if (folder.empty() || text.empty()) return;
    const llm::model model(folder);
    const auto tokens = llm::read_tokens(text, folder, model.shape().vocab_size);
    llm::progress silent;
    const auto result = llm::evaluate(model, tokens, 256, text.string(), 0, silent);
    CHECK(result.perplexity > 6);
    CHECK(result.perplexity < 8);
}
