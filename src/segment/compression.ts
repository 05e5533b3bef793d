import { readPackageFile } from '../env/package-file.js'
import { BufferCutter } from '../util/buffer-cutter.js'
import { cloneBytes, readU32 } from '../util/bytes.js'
import type { Scratch } from '../util/scratch.js'
import { KERNEL_MARGIN_BYTES, kernelBytes, type RunKernel } from './lz4-kernel.js'

/**
 * LZ4 as the `lz4-wasm` package writes it: the plain size as u32, then one LZ4 block. The package's own glue needs
 * WebAssembly modules as ES imports, which Node 20 lacks, and copies twice; its raw exports work everywhere. What
 * unpacks is a kernel of our own, 2.5 to 3.5 times as fast as the package's.
 */
interface Packer {
  readonly memory: WasmMemory
  compress(result: number, input: number, length: number): void
  __wbindgen_add_to_stack_pointer(delta: number): number
  __wbindgen_malloc(length: number): number
  __wbindgen_free(at: number, length: number): void
}

interface Unpacker {
  readonly memory: WasmMemory
  readonly run: RunKernel
}

interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/** What is used of the global; the compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown }
}

const SIZE_BYTES = 4
const PAGE_BYTES = 64 * 2 ** 10
/** WebAssembly memory never shrinks: an instance that a large block made grow is dropped after use. */
const INSTANCE_BYTES_MAX = 8 * 2 ** 20
/** An LZ4 block gains at most 255:1; anything above is damage. */
const RATIO_MAX = 255
const PLAIN_BYTES_MAX = 2 ** 30

let packerModule: object | undefined
let packer: Packer | undefined
let packerMemory = new Uint8Array(0)
let packerWords = new Int32Array(0)
let unpackerModule: object | undefined
let unpacker: Unpacker | undefined
let unpackerMemory = new Uint8Array(0)
const unpacked = new BufferCutter()

/** Plain bytes stay where the kernel put them until the next call, whoever's it is: for whoever copies what it needs. */
export const IN_PLACE = 'in place'
export type PlainMemory = Scratch | typeof IN_PLACE

/** So that what is missing is told when a store is opened, not when its first memtable is flushed. */
export function loadCompression(): void {
  packerModule ??= new WebAssembly.Module(readPackageFile('lz4-wasm/lz4_wasm_bg.wasm'))
  unpackerModule ??= new WebAssembly.Module(kernelBytes())
}

/**
 * Compresses `bytes` to `at` of `into` if that takes at most `sizeMax` bytes; returns the size, or -1.
 * Straight out of the module's memory: a copy in between would cost as much as compressing.
 */
export function compressInto(bytes: Uint8Array, into: Uint8Array, at: number, sizeMax: number): number {
  const exports = usePacker()
  try {
    const result = exports.__wbindgen_add_to_stack_pointer(-16)
    const input = exports.__wbindgen_malloc(bytes.length)
    viewPacker(exports)
    packerMemory.set(bytes, input)
    exports.compress(result, input, bytes.length)
    viewPacker(exports)
    const output = packerWords[result >>> 2]!
    const size = packerWords[(result >>> 2) + 1]!
    if (size <= sizeMax) into.set(packerMemory.subarray(output, output + size), at)
    exports.__wbindgen_free(output, size)
    exports.__wbindgen_add_to_stack_pointer(16)
    if (packerMemory.length > INSTANCE_BYTES_MAX) dropPacker()
    return size <= sizeMax ? size : -1
  } catch (error) {
    // A trap leaves the instance in an unknown state.
    dropPacker()
    throw error
  }
}

function usePacker(): Packer {
  loadCompression()
  packer ??= new WebAssembly.Instance(packerModule!, {
    './lz4_wasm_bg.js': { __wbindgen_string_new: () => 0 },
  }).exports as Packer
  return packer
}

function viewPacker({ memory }: Packer): void {
  // Memory that has grown leaves its views without any bytes.
  if (packerMemory.length > 0) return
  packerMemory = new Uint8Array(memory.buffer)
  packerWords = new Int32Array(memory.buffer)
}

function dropPacker(): void {
  packer = undefined
  packerMemory = new Uint8Array(0)
}

// Hot: every block that no cache has (bench/limits.js).
/**
 * The plain bytes, in memory of their own or as `into` says; undefined if `bytes` are not what `compressInto` made, or
 * say to be larger than there is memory.
 */
export function decompress(bytes: Uint8Array, into?: PlainMemory): Buffer | undefined {
  if (bytes.length < SIZE_BYTES) return undefined
  const plainBytes = readU32(bytes, 0)
  if (plainBytes > PLAIN_BYTES_MAX || plainBytes > bytes.length * RATIO_MAX) return undefined
  const output = bytes.length
  const outputEnd = output + plainBytes
  const exports = useUnpacker(outputEnd + KERNEL_MARGIN_BYTES)
  if (!exports) return undefined
  const memory = unpackerMemory
  memory.set(bytes)
  const end = exports.run(SIZE_BYTES, bytes.length, output, outputEnd) >>> 0
  if (memory.length > INSTANCE_BYTES_MAX) dropUnpacker()
  if (end !== outputEnd) return undefined
  // Memory that was let go must not be kept by a view of it.
  if (!into || (into === IN_PLACE && memory.length > INSTANCE_BYTES_MAX))
    return cloneBytes(memory, output, outputEnd)
  if (into === IN_PLACE) return unpacked.view(memory, output, outputEnd)
  const plain = into.take(plainBytes)
  plain.set(memory.subarray(output, outputEnd))
  return plain
}

/** Undefined: there is not as much memory. */
function useUnpacker(memoryBytes: number): Unpacker | undefined {
  loadCompression()
  unpacker ??= new WebAssembly.Instance(unpackerModule!, {}).exports as Unpacker
  const { memory } = unpacker
  if (unpackerMemory.length < memoryBytes) {
    const missing = memoryBytes - memory.buffer.byteLength
    try {
      if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES))
    } catch (error) {
      if (error instanceof RangeError) return undefined
      throw error
    }
    unpackerMemory = new Uint8Array(memory.buffer)
  }
  return unpacker
}

function dropUnpacker(): void {
  unpacker = undefined
  unpackerMemory = new Uint8Array(0)
}
