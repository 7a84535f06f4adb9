// SPDX-License-Identifier: MIT
#include "tokens.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <queue>
#include <random>
#include <system_error>
#include <tuple>
#include <utility>

namespace llm {
namespace {

/// Bytes of the UTF-8 character at the start of `text`; 1 where it is not valid UTF-8.
std::size_t character_length(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (length > text.size()) return 1;
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
    return std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(length), continues)
               ? length
               : 1;
}

/// The byte meant by a piece like <0x0A>.
std::optional<std::uint8_t> raw_byte(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return {};
    std::uint8_t byte = 0;
    const auto [end, status] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
    return status == std::errc{} && end == piece.data() + 5 ? std::optional(byte) : std::nullopt;
}

std::uint64_t pair_key(token left, token right) {
    return std::uint64_t{left} << 32 | right;
}

template <class Id>
std::vector<token> raw_ids(const std::string& bytes, const std::filesystem::path& path) {
    if (bytes.size() % sizeof(Id) != 0)
        throw nsvd::error(fmt::format("{}: {} bytes are no whole number of {}-byte token ids", path.string(),
                                      bytes.size(), sizeof(Id)));
    std::vector<Id> ids(bytes.size() / sizeof(Id));
    if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), bytes.size());
    return {ids.begin(), ids.end()};
}

std::vector<token> encode_text(const std::string& text, const std::filesystem::path& path,
                               const std::filesystem::path& model_folder) {
    if (std::filesystem::exists(model_folder / "vocabulary.json"))
        return vocabulary(model_folder / "vocabulary.json").encode(text);
    for (const auto* tokenizer : {"tokenizer.json", "tokenizer.model"})
        if (std::filesystem::exists(model_folder / tokenizer))
            throw nsvd::error(
                fmt::format("{}: {} is not supported yet: give the text as token ids, .u16 or .u32",
                            path.string(), (model_folder / tokenizer).string()));
    std::vector<token> ids(text.size());
    std::transform(text.begin(), text.end(), ids.begin(),
                   [](char c) { return static_cast<unsigned char>(c); });
    return ids;
}

void check_ids(const std::vector<token>& ids, const std::string& name, std::size_t vocab_size) {
    const auto outside = std::find_if(ids.begin(), ids.end(), [&](token id) { return id >= vocab_size; });
    if (outside != ids.end())
        throw nsvd::error(fmt::format("{}: token {} has the id {}, the model's vocabulary ends at {}", name,
                                      outside - ids.begin(), *outside, vocab_size - 1));
}

}  // namespace

vocabulary::vocabulary(const std::filesystem::path& path) : path_(path) {
    const auto fail = [&](const std::string& what) { throw nsvd::error(path.string() + ": " + what); };
    const auto json = read_json(path);
    const auto list = json.find("pieces");
    if (list == json.end() || !list->is_array()) fail("key 'pieces' is not an array");

    std::vector<std::string> pieces;
    for (const auto& entry : *list) {
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
            fail(fmt::format("piece {} is not [piece, score]", pieces.size()));
        const auto& piece = pieces.emplace_back(entry[0].get<std::string>());
        const auto id = static_cast<token>(pieces.size() - 1);
        scores_.push_back(entry[1].get<double>());
        if (const auto byte = raw_byte(piece))
            bytes_[*byte] = id;
        else
            ids_.emplace(piece, id);
    }
    for (const auto& [piece, id] : ids_) {
        for (std::size_t split = 1; split < piece.size(); ++split) {
            const auto left = ids_.find(piece.substr(0, split));
            const auto right = ids_.find(piece.substr(split));
            if (left != ids_.end() && right != ids_.end())
                merges_.emplace(pair_key(left->second, right->second), id);
        }
    }
}

std::vector<token> vocabulary::characters(std::string_view text) const {
    std::vector<token> ids;
    ids.reserve(text.size());
    for (std::size_t length = 0; !text.empty(); text.remove_prefix(length)) {
        length = character_length(text);
        if (const auto known = ids_.find(std::string(text.substr(0, length))); known != ids_.end()) {
            ids.push_back(known->second);
            continue;
        }
        for (const char c : text.substr(0, length)) {
            const auto& id = bytes_[static_cast<unsigned char>(c)];
            if (!id)
                throw nsvd::error(fmt::format("{}: no piece for the byte 0x{:02X}", path_.string(),
                                              static_cast<unsigned char>(c)));
            ids.push_back(*id);
        }
    }
    return ids;
}

std::optional<token> vocabulary::merged(token left, token right) const {
    const auto found = merges_.find(pair_key(left, right));
    return found == merges_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<token> vocabulary::encode(std::string_view text) const {
    if (text.empty()) return {};
    auto ids = characters(std::string(" ").append(text));

    // A doubly linked list over the positions of `ids`; a merge keeps the left position and unlinks the right
    // one.
    constexpr auto none = static_cast<std::size_t>(-1);
    std::vector<std::size_t> next(ids.size()), previous(ids.size());
    std::vector<bool> alive(ids.size(), true);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        previous[i] = i == 0 ? none : i - 1;
        next[i] = i + 1 == ids.size() ? none : i + 1;
    }
    struct candidate {
        double score;
        std::size_t left;
        token left_id, right_id, id;
        bool operator<(const candidate& other) const {
            return std::tuple(score, other.left) < std::tuple(other.score, left);
        }
    };
    std::priority_queue<candidate> queue;
    const auto consider = [&](std::size_t left) {
        if (left == none || next[left] == none) return;
        const auto right_id = ids[next[left]];
        if (const auto id = merged(ids[left], right_id))
            queue.push({scores_[*id], left, ids[left], right_id, *id});
    };
    for (std::size_t i = 0; i < ids.size(); ++i)
        consider(i);

    while (!queue.empty()) {
        const auto best = queue.top();
        queue.pop();
        const auto left = best.left;
        const auto right = alive[left] ? next[left] : none;
        // An earlier merge may have changed either side.
        if (right == none || ids[left] != best.left_id || ids[right] != best.right_id) continue;
        ids[left] = best.id;
        alive[right] = false;
        next[left] = next[right];
        if (next[left] != none) previous[next[left]] = left;
        consider(previous[left]);
        consider(left);
    }
    std::vector<token> result;
    for (std::size_t i = 0; i != none; i = next[i])
        result.push_back(ids[i]);
    return result;
}

std::vector<token> read_tokens(const std::filesystem::path& path, const std::filesystem::path& model_folder,
                               std::size_t vocab_size) {
    const auto bytes = read_file(path);
    const auto ids = path.extension() == ".u16"   ? raw_ids<std::uint16_t>(bytes, path)
                     : path.extension() == ".u32" ? raw_ids<std::uint32_t>(bytes, path)
                                                  : encode_text(bytes, path, model_folder);
    check_ids(ids, path.string(), vocab_size);
    return ids;
}

std::vector<token> encode(const std::string& text, const std::string& name,
                          const std::filesystem::path& model_folder, std::size_t vocab_size) {
    auto ids = encode_text(text, name, model_folder);
    check_ids(ids, name, vocab_size);
    return ids;
}

std::vector<std::span<const token>> windows(std::span<const token> tokens, std::size_t context,
                                            const std::string& name) {
    if (tokens.size() < context)
        throw nsvd::error(
            fmt::format("{}: {} tokens are less than one window of {}: give a longer text or a "
                        "smaller --context",
                        name, tokens.size(), context));
    std::vector<std::span<const token>> result;
    for (; tokens.size() >= context; tokens = tokens.subspan(context))
        result.push_back(tokens.first(context));
    return result;
}

std::vector<std::size_t> draw_windows(std::size_t available, std::size_t at_most, std::uint64_t seed) {
    std::vector<std::size_t> indices(available);
    std::iota(indices.begin(), indices.end(), std::size_t{0});
    const auto count = std::min(available, at_most);
    // The first `count` steps of a Fisher–Yates shuffle. std::uniform_int_distribution differs between
    // standard libraries; the bias of the remainder is below available / 2^64.
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < count; ++i)
        std::swap(indices[i], indices[i + random() % (available - i)]);
    indices.resize(count);
    std::sort(indices.begin(), indices.end());
    return indices;
}

}  // namespace llm
