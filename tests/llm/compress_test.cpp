// SPDX-License-Identifier: MIT
// Calibration, the methods, and compressed folders that evaluate to what was measured in memory.
#include "compress.hpp"

#include "calibrate.hpp"
#include "files.hpp"
#include "llm_support.hpp"
#include "methods.hpp"
#include "naive_llama.hpp"
#include "perplexity.hpp"
#include "save.hpp"
#include "small_model.hpp"
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>

using llm_test::error_of;
namespace st = nsvd::safetensors;

namespace {

llm_test::random_model small(st::dtype dtype) {
    llm_test::random_model m;
    m.dtype = dtype;
    return m;
}

/// All windows of 20 of the tokens.
llm::compression_input text_of(std::vector<llm::token> tokens, unsigned threads) {
    return {.calibration = std::move(tokens),
            .calibration_name = "text",
            .sample = {.context = 20},
            .threads = threads};
}

bool same_bytes(const st::view& a, const st::view& b) {
    return a.dtype == b.dtype && a.shape == b.shape && std::ranges::equal(a.bytes, b.bytes);
}

}  // namespace

TEST_CASE("calibration: Gram matrices of the drawn windows, for any number of threads", "[llm]") {
    const auto m = small(st::dtype::F32);
    const llm_test::scratch folder;
    m.write_to(folder.path());
    const llm::model model(folder.path());
    const auto tokens = m.tokens(500);
    const llm::sampling sample{.context = 20, .windows = 9, .seed = 3};
    llm::progress silent;
    const auto one = llm::gather(model, tokens, sample, "text", 1, silent);
    const auto four = llm::gather(model, tokens, sample, "text", 4, silent);
    REQUIRE(one.size() == model.sites());

    std::vector<Eigen::MatrixXd> expected(model.sites());
    for (const auto w : llm::draw_windows(25, 9, 3))
        (void)model.hidden(std::span(tokens).subspan(w * 20, 20),
                           [&](std::size_t block, llm::site where, const Eigen::MatrixXf& x) {
                               auto& gram = expected[model.site_index(block, where)];
                               const Eigen::MatrixXd y = x.cast<double>();
                               if (gram.size() == 0) gram.setZero(x.rows(), x.rows());
                               gram += y * y.transpose();
                           });
    for (std::size_t i = 0; i < one.size(); ++i) {
        CHECK(one[i].tokens() == 180);
        CHECK((one[i].gram() - expected[i]).norm() <= 1e-6 * expected[i].norm());
        CHECK(one[i].gram() == four[i].gram());
    }
    CHECK(llm::gather(model, tokens, {.context = 20, .windows = 256, .seed = 3}, "text", 2, silent)[0]
              .tokens() == 500);
    CHECK_FALSE(
        error_of([&] { (void)llm::gather(model, tokens, {.context = 501}, "text", 2, silent); }).empty());
}

TEST_CASE("an exception in one window of the calibration ends all", "[llm]") {
    const auto m = small(st::dtype::F32);
    const llm_test::scratch folder;
    m.write_to(folder.path());
    llm::model model(folder.path());
    model.layer(3) = llm::linear(Eigen::MatrixXf::Constant(16, 16, std::numeric_limits<float>::quiet_NaN()));
    llm::progress silent;
    CHECK_FALSE(error_of([&] {
                    (void)llm::gather(model, m.tokens(500), {.context = 20}, "text", 4, silent);
                }).empty());
}

TEST_CASE("methods: names", "[llm]") {
    CHECK(llm::find_method("nid-2").label == "NID-II");
    CHECK(error_of([] { (void)llm::find_method("nsvd"); }) ==
          "unknown method 'nsvd': known are svd, asvd-0, asvd-1, asvd-2, nsvd-1, nsvd-2, nid-1, nid-2");
}

TEST_CASE("a compressed folder evaluates to what compression measured in memory", "[llm]") {
    const auto dtype = GENERATE(st::dtype::F32, st::dtype::F16, st::dtype::BF16);
    const auto m = small(dtype);
    const llm_test::scratch folder;
    std::filesystem::create_directory(folder / "dense");
    m.write_to(folder / "dense");
    llm_test::write(folder / "dense" / "vocabulary.json", "{\"pieces\": []}");
    llm_test::write(folder / "dense" / "pytorch_model.bin", "dense weights once more");
    const auto tokens = m.tokens(400);
    llm::progress silent;
    for (const auto& how : llm::methods) {
        CAPTURE(how.name);
        llm::model model(folder / "dense");
        const auto sites = llm::gather(model, tokens, {.context = 20}, "text", 2, silent);
        const auto dense = llm_test::layers_of(model);
        llm::compressor compress(model, text_of(tokens, 2), silent);
        auto recipe = llm_test::recipe_at(how.name, 0.3);
        recipe.share = 0.8;
        const auto layers = compress.run(recipe);
        const auto measured = llm::evaluate(model, tokens, 20, "text", 2, silent);
        const auto output = folder / std::string(how.name);
        llm::save_model(model, output, {{"method", how.name}}, false);

        const llm::model back(output);
        const auto evaluated = llm::evaluate(back, tokens, 20, "text", 1, silent);
        CHECK(evaluated.window_nll == measured.window_nll);
        REQUIRE(layers.size() == back.layers());
        for (std::size_t i = 0; i < layers.size(); ++i) {
            CHECK(layers[i].name == back.layer_name(i));
            REQUIRE(back.layer(i).factors());
            const auto k = 7 * layers[i].m * layers[i].n / (10 * (layers[i].m + layers[i].n));
            CHECK(back.layer(i).factors()->rank() == k);
            CHECK(layers[i].rank == k);
            CHECK(layers[i].weighted_error ==
                  Approx(nsvd::weighted_error(*dense[i].dense(), *back.layer(i).factors(),
                                              sites[back.site_index(i)])));
            CHECK(layers[i].plain_error ==
                  Approx(nsvd::plain_error(*dense[i].dense(), *back.layer(i).factors())));
            CHECK(layers[i].bytes == llm_test::bytes_in(back.weights(), layers[i].name));
            CHECK(back.layer_dtype(i) == dtype);
        }
        const auto& source = model.weights();
        for (const auto& name : source.tensors()) {
            if (name.find("_proj") != std::string::npos)
                CHECK_FALSE(back.weights().contains(name));
            else
                CHECK(same_bytes(back.weights().at(name), source.at(name)));
        }
        CHECK(back.weights().tensors().size() == source.tensors().size() + model.layers());
        auto config = llm::read_json(output / "config.json");
        CHECK(config.at("nsvd").at("method") == how.name);
        config.erase("nsvd");
        CHECK(config == llm::read_json(folder / "dense" / "config.json"));
        CHECK(std::filesystem::exists(output / "vocabulary.json"));
        CHECK_FALSE(std::filesystem::exists(output / "pytorch_model.bin"));
    }
    llm::model compressed(folder / "svd");
    CHECK(error_of([&] { llm::require_dense(compressed); }).find("compressed already") != std::string::npos);
}

TEST_CASE("output folders: what is refused, and that nothing is left behind", "[llm]") {
    const auto m = small(st::dtype::F32);
    const llm_test::scratch folder;
    std::filesystem::create_directory(folder / "dense");
    m.write_to(folder / "dense");
    llm::model model(folder / "dense");
    llm::progress silent;
    llm::compressor(model, text_of(m.tokens(400), 2), silent).run(llm_test::recipe_at("svd", 0.3));
    const auto refusal = [&](const std::filesystem::path& output, bool force) {
        return error_of([&] { llm::save_model(model, output, {}, force); });
    };
    CHECK(refusal(folder / "dense" / ".." / "dense" / "", true).find("the model itself") !=
          std::string::npos);
    llm_test::write(folder / "file", "x");
    CHECK_FALSE(refusal(folder / "file", true).empty());
    CHECK_FALSE(refusal(folder / "file" / "below", true).empty());

    std::filesystem::create_directory(folder / "taken");
    llm_test::write(folder / "taken" / "notes.txt", "mine");
    CHECK(refusal(folder / "taken", false).find("not empty") != std::string::npos);
    CHECK(refusal(folder / "taken", true).empty());
    CHECK(llm_test::read(folder / "taken" / "notes.txt") == "mine");
    CHECK(llm::model(folder / "taken").layer(0).factors());

    std::filesystem::create_directory(folder / "empty");
    CHECK(refusal(folder / "empty", false).empty());
    CHECK(refusal(folder / "new" / "deep" / "", false).empty());
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        CHECK(entry.path().extension() != ".partial");
}
