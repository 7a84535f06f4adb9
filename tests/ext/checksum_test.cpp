// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <nsvd/ext/checksum.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace {

namespace st = nsvd::safetensors;

}  // namespace

TEST_CASE("checksum: that of XXH3, by parts that can't exchange bytes", "[checksum]") {
    const auto of = [](auto... parts) {
        nsvd::checksum sum;
        (sum.add(std::string_view(parts)), ...);
        return sum.text();
    };
    // As xxhsum -H3 has it of nothing, and of the eight bytes of a length of 3 before "abc".
    CHECK(of() == "2d06800538d394c2");
    CHECK(of("abc") == of("abc"));
    CHECK(of("abc") != of("abd"));
    CHECK(of("ab", "c") != of("a", "bc"));
    CHECK(of("", "a") != of("a", ""));
    nsvd::checksum sum;
    sum.add(std::string_view("abc"));
    const std::string bytes("\x03\0\0\0\0\0\0\0abc", 11);
    CHECK(sum.value() == XXH3_64bits(bytes.data(), bytes.size()));
}

TEST_CASE("checksum: tensors without bytes, in any order", "[checksum]") {
    const support::scratch_folder folder;
    const auto path = folder / "sealed.safetensors";
    for (const auto& names :
         {std::array{"a", "b", "c"}, std::array{"c", "a", "b"}, std::array{"b", "c", "a"}}) {
        std::vector<st::tensor> tensors;
        for (const char* name : names)
            tensors.push_back(st::from_matrix(name, st::dtype::F32, Eigen::MatrixXf(0, 2)));
        tensors.push_back(st::from_matrix("full", st::dtype::F32, Eigen::Matrix2f::Ones()));
        st::write(path, tensors, st::sealed(tensors, {}));
        CHECK_NOTHROW(st::check_seal(st::file(path), "advice"));
    }
}

TEST_CASE("checksum: any change of a sealed file is found, or changes nothing", "[checksum]") {
    const support::scratch_folder folder;
    const auto path = folder / "sealed.safetensors";
    const std::vector<st::tensor> tensors{st::from_matrix("a", st::dtype::F32, Eigen::Matrix2f::Identity()),
                                          st::from_matrix("b", st::dtype::F32, Eigen::Matrix2f::Ones())};
    const st::string_map metadata{{"record", "{\"rank\":3}"}};
    st::write(path, tensors, st::sealed(tensors, metadata));
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    CHECK_NOTHROW(st::check_seal(st::file(path), "advice"));

    const auto unchanged = [&] {
        const st::file f(path);
        st::check_seal(f, "remove it");
        return std::ranges::equal(f.tensors(), std::array{"a", "b"}) &&
               std::ranges::equal(f.at("a").bytes, tensors[0].bytes) &&
               std::ranges::equal(f.at("b").bytes, tensors[1].bytes) && f.at("a").shape == tensors[0].shape &&
               f.metadata().at("record") == metadata.at("record");
    };
    int silent = 0;
    const auto look = [&](const std::string& bytes) {
        std::ofstream(path, std::ios::binary) << bytes;
        try {
            if (!unchanged()) ++silent;
        } catch (const nsvd::error&) {
        }
    };
    for (std::size_t i = 0; i < whole.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
            look(damaged);
        }
        look(whole.substr(0, i));
    }
    CHECK(silent == 0);

    // The order is nothing; another tensor under the name is damage, and so is no checksum.
    st::write(path, std::vector{tensors[1], tensors[0]}, st::sealed(tensors, metadata));
    CHECK_NOTHROW(st::check_seal(st::file(path), "advice"));
    const std::vector<st::tensor> swapped{st::from_matrix("a", st::dtype::F32, Eigen::Matrix2f::Ones()),
                                          st::from_matrix("b", st::dtype::F32, Eigen::Matrix2f::Identity())};
    st::write(path, swapped, st::sealed(tensors, metadata));
    CHECK_THROWS_WITH(st::check_seal(st::file(path), "remove it"),
                      Catch::ContainsSubstring(path.string()) && Catch::ContainsSubstring("damaged") &&
                          Catch::ContainsSubstring(": remove it"));
    st::write(path, tensors, metadata);
    CHECK_THROWS_WITH(st::check_seal(st::file(path), "remove it"), Catch::ContainsSubstring("not there"));
}
