// SPDX-License-Identifier: MIT
#pragma once

#include "../error.hpp"
#include "../matrix.hpp"
#include "atomic_file.hpp"

#include <Eigen/Core>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

/// The safetensors file format: 8 bytes little-endian length of a JSON header, the header, the data
/// (row-major). Reading maps the file and checks the whole header first; needs nlohmann-json and POSIX.
namespace nsvd::inline NSVD_ABI::safetensors {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// Element types under the names they bear in a file.
enum class dtype { BOOL, U8, I8, F8_E5M2, F8_E4M3, U16, I16, F16, BF16, U32, I32, F32, U64, I64, F64 };

namespace detail {

struct dtype_row {
    safetensors::dtype dtype;  ///< type of the numbers
    std::string_view name;
    std::size_t size;
};

inline constexpr std::array<dtype_row, 15> dtypes{{{dtype::BOOL, "BOOL", 1},
                                                   {dtype::U8, "U8", 1},
                                                   {dtype::I8, "I8", 1},
                                                   {dtype::F8_E5M2, "F8_E5M2", 1},
                                                   {dtype::F8_E4M3, "F8_E4M3", 1},
                                                   {dtype::U16, "U16", 2},
                                                   {dtype::I16, "I16", 2},
                                                   {dtype::F16, "F16", 2},
                                                   {dtype::BF16, "BF16", 2},
                                                   {dtype::U32, "U32", 4},
                                                   {dtype::I32, "I32", 4},
                                                   {dtype::F32, "F32", 4},
                                                   {dtype::U64, "U64", 8},
                                                   {dtype::I64, "I64", 8},
                                                   {dtype::F64, "F64", 8}}};

}  // namespace detail

/// Bytes of one element.
[[nodiscard]] inline std::size_t size_of(dtype type) {
    return detail::dtypes[static_cast<std::size_t>(type)].size;
}

/// Name in a file, for example "BF16".
[[nodiscard]] inline std::string_view name_of(dtype type) {
    return detail::dtypes[static_cast<std::size_t>(type)].name;
}

/// Calls `f(T{})` with the Eigen scalar `T` of a floating-point dtype: double, float, half or bfloat16.
/// Throws nsvd::error for every other dtype.
template <class F>
decltype(auto) visit_scalar(dtype type, F&& f) {
    switch (type) {
        case dtype::F64:
            return f(double{});
        case dtype::F32:
            return f(float{});
        case dtype::F16:
            return f(Eigen::half{});
        case dtype::BF16:
            return f(Eigen::bfloat16{});
        default:
            break;
    }
    throw error("dtype " + std::string(name_of(type)) + " is not one of F64, F32, F16, BF16");
}

/// A tensor inside a mapped file; valid as long as the file is.
struct view {
    safetensors::dtype dtype;          ///< type of the numbers
    std::vector<std::int64_t> shape;   ///< sizes, row-major
    std::span<const std::byte> bytes;  ///< the data, little-endian
};

/// A tensor to be written. `bytes` may point anywhere (into another mapped file, for example); `storage`
/// keeps them alive where the tensor owns them.
struct tensor {
    std::string name;                                         ///< under which the file has it
    safetensors::dtype dtype;                                 ///< type of the numbers
    std::vector<std::int64_t> shape;                          ///< sizes, row-major
    std::span<const std::byte> bytes;                         ///< the data, little-endian
    std::shared_ptr<const std::vector<std::byte>> storage{};  ///< owner of the bytes, if they have one here
};

/// Metadata of a file.
using string_map = std::map<std::string, std::string>;

/// A safetensors file, mapped read-only. The header is checked in full on opening: lengths, JSON, dtypes,
/// shapes (overflow included), offsets that cover the data without gap or overlap. Anything wrong throws
/// nsvd::error "FILE: what" or "FILE: tensor 'x': what".
///
/// The file must not be changed by others while it is open. Where its bytes are changed, reading gives the
/// new ones; where it is cut, reading what lay beyond the page of the new end raises SIGBUS, which ends the
/// process unless it has a handler (examples/llm/cut_file.cpp), and what lay beyond the end in that page
/// reads as zero. Where it is removed or another is renamed over it, the bytes that were opened stay. Who
/// can't rule all this out calls `check_unchanged` after the last reading, before results count.
class file {
public:
    /// Opens and checks the file.
    explicit file(std::filesystem::path path);

    /// Names in the order of their data.
    [[nodiscard]] const std::vector<std::string>& tensors() const { return names_; }
    /// Whether there is a tensor of that name.
    [[nodiscard]] bool contains(const std::string& name) const { return views_.contains(name); }
    /// Throws nsvd::error for a name that is not there.
    [[nodiscard]] const view& at(const std::string& name) const;
    /// The strings under `__metadata__`.
    [[nodiscard]] const string_map& metadata() const { return metadata_; }
    /// The name it was opened by.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Throws nsvd::error where what now lies under the name is another file than was opened, or is not of
    /// the size and the time of last change that it had.
    void check_unchanged() const;

private:
    struct unmap {
        std::size_t size;
        void operator()(const std::byte* begin) const { ::munmap(const_cast<std::byte*>(begin), size); }
    };

    [[noreturn]] void fail(const std::string& what) const { throw error(path_.string() + ": " + what); }
    [[noreturn]] void fail(const std::string& name, const std::string& what) const {
        fail("tensor '" + name + "': " + what);
    }
    void map();
    [[nodiscard]] nlohmann::json parse_header(std::string_view text) const;
    [[nodiscard]] view parse_tensor(const std::string& name, const nlohmann::json& entry,
                                    std::span<const std::byte> data) const;
    void check_coverage(std::span<const std::byte> data);

    std::filesystem::path path_;
    struct stat opened_ {};
    std::unique_ptr<const std::byte, unmap> bytes_;
    std::vector<std::string> names_;
    std::map<std::string, view> views_;
    string_map metadata_;
};

/// Elements of a shape; throws nsvd::error for a negative size or a product that overflows.
[[nodiscard]] inline std::size_t count_of(std::span<const std::int64_t> shape) {
    std::size_t count = 1;
    for (const auto size : shape) {
        if (size < 0) throw error("shape with a negative size " + std::to_string(size));
        const auto n = static_cast<std::size_t>(size);
        if (n != 0 && count > std::numeric_limits<std::size_t>::max() / 16 / n)
            throw error("shape overflows");
        count *= n;
    }
    return count;
}

/// The tensor (m×n, n as a column, or a single number) as an Eigen matrix of `Scalar`. The data need no
/// alignment. Throws nsvd::error for more than two dimensions and for a dtype that is no floating-point type.
template <class Scalar>
[[nodiscard]] Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> to_matrix(const view& t) {
    if (t.shape.size() > 2)
        throw error("a tensor of " + std::to_string(t.shape.size()) + " dimensions is not a matrix");
    const Eigen::Index m = t.shape.empty() ? 1 : t.shape[0];
    const Eigen::Index n = t.shape.size() < 2 ? 1 : t.shape[1];
    return visit_scalar(t.dtype, [&](auto stored) {
        Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> result(m, n);
        // One of them may be huge without the data for it, 0×10^18 for example.
        if (result.size() == 0) return result;
        Eigen::RowVectorX<decltype(stored)> row(n);
        const auto row_bytes = static_cast<std::size_t>(n) * sizeof stored;
        for (Eigen::Index i = 0; i < m; ++i) {
            std::memcpy(row.data(), t.bytes.data() + static_cast<std::size_t>(i) * row_bytes, row_bytes);
            result.row(i) = row.template cast<Scalar>();
        }
        return result;
    });
}

/// Calls `f` with the tensor (m×n) as a `strided_view` of its scalar: the numbers where the file has them.
/// Throws nsvd::error unless it has two dimensions and a floating-point dtype, and for numbers that are not
/// aligned, which no usual writer leaves so.
template <class F>
decltype(auto) visit_matrix(const view& t, F&& f) {
    if (t.shape.size() != 2)
        throw error("a tensor of " + std::to_string(t.shape.size()) + " dimensions is not a matrix");
    return visit_scalar(t.dtype, [&](auto scalar) -> decltype(auto) {
        using stored = decltype(scalar);
        if (reinterpret_cast<std::uintptr_t>(t.bytes.data()) % alignof(stored) != 0)
            throw error("the numbers of a tensor are not aligned: write the file anew");
        return f(strided_view<stored>{reinterpret_cast<const stored*>(t.bytes.data()), t.shape[0], t.shape[1],
                                      t.shape[1], 1});
    });
}

/// A tensor that owns a row-major copy of the m×n matrix, rounded to `type` (values outside its range become
/// infinite).
template <class Derived>
[[nodiscard]] tensor from_matrix(std::string name, dtype type, const Eigen::MatrixBase<Derived>& matrix) {
    auto storage =
        std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(matrix.size()) * size_of(type));
    visit_scalar(type, [&](auto stored) {
        Eigen::RowVectorX<decltype(stored)> row(matrix.cols());
        const auto row_bytes = static_cast<std::size_t>(matrix.cols()) * sizeof stored;
        for (Eigen::Index i = 0; row_bytes != 0 && i < matrix.rows(); ++i) {
            row = matrix.row(i).template cast<decltype(stored)>();
            std::memcpy(storage->data() + static_cast<std::size_t>(i) * row_bytes, row.data(), row_bytes);
        }
    });
    return {std::move(name), type, {matrix.rows(), matrix.cols()}, *storage, storage};
}

/// What the header says about a tensor.
struct entry {
    std::string name;                 ///< under which the file has it
    safetensors::dtype dtype;         ///< type of the numbers
    std::vector<std::int64_t> shape;  ///< sizes, row-major
};

/// Writes a file one tensor after the other, so that no two of them need be in memory. The file appears under
/// its name with `commit` (atomic_file).
class writer {
public:
    /// Throws nsvd::error for names given twice, and when writing fails.
    writer(const std::filesystem::path& path, std::span<const entry> tensors, const string_map& metadata = {})
        : path_(path), entries_(tensors.begin(), tensors.end()), out_(path) {
        const std::string head = header(path, tensors, metadata);
        out_.write(std::as_bytes(std::span(head)));
    }

    /// The data of the next tensor, in the order of the entries. Throws nsvd::error where they don't fit its
    /// dtype and shape, and when writing fails.
    void add(std::span<const std::byte> bytes) {
        if (next_ == entries_.size()) throw error(path_.string() + ": all tensors are written");
        const auto& t = entries_[next_++];
        if (bytes_of(t) != bytes.size())
            fail(path_, t, std::to_string(bytes.size()) + " bytes don't fit its dtype and shape");
        out_.write(bytes);
    }

    /// What precedes the data in a file of these tensors: length and header, a multiple of 8 bytes. Throws
    /// nsvd::error for names given twice.
    [[nodiscard]] static std::string header(const std::filesystem::path& path, std::span<const entry> tensors,
                                            const string_map& metadata = {});

    /// Throws nsvd::error where tensors are missing, and when writing fails.
    void commit() {
        if (next_ != entries_.size()) fail(path_, entries_[next_], "was not written");
        out_.commit();
    }

private:
    [[nodiscard]] static std::size_t bytes_of(const entry& t) { return count_of(t.shape) * size_of(t.dtype); }
    [[noreturn]] static void fail(const std::filesystem::path& path, const entry& t,
                                  const std::string& what) {
        throw error(path.string() + ": tensor '" + t.name + "': " + what);
    }

    std::filesystem::path path_;
    std::vector<entry> entries_;
    std::size_t next_ = 0;
    atomic_file out_;
};

inline std::string writer::header(const std::filesystem::path& path, std::span<const entry> tensors,
                                  const string_map& metadata) {
    // Strings alone are made by nlohmann: objects of it ask for memory where they are destroyed, and without
    // that end the program.
    const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
    std::uint64_t length = 0;
    std::string header(sizeof length, ' ');
    header += '{';
    try {
        std::string strings;
        for (const auto& [key, value] : metadata) {
            if (!strings.empty()) strings += ',';
            strings += quoted(key) + ":" + quoted(value);
        }
        if (!metadata.empty()) header += "\"__metadata__\":{" + strings + "},";
        std::set<std::string> names{"__metadata__"};
        std::size_t offset = 0;
        for (const auto& t : tensors) {
            if (!names.insert(t.name).second) fail(path, t, "the name is taken");
            std::string shape;
            for (const std::int64_t size : t.shape) {
                if (!shape.empty()) shape += ',';
                shape += std::to_string(size);
            }
            header += quoted(t.name) + ":{\"data_offsets\":[" + std::to_string(offset) + ",";
            offset += bytes_of(t);
            header += std::to_string(offset) + "],\"dtype\":\"" + std::string(name_of(t.dtype)) +
                      "\",\"shape\":[" + shape + "]},";
        }
    } catch (const nlohmann::json::exception& e) {
        throw error(path.string() + ": names and metadata must be UTF-8: " + e.what());
    }
    if (header.back() == ',') header.pop_back();
    header += '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    length = header.size() - sizeof length;
    std::memcpy(header.data(), &length, sizeof length);
    return header;
}

/// Writes the tensors in the order given. Throws nsvd::error for names given twice, for bytes that don't fit
/// dtype and shape, and when writing fails.
inline void write(const std::filesystem::path& path, std::span<const tensor> tensors,
                  const string_map& metadata = {}) {
    std::vector<entry> entries;
    for (const auto& t : tensors)
        entries.push_back({t.name, t.dtype, t.shape});
    writer out(path, entries, metadata);
    for (const auto& t : tensors)
        out.add(t.bytes);
    out.commit();
}

inline file::file(std::filesystem::path path) : path_(std::move(path)) {
    constexpr std::size_t prefix = 8;
    constexpr std::uint64_t header_limit = 100'000'000;
    map();
    const std::span<const std::byte> bytes(bytes_.get(), bytes_.get_deleter().size);
    if (bytes.size() < prefix) fail("no safetensors file: " + std::to_string(bytes.size()) + " bytes only");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), prefix);
    if (length > bytes.size() - prefix)
        fail("header of " + std::to_string(length) + " bytes in a file of " + std::to_string(bytes.size()) +
             ": truncated, or no safetensors file");
    if (length > header_limit) fail("header of " + std::to_string(length) + " bytes: more than 100 MB");

    const auto data = bytes.subspan(prefix + static_cast<std::size_t>(length));
    const auto* text = reinterpret_cast<const char*>(bytes.data() + prefix);
    const auto header = parse_header({text, static_cast<std::size_t>(length)});
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            if (!entry.is_object()) fail("__metadata__ is not an object");
            for (const auto& [key, value] : entry.items()) {
                if (!value.is_string()) fail("__metadata__ '" + key + "' is not a string");
                metadata_[key] = value.get<std::string>();
            }
        } else {
            names_.push_back(name);
            views_.emplace(name, parse_tensor(name, entry, data));
        }
    }
    check_coverage(data);
}

inline const view& file::at(const std::string& name) const {
    const auto found = views_.find(name);
    if (found == views_.end()) fail(name, "is missing");
    return found->second;
}

inline void file::map() {
    const auto system_error = [&] { fail("cannot be read: " + std::generic_category().message(errno)); };
    // A pipe would wait for who writes to it.
    const int descriptor =
        nsvd::detail::uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
    if (descriptor < 0) system_error();
    struct closer {
        int descriptor;
        ~closer() { ::close(descriptor); }
    } const closer{descriptor};
    if (::fstat(descriptor, &opened_) != 0) system_error();
    if (!S_ISREG(opened_.st_mode)) fail("not a regular file");
    const auto size = static_cast<std::size_t>(opened_.st_size);
    if (size == 0) fail("empty file");
    void* begin = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (begin == MAP_FAILED) system_error();
    bytes_ = {static_cast<const std::byte*>(begin), unmap{size}};
}

inline void file::check_unchanged() const {
    struct stat now {};
    if (::stat(path_.c_str(), &now) != 0) fail("is gone: " + std::generic_category().message(errno));
    const auto changed = [](const struct stat& s) {
#ifdef __APPLE__
        return std::pair(s.st_mtimespec.tv_sec, s.st_mtimespec.tv_nsec);
#else
        return std::pair(s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
#endif
    };
    if (now.st_dev != opened_.st_dev || now.st_ino != opened_.st_ino || now.st_size != opened_.st_size ||
        changed(now) != changed(opened_))
        fail("was changed or replaced by another program while it was read");
}

inline nlohmann::json file::parse_header(std::string_view text) const {
    using nlohmann::json;
    // A tensor's numbers are three levels deep. What prints a value in an error calls itself for each.
    constexpr std::size_t deepest = 8;
    std::array<std::set<std::string>, deepest + 2> keys;  // of the object that is open at each
    const auto check = [&](int depth, json::parse_event_t event, json& value) {
        const auto level = static_cast<std::size_t>(depth);
        if (level > deepest) fail("header has more than 8 levels of JSON");
        if (event == json::parse_event_t::object_start) keys[level + 1].clear();
        if (event == json::parse_event_t::key && !keys[level].insert(value.get<std::string>()).second) {
            if (level == 1) fail(value.get<std::string>(), "appears twice");
            fail("header: '" + value.get<std::string>() + "' appears twice in one object");
        }
        return true;
    };
    // To nlohmann it ends the text.
    if (text.find('\0') != std::string_view::npos) fail("header is not JSON: it has a zero byte");
    try {
        auto header = json::parse(text, check);
        if (!header.is_object()) fail("header is not a JSON object");
        return header;
    } catch (const json::exception& e) {
        fail(std::string("header is not JSON: ") + e.what());
    }
}

inline view file::parse_tensor(const std::string& name, const nlohmann::json& entry,
                               std::span<const std::byte> data) const {
    const auto unsigned_array = [&](const char* key) {
        const auto found = entry.find(key);
        if (found == entry.end() || !found->is_array()) fail(name, std::string(key) + " is not an array");
        std::vector<std::int64_t> numbers;
        for (const auto& number : *found) {
            if (!number.is_number_unsigned() ||
                number.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
                fail(name,
                     std::string(key) + " has a part that is no non-negative integer: " + number.dump());
            numbers.push_back(number.get<std::int64_t>());
        }
        return numbers;
    };

    if (!entry.is_object()) fail(name, "is not an object");
    const auto type = entry.find("dtype");
    if (type == entry.end() || !type->is_string()) fail(name, "dtype is not a string");
    const auto row = std::find_if(detail::dtypes.begin(), detail::dtypes.end(),
                                  [&](const auto& known) { return known.name == type->get<std::string>(); });
    if (row == detail::dtypes.end()) fail(name, "unknown dtype " + type->dump());

    auto shape = unsigned_array("shape");
    const auto offsets = unsigned_array("data_offsets");
    if (offsets.size() != 2) fail(name, "data_offsets are not two numbers");
    const auto begin = static_cast<std::size_t>(offsets[0]);
    const auto end = static_cast<std::size_t>(offsets[1]);
    if (begin > end || end > data.size())
        fail(name, "data_offsets " + std::to_string(begin) + ".." + std::to_string(end) + " outside of " +
                       std::to_string(data.size()) + " bytes of data");
    std::size_t size = 0;
    try {
        size = count_of(shape) * row->size;
    } catch (const error& e) {
        fail(name, e.what());
    }
    if (size != end - begin)
        fail(name, std::to_string(end - begin) + " bytes of data where dtype and shape want " +
                       std::to_string(size));
    return {row->dtype, std::move(shape), data.subspan(begin, size)};
}

inline void file::check_coverage(std::span<const std::byte> data) {
    const auto place = [&](const std::string& name) {
        const auto bytes = views_.at(name).bytes;
        return std::tuple(bytes.data(), bytes.size());
    };
    std::stable_sort(names_.begin(), names_.end(),
                     [&](const auto& a, const auto& b) { return place(a) < place(b); });
    const std::byte* end = data.data();
    for (const auto& name : names_) {
        const auto bytes = views_.at(name).bytes;
        if (bytes.data() < end) fail(name, "overlaps the tensor before it");
        if (bytes.data() > end) fail(name, "is preceded by bytes that belong to no tensor");
        end += bytes.size();
    }
    if (end != data.data() + data.size()) fail("bytes after the last tensor");
}

}  // namespace nsvd::inline NSVD_ABI::safetensors
