// SPDX-License-Identifier: MIT
#include "vocabulary.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <queue>
#include <system_error>
#include <tuple>

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

constexpr std::size_t longest_piece = 4096;  // bytes; of known models, 200

std::uint64_t pair_key(token left, token right) {
    return std::uint64_t{left} << 32 | right;
}

bool is_control(std::string_view piece) {
    while (piece.starts_with('\n'))
        piece.remove_prefix(1);
    while (piece.ends_with('\n'))
        piece.remove_suffix(1);
    return piece == "<unk>" || piece == "<s>" || piece == "</s>";
}

}  // namespace

vocabulary::vocabulary(const std::filesystem::path& path) : path_(path) {
    const auto fail = [&](const std::string& what) { throw nsvd::error(path.string() + ": " + what); };
    const auto json = read_json(path);
    const auto list = json.find("pieces");
    if (list == json.end() || !list->is_array()) fail("key 'pieces' is not an array");

    for (const auto& entry : *list) {
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
            fail(fmt::format("piece {} is not [piece, score]", texts_.size()));
        const auto piece = entry[0].get<std::string>();
        const auto id = static_cast<token>(texts_.size());
        scores_.push_back(entry[1].get<double>());
        if (const auto byte = raw_byte(piece)) {
            bytes_[*byte] = id;
            texts_.emplace_back(1, static_cast<char>(*byte));
        } else if (is_control(piece)) {
            texts_.emplace_back();
        } else {
            ids_.emplace(piece, id);
            texts_.push_back(piece);
        }
    }
    for (const auto& [piece, id] : ids_) {
        // Every split of each is looked up, which takes time in proportion to the square of the length.
        if (piece.size() > longest_piece)
            fail(fmt::format("piece {} has {} bytes: more than {}", id, piece.size(), longest_piece));
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

std::string vocabulary::decode(std::span<const token> ids) const {
    std::string text;
    for (const auto id : ids) {
        if (id >= texts_.size())
            throw nsvd::error(fmt::format("{}: no piece has the id {}", path_.string(), id));
        text += texts_[id];
    }
    if (text.starts_with(' ')) text.erase(0, 1);
    return text;
}

}  // namespace llm
