// SPDX-License-Identifier: MIT
// Token ids in safetensors files.
#include "token_ids.hpp"

#include "llm_support.hpp"
#include "support/catch.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace st = nsvd::safetensors;
using llm_test::error_of;

namespace {

template <class Id>
std::filesystem::path write_ids(const std::filesystem::path& path, st::dtype type, const std::vector<Id>& ids,
                                const std::vector<std::int64_t>& shape,
                                const std::string& name = "input_ids") {
    const std::vector<std::int64_t> mask(3, 1);
    st::write(path,
              std::vector<st::tensor>{{"attention_mask", st::dtype::I64, {3}, std::as_bytes(std::span(mask))},
                                      {name, type, shape, std::as_bytes(std::span(ids))}});
    return path;
}

template <class Id>
void check_round_trip(const std::filesystem::path& path, st::dtype type) {
    const std::vector<Id> ids{5, 0, 127, 3, 1, 2};
    const std::vector<llm::token> expected(ids.begin(), ids.end());
    CAPTURE(st::name_of(type));
    CHECK(llm::read_token_ids(write_ids(path, type, ids, {6}), 128) == expected);
    CHECK(llm::read_token_ids(write_ids(path, type, ids, {2, 3}), 128) == expected);
    CHECK(error_of([&] { (void)llm::read_token_ids(path, 127); }) ==
          path.string() + ": token 2 has the id 127, the model's vocabulary ends at 126");
    if constexpr (std::numeric_limits<Id>::is_signed) {
        write_ids(path, type, std::vector<Id>{1, -100}, {2});
        CHECK(error_of([&] {
                  (void)llm::read_token_ids(path, 127);
              }).starts_with(path.string() + ": token 1 has the id -100"));
    }
}

}  // namespace

TEST_CASE("token ids: every integer type of safetensors", "[llm][tokens]") {
    const llm_test::scratch folder;
    const auto path = folder / "ids.safetensors";
    check_round_trip<std::uint8_t>(path, st::dtype::U8);
    check_round_trip<std::int8_t>(path, st::dtype::I8);
    check_round_trip<std::uint16_t>(path, st::dtype::U16);
    check_round_trip<std::int16_t>(path, st::dtype::I16);
    check_round_trip<std::uint32_t>(path, st::dtype::U32);
    check_round_trip<std::int32_t>(path, st::dtype::I32);
    check_round_trip<std::uint64_t>(path, st::dtype::U64);
    check_round_trip<std::int64_t>(path, st::dtype::I64);
    // 2^32 + 1 is no 1, and 2^63 no negative number.
    for (const std::uint64_t huge : {(std::uint64_t{1} << 32) + 1, std::uint64_t{1} << 63}) {
        write_ids(path, st::dtype::U64, std::vector{huge}, {1});
        CHECK(error_of([&] {
                  (void)llm::read_token_ids(path, 100);
              }).starts_with(path.string() + ": token 0 has the id " + std::to_string(huge)));
    }
}

TEST_CASE("token ids: tensors that are none", "[llm][tokens]") {
    const llm_test::scratch folder;
    const auto path = folder / "ids.safetensors";
    const auto message = [&] { return error_of([&] { (void)llm::read_token_ids(path, 100); }); };
    write_ids(path, st::dtype::F32, std::vector<float>{1, 2}, {2});
    CHECK(message() == path.string() + ": tensor 'input_ids': dtype F32: want integers");
    write_ids(path, st::dtype::U8, std::vector<std::uint8_t>{1, 2}, {1, 2, 1});
    CHECK(message().starts_with(path.string() + ": tensor 'input_ids': has the shape [1, 2, 1]"));
    write_ids(path, st::dtype::U8, std::vector<std::uint8_t>{1}, {});
    CHECK(message().starts_with(path.string() + ": tensor 'input_ids': has the shape []"));
    write_ids(path, st::dtype::U8, std::vector<std::uint8_t>{1}, {1}, "ids");
    CHECK(message() == path.string() + ": tensor 'input_ids': is missing");
    write_ids(path, st::dtype::U8, std::vector<std::uint8_t>{}, {0, 7});
    CHECK(llm::read_token_ids(path, 100)->empty());
    CHECK_FALSE(llm::read_token_ids(folder / "text.txt", 100).has_value());
}
