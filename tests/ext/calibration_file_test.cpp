// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/calibration_file.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace {

nsvd::calibration<float> example() {
    std::srand(7);
    nsvd::calibration<float> calib(5);
    calib.update(Eigen::MatrixXf::Random(5, 40));
    calib.update(Eigen::MatrixXf::Random(5, 3), Eigen::Vector3d(0.5, 0.0, 2.0));
    return calib;
}

/// What was written before there were checksums.
std::vector<nsvd::safetensors::tensor> tensors_of_version_1(const nsvd::calibration<float>& calib) {
    auto tensors = nsvd::to_tensors(calib);
    std::erase_if(tensors, [](const auto& t) { return t.name == "xxh3"; });
    return tensors;
}

std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

bool same(const nsvd::calibration<float>& a, const nsvd::calibration<float>& b) {
    return a.gram() == b.gram() && a.about() == b.about() && a.mean() == b.mean() &&
           a.mean_abs() == b.mean_abs() && a.max_abs() == b.max_abs() && a.tokens() == b.tokens() &&
           a.weight() == b.weight() && a.has_cross() == b.has_cross() &&
           (!a.has_cross() || (a.cross() == b.cross() && a.mean_original() == b.mean_original()));
}

/// Pairs with central moments: every tensor there is.
nsvd::calibration<float> example_of_pairs() {
    std::srand(9);
    nsvd::calibration<float> calib(3, nsvd::moments::central);
    const Eigen::MatrixXd a = Eigen::MatrixXd::Random(3, 20).array() + 1.0;
    calib.update(a, Eigen::MatrixXd(a + 0.1 * Eigen::MatrixXd::Random(3, 20)));
    return calib;
}

}  // namespace

TEST_CASE("a calibration survives a file bit for bit", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "a.safetensors";
    const auto before = example();
    nsvd::save_calibration(file, before);
    const auto after = nsvd::load_calibration<double>(file);
    CHECK(after.gram() == before.gram());
    CHECK(after.mean() == before.mean());
    CHECK(after.mean_abs() == before.mean_abs());
    CHECK(after.max_abs() == before.max_abs());
    CHECK(after.tokens() == 42);
    CHECK(after.weight() == before.weight());
    CHECK(folder.entries() == 1);  // no temporary left
}

TEST_CASE("several calibrations share a file", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "b.safetensors";
    const auto first = example();
    nsvd::calibration<float> second(2);
    second.update(Eigen::Matrix2f::Identity());
    auto tensors = nsvd::to_tensors(first, "layer0.");
    for (auto& t : nsvd::to_tensors(second, "layer1."))
        tensors.push_back(std::move(t));
    nsvd::safetensors::write(file, tensors);
    const nsvd::safetensors::file mapped(file);
    CHECK(nsvd::calibration_from<float>(mapped, "layer0.").gram() == first.gram());
    CHECK(nsvd::calibration_from<float>(mapped, "layer1.").gram() == second.gram());
    CHECK_THROWS_AS(nsvd::calibration_from<float>(mapped, "layer2."), nsvd::error);
    CHECK_THROWS_AS(nsvd::load_calibration(file), nsvd::error);  // not a file of one calibration
}

TEST_CASE("pairs and central moments survive a file bit for bit, beside others", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "p.safetensors";
    std::srand(8);
    const Eigen::MatrixXd a = Eigen::MatrixXd::Random(5, 40).array() + 2.0;
    const Eigen::MatrixXd b = a + 0.1 * Eigen::MatrixXd::Random(5, 40);
    const auto make = [&](nsvd::moments about, bool pairs) {
        nsvd::calibration<float> calib(5, about);
        if (pairs)
            calib.update(a, b);
        else
            calib.update(b);
        return calib;
    };
    const auto check = [](const auto& after, const auto& before) {
        REQUIRE(after.about() == before.about());
        REQUIRE(after.has_cross() == before.has_cross());
        CHECK(after.gram() == before.gram());
        CHECK(after.mean() == before.mean());
        CHECK(after.tokens() == before.tokens());
        if (before.about() == nsvd::moments::central) CHECK(after.central_gram() == before.central_gram());
        if (!before.has_cross()) return;
        CHECK(after.cross() == before.cross());
        CHECK(after.mean_original() == before.mean_original());
        if (before.about() == nsvd::moments::central) CHECK(after.central_cross() == before.central_cross());
    };
    std::vector<nsvd::safetensors::tensor> all;
    std::vector<nsvd::calibration<float>> before;
    for (const auto about : {nsvd::moments::raw, nsvd::moments::central})
        for (const bool pairs : {false, true}) {
            before.push_back(make(about, pairs));
            nsvd::save_calibration(file, before.back());
            check(nsvd::load_calibration<float>(file), before.back());
            for (auto& t : nsvd::to_tensors(before.back(), std::to_string(before.size()) + "."))
                all.push_back(std::move(t));
        }
    nsvd::safetensors::write(file, all);
    const nsvd::safetensors::file mapped(file);
    for (std::size_t i = 0; i < before.size(); ++i)
        check(nsvd::calibration_from<float>(mapped, std::to_string(i + 1) + "."), before[i]);
    const nsvd::calibration<float> empty(5, nsvd::moments::central);
    nsvd::save_calibration(file, empty);
    check(nsvd::load_calibration<float>(file), empty);

    // Halves of a pair, and raw moments beside central ones.
    const auto refused = [&](nsvd::moments about, bool pairs, auto change, const char* word) {
        auto tensors = tensors_of_version_1(make(about, pairs));
        change(tensors);
        nsvd::safetensors::write(file, tensors, {{"format", "nsvd.calibration"}, {"version", "1"}});
        CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring(word));
    };
    const auto drop = [](const std::string& name) {
        return
            [name](auto& tensors) { std::erase_if(tensors, [&](const auto& t) { return t.name == name; }); };
    };
    const auto add = [&](const std::string& name) {
        return [&, name](auto& tensors) {
            tensors.push_back(
                nsvd::safetensors::from_matrix(name, nsvd::safetensors::dtype::F64, before[0].gram()));
        };
    };
    refused(nsvd::moments::raw, true, drop("cross"), "cross");
    refused(nsvd::moments::raw, true, drop("sum_original"), "sum_original");
    refused(nsvd::moments::central, true, drop("central_cross"), "central_cross");
    refused(nsvd::moments::central, false, add("gram"), "central_gram");
    refused(nsvd::moments::central, false, add("cross"), "cross");
    refused(nsvd::moments::raw, false, add("central_cross"), "central_cross");
    refused(nsvd::moments::raw, true, add("central_gram"), "both");
}

TEST_CASE("numbers that are no statistics are refused on reading", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "c.safetensors";
    const nsvd::safetensors::string_map metadata{{"format", "nsvd.calibration"}, {"version", "1"}};
    const auto with = [&](auto change) {
        auto tensors = tensors_of_version_1(example());
        change(tensors);
        nsvd::safetensors::write(file, tensors, metadata);
    };
    using nsvd::safetensors::dtype;
    using nsvd::safetensors::from_matrix;
    const Eigen::MatrixXd gram = example().gram();

    with([](auto&) {});
    CHECK_NOTHROW(nsvd::load_calibration(file));
    with([](auto& t) { t.pop_back(); });
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("tokens"));
    with([&](auto& t) { t[0] = from_matrix("gram", dtype::F32, gram); });
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("gram"));
    with([&](auto& t) { t[0] = from_matrix("gram", dtype::F64, gram.leftCols(4)); });
    CHECK_THROWS_AS(nsvd::load_calibration(file), nsvd::error);
    with([&](auto& t) {
        Eigen::MatrixXd lopsided = gram;
        lopsided(0, 1) += 1.0;
        t[0] = from_matrix("gram", dtype::F64, lopsided);
    });
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("symmetric"));
    with([&](auto& t) {
        Eigen::MatrixXd huge = gram;
        huge(0, 1) = huge(1, 0) = 1e6;
        t[0] = from_matrix("gram", dtype::F64, huge);
    });
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("diagonal"));
    with([&](auto& t) {
        Eigen::MatrixXd bad = gram;
        bad(2, 2) = std::numeric_limits<double>::quiet_NaN();
        t[0] = from_matrix("gram", dtype::F64, bad);
    });
    CHECK_THROWS_WITH(nsvd::load_calibration(file),
                      Catch::ContainsSubstring("finite") || Catch::ContainsSubstring("symmetric"));
}

TEST_CASE("a truncated calibration file is refused at every length", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "d.safetensors";
    nsvd::save_calibration(file, example());
    const auto size = std::filesystem::file_size(file);
    for (std::uintmax_t length = size; length-- > 0;) {
        std::filesystem::resize_file(file, length);
        REQUIRE_THROWS_AS(nsvd::load_calibration(file), nsvd::error);
    }
}

TEST_CASE("files without checksums are read, but not as what should have them", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "e.safetensors";
    const auto write_as = [&](const char* version, const auto& tensors) {
        nsvd::safetensors::write(file, tensors, {{"format", "nsvd.calibration"}, {"version", version}});
    };
    write_as("1", tensors_of_version_1(example()));
    CHECK(same(nsvd::load_calibration(file), example()));
    write_as("2", tensors_of_version_1(example()));
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("'xxh3': is missing"));
    write_as("3", nsvd::to_tensors(example()));
    CHECK_THROWS_WITH(nsvd::load_calibration(file), Catch::ContainsSubstring("version 1 or 2"));
}

TEST_CASE("any flipped bit of a calibration is found, or changes nothing", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "f.safetensors";
    for (const auto& before : {example(), example_of_pairs()}) {
        nsvd::save_calibration(file, before);
        const std::string whole = read(file);
        std::uint64_t header = 0;
        std::memcpy(&header, whole.data(), sizeof header);
        int harmless = 0;
        int silent = 0;
        int nameless = 0;
        for (std::size_t i = 0; i < whole.size(); ++i)
            for (int bit = 0; bit < 8; ++bit) {
                std::string damaged = whole;
                damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
                write(file, damaged);
                try {
                    const auto after = nsvd::load_calibration<float>(file);
                    if (!same(after, before) || i >= 8 + header) ++silent;
                    ++harmless;
                } catch (const nsvd::error& e) {
                    if (std::string(e.what()).find(file.string()) == std::string::npos) ++nameless;
                }
            }
        CHECK(silent == 0);
        CHECK(nameless == 0);
        // No more than keys and strings of metadata that nobody reads, and spaces that become tabs.
        CHECK(harmless < 100);
    }
}

TEST_CASE("a flipped bit of the data is told by its file, and what to do", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "g.safetensors";
    nsvd::save_calibration(file, example());
    std::string damaged = read(file);
    damaged[damaged.size() - 100] = static_cast<char>(damaged[damaged.size() - 100] ^ 1);
    write(file, damaged);
    CHECK_THROWS_WITH(nsvd::load_calibration(file),
                      Catch::ContainsSubstring(file.string()) &&
                          Catch::ContainsSubstring("damaged: remove the file and gather them again"));
}

TEST_CASE("tensors that changed places, and what was added to a file, are found", "[calibration_file]") {
    const support::scratch_folder folder;
    const auto file = folder / "h.safetensors";
    nsvd::calibration<float> other(5);
    other.update(Eigen::MatrixXf::Random(5, 40));
    auto tensors = nsvd::to_tensors(example(), "a.");
    for (auto& t : nsvd::to_tensors(other, "b."))
        tensors.push_back(std::move(t));
    nsvd::safetensors::write(file, tensors);
    const auto load = [&] {
        const nsvd::safetensors::file mapped(file);
        (void)nsvd::calibration_from<float>(mapped, "a.");
        (void)nsvd::calibration_from<float>(mapped, "b.");
    };
    CHECK_NOTHROW(load());
    int pairs = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
            if (tensors[i].shape != tensors[j].shape || tensors[i].dtype != tensors[j].dtype ||
                std::ranges::equal(tensors[i].bytes, tensors[j].bytes))
                continue;
            auto swapped = tensors;
            std::swap(swapped[i].name, swapped[j].name);
            nsvd::safetensors::write(file, swapped);
            CAPTURE(tensors[i].name, tensors[j].name);
            CHECK_THROWS_WITH(load(), Catch::ContainsSubstring("damaged"));
            ++pairs;
        }
    CHECK(pairs > 15);
    nsvd::safetensors::write(file, tensors);
    std::ofstream(file, std::ios::binary | std::ios::app) << '\0';
    CHECK_THROWS_WITH(load(), Catch::ContainsSubstring("bytes after the last tensor"));
}
