// SPDX-License-Identifier: MIT
#include "token_ids.hpp"

#include "files.hpp"
#include "tensors.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/safetensors.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace llm {
namespace {

/// `bytes` are a whole number of `Id`s.
template <class Id>
std::vector<token> checked(std::span<const std::byte> bytes, const std::filesystem::path& path,
                           std::size_t vocab_size) {
    std::vector<token> ids(bytes.size() / sizeof(Id));
    for (std::size_t i = 0; i < ids.size(); ++i) {
        Id id;
        std::memcpy(&id, bytes.data() + i * sizeof(Id), sizeof(Id));
        if (std::cmp_less(id, 0) || std::cmp_greater_equal(id, vocab_size))
            throw nsvd::error(fmt::format("{}: token {} has the id {}, the model's vocabulary ends at {}",
                                          path.string(), i, +id, vocab_size - 1));
        ids[i] = static_cast<token>(id);
    }
    return ids;
}

template <class Id>
std::vector<token> raw_ids(const std::filesystem::path& path, std::size_t vocab_size) {
    const auto bytes = read_file(path);
    if (bytes.size() % sizeof(Id) != 0)
        throw nsvd::error(fmt::format("{}: {} bytes are no whole number of {}-byte token ids", path.string(),
                                      bytes.size(), sizeof(Id)));
    return checked<Id>(std::as_bytes(std::span(bytes)), path, vocab_size);
}

std::vector<token> ids_in_tensor(const std::filesystem::path& path, std::size_t vocab_size) {
    using nsvd::safetensors::dtype;
    const checkpoint file(path);
    const auto& ids = file.at("input_ids");
    if (ids.shape.size() != 1 && ids.shape.size() != 2)
        fail(file, "input_ids", fmt::format("has the shape {}: want tokens, or windows × tokens", ids.shape));
    const auto read = [&]<class Id>(Id) { return checked<Id>(ids.bytes, path, vocab_size); };
    switch (ids.dtype) {
        case dtype::U8:
            return read(std::uint8_t{});
        case dtype::I8:
            return read(std::int8_t{});
        case dtype::U16:
            return read(std::uint16_t{});
        case dtype::I16:
            return read(std::int16_t{});
        case dtype::U32:
            return read(std::uint32_t{});
        case dtype::I32:
            return read(std::int32_t{});
        case dtype::U64:
            return read(std::uint64_t{});
        case dtype::I64:
            return read(std::int64_t{});
        default:
            fail(file, "input_ids",
                 fmt::format("dtype {}: want integers", nsvd::safetensors::name_of(ids.dtype)));
    }
}

}  // namespace

std::optional<std::vector<token>> read_token_ids(const std::filesystem::path& path, std::size_t vocab_size) {
    const auto ending = path.extension();
    if (ending == ".u16") return raw_ids<std::uint16_t>(path, vocab_size);
    if (ending == ".u32") return raw_ids<std::uint32_t>(path, vocab_size);
    if (ending == ".safetensors") return ids_in_tensor(path, vocab_size);
    return {};
}

std::string how_to_make_ids(const std::string& model_folder) {
    return fmt::format(
        "give texts as token ids (.u16, .u32 or .safetensors), made by python3 -c \"import numpy, "
        "transformers; numpy.array(transformers.AutoTokenizer.from_pretrained('{}')(open('text.txt').read())"
        ".input_ids, 'uint32').tofile('text.u32')\"",
        model_folder);
}

}  // namespace llm
