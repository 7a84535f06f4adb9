# The extensions among the header verification (CMAKE_VERIFY_INTERFACE_HEADER_SETS): those whose library is found, each
# in a target that has the library's include folder. A line a header: its name, what it includes of the library (or
# "-"; several with commas), and folders below the include path in which that lies.
set(nsvd_extension_needs
    "armadillo     armadillo"
    "atomic_file   -"
    "calibration_file nlohmann/json.hpp,xxhash.h"
    "checksum      nlohmann/json.hpp,xxhash.h"
    "file_access   -"
    "fmt           fmt/format.h"
    "gram_file     nlohmann/json.hpp"
    "gsl           gsl/gsl_matrix.h"
    "mdspan        -"
    "mpi           mpi.h x86_64-linux-gnu/mpi openmpi-x86_64 mpich"
    "opencv        opencv2/core.hpp opencv4"
    "out_of_core   nlohmann/json.hpp"
    "out_of_core_options nlohmann/json.hpp"
    "panel_decomposition nlohmann/json.hpp"
    "safetensors   nlohmann/json.hpp"
    "stored_gram   nlohmann/json.hpp"
    "torch         torch/torch.h torch/csrc/api/include"
    "xtensor       xtensor/xtensor.hpp")

if(NOT NSVD_USE_LAPACK)
    message(STATUS "Not verified, without lapacke.h: include/nsvd/detail/lapacke.hpp")
endif()
foreach(header IN LISTS nsvd_extensions)
    get_filename_component(name "${header}" NAME_WE)
    set(needs ${nsvd_extension_needs})
    list(FILTER needs INCLUDE REGEX "^${name} ")
    if(NOT needs)
        message(FATAL_ERROR "${header}: cmake/VerifyExtensions.cmake does not say what it needs")
    endif()
    string(REGEX REPLACE " +" ";" needs "${needs}")
    list(POP_FRONT needs name libraries)
    string(REPLACE "," ";" libraries "${libraries}")
    list(REMOVE_ITEM libraries "-")
    set(folders)
    set(missing)
    foreach(library IN LISTS libraries)
        string(MAKE_C_IDENTIFIER "NSVD_VERIFY_${name}_${library}" folder)
        find_path(${folder} "${library}" PATH_SUFFIXES ${needs})
        mark_as_advanced(${folder})
        list(APPEND folders ${${folder}})
        if(NOT ${folder})
            set(missing "${library}")
        endif()
    endforeach()
    if(missing)
        message(STATUS "Not verified, without ${missing}: ${header}")
        continue()
    endif()
    add_library(nsvd_${name} INTERFACE)
    target_sources(nsvd_${name} INTERFACE FILE_SET HEADERS BASE_DIRS include FILES ${header})
    target_include_directories(nsvd_${name} SYSTEM INTERFACE ${folders})
    target_link_libraries(nsvd_${name} INTERFACE nsvd)
endforeach()
