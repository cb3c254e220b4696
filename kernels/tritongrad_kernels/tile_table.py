"""The one table of tile sizes."""

from __future__ import annotations

# Rows are kernels, columns are architectures, and the interpreter is one of them. An entry of upper case is a block
# size: the most a program takes of one extent, rounded to a power of two (see `launch.tile`). The interpreter pays
# ~50 us for an operation of a program and ~10 ns for an element, so its tiles are few and fat, up to Triton's 2^20
# elements.
#
# Products of 2-byte elements are formed by tensor cores from shared memory. Those of float32 are sums of products
# whose operands all pass through registers: where that spills them, "sm_90 float32" stands beside the column "sm_90".
# The compile gate (`make gate`) finds out.
#
# No entry of a GPU's column has been measured on a GPU yet: they are chosen by what the compiler says of registers,
# shared memory and the blocks a multiprocessor holds, and by the roofline.
TILES: dict[str, dict[str, dict[str, int]]] = {
    # Elements of a map, those of a row of a tile, the side of a tile that transposes, and the elements of two axes that
    # are worth tiles: see `walk`.
    "walk": {
        "interpret": dict(BLOCK=1 << 18, COLUMNS=1 << 12, SIDE=512, SPREAD=1 << 16),
        "sm_80": dict(BLOCK=2048, COLUMNS=256, SIDE=64, SPREAD=1024, num_warps=4),
    },
    "map": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    "random": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    # Draws x categories.
    "choose": {
        "interpret": dict(BLOCK=1 << 9, KB=1 << 11),
        "sm_80": dict(BLOCK=16, KB=256, num_warps=4),
    },
    # Kept elements x reduced elements; CHUNK bounds how much of the reduced extent one program folds.
    "reduce": {
        "interpret": dict(KEEP=1 << 9, FOLD=1 << 11, CHUNK=1 << 20, LEAST=1),
        "sm_80": dict(KEEP=32, FOLD=128, CHUNK=8192, LEAST=1024, num_warps=4),
    },
    # Rows x elements of a row that one program scans.
    "scan": {
        "interpret": dict(KEEP=4, SPAN=1 << 16, LEAST=1 << 18),
        "sm_80": dict(KEEP=2, SPAN=1024, LEAST=1024, num_warps=4),
    },
    # Rows of at most N keys, of which STEP at a time are compared with all.
    "order": {
        "interpret": dict(KEEP=16, N=256, STEP=256, LEAST=1 << 20),
        "sm_80": dict(KEEP=1, N=256, STEP=16, LEAST=4096, num_warps=4),
    },
    # Rows x keys; a program holds 16 counters for each key.
    "radix": {
        "interpret": dict(KEEP=1, SPAN=1 << 14, LEAST=1 << 14),
        "sm_80": dict(KEEP=1, SPAN=512, LEAST=512, num_warps=4),
    },
    # Slabs x elements, and as many elements for TURN times the slabs of short sums.
    "slabs": {
        "interpret": dict(BZ=4, BN=1 << 12, TURN=4),
        "sm_80": dict(BZ=4, BN=1024, TURN=8, num_warps=4),
    },
    "matmul": {
        "interpret": dict(BM=1024, BN=1024, BK=1024, SPLIT=1 << 20),
        "sm_80": dict(BM=128, BN=64, BK=32, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_80 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3),
        "sm_90": dict(BM=128, BN=128, BK=64, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_90 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3),
        # Left alone, ptxas spills four registers of products whose first operand lies column by column.
        "sm_100": dict(BM=128, BN=128, BK=64, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_100 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3, maxnreg=168),
    },
    # On GPUs with TMA, the first of these three that makes TILES tiles, or the last. Twice 98 KB of shared memory fit a
    # multiprocessor, and three times 65 KB. RESIDENT programs, what an H200 or B200 runs at once, take several tiles
    # each; it stands for the number of the GPU at hand where there is none.
    "matmul_tma_wide": {
        "sm_90": dict(BM=128, BN=256, BK=64, SPLIT=2048, TILES=256, RESIDENT=132, num_warps=8, num_stages=4),
        "sm_90 float32": dict(BM=128, BN=128, BK=32, SPLIT=2048, TILES=128, num_warps=8, num_stages=3),
        "sm_100": dict(BM=128, BN=256, BK=64, SPLIT=2048, TILES=256, RESIDENT=148, num_warps=8, num_stages=4),
        "sm_100 float32": dict(BM=128, BN=128, BK=32, SPLIT=2048, TILES=128, num_warps=8, num_stages=3),
    },
    "matmul_tma": {
        "sm_90": dict(BM=128, BN=128, BK=64, SPLIT=2048, TILES=128, num_warps=8, num_stages=3),
        "sm_90 float32": dict(BM=128, BN=64, BK=32, SPLIT=2048, TILES=128, num_warps=4, num_stages=3),
    },
    "matmul_tma_small": {
        "sm_90": dict(BM=64, BN=64, BK=64, SPLIT=2048, TILES=1, num_warps=4, num_stages=4),
        "sm_90 float32": dict(BM=64, BN=64, BK=32, SPLIT=2048, TILES=1, num_warps=4, num_stages=4),
    },
    "matmul_fold": {
        "interpret": dict(BM=1 << 9, BN=1 << 9),
        "sm_80": dict(BM=4, BN=256, LEAST=1024, num_warps=4),
    },
    # Matrices with no side longer than LONGEST, so many in a program that operands and result have ELEMENTS in all.
    "small_matmul": {
        "interpret": dict(LONGEST=128, ELEMENTS=1 << 19),
        "sm_80": dict(LONGEST=32, ELEMENTS=1 << 12, num_warps=4),
    },
    "matmul_integers": {
        "interpret": dict(BM=64, BN=64, BK=64),
        "sm_80": dict(BM=16, BN=16, BK=8, num_warps=4),
    },
    # Output channels x output pixels x input channels. Pointer convolutions with a kernel window stay at 4 warps:
    # eight are reported to miscompile (pytorch issue 173068).
    "conv2d": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=64, BP=64, BC=32, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=64, BP=64, BC=32, num_warps=4, num_stages=3),
    },
    # Output channels x output pixels x input channels. Leaving moments takes shared memory for a stored box beside
    # what is on its way in: with these figures two programs share a multiprocessor, and one stores while the other
    # multiplies. Long sums stay in the loop, where wider products ask less of shared memory.
    "conv2d_tma": {
        "interpret": dict(BO=128, BP=256, BC=64, FLAT=1),
        "sm_90": dict(BO=128, BP=128, BC=64, FLAT=1, num_warps=8, num_stages=2, maxnreg=128),
        # For moments by eight warps Triton 3.7 fails to compile, and with FLAT ptxas spills.
        "sm_100": dict(BO=128, BP=128, BC=64, FLAT=0, num_warps=4, num_stages=2),
    },
    "conv2d_tma_long": {
        "interpret": dict(BO=128, BP=256, BC=64, FLAT=1),
        "sm_90": dict(BO=128, BP=256, BC=64, FLAT=1, num_warps=8, num_stages=3),
        "sm_100": dict(BO=128, BP=128, BC=64, FLAT=0, num_warps=4, num_stages=3),
    },
    # 64 output channels and fewer.
    "conv2d_tma_narrow": {
        "interpret": dict(BO=128, BP=256, BC=64, FLAT=1),
        "sm_90": dict(BO=64, BP=128, BC=64, FLAT=1, num_warps=4, num_stages=3),
        "sm_100": dict(BO=64, BP=128, BC=64, FLAT=0, num_warps=4, num_stages=3),
    },
    # Pixels of an image with zeros about it.
    "haloed": {
        "interpret": dict(BP=1 << 16),
        "sm_80": dict(BP=512, num_warps=4),
    },
    # Left alone, ptxas spills some registers to fit one more block.
    "conv2d_input_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=168),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=184),
        "sm_100": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3, maxnreg=240),
        "sm_100 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
    },
    # An epilogue needs registers. In narrow tiles there are enough, for two programs on a multiprocessor, of which one
    # waits for memory while the other multiplies; where the tensor cores are the bound, it goes quarter by quarter.
    "conv2d_input_grad_tma": {
        "interpret": dict(BO=64, BP=256, BC=128, QUARTERS=0),
        "sm_90": dict(BO=64, BP=128, BC=128, QUARTERS=0, num_warps=8, num_stages=3),
    },
    "conv2d_input_grad_tma_long": {
        "interpret": dict(BO=64, BP=256, BC=128, QUARTERS=1),
        "sm_90": dict(BO=64, BP=256, BC=128, QUARTERS=1, num_warps=8, num_stages=3),
    },
    "conv2d_input_grad_tma_narrow": {
        "interpret": dict(BO=64, BP=256, BC=64, QUARTERS=0),
        "sm_90": dict(BO=64, BP=128, BC=64, QUARTERS=0, num_warps=4, num_stages=3),
    },
    # SPLIT is the fewest pixels that a slab sums over, PROGRAMS how many are enough.
    "conv2d_weight_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512, SPLIT=1 << 20, PROGRAMS=256),
        "sm_80": dict(BO=64, BP=32, BC=64, SPLIT=4096, PROGRAMS=256, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=64, BC=64, SPLIT=4096, PROGRAMS=256, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=64, BP=32, BC=64, SPLIT=4096, PROGRAMS=256, num_warps=4, num_stages=3),
    },
    "conv2d_weight_grad_tma": {
        "interpret": dict(BO=128, BP=256, BC=128, SPLIT=1 << 20, PROGRAMS=256),
        "sm_90": dict(BO=128, BP=64, BC=128, SPLIT=1024, PROGRAMS=256, num_warps=8, num_stages=3),
    },
    # 64 channels and fewer on one side: memory is the bound, and what is on its way to one program of a multiprocessor
    # is enough for it.
    "conv2d_weight_grad_tma_narrow": {
        "interpret": dict(BO=128, BP=256, BC=128, SPLIT=1 << 20, PROGRAMS=128),
        "sm_90": dict(BO=128, BP=64, BC=128, SPLIT=1024, PROGRAMS=128, num_warps=4, num_stages=6),
    },
    # Pixels x channels of any number of groups.
    "depthwise": {
        "interpret": dict(BP=1 << 11, BC=1 << 9),
        # A thread takes several pixels, so that the weights of its channels, which lie apart, are loaded once for all.
        "sm_80": dict(BP=64, BC=64, LEAST=4096, num_warps=4),
    },
    # Weights of an output channel x pixels x output channels; SPLIT is the number of pixels one slab sums over.
    "depthwise_weight_grad": {
        "interpret": dict(BK=1 << 5, BP=1 << 9, BO=1 << 6, SPLIT=1 << 20),
        "sm_80": dict(BK=4, BP=16, BO=64, SPLIT=2048, LEAST=4096, num_warps=4),
    },
    # As conv2d_input_grad, with the registers that one more axis takes.
    "conv3d_input_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=128),
        "sm_100": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3, maxnreg=168),
        "sm_100 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=128),
    },
    # Planes (batch and channels) or taps of them x pixels.
    "fold": {
        "interpret": dict(BK=1 << 9, BP=1 << 11),
        "sm_80": dict(BK=1, BP=1024, LEAST=1024, num_warps=4),
    },
    # Rows (batch and pixels) x channels. There are PROGRAMS of them, each of which folds the partial sums of its
    # channels: where that is much, it takes fewer, down to NARROW. Loads are STAGES iterations ahead.
    "norm": {
        "interpret": dict(BM=1 << 11, BC=1 << 9, NARROW=1 << 9, FOLD=1 << 18, PROGRAMS=1, STAGES=1),
        "sm_80": dict(BM=16, BC=256, NARROW=32, FOLD=2048, PROGRAMS=256, STAGES=4, LEAST=4096, num_warps=8),
        "sm_80 float32": dict(BM=8, BC=256, NARROW=32, FOLD=2048, PROGRAMS=256, STAGES=4, LEAST=2048, num_warps=8),
    },
    # Rows x channels, a tile a program.
    "columns": {
        "interpret": dict(BM=1 << 11, BC=1 << 9),
        "sm_80": dict(BM=32, BC=64, num_warps=4),
    },
    # As "norm", of which each program leaves sums of its own: so PROGRAMS * BC bounds how many.
    "norm_sums": {
        "interpret": dict(BM=1 << 11, BC=1 << 9, PROGRAMS=1, STAGES=1),
        "sm_80": dict(BM=64, BC=64, PROGRAMS=256, STAGES=4, LEAST=4096, num_warps=8),
        "sm_80 float32": dict(BM=32, BC=64, PROGRAMS=256, STAGES=4, LEAST=2048, num_warps=8),
    },
    # Rows x elements of a row.
    "layernorm": {
        "interpret": dict(BM=1 << 9, BN=1 << 11),
        "sm_80": dict(BM=1, BN=2048, LEAST=1024, num_warps=4),
        # Left alone, ptxas spills a register or two of float64 images to fit one more block.
        "sm_100": dict(BM=1, BN=2048, LEAST=1024, num_warps=4, maxnreg=192),
    },
    # The same of at most FEW rows, longer than SHORT.
    "layernorm_long": {
        "interpret": dict(BM=1 << 9, BN=1 << 11, FEW=1, SHORT=1 << 20),
        "sm_80": dict(BM=1, BN=8192, FEW=128, SHORT=4096, num_warps=16),
    },
    # Keys x the elements of a row each names. Left alone, ptxas spills a register or two to fit one more block.
    "rows": {
        "interpret": dict(KEYS=1 << 9, REST=1 << 9, LEAST=1 << 18),
        "sm_80": dict(KEYS=1, REST=1024, LEAST=1024, num_warps=4, maxnreg=128),
    },
    # Rows x units.
    "recurrent": {
        "interpret": dict(BM=1 << 9, BC=1 << 7),
        "sm_80": dict(BM=4, BC=128, LEAST=256, num_warps=4),
    },
    # Output pixels x channels.
    "pool": {
        "interpret": dict(BP=1 << 11, BC=1 << 9),
        # Left alone, ptxas spills a register of a pooling that applies a norm to fit one more block.
        "sm_80": dict(BP=32, BC=64, num_warps=4, maxnreg=168),
    },
    # As "norm_sums". Pixels look at several windows each: reads enough to go without STAGES, and many registers.
    "pool_norm": {
        "interpret": dict(BM=1 << 11, BC=1 << 9, PROGRAMS=1, STAGES=1),
        "sm_80": dict(BM=32, BC=64, PROGRAMS=256, STAGES=1, LEAST=2048, num_warps=8),
        # Left alone, ptxas spills two registers of channels that 8 does not divide.
        "sm_100": dict(BM=32, BC=64, PROGRAMS=256, STAGES=1, LEAST=2048, num_warps=8, maxnreg=255),
        "sm_100 float32": dict(BM=32, BC=64, PROGRAMS=256, STAGES=1, LEAST=2048, num_warps=8),
    },
    # The most scores a head for which attention is a composition of products and a softmax. Each program of the fused
    # kernels serves one head; the interpreter runs them one after the other, whatever they do in some milliseconds.
    "short_attention": {"interpret": dict(SCORES=1 << 14), "sm_80": dict(SCORES=0)},
    # Queries x keys, by the widest of q, k and v: up to 64 numbers are narrow, more than 128 wide. A mask that is read
    # or drawn, and rows that cannot be copied 16 bytes at a time, need registers ("busy"). SPAN is the least keys of a
    # program where they are split. With 128 registers two programs share a multiprocessor.
    "attention": {
        "interpret": dict(BM=256, BN=256, SPAN=1 << 30),
        "sm_80": dict(BM=128, BN=64, SPAN=512, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=128, SPAN=512, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
    },
    "attention_busy": {
        "interpret": dict(BM=256, BN=256, SPAN=1 << 30),
        "sm_80": dict(BM=128, BN=32, SPAN=512, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=64, SPAN=512, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
    },
    "attention_narrow": {
        "interpret": dict(BM=256, BN=256, SPAN=1 << 30),
        "sm_80": dict(BM=128, BN=64, SPAN=512, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=128, SPAN=512, num_warps=8, num_stages=3),
        "sm_90 float32": dict(BM=32, BN=32, SPAN=512, num_warps=8, num_stages=2),
    },
    "attention_wide": {
        "interpret": dict(BM=256, BN=256, SPAN=1 << 30),
        "sm_80": dict(BM=64, BN=32, SPAN=512, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=16, SPAN=512, num_warps=8, num_stages=2),
    },
    "attention_query_grad": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=128, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=64, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_query_grad_busy": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=128, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_query_grad_narrow": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=128, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=64, num_warps=8, num_stages=2, maxnreg=128),
        "sm_90 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_query_grad_wide": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=64, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=16, BN=16, num_warps=8, num_stages=2),
    },
    "attention_key_grad": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=64, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_90": dict(BM=32, BN=128, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_key_grad_busy": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=64, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_key_grad_narrow": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=128, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_90": dict(BM=64, BN=128, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_key_grad_wide": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=16, BN=16, num_warps=8, num_stages=2),
        "sm_90": dict(BM=16, BN=64, num_warps=8, num_stages=2),
        "sm_90 float32": dict(BM=16, BN=16, num_warps=8, num_stages=2),
    },
    # Rows of any head.
    "attention_parts": {
        "interpret": dict(BM=256),
        "sm_80": dict(BM=8, num_warps=4),
    },
    # Windows or elements x channels. With one channel, more than two windows a thread spill: each has 64-bit places.
    "volume_pool": {
        "interpret": dict(BP=1 << 11, BC=1 << 9, LEAST=1 << 16),
        "sm_80": dict(BP=16, BC=64, LEAST=256, num_warps=4, maxnreg=128),
        "sm_100": dict(BP=16, BC=64, LEAST=256, num_warps=4, maxnreg=208),
    },
    # Rows x classes.
    "softmax": {
        "interpret": dict(BM=1 << 9, BN=1 << 11),
        "sm_80": dict(BM=1, BN=4096, LEAST=1024, num_warps=4),
    },
    # Rows whose losses one program sums.
    "mean_of_rows": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=4096, num_warps=8),
    },
    # Elements of one parameter that one program updates.
    "optim": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=4096, num_warps=8),
    },
}
