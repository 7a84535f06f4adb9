// SPDX-License-Identifier: MIT
// Statistics in files: what they hold, what is made of one or several, and those that don't belong.
#include "calibrate.hpp"
#include "calibration_set.hpp"
#include "compress.hpp"
#include "stored_layer.hpp"
#include "support/catch.hpp"
#include "workplace.hpp"

#include <nsvd/nsvd.hpp>

#include <fmt/format.h>

#include <filesystem>

namespace fs = std::filesystem;
namespace st = nsvd::safetensors;
using llm_test::read;
using llm_test::workplace;

namespace {

/// The workplace with statistics of three texts.
struct calibrated_workplace : workplace {
    calibrated_workplace() {
        const auto text = read(*this / "text.txt");
        llm_test::write(*this / "a.txt", text.substr(0, 400));
        llm_test::write(*this / "b.txt", text.substr(400, 600));
        for (const auto* name : {"a", "b", "text"})
            calibrate(name);
    }
    void calibrate(const std::string& name, const std::string& more = "") const {
        const auto result = run(fmt::format(
            "calibrate --model model --calibration {0}.txt --context 20 --output {0}{1}.safetensors {1}",
            name, more));
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
    }
    [[nodiscard]] std::vector<nsvd::calibration<float>> gathered(
        const std::string& name, nsvd::moments about = nsvd::moments::raw) const {
        const llm::model m(*this / "model");
        llm::progress silent;
        return llm::gather(
            m,
            llm::draw_text(llm::read_tokens(*this / (name + ".txt"), m.folder(), 256), {.context = 20}, name),
            about, 1, silent);
    }
    void compress(const std::string& options, const std::string& output) const {
        const auto result =
            run("compress --model model --context 20 --compression 0.3 --output " + output + " " + options);
        CAPTURE(options, result.err);
        REQUIRE(result.code == 0);
    }
    [[nodiscard]] std::string weights(const std::string& output) const {
        return read(*this / output / "model.safetensors");
    }
};

double relative(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
    return (a - b).norm() / b.norm();
}

}  // namespace

TEST_CASE("a file of statistics holds what is gathered", "[llm][calibrate]") {
    const calibrated_workplace w;
    w.calibrate("text", "--central");
    const llm::model m(w / "model");
    const llm::calibration_set set(w / "text.safetensors"), central(w / "text--central.safetensors");
    set.check(m);
    CHECK(set.about() == nsvd::moments::raw);
    CHECK(central.about() == nsvd::moments::central);
    CHECK(set.metadata().at("context") == "20");
    CHECK(set.metadata().at("command").find("calibrate --model model") != std::string::npos);
    const auto expected = w.gathered("text"), about_mean = w.gathered("text", nsvd::moments::central);
    REQUIRE(set.prefixes().size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto found = set.at(set.prefixes()[i]);
        CHECK(found.gram() == expected[i].gram());
        CHECK(found.state().sum == expected[i].state().sum);
        CHECK(found.state().sum_abs == expected[i].state().sum_abs);
        CHECK(found.state().max_abs == expected[i].state().max_abs);
        CHECK(found.tokens() == 1000);
        CHECK(central.at(set.prefixes()[i]).central_gram() == about_mean[i].central_gram());
    }
    const std::string again = "calibrate --model model --calibration text.txt --output text.safetensors ";
    const auto time = fs::last_write_time(w / "text.safetensors");
    // The very same is there already.
    CHECK(w.run(again + "--context 20 --json -").out.find("\"tokens\": 1000") != std::string::npos);
    CHECK(fs::last_write_time(w / "text.safetensors") == time);
    CHECK(w.run(again + "--context 25")
              .err.find("text.safetensors: exists: give another --output, or --force") != std::string::npos);
    CHECK(w.run(again + "--context 25 --force --threads 3 --json -").out.find("\"tokens\": 1000") !=
          std::string::npos);
    CHECK(llm::calibration_set(w / "text.safetensors").at(set.prefixes()[3]).gram() != expected[3].gram());
    CHECK(w.run(again + "--context 20 --force --threads 3").code == 0);
    CHECK(llm::calibration_set(w / "text.safetensors").at(set.prefixes()[3]).gram() == expected[3].gram());
    CHECK_FALSE(w.exists("text.safetensors.partial"));
}

TEST_CASE("statistics written through a link", "[llm][calibrate]") {
    const calibrated_workplace w;
    fs::create_directories(w / "elsewhere");
    fs::create_symlink("elsewhere/real.safetensors", w / "link.safetensors");
    SECTION("to a file") {
        llm_test::write(w / "elsewhere/real.safetensors", "something");
    }
    SECTION("to nothing yet") {}
    const auto result =
        w.run("calibrate --model model --calibration a.txt --context 20 --output link.safetensors --force");
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    CHECK(fs::is_symlink(w / "link.safetensors"));
    const llm::calibration_set direct(w / "a.safetensors"), linked(w / "elsewhere/real.safetensors");
    for (const auto& prefix : direct.prefixes())
        CHECK(linked.at(prefix).gram() == direct.at(prefix).gram());
    CHECK(fs::directory_iterator(w / "elsewhere") != fs::directory_iterator());
    for (const auto& entry : fs::directory_iterator(w / "elsewhere"))
        CHECK(entry.path().filename() == "real.safetensors");  // no journal is left
}

TEST_CASE("statistics of two halves are merged to those of the whole", "[llm][calibrate]") {
    const calibrated_workplace w;
    const auto result = w.run("calibrate --merge a.safetensors b.safetensors --output both.safetensors");
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    CHECK(result.out.find("statistics of 8 inputs, 1000 tokens") != std::string::npos);
    const llm::calibration_set both(w / "both.safetensors"), whole(w / "text.safetensors");
    CHECK(both.prefixes() == whole.prefixes());
    for (const auto& prefix : whole.prefixes()) {
        const auto sum = both.at(prefix), expected = whole.at(prefix);
        // Sums of 1000 products in another order.
        CHECK(relative(sum.gram(), expected.gram()) < 1000 * 2.3e-16);
        CHECK(sum.weight() == expected.weight());
        CHECK(sum.state().max_abs == expected.state().max_abs);
    }
    CHECK(w.run("calibrate --merge a.safetensors both.safetensors --output both.safetensors --force")
              .err.find("both.safetensors: is added to and written: give another --output") !=
          std::string::npos);
    w.calibrate("a", "--central");
    CHECK(w.run("calibrate --merge a--central.safetensors b.safetensors --output no.safetensors")
              .err.find("a--central.safetensors and b.safetensors: ") != std::string::npos);
    CHECK(w.run("calibrate --merge a.safetensors b.safetensors --model model --output no.safetensors").code ==
          1);
    CHECK(w.run("calibrate --output no.safetensors").err.find("--merge") != std::string::npos);
    CHECK_FALSE(w.exists("no.safetensors.partial"));
}

TEST_CASE("statistics in a file give what their text gives", "[llm][calibrate]") {
    const calibrated_workplace w;
    w.calibrate("text", "--central");
    int count = 0;
    for (const std::string method :
         {"asvd-1", "asvd-0+pivoted", "nsvd-1+greedy", "nid-2+joint", "nsvd-2+tuned --tune b.txt", "svd"}) {
        const auto text = fmt::format("text-{}", ++count), file = fmt::format("file-{}", count);
        w.compress("--calibration text.txt --method " + method, text);
        w.compress("--statistics text.safetensors --method " + method, file);
        w.compress("--low-memory --statistics text.safetensors --method " + method, file + "-low");
        CAPTURE(method);
        CHECK(w.weights(text) == w.weights(file));
        CHECK(w.weights(text) == w.weights(file + "-low"));
        CHECK(w.json(file + "/config.json").at("nsvd").at("statistics") ==
              nlohmann::json::array({"text.safetensors"}));
        CHECK_FALSE(w.json(file + "/config.json").at("nsvd").contains("calibration"));
    }
    w.compress("--calibration text.txt --method asvd-1+bias", "bias");
    w.compress("--statistics text--central.safetensors --method asvd-1+bias", "central");
    CHECK(w.weights("bias") == w.weights("central"));
    w.compress("--calibration text.txt --method asvd-1+anchored", "anchored");
    w.compress("--statistics text.safetensors --calibration text.txt --method asvd-1+anchored", "also");
    CHECK(w.weights("anchored") == w.weights("also"));
}

TEST_CASE("several statistics are pooled, each file counting alike, or have a stage each",
          "[llm][calibrate]") {
    const calibrated_workplace w;
    const llm::model m(w / "model");
    const auto a = w.gathered("a"), b = w.gathered("b");
    w.compress("--statistics a.safetensors b.safetensors --method asvd-1", "pooled");
    w.compress("--statistics a.safetensors --statistics b.safetensors --combine stages --method asvd-1",
               "stages");
    w.compress("--statistics a.safetensors b.safetensors --combine stages --method nsvd-2 --share 0.7",
               "nested");
    w.compress("--statistics a.safetensors b.safetensors --combine stages --method nid-1", "columns");
    w.compress("--statistics a.safetensors --combine stages --method nsvd-1", "one");
    w.compress("--statistics a.safetensors --method nsvd-1", "alone");
    CHECK(w.weights("one") == w.weights("alone"));
    const auto about = w.json("stages/config.json").at("nsvd");
    CHECK(about.at("use") == "stages");
    CHECK(about.at("statistics") == nlohmann::json::array({"a.safetensors", "b.safetensors"}));
    const auto weight_of = [&](const char* folder, std::size_t i) {
        return llm::model(w / folder).layer(i).product();
    };
    for (std::size_t i = 0; i < m.layers(); ++i) {
        const auto site = m.site_index(i);
        const auto weight = m.layer(i).product();
        const nsvd::rank k{w.json("pooled/config.json").at("nsvd").at("rank").at(m.layer_name(i))};
        // C = C_a/T_a + C_b/T_b: 400 tokens and 600.
        nsvd::calibration_state sum = a[site].state();
        sum.gram = a[site].gram() / 400 + b[site].gram() / 600;
        sum.sum = a[site].state().sum / 400 + b[site].state().sum / 600;
        sum.sum_abs = a[site].state().sum_abs / 400 + b[site].state().sum_abs / 600;
        sum.max_abs = a[site].state().max_abs.cwiseMax(b[site].state().max_abs);
        sum.weight = 2;
        sum.tokens = 1000;
        const nsvd::calibration<float> mean(sum);
        const auto check = [&](const char* folder, const nsvd::low_rank<float>& expected) {
            CAPTURE(folder, m.layer_name(i));
            // Single precision, and sums in another order.
            CHECK((weight_of(folder, i) - expected.dense()).norm() < 1e-4F * weight.norm());
        };
        check("pooled", nsvd::asvd(weight, mean, k, {.whitening = *llm::find_method("asvd-1").whitening}));
        const auto metric = [&](const nsvd::calibration<float>& c, const char* method) {
            return nsvd::gram_metric(c, *llm::find_method(method).whitening);
        };
        check("stages", nsvd::decompose(weight,
                                        std::vector<nsvd::stage>{{metric(a[site], "asvd-1"), 0.5},
                                                                 {metric(b[site], "asvd-1"), 0.5}},
                                        k));
        check("nested", nsvd::decompose(weight,
                                        std::vector<nsvd::stage>{{metric(a[site], "nsvd-2"), 0.35},
                                                                 {metric(b[site], "nsvd-2"), 0.35},
                                                                 {nsvd::metric(), 0.3}},
                                        k));
        check("columns", nsvd::decompose(weight,
                                         std::vector<nsvd::stage>{{metric(a[site], "nid-1"), 0.475},
                                                                  {metric(b[site], "nid-1"), 0.475},
                                                                  {nsvd::column_selection{}, 0.05}},
                                         k));
    }
}

TEST_CASE("statistics that don't belong are refused by name", "[llm][calibrate]") {
    const calibrated_workplace w;
    w.calibrate("a", "--central");
    const auto make = [&](const std::string& name, const llm_test::random_model& m) {
        fs::create_directory(w / name);
        m.write_to(w / name);
        const auto result = w.run(fmt::format(
            "calibrate --model {0} --calibration text.txt --context 20 --output {0}.safetensors", name));
        CAPTURE(result.err);
        REQUIRE(result.code == 0);
    };
    llm_test::random_model other;
    other.vocab = 256;
    other.blocks = 3;
    make("deeper", other);
    other.blocks = 1;
    make("shallower", other);
    other.blocks = 2;
    other.inter = 32;
    make("wider", other);
    const auto whole = read(w / "text.safetensors");
    llm_test::write(w / "cut.safetensors", whole.substr(0, whole.size() / 2));
    {
        auto damaged = whole;  // the last number of the last tensor: tokens
        damaged.back() = '\xff';
        llm_test::write(w / "damaged.safetensors", damaged);
    }
    const std::string compress = "compress --model model --context 20 --compression 0.3 --output out ";
    const std::vector<std::pair<std::string, std::string>> cases{
        {"--method asvd-1 --statistics deeper.safetensors",
         "deeper.safetensors: model.layers.2.attention is not in, the model model"},
        {"--method asvd-1 --statistics shallower.safetensors",
         "shallower.safetensors: model.layers.1.attention is not in it, but in"},
        {"--method asvd-1 --statistics wider.safetensors",
         "wider.safetensors: model.layers.0.feed_forward_output has 32 features, 24 in"},
        {"--method asvd-1 --statistics cut.safetensors", "cut.safetensors: "},
        {"--method asvd-1 --statistics damaged.safetensors", "damaged.safetensors: "},
        {"--method asvd-1 --statistics none.safetensors", "none.safetensors: cannot be read"},
        {"--method asvd-1 --statistics model/model.safetensors",
         "model.safetensors: no statistics of a model: make them with nsvd-llm calibrate"},
        {"--method asvd-1 --statistics text.txt", "text.txt: "},
        {"--method asvd-1+bias --statistics text.safetensors", "text.safetensors: raw moments"},
        {"--method asvd-1+bias --statistics text.safetensors", "nsvd-llm calibrate --central"},
        {"--method asvd-1 --statistics text.safetensors a--central.safetensors",
         "text.safetensors and a--central.safetensors: one has raw moments"},
        {"--method asvd-1+anchored --statistics text.safetensors", "--calibration FILE"},
        {"--method asvd-1+measured --statistics text.safetensors", "--calibration FILE"},
        {"--method asvd-1+own-text --statistics text.safetensors", "--calibration"},
        {"--method asvd-1+anchored --calibration text.txt --combine stages --statistics a.safetensors "
         "b.safetensors",
         "anchored"},
        {"--method svd --combine stages --statistics a.safetensors b.safetensors", "plain SVD"},
        {"--method asvd-1", "--statistics"}};
    for (const auto& [arguments, expected] : cases) {
        CAPTURE(arguments);
        const auto result = w.run(compress + arguments);
        CAPTURE(result.err);
        CHECK(result.code == 1);
        CHECK(result.err.find(expected) != std::string::npos);
        CHECK(result.err.find('\n') == result.err.size() - 1);
        CHECK_FALSE(w.exists("out"));
        CHECK_FALSE(w.exists("out.partial"));
    }
    CHECK(w.run("calibrate --merge text.safetensors deeper.safetensors --output no.safetensors")
              .err.find("text.safetensors and deeper.safetensors: statistics of different models") !=
          std::string::npos);
    CHECK(w.run("calibrate --merge text.safetensors wider.safetensors --output no.safetensors")
              .err.find("text.safetensors and wider.safetensors") != std::string::npos);
    CHECK(w.run("calibrate --model model --calibration text.txt --context 20 --output model")
              .err.find("model: is a folder") != std::string::npos);
}
