import { cloneBytes, readU32, writeU32 } from '../util/bytes.js'
import type { Scratch } from '../util/scratch.js'
import { KERNEL_MARGIN_BYTES, kernelBytes, type RunKernel } from './lz4-kernel.js'
import { PACKER_MARGIN_BYTES, packerBytes, type RunPacker, TABLE_BYTES } from './lz4-packer.js'

/**
 * LZ4 as the `lz4-wasm` package writes and reads it: the plain size as u32, then one LZ4 block. The kernels that pack
 * and unpack are our own: the package's take two to three times as long, and needed a file of WebAssembly beside ours.
 */
interface Kernel<Run> {
  readonly memory: WasmMemory
  readonly run: Run
}

interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/** What is used of the global; the compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

const SIZE_BYTES = 4
const PAGE_BYTES = 64 * 2 ** 10
/** WebAssembly memory never shrinks: an instance that a large block made grow is dropped after use. */
const INSTANCE_BYTES_MAX = 8 * 2 ** 20
/** An LZ4 block gains at most 255:1; anything above is damage. */
const RATIO_MAX = 255
const PLAIN_BYTES_MAX = 2 ** 30

/** A kernel and its memory, which grows as it is needed. */
class KernelSlot<Run> {
  readonly #bytesOf: () => Uint8Array
  #module: object | undefined
  #kernel: Kernel<Run> | undefined
  memory = new Uint8Array(0)

  constructor(bytesOf: () => Uint8Array) {
    this.#bytesOf = bytesOf
  }

  /** Undefined: there is not as much memory. */
  use(memoryBytes: number): Run | undefined {
    this.#module ??= new WebAssembly.Module(this.#bytesOf())
    this.#kernel ??= new WebAssembly.Instance(this.#module).exports as Kernel<Run>
    const { memory, run } = this.#kernel
    if (this.memory.length < memoryBytes) {
      const missing = memoryBytes - memory.buffer.byteLength
      try {
        if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES))
      } catch (error) {
        if (error instanceof RangeError) return undefined
        throw error
      }
      this.memory = new Uint8Array(memory.buffer)
    }
    return run
  }

  /** After a use: what was borrowed of the memory is copied. */
  release(): void {
    if (this.memory.length <= INSTANCE_BYTES_MAX) return
    this.#kernel = undefined
    this.memory = new Uint8Array(0)
  }
}

const packer = new KernelSlot<RunPacker>(packerBytes)
const unpacker = new KernelSlot<RunKernel>(kernelBytes)

// Hot: every block of every flush and compaction (bench/write.bench.js).
/** Compresses `bytes` to `at` of `into` if that takes at most `sizeMax` bytes; returns the size, or -1. */
export function compressInto(bytes: Uint8Array, into: Uint8Array, at: number, sizeMax: number): number {
  const input = TABLE_BYTES
  const inputEnd = input + bytes.length
  const output = inputEnd + PACKER_MARGIN_BYTES
  const outputEnd = output + sizeMax - SIZE_BYTES
  const run = packer.use(outputEnd + PACKER_MARGIN_BYTES)
  if (!run || sizeMax < SIZE_BYTES) return -1
  const { memory } = packer
  memory.set(bytes, input)
  const end = run(input, inputEnd, output, outputEnd) >>> 0
  if (end !== 0) {
    writeU32(into, at, bytes.length)
    into.set(memory.subarray(output, end), at + SIZE_BYTES)
  }
  packer.release()
  return end === 0 ? -1 : end - output + SIZE_BYTES
}

// Hot: every block that no cache has (bench/limits.js).
/**
 * The plain bytes, in memory of their own or in `scratch`; undefined if `bytes` are not what `compressInto` made, or
 * say to be larger than there is memory.
 */
export function decompress(bytes: Uint8Array, scratch?: Scratch): Buffer | undefined {
  if (bytes.length < SIZE_BYTES) return undefined
  const plainBytes = readU32(bytes, 0)
  if (plainBytes > PLAIN_BYTES_MAX || plainBytes > bytes.length * RATIO_MAX) return undefined
  const output = bytes.length
  const outputEnd = output + plainBytes
  const run = unpacker.use(outputEnd + KERNEL_MARGIN_BYTES)
  if (!run) return undefined
  const { memory } = unpacker
  memory.set(bytes)
  const end = run(SIZE_BYTES, bytes.length, output, outputEnd) >>> 0
  unpacker.release()
  if (end !== outputEnd) return undefined
  if (!scratch) return cloneBytes(memory, output, outputEnd)
  const plain = scratch.take(plainBytes)
  plain.set(memory.subarray(output, outputEnd))
  return plain
}
