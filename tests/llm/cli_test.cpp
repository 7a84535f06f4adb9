// SPDX-License-Identifier: MIT
// The program itself: exit codes, errors of one line, results as JSON.
#include "llm_support.hpp"
#include "naive_llama.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <sys/wait.h>

namespace {

struct outcome {
    int code;
    std::string out, err;
};

/// A small model and texts, and a way to run the program on them.
class workplace {
public:
    workplace() {
        std::filesystem::create_directory(folder_ / "model");
        llm_test::random_model m;
        m.vocab = 256;
        m.write_to(folder_ / "model");
        std::string text;
        for (const auto id : m.tokens(1000))
            text += static_cast<char>(id);
        llm_test::write(folder_ / "text.txt", text);
        std::string wide;
        for (const char c : text)
            wide += std::string{c, '\0'};
        llm_test::write(folder_ / "text.u16", wide);
        std::string wider;
        for (const char c : text)
            wider += std::string{c, '\0', '\0', '\0'};
        llm_test::write(folder_ / "text.u32", wider);
        llm_test::write(folder_ / "odd.u16", "abc");
        llm_test::write(folder_ / "big.u32", std::string(400, '\x01'));
        llm_test::write(folder_ / "short.txt", "short");
    }

    [[nodiscard]] outcome run(const std::string& arguments) const {
        const auto command = "cd '" + folder_.path().string() + "' && '" NSVD_LLM_BINARY "' " + arguments +
                             " >out 2>err </dev/null";
        const int status = std::system(command.c_str());
        return {WEXITSTATUS(status), llm_test::read(folder_ / "out"), llm_test::read(folder_ / "err")};
    }
    [[nodiscard]] nlohmann::json json(const std::string& name) const {
        return nlohmann::json::parse(llm_test::read(folder_ / name));
    }
    [[nodiscard]] bool exists(const std::string& name) const {
        return std::filesystem::exists(folder_ / name);
    }

private:
    llm_test::scratch folder_;
};

}  // namespace

TEST_CASE("nsvd-llm: compare, compress and evaluate agree", "[llm][cli]") {
    const workplace w;
    const std::string common = " --model model --calibration text.txt --context 20 --seed 4 ";
    const auto compare = w.run("compare" + common +
                               "--text a=text.txt --text b=text.u32 --compression 0.2,0.4 "
                               "--methods asvd-1,nsvd-1 --json compare.json --html compare.html");
    CAPTURE(compare.err);
    REQUIRE(compare.code == 0);
    CHECK(compare.err.empty());
    CHECK(compare.out.find("NSVD-I") != std::string::npos);
    CHECK(w.exists("compare.html"));
    const auto table = w.json("compare.json");
    REQUIRE(table.at("rows").size() == 4);
    CHECK(table.at("rows")[0].at("texts").at("a") == table.at("rows")[0].at("texts").at("b"));

    const auto compress =
        w.run("compress" + common + "--compression 0.4 --method nsvd-1 --output small --json c.json");
    REQUIRE(compress.code == 0);
    CHECK(w.json("c.json").at("layers").size() == 14);
    const auto about = w.json("small/config.json").at("nsvd");
    CHECK(about.at("method") == "nsvd-1");
    CHECK(about.at("seed") == 4);
    CHECK(about.at("calibration").at("file") == "text.txt");
    CHECK(about.at("calibration").at("tokens") == 1000);
    CHECK(about.at("rank").at("model.layers.0.mlp.up_proj") == 5);  // floor(0.6·16·24/40)

    const auto evaluate = w.run("evaluate --model small --text text.u16 --context 20 --json e.json");
    REQUIRE(evaluate.code == 0);
    const auto result = w.json("e.json");
    CHECK(result.at("windows") == 50);
    CHECK(result.at("predictions") == 950);
    const auto row = table.at("rows")[3];
    CHECK(row.at("method") == "nsvd-1");
    CHECK(row.at("texts").at("a").at("perplexity").get<double>() ==
          Approx(result.at("perplexity").get<double>()).epsilon(1e-12));
    CHECK(evaluate.out.starts_with("perplexity "));

    const auto dense = w.run("evaluate --model model --text text.txt --context 20 --threads 1 --json -");
    REQUIRE(dense.code == 0);
    CHECK(nlohmann::json::parse(dense.out).at("perplexity") ==
          table.at("dense").at("texts").at("a").at("perplexity"));
    // A compressed folder is read back, and its first row is what evaluate gives for it.
    const auto stored = w.run(
        "compare --model small --calibration text.txt --context 20 --text a=text.txt --compression 0.2 "
        "--methods svd --json -");
    const auto alone = w.run("evaluate --model small --text text.txt --context 20 --json -");
    REQUIRE(stored.code == 0);
    const auto first = nlohmann::json::parse(stored.out).at("dense");
    CHECK(first.at("label") == "as stored");
    CHECK(first.at("texts").at("a").at("perplexity") == nlohmann::json::parse(alone.out).at("perplexity"));
}

TEST_CASE("nsvd-llm: errors are one line and exit code 1", "[llm][cli]") {
    const workplace w;
    const std::string evaluate = "evaluate --model model --context 20 --text ";
    const std::string compress =
        "compress --model model --calibration text.txt --context 20 --output out-folder ";
    const std::string compare = "compare --model model --calibration text.txt --context 20 ";
    const std::vector<std::pair<std::string, std::string>> cases{
        {evaluate + "missing.txt", "missing.txt"},
        {evaluate + "odd.u16", "odd.u16"},
        {evaluate + "big.u32", "big.u32: token 0 has the id 16843009"},
        {evaluate + "short.txt", "short.txt: 5 tokens"},
        {"evaluate --model model --text text.txt --context 1", "--context"},
        {evaluate + "text.txt --json missing/e.json", "missing/e.json"},
        {"evaluate --model nowhere --text text.txt", "nowhere/config.json"},
        {compress + "--method nsvd-3 --compression 0.2", "'nsvd-3'"},
        {compress + "--method nsvd-1 --compression 1", "--compression"},
        {compress + "--method nsvd-1 --compression -0.1", "--compression"},
        {compress + "--method nsvd-1 --compression nan", "--compression"},
        {compress + "--method nsvd-1 --compression 0.99", "model.layers.0"},
        {"compress --model model --calibration text.txt --method svd --compression 0.2 --output model",
         "model"},
        {compress + "--method nsvd-1 --compression 0.2 --share 1.5", "share"},
        {compare + "--text text.txt --compression 0.2", "NAME=FILE"},
        {compare + "--text a=text.txt --text a=text.txt --compression 0.2", "--text"},
        {compare + "--text a=text.txt --compression 0.2,1.5", "--compression"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd,qr", "'qr'"},
        {compare + "--text a=text.txt --compression 0.2 --in-domain b", "--in-domain"},
    };
    for (const auto& [arguments, expected] : cases) {
        CAPTURE(arguments);
        const auto result = w.run(arguments);
        CHECK(result.code == 1);
        CHECK(result.out.empty());
        CHECK(result.err.starts_with("nsvd-llm: "));
        CHECK(result.err.find('\n') == result.err.size() - 1);
        CHECK(result.err.find(expected) != std::string::npos);
    }
    CHECK_FALSE(w.exists("out-folder"));
    const std::string full =
        "compress --model model --calibration text.txt --context 20 --method svd "
        "--compression 0.2 --output taken";
    CHECK(w.run(full).code == 0);
    const auto again = w.run(full);
    CHECK(again.code == 1);
    CHECK(again.err.find("not empty") != std::string::npos);
    CHECK(w.run(full + " --force").code == 0);
}

TEST_CASE("nsvd-llm: usage", "[llm][cli]") {
    const workplace w;
    CHECK(w.run("").code == 2);
    CHECK(w.run("shrink").code == 2);
    CHECK(w.run("evaluate --model model").code == 2);
    CHECK(w.run("evaluate --model model --text text.txt --context many").code == 2);
    CHECK(w.run("evaluate --model model --text text.txt --windows 3").code == 2);
    for (const auto* help : {"--help", "compare --help", "compress --help", "evaluate --help"}) {
        const auto result = w.run(help);
        CHECK(result.code == 0);
        CHECK(result.out.find(std::string(help) == "--help" ? "compare" : "Example: nsvd-llm") !=
              std::string::npos);
    }
    CHECK(w.run("--version").out.starts_with("nsvd-llm "));
}
