import { readPackageFile } from '../env/package-file.js'
import { cloneBytes, readU32 } from '../util/bytes.js'
import type { Scratch } from '../util/scratch.js'

/**
 * LZ4 by the `lz4-wasm` package. Its own glue needs WebAssembly modules as ES imports, which Node 20 lacks, and
 * copies twice; its raw exports work everywhere. Its format: the plain size as u32, then one LZ4 block.
 */
interface Lz4Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  compress(result: number, input: number, length: number): void
  decompress(result: number, input: number, length: number): void
  __wbindgen_add_to_stack_pointer(delta: number): number
  __wbindgen_malloc(length: number): number
  __wbindgen_free(at: number, length: number): void
}

/** What is used of the global; the compiler's libraries for Node leave it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown }
  readonly RuntimeError: new () => Error
}

/** WebAssembly memory never shrinks: an instance that a large block made grow is dropped after use. */
const INSTANCE_BYTES_MAX = 8 * 2 ** 20
/** An LZ4 block gains at most 255:1; anything above is damage. */
const RATIO_MAX = 255
const PLAIN_BYTES_MAX = 2 ** 30

let module: object | undefined
let instance: Lz4Exports | undefined

/** So that what is missing is told when a store is opened, not when its first memtable is flushed. */
export function loadCompression(): void {
  module ??= new WebAssembly.Module(readPackageFile('lz4-wasm/lz4_wasm_bg.wasm'))
}

function lz4(): Lz4Exports {
  loadCompression()
  instance ??= new WebAssembly.Instance(module!, {
    './lz4_wasm_bg.js': { __wbindgen_string_new: () => 0 },
  }).exports as Lz4Exports
  return instance
}

/**
 * Compresses `bytes` to `at` of `into` if that takes at most `sizeMax` bytes; returns the size, or -1.
 * Straight out of the module's memory: a copy in between would cost as much as compressing.
 */
export function compressInto(bytes: Uint8Array, into: Uint8Array, at: number, sizeMax: number): number {
  return call('compress', bytes, (output) => {
    if (output.length > sizeMax) return -1
    into.set(output, at)
    return output.length
  })!
}

/** The plain bytes, in memory of their own or in `scratch`; undefined if `bytes` are not what `compress` made. */
export function decompress(bytes: Uint8Array, scratch?: Scratch): Buffer | undefined {
  if (bytes.length < 4) return undefined
  const plainBytes = readU32(bytes, 0)
  if (plainBytes > PLAIN_BYTES_MAX || plainBytes > bytes.length * RATIO_MAX) return undefined
  const plain = call('decompress', bytes, (output) => {
    if (!scratch) return cloneBytes(output)
    const copy = scratch.take(output.length)
    copy.set(output)
    return copy
  })
  return plain?.length === plainBytes ? plain : undefined
}

/** @param take is shown the output while it is in the module's memory. */
function call<T>(
  operation: 'compress' | 'decompress',
  bytes: Uint8Array,
  take: (output: Uint8Array) => T,
): T | undefined {
  const exports = lz4()
  try {
    const result = exports.__wbindgen_add_to_stack_pointer(-16)
    const input = exports.__wbindgen_malloc(bytes.length)
    memoryOf(exports).bytes.set(bytes, input)
    exports[operation](result, input, bytes.length)
    const memory = memoryOf(exports)
    const word = result >>> 2
    const at = memory.words[word]!
    const length = memory.words[word + 1]!
    const isFailed = operation === 'decompress' && memory.words[word + 3] !== 0
    const output = isFailed ? undefined : take(memory.bytes.subarray(at, at + length))
    if (!isFailed) exports.__wbindgen_free(at, length)
    exports.__wbindgen_add_to_stack_pointer(16)
    if (memory.bytes.length > INSTANCE_BYTES_MAX) dropInstance()
    return output
  } catch (error) {
    // A trap leaves the instance in an unknown state; damaged input makes it trap.
    dropInstance()
    if (operation === 'decompress' && error instanceof WebAssembly.RuntimeError) return undefined
    throw error
  }
}

/** What is seen of the module's memory. */
interface MemoryViews {
  readonly bytes: Uint8Array
  readonly words: Int32Array
}

let views: MemoryViews | undefined

function memoryOf(exports: Lz4Exports): MemoryViews {
  // Memory that has grown leaves its views without any bytes.
  if (views === undefined || views.bytes.length === 0) {
    const { buffer } = exports.memory
    views = { bytes: new Uint8Array(buffer), words: new Int32Array(buffer) }
  }
  return views
}

function dropInstance(): void {
  instance = undefined
  views = undefined
}
