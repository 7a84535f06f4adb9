// SPDX-License-Identifier: MIT
// The safetensors reader and writer: round trips, and every way in which a header can be wrong.
#include "llm/llm_support.hpp"
#include "support/catch.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <Eigen/Core>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace st = nsvd::safetensors;
using llm_test::error_of;

namespace {

std::string file_bytes(std::string header, const std::string& data, std::uint64_t extra_length = 0) {
    const std::uint64_t length = header.size() + extra_length;
    return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

}  // namespace

TEST_CASE("safetensors: round trip of every type", "[safetensors]") {
    const llm_test::scratch folder;
    const auto path = folder / "x.safetensors";
    const Eigen::MatrixXd m = (Eigen::MatrixXd(3, 2) << 1, -2, 0.5, 4, 1024, -0.125).finished();
    std::vector<st::tensor> tensors;
    for (const auto type : {st::dtype::BF16, st::dtype::F16, st::dtype::F32, st::dtype::F64})
        tensors.push_back(st::from_matrix("m." + std::string(st::name_of(type)), type, m));
    const std::vector<std::byte> odd(3, std::byte{7});  // the tensor after it is not aligned
    tensors.insert(tensors.begin(), {"bytes", st::dtype::U8, {3}, odd});
    tensors.push_back({"empty", st::dtype::I64, {0, 5}, {}});
    tensors.push_back(st::from_matrix("last", st::dtype::F32, m.col(1)));
    st::write(path, tensors, {{"format", "pt"}, {"quote\"", "line\nbreak"}});

    const st::file file(path);
    REQUIRE(file.tensors().size() == tensors.size());
    CHECK(file.tensors().front() == "bytes");
    CHECK(file.metadata() == st::string_map{{"format", "pt"}, {"quote\"", "line\nbreak"}});
    for (const auto& t : tensors) {
        REQUIRE(file.contains(t.name));
        const auto& view = file.at(t.name);
        CHECK(view.dtype == t.dtype);
        CHECK(view.shape == t.shape);
        CHECK(std::equal(view.bytes.begin(), view.bytes.end(), t.bytes.begin(), t.bytes.end()));
        if (t.name.starts_with("m.")) CHECK(st::to_matrix<double>(view) == m);
    }
    CHECK(st::to_matrix<float>(file.at("last")) == m.col(1).cast<float>());
    CHECK_FALSE(error_of([&] { (void)st::to_matrix<float>(file.at("bytes")); }).empty());
    CHECK(error_of([&] { (void)file.at("nothing"); }).find("'nothing'") != std::string::npos);
    const auto text = llm_test::read(path);
    std::uint64_t header = 0;
    std::copy_n(text.data(), 8, reinterpret_cast<char*>(&header));
    CHECK(header % 8 == 0);
}

TEST_CASE("safetensors: a vector is a column, a scalar 1x1, three dimensions an error", "[safetensors]") {
    const std::vector<float> numbers{1, 2, 3, 4, 5, 6, 7, 8};
    const auto bytes = std::as_bytes(std::span(numbers));
    CHECK(st::to_matrix<float>({st::dtype::F32, {8}, bytes}).rows() == 8);
    CHECK(st::to_matrix<float>({st::dtype::F32, {}, bytes.first(4)}) == Eigen::MatrixXf::Ones(1, 1));
    CHECK(st::to_matrix<float>({st::dtype::F32, {2, 4}, bytes})(1, 0) == 5);
    CHECK_FALSE(error_of([&] { (void)st::to_matrix<float>({st::dtype::F32, {2, 2, 2}, bytes}); }).empty());
    // No numbers, and no memory for the size that is not 0.
    const std::int64_t huge = std::int64_t{1} << 60;
    CHECK(st::to_matrix<float>({st::dtype::F32, {0, huge}, {}}).cols() == huge);
    CHECK(st::to_matrix<float>({st::dtype::F32, {huge, 0}, {}}).rows() == huge);
}

TEST_CASE("safetensors: wrong headers are errors of one line that name the file", "[safetensors]") {
    const std::string eight(8, '\0');
    const auto tensor = [](const std::string& body) { return "{\"x\":{" + body + "}}"; };
    const std::string huge = std::to_string(std::uint64_t{1} << 62);
    const std::vector<std::pair<std::string, std::string>> cases{
        {"empty file", ""},
        {"7 bytes", "1234567"},
        {"header beyond the end", file_bytes("{}", "", 1)},
        {"header length near 2^64", std::string(8, '\xff') + "{}"},
        {"no header", file_bytes("", "")},
        {"not JSON", file_bytes("{\"x\":", "")},
        {"not UTF-8", file_bytes("{\"\xff\xfe\":1}", "")},
        {"an array", file_bytes("[]", "")},
        {"a number", file_bytes("1", "")},
        {"tensor that is no object", file_bytes("{\"x\":1}", "")},
        {"metadata that is no object", file_bytes("{\"__metadata__\":[]}", "")},
        {"metadata that is no string", file_bytes("{\"__metadata__\":{\"a\":1}}", "")},
        {"name twice", file_bytes("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                  "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                                  eight)},
        {"many levels",
         file_bytes("{\"x\":" + std::string(100000, '[') + std::string(100000, ']') + "}", "")},
        {"zero byte",
         file_bytes(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])") + std::string("\0{}", 3),
                    eight)},
        {"dtype twice",
         file_bytes(tensor(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"), eight)},
        {"metadata twice", file_bytes(R"({"__metadata__":{"a":"1","a":"2"}})", "")},
        {"no dtype", file_bytes(tensor(R"("shape":[2],"data_offsets":[0,8])"), eight)},
        {"dtype a number", file_bytes(tensor(R"("dtype":1,"shape":[2],"data_offsets":[0,8])"), eight)},
        {"unknown dtype", file_bytes(tensor(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), eight)},
        {"no shape", file_bytes(tensor(R"("dtype":"F32","data_offsets":[0,8])"), eight)},
        {"shape a number", file_bytes(tensor(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), eight)},
        {"negative size", file_bytes(tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), eight)},
        {"fractional size", file_bytes(tensor(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), eight)},
        {"overflow", file_bytes(tensor("\"dtype\":\"F32\",\"shape\":[" + huge + "," + huge +
                                       ",4],\"data_offsets\":[0,8]"),
                                eight)},
        {"overflow to the right size",
         file_bytes(tensor(R"("dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8])"), eight)},
        {"no offsets", file_bytes(tensor(R"("dtype":"F32","shape":[2])"), eight)},
        {"three offsets", file_bytes(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), eight)},
        {"offsets backwards", file_bytes(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), eight)},
        {"offsets beyond the data",
         file_bytes(tensor(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"), eight)},
        {"offsets negative", file_bytes(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"), eight)},
        {"size unlike the shape",
         file_bytes(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), eight)},
        {"overlap", file_bytes("{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                               "\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                               eight)},
        {"hole", file_bytes(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), eight)},
        {"bytes at the end", file_bytes(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), eight)},
    };
    const llm_test::scratch folder;
    for (const auto& [what, bytes] : cases) {
        CAPTURE(what);
        const auto path = llm_test::write(folder / "bad.safetensors", bytes);
        const auto message = error_of([&] { st::file{path}; });
        CHECK(message.starts_with(path.string() + ": "));
        CHECK(message.find('\n') == std::string::npos);
    }
    CHECK(error_of([&] { st::file{folder / "missing"}; }).find("No such file") != std::string::npos);
    CHECK_FALSE(error_of([&] { st::file{folder.path()}; }).empty());
}

TEST_CASE("safetensors: truncation at every byte is an error", "[safetensors]") {
    const llm_test::scratch folder;
    const auto path = folder / "x.safetensors";
    const std::vector tensors{st::from_matrix("a", st::dtype::F32, Eigen::MatrixXf::Ones(2, 2))};
    st::write(path, tensors);
    const auto whole = llm_test::read(path);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        llm_test::write(path, std::string_view(whole).substr(0, size));
        CHECK_FALSE(error_of([&] { st::file{path}; }).empty());
    }
}

TEST_CASE("safetensors: writing leaves a complete file or none", "[safetensors]") {
    const llm_test::scratch folder;
    const auto path = folder / "x.safetensors";
    llm_test::write(path, "old");
    const auto one = st::from_matrix("a", st::dtype::F32, Eigen::MatrixXf::Ones(2, 2));
    CHECK_FALSE(error_of([&] { st::write(path, std::vector{one, one}); }).empty());
    CHECK_FALSE(error_of([&] {
                    st::write(path, std::vector<st::tensor>{{"a", st::dtype::F32, {3}, one.bytes}});
                }).empty());
    CHECK_FALSE(error_of([&] {
                    st::write(path, std::vector<st::tensor>{{"\xff", st::dtype::F32, {0}, {}}});
                }).empty());
    CHECK(llm_test::read(path) == "old");
    CHECK(error_of([&] {
              st::write(folder / "missing" / "x", std::vector{one});
          }).find("cannot be written") != std::string::npos);
    CHECK_FALSE(error_of([&] { st::write(folder.path(), std::vector{one}); }).empty());

    // A source that is mapped may be written over: its pages stay those of the old file.
    st::write(path, std::vector{one});
    const st::file source(path);
    const auto& view = source.at("a");
    st::write(path, std::vector<st::tensor>{{"b", view.dtype, view.shape, view.bytes}});
    CHECK(st::to_matrix<float>(st::file(path).at("b")) == Eigen::MatrixXf::Ones(2, 2));
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path()))
        ++files;
    CHECK(files == 1);
}

TEST_CASE("safetensors: a file written one tensor after the other", "[safetensors]") {
    const llm_test::scratch folder;
    const std::vector tensors{st::from_matrix("a", st::dtype::F16, Eigen::MatrixXf::Random(3, 2)),
                              st::from_matrix("b", st::dtype::F64, Eigen::MatrixXd::Random(1, 5))};
    const std::vector<st::entry> entries{{"a", st::dtype::F16, {3, 2}}, {"b", st::dtype::F64, {1, 5}}};
    st::write(folder / "whole", tensors, {{"key", "value"}});
    st::writer out(folder / "single", entries, {{"key", "value"}});
    out.add(tensors[0].bytes);
    CHECK(error_of([&] { out.commit(); }) == (folder / "single").string() + ": tensor 'b': was not written");
    out.add(tensors[1].bytes);
    CHECK(error_of([&] { out.add(tensors[1].bytes); }).find("all tensors are written") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(folder / "single"));
    out.commit();
    CHECK(llm_test::read(folder / "single") == llm_test::read(folder / "whole"));
    st::writer wrong(folder / "wrong", entries);
    CHECK(error_of([&] { wrong.add(tensors[1].bytes); }).find("40 bytes don't fit") != std::string::npos);
}
