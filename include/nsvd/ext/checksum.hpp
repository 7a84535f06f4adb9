// SPDX-License-Identifier: MIT
/// Checksums of files that nsvd writes for itself: XXH3 of 64 bits. Needs xxHash 0.8 (its header, nothing to
/// link), nlohmann-json and POSIX.
#pragma once

#include "safetensors.hpp"

/// @cond
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
/// @endcond
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>
#include <xxhash.h>

namespace nsvd::inline NSVD_ABI {

/// XXH3 (64 bits) of a sequence of parts. Finds damage, not forgery: anyone can make it anew.
class checksum {
public:
    checksum() { XXH3_64bits_reset(&state_); }
    /// Adds bytes and how many they are, so that neighbours can't exchange some of theirs.
    void add(std::span<const std::byte> bytes) {
        begin(bytes.size());
        go_on(bytes);
    }
    /// The same for bytes that come in pieces: how many there will be,
    void begin(std::uint64_t size) { XXH3_64bits_update(&state_, &size, sizeof size); }
    /// and the next of them.
    void go_on(std::span<const std::byte> bytes) {
        if (!bytes.empty()) XXH3_64bits_update(&state_, bytes.data(), bytes.size());
    }
    /// The same.
    void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
    /// Name, dtype, shape and data of a tensor.
    void add(std::string_view name, safetensors::dtype type, std::span<const std::int64_t> shape,
             std::span<const std::byte> data) {
        add_head(name, type, shape);
        add(data);
    }
    /// The same without the data, which are to follow.
    void add_head(std::string_view name, safetensors::dtype type, std::span<const std::int64_t> shape) {
        add(name);
        add(safetensors::name_of(type));
        add(std::as_bytes(shape));
    }
    /// Of all that was added.
    [[nodiscard]] std::uint64_t value() const { return XXH3_64bits_digest(&state_); }
    /// The same as 16 hexadecimal digits.
    [[nodiscard]] std::string text() const {
        std::string digits(16, '0');
        std::uint64_t rest = value();
        for (std::size_t i = digits.size(); i-- > 0; rest >>= 4)
            digits[i] = "0123456789abcdef"[rest & 0xfU];
        return digits;
    }

private:
    XXH3_state_t state_;
};

namespace safetensors {

/// Under which the metadata of a sealed file hold the checksum of all else in it.
inline constexpr const char* seal_key = "xxh3";

namespace detail {

/// Of tensors in the order of their names (those without bytes have no other order) and of the metadata.
template <class Tensor>
[[nodiscard]] std::string seal_of(const std::map<std::string_view, const Tensor*>& tensors,
                                  const string_map& metadata) {
    checksum sum;
    for (const auto& [name, t] : tensors)
        sum.add(name, t->dtype, t->shape, t->bytes);
    for (const auto& [key, value] : metadata) {
        if (key == seal_key) continue;
        sum.add(key);
        sum.add(value);
    }
    return sum.text();
}

}  // namespace detail

/// `metadata` with a checksum of them and of the tensors: what `write` is to be given for `check_seal` to
/// find any damage. Reads all bytes of the tensors.
[[nodiscard]] inline string_map sealed(std::span<const tensor> tensors, string_map metadata) {
    std::map<std::string_view, const tensor*> by_name;
    for (const tensor& t : tensors)
        by_name.emplace(t.name, &t);
    metadata[seal_key] = detail::seal_of(by_name, metadata);
    return metadata;
}

/// Throws nsvd::error "FILE: is damaged …: ADVICE" unless this is what was sealed. Reads the whole file.
inline void check_seal(const file& f, const std::string& advice) {
    std::map<std::string_view, const view*> by_name;
    for (const std::string& name : f.tensors())
        by_name.emplace(name, &f.at(name));
    const std::string found = detail::seal_of(by_name, f.metadata());
    const auto there = f.metadata().find(seal_key);
    if (there == f.metadata().end() || there->second != found)
        throw error(f.path().string() + ": is damaged (its checksum is " + found + ", not " +
                    (there == f.metadata().end() ? "there" : there->second) + "): " + advice);
}

}  // namespace safetensors
}  // namespace nsvd::inline NSVD_ABI
