// SPDX-License-Identifier: MIT
// The program itself: exit codes, errors of one line, results as JSON.
#include "support/catch.hpp"
#include "workplace.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using llm_test::workplace;

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
    const auto low = w.run("evaluate --model model --text text.txt --context 20 --low-memory --json -");
    CHECK(low.out == dense.out);
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

TEST_CASE("nsvd-llm: compress takes features by name and by flag", "[llm][cli]") {
    const workplace w;
    const std::string common =
        "compress --model model --calibration text.txt --context 20 --windows 20 --compression 0.3 "
        "--output small --force --json c.json ";
    const std::int64_t dense = 4 * (2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 24 * 16));
    const std::vector<std::pair<std::string, std::string>> cases{
        {"--method best", "best"},
        {"--method best --storage plain", "asvd-1+measured+anchored+own-text"},
        {"--method asvd-1 --storage pivoted", "asvd-1+pivoted"},
        {"--method asvd-1+pivoted --storage plain", "asvd-1"},
        {"--method asvd-1+greedy --allocation uniform", "asvd-1"},
        {"--method asvd-1 --allocation greedy", "asvd-1+greedy"},
        {"--method svd --allocation effective-rank", "svd+effective-rank"},
        {"--method nsvd-1 --allocation loss-group", "nsvd-1+loss-group"},
        {"--method asvd-0 --allocation sensitivity", "asvd-0+sensitivity"},
        {"--method asvd-1 --allocation measured", "asvd-1+measured"},
        {"--method nsvd-2 --anchored", "nsvd-2+anchored"},
        {"--method asvd-1 --bias", "asvd-1+bias"},
        {"--method asvd-1 --joint", "asvd-1+joint"},
        {"--method asvd-1+greedy --joint --bias", "asvd-1+greedy+bias+joint"},
        {"--method asvd-1 --own-text", "asvd-1+own-text"},
        {"--method nsvd-1 --tune text.u16", "nsvd-1+tuned"},
    };
    for (const auto& [arguments, name] : cases) {
        CAPTURE(arguments);
        const auto result = w.run(common + arguments);
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
        CHECK(result.err.empty());
        const auto about = w.json("small/config.json").at("nsvd");
        const auto report = w.json("c.json");
        CHECK(about.at("method") == name);
        CHECK(report.at("method") == name);
        CHECK(about.contains("held_out") == (name == "nsvd-1+tuned"));
        CHECK_FALSE(about.contains("keep_dense"));
        const bool joint = name.find("joint") != std::string::npos;
        CHECK(report.at("layers").size() == (joint ? 8 : 14));
        CHECK(about.at("rank").contains("model.layers.1.self_attn.qkv_proj") == joint);
        CHECK(about.at("rank").contains("model.layers.1.self_attn.q_proj") != joint);
        std::int64_t bytes = 0;
        for (const auto& layer : report.at("layers"))
            bytes += layer.at("bytes").get<std::int64_t>();
        CHECK(10 * bytes <= 7 * dense);
        CHECK(w.run("evaluate --model small --text text.txt --context 20").code == 0);
    }
    REQUIRE(w.run(common + "--method asvd-1 --anchored --epsilon 0.25 --keep-dense down_proj,layers.0.mlp.up "
                           "--keep-dense layers.1.self_attn.k")
                .code == 0);
    const auto about = w.json("small/config.json").at("nsvd");
    CHECK(about.at("method") == "asvd-1+anchored");
    CHECK(about.at("epsilon") == 0.25);
    CHECK(about.at("keep_dense") == nlohmann::json{"down_proj", "layers.0.mlp.up", "layers.1.self_attn.k"});
    const auto with = w.json("c.json").at("layers");
    for (std::size_t i = 0; i < 14; ++i)
        CHECK((with[i].at("status") == "dense") == (i == 5 || i == 6 || i == 8 || i == 13));
    // Another epsilon gives other layers.
    const auto error_at = [&](const std::string& epsilon) {
        REQUIRE(w.run(common + "--method asvd-1 --anchored --epsilon " + epsilon).code == 0);
        return w.json("c.json").at("layers")[13].at("weighted_error");
    };
    CHECK(error_at("0") != error_at("10"));
    CHECK(error_at("0.05") == error_at("5e-2"));
}

TEST_CASE("nsvd-llm: compare takes recipes, and any of them as the reference", "[llm][cli]") {
    const workplace w;
    const std::string common = " --model model --calibration text.txt --context 20 --windows 20 ";
    const auto compare = w.run("compare" + common +
                               "--text a=text.txt --compression 0.3 --methods "
                               "asvd-1,nsvd-1+greedy+pivoted,best --json compare.json");
    CAPTURE(compare.err);
    REQUIRE(compare.code == 0);
    CHECK(compare.err.empty());
    CHECK(compare.out.find("NSVD-I + pivoted + greedy") != std::string::npos);
    const auto table = w.json("compare.json");
    CHECK(table.at("reference") == "asvd-1");
    REQUIRE(table.at("rows").size() == 3);
    CHECK(table.at("rows")[1].at("method") == "nsvd-1+pivoted+greedy");
    CHECK(table.at("rows")[2].at("method") == "best");
    for (const auto& row : table.at("rows")) {
        CAPTURE(row.at("method").get<std::string>());
        CHECK(row.at("bytes") <= table.at("rows")[0].at("bytes"));
        const auto perplexity = row.at("texts").at("a").at("perplexity").get<double>();
        // The random model does no better than guessing: its text doesn't count.
        CHECK(row.at("inflation").is_null());
        const auto name = row.at("method").get<std::string>();
        REQUIRE(
            w.run("compress" + common + "--compression 0.3 --force --output small --method " + name).code ==
            0);
        const auto alone = w.run("evaluate --model small --text text.txt --context 20 --json -");
        CHECK(nlohmann::json::parse(alone.out).at("perplexity").get<double>() ==
              Approx(perplexity).epsilon(1e-12));
    }
    // The reference by a name in any order, and with what flags add to it.
    const auto reference = [&](const std::string& arguments) {
        const auto result =
            w.run("compare" + common + "--text a=text.txt --compression 0.3 --json - " + arguments);
        CAPTURE(arguments, result.err);
        REQUIRE(result.code == 0);
        return nlohmann::json::parse(result.out).at("reference").get<std::string>();
    };
    CHECK(reference("--methods svd,nsvd-1") == "nsvd-1");
    CHECK(reference("--methods svd,asvd-0") == "svd");
    CHECK(reference("--methods svd,asvd-1 --against svd") == "svd");
    CHECK(reference("--methods svd,asvd-1+greedy+pivoted --against asvd-1+greedy+pivoted") ==
          "asvd-1+pivoted+greedy");
    CHECK(reference("--methods svd,asvd-1 --storage pivoted --against asvd-1") == "asvd-1+pivoted");
}

TEST_CASE("nsvd-llm: inspect and report", "[llm][cli][inspect]") {
    const workplace w;
    const std::string common = " --model model --calibration text.txt --context 20 --windows 20 ";
    REQUIRE(w.run("compress" + common + "--method nsvd-1+pivoted --joint --compression 0.3 --output small")
                .code == 0);
    const auto dense = w.run("inspect model");
    CHECK(dense.code == 0);
    CHECK(dense.out.find("self_attn.q_proj") != std::string::npos);
    CHECK(dense.out.find('\033') == std::string::npos);
    const auto small = w.run("inspect small --spectra --json small.json");
    CAPTURE(small.err);
    REQUIRE(small.code == 0);
    CHECK(small.err.empty());
    CHECK(small.out.find("│") != std::string::npos);
    CHECK(w.json("small.json").at("layers").size() == 8);
    CHECK(w.json("small.json").at("nsvd").at("method") == "nsvd-1+pivoted+joint");
    const auto json = w.run("inspect small --json -");
    REQUIRE(json.code == 0);
    CHECK(nlohmann::json::parse(json.out).at("layers").size() == 8);

    REQUIRE(
        w.run("compare" + common +
              "--text a=text.txt --compression 0.3 --methods asvd-1 --similarity --json c.json --html c.html")
            .code == 0);
    const auto alike = w.json("c.json").at("similarity");
    CHECK(alike.at("names") == nlohmann::json{"calibration", "a"});
    // Both are the same windows.
    CHECK(alike.at("values")[0][1].get<double>() == Approx(1).epsilon(1e-12));
    CHECK(w.json("c.json").at("rows")[0].at("layers").size() == 14);
    const auto page = w.run("report c.json --output -");
    CAPTURE(page.err);
    REQUIRE(page.code == 0);
    CHECK(page.out.starts_with("<!DOCTYPE html>"));
    CHECK(w.run("report c.json c.json --output two.html").code == 0);
    CHECK(w.exists("two.html"));
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
        {compress + "--method asvd-1+fast --compression 0.2", "'fast'"},
        {compress + "--method asvd-1+ --compression 0.2", "unknown feature"},
        {compress + "--method asvd-1 --storage dense --compression 0.2", "'dense'"},
        {compress + "--method asvd-1 --allocation best --compression 0.2", "'best'"},
        {compress + "--method asvd-1 --anchored --epsilon -1 --compression 0.2", "--epsilon"},
        {compress + "--method asvd-1 --anchored --epsilon nan --compression 0.2", "--epsilon"},
        {compress + "--method asvd-1+tuned --compression 0.2", "--tune"},
        {compress + "--method asvd-1 --tune missing.txt --compression 0.2", "missing.txt"},
        {compress + "--method asvd-1 --tune short.txt --compression 0.2", "short.txt"},
        {compress + "--method svd --anchored --compression 0.2", "svd+anchored"},
        {compress + "--method asvd-1 --keep-dense x_proj --compression 0.2", "'x_proj'"},
        {compress + "--method asvd-1 --bias --compression 0.8", "budget"},
        {compare + "--text text.txt --compression 0.2", "NAME=FILE"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd,svd", "svd is given twice"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd+greedy+bias,svd+bias+greedy",
         "svd+greedy+bias is given twice"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd --against asvd-1", "--against asvd-1"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd --against qr", "'qr'"},
        {compare + "--text a=text.txt --text a=text.txt --compression 0.2", "--text"},
        {compare + "--text a=text.txt --compression 0.2,1.5", "--compression"},
        {compare + "--text a=text.txt --compression 0.2 --methods svd,qr", "'qr'"},
        {compare + "--text a=text.txt --compression 0.2 --in-domain b", "--in-domain"},
        {compare + "--text a=text.txt --compression 0.2 --similarity", "--similarity"},
        {"inspect nowhere", "nowhere/config.json"},
        {"report model/config.json --output page.html", "model/config.json"},
        {"report text.txt --output page.html", "text.txt: not JSON"},
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
    // A model with fused layers is compressed already, and compare takes it.
    REQUIRE(w.run("compress --model model --calibration text.txt --context 20 --method svd --joint "
                  "--compression 0.2 --output joint")
                .code == 0);
    const auto twice = w.run(
        "compress --model joint --calibration text.txt --context 20 --method svd "
        "--compression 0.2 --output out-folder");
    CHECK(twice.code == 1);
    CHECK(twice.err.find("compressed already") != std::string::npos);
    CHECK(
        w.run("compare --model joint --calibration text.txt --context 20 --text a=text.txt --compression 0.4 "
              "--methods svd+joint,asvd-1")
            .code == 0);
    const std::string full =
        "compress --model model --calibration text.txt --context 20 --method svd "
        "--compression 0.2 --output taken";
    CHECK(w.run(full).code == 0);
    // The same once more is there already; another one is not written over it.
    CHECK(w.run(full).code == 0);
    const auto again = w.run(full + " --seed 7");
    CHECK(again.code == 1);
    CHECK(again.err.find("not empty") != std::string::npos);
    CHECK(w.run(full + " --seed 7 --force").code == 0);
}

TEST_CASE("nsvd-llm: usage", "[llm][cli]") {
    const workplace w;
    CHECK(w.run("").code == 2);
    CHECK(w.run("shrink").code == 2);
    CHECK(w.run("evaluate --model model").code == 2);
    CHECK(w.run("evaluate --model model --text text.txt --context many").code == 2);
    CHECK(w.run("evaluate --model model --text text.txt --windows 3").code == 2);
    for (const auto* help : {"--help", "compare --help", "compress --help", "evaluate --help",
                             "inspect --help", "report --help"}) {
        const auto result = w.run(help);
        CHECK(result.code == 0);
        CHECK(result.out.find(std::string(help) == "--help" ? "compare" : "Example: nsvd-llm") !=
              std::string::npos);
    }
    CHECK(w.run("--version").out.starts_with("nsvd-llm "));
}

TEST_CASE("nsvd-llm: generate says the same in every way", "[llm][cli][generate]") {
    const workplace w;
    REQUIRE(w.run("compress --model model --calibration text.txt --context 20 --compression 0.5 --method "
                  "asvd-1 --output small")
                .code == 0);
    const std::string common = "generate --model small --tokens 20 --temperature 0.9 --seed 3 ";
    const auto plain = w.run(common + "--prompt abc --json plain.json");
    CAPTURE(plain.err);
    REQUIRE(plain.code == 0);
    CHECK(plain.err.find("made: 20 tokens, ") != std::string::npos);
    const auto about = w.json("plain.json");
    CHECK(about.at("prompt_ids") == std::vector<int>{'a', 'b', 'c'});
    CHECK(about.at("ids").size() == 20);
    CHECK(about.at("tokens_per_second") > 0);
    CHECK(about.at("prompt_tokens_per_second") > 0);
    CHECK(about.at("cache_bytes") == 4 * 2 * 2 * 8 * 23);
    CHECK(about.at("feature_cache_bytes") == about.at("cache_bytes"));
    CHECK(about.at("weight_bytes") > 0);
    std::string text;
    for (const auto& id : about.at("ids"))
        text += static_cast<char>(id.get<int>());
    CHECK(plain.out == text + "\n");

    const auto latent = w.run(common + "--prompt abc --kv-latent --json -");
    REQUIRE(latent.code == 0);
    CHECK(latent.err.empty());
    const auto of_latents = nlohmann::json::parse(latent.out);
    CHECK(of_latents.at("ids") == about.at("ids"));
    CHECK(of_latents.at("cache_bytes") == 4 * 2 * 2 * 2 * 23);  // rank floor(0.5·8·16/24)
    CHECK(of_latents.at("feature_cache_bytes") == about.at("cache_bytes"));
    const auto low = w.run(common + "--prompt abc --low-memory --json -");
    REQUIRE(low.code == 0);
    CHECK(nlohmann::json::parse(low.out).at("ids") == about.at("ids"));
    CHECK(nlohmann::json::parse(low.out).at("weight_bytes") == about.at("weight_bytes"));
    const auto from_file = w.run(common + "--prompt-file text.u16 --json -");
    CHECK(from_file.code == 1);  // 1000 tokens
    CHECK(from_file.err.find("max_position_embeddings") != std::string::npos);
    CHECK(w.run(common + "--prompt ''").code == 1);
    CHECK(w.run(common + "--prompt-file short.txt --threads 1").code == 0);
    CHECK(w.run(common).code == 2);
    CHECK(w.run(common + "--prompt a --prompt-file short.txt").code == 2);
    CHECK(w.run("generate --help").out.find("Example: nsvd-llm generate") != std::string::npos);
}

TEST_CASE("nsvd-llm: benchmark measures two models", "[llm][cli][generate]") {
    const workplace w;
    REQUIRE(w.run("compress --model model --calibration text.txt --context 20 --compression 0.5 --method "
                  "asvd-1 --output small")
                .code == 0);
    const std::string short_run = " --prompt-tokens 8 --tokens 4 --repetitions 2 --json b.json ";
    for (const auto* models : {"--model model --against small", "--config model/config.json",
                               "--config model/config.json --compression 0.5 --storage pivoted",
                               "--model model --against small --kv-latent"}) {
        CAPTURE(models);
        const auto result = w.run(std::string("benchmark ") + models + short_run);
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
        CHECK(result.out.find("decode, tokens/s") != std::string::npos);
        const auto all = w.json("b.json");
        for (const auto* key :
             {"decode_ratio", "prefill_ratio", "bandwidth_bytes_per_second", "peak_memory_bytes"})
            CHECK(all.at(key) > 0);
        CHECK(all.at("decode_ratios").size() == 2);
        for (const auto* key : {"machine", "date", "nsvd"})
            CHECK(all.at(key).is_string());
        for (const auto* model : {"dense", "compressed"})
            for (const auto* key : {"decode_tokens_per_second", "prefill_tokens_per_second", "weight_bytes",
                                    "bytes_per_token", "cache_bytes", "bandwidth_share"})
                CHECK(all.at(model).at(key) > 0);
        CHECK(all.at("compressed").at("weight_bytes") < all.at("dense").at("weight_bytes"));
        CHECK((all.at("compressed").at("cache_bytes") < all.at("dense").at("cache_bytes")) ==
              all.at("kv_latent"));
    }
    const auto fails = [&](const std::string& arguments, int code, const std::string& what) {
        const auto result = w.run("benchmark " + arguments);
        CAPTURE(arguments, result.err);
        CHECK(result.code == code);
        CHECK(result.err.find(what) != std::string::npos);
    };
    fails("", 2, "--config");
    fails("--model model", 2, "--against");
    fails("--config model/config.json --model model --against small", 2, "--");
    fails("--config model/config.json --prompt-tokens 60 --tokens 5", 1, "max_position_embeddings is 64");
    fails("--config model/config.json --compression 1", 1, "--compression is 1");
    fails("--config nowhere.json", 1, "nowhere.json");
    CHECK(w.run("benchmark --help").out.find("Example: nsvd-llm benchmark") != std::string::npos);
}
