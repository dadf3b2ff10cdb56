"""What the targets that write C++ share: the host program, and the project around the kernels.

A target's `build` ends in `assemble.make_project(...)`: it gives the texts of the kernels'
files and a `DeviceRuntime` (the vendor's calls), and gets a `Project` with these files:

    CMakeLists.txt, README.md   how to build with the vendor's tools, and how to run
    main.cpp, npy.h, npy.cpp    `run_model`: inputs from .npy files, outputs to .npy files
    infini.h                    the C interface of the library
    model.cpp                   the host program of this model, one line a launch
    kernels.h                   what model.cpp calls: one launch function a kernel
    <the target's files>        the kernels and their launch functions
    runtime.h, runtime.cpp      memory, sizes, errors: the same in every project
    sizes.h                     division of sizes rounding down, for hosts and kernels
    device.h, device.cpp        the vendor's runtime behind a dozen functions
    weights.bin, project.json   the parameters; what the project is
    ir/                         the graph and tile texts it was made from

The call:

    make_project(
        module, ctx,                         # legalised, with planned memory
        target="cuda-c", architecture="nvidia",
        runtime=CUDA_RUNTIME,                # device.DeviceRuntime
        toolchain=TOOLCHAIN,                 # documents.Toolchain
        kernels={"kernels.cu": text},        # the target's files, by path
        report=report, texts=texts,
        alignment=64,                        # of weights, in bytes
    )

Launch functions
----------------
`kernels.h` declares for each kernel (`signatures.KernelSignature`)

    extern "C" void launch_softmax_0(infini::Stream stream, int64_t cores,
                                     void* x, void* y, int64_t M);

`cores` is what the device says it has (`DeviceRuntime.cores`). Pointers point at the first
element of each view, in the order of the kernel's arguments; the symbols follow in the order
of `KernelSignature.symbols`. The target writes the function beside its kernel. It works out
the grid itself (`expressions.grid_size` has the text) and starts nothing where the grid is
empty. It does not wait, and it does not report: errors are asked for afterwards.

Starting a kernel is no C++, so it is done by a macro, which each kernels' file defines after
its includes unless they did so, such as:

    #ifndef INFINI_LAUNCH
    #define INFINI_LAUNCH(kernel, blocks, threads, stream, ...) \\
        kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)
    #endif

A functional model, whose headers stand in for the vendor's on the include path, defines
`INFINI_LAUNCH` as a call that runs the grid. It sees the shipped files unchanged, also the
vendor's runtime calls in `device.cpp`.
"""
