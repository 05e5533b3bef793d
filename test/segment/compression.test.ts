import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { compressInto, decompress, IN_PLACE } from '../../src/segment/compression.js'
import { KERNEL_MARGIN_BYTES, kernelBytes, type RunKernel } from '../../src/segment/lz4-kernel.js'
import { Scratch } from '../../src/util/scratch.js'

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly run: RunKernel
}

const SEED = Number(process.env.VARVE_SEED ?? 20260511)
const SIZE_MAX = 70_000
const GUARD_BYTES = 64
const GUARD = 0xa5

/** Memory in the middle of bytes that must stay as they are. */
class GuardedScratch extends Scratch {
  readonly #memory = Buffer.alloc(GUARD_BYTES + SIZE_MAX + GUARD_BYTES, GUARD)
  #taken = 0

  override take(size: number): Buffer {
    this.#taken = size
    return this.#memory.subarray(GUARD_BYTES, GUARD_BYTES + size)
  }

  /** Also makes all of it a guard again. */
  isWrittenOutside(): boolean {
    const end = GUARD_BYTES + this.#taken
    const isWritten =
      this.#memory.subarray(0, GUARD_BYTES).some((byte) => byte !== GUARD) ||
      this.#memory.subarray(end, end + GUARD_BYTES).some((byte) => byte !== GUARD)
    this.#memory.fill(GUARD, 0, end + GUARD_BYTES)
    this.#taken = 0
    return isWritten
  }
}

type Kind = (bytes: Buffer, random: SeededRandom) => void

const noise: Kind = (bytes, random) => random.fill(bytes)

function periodic(period: number): Kind {
  return (bytes, random) => {
    random.fill(bytes.subarray(0, period))
    for (let i = period; i < bytes.length; i++) bytes[i] = bytes[i - period]!
  }
}

const KINDS: Record<string, Kind> = {
  noise,
  runs(bytes, random) {
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + random.below(2 ** random.below(10)))
      bytes.fill(random.below(256), at, end)
      at = end
    }
  },
  text(bytes, random) {
    const words = ['varve ', 'log ', 'position ', 'of a ', 'segment, ', 'batch ', 'and then ']
    for (let at = 0; at < bytes.length; ) at += bytes.write(words[random.below(words.length)]!, at) || 1
  },
  'half noise'(bytes, random) {
    const half = 1 + random.below(600)
    for (let at = 0; at < bytes.length; at += 2 * half) {
      noise(bytes.subarray(at, at + half), random)
      bytes.copyWithin(at + half, at, at + half)
    }
  },
  ...Object.fromEntries(
    Array.from({ length: 20 }, (_, index) => [`period ${index + 1}`, periodic(index + 1)]),
  ),
}

function pack(plain: Buffer): Buffer {
  const into = Buffer.alloc(plain.length + plain.length / 100 + 64)
  return into.subarray(0, compressInto(plain, into, 0, into.length))
}

/** A block by hand, after the size that it claims. */
function claiming(size: number, ...parts: readonly (number | string | readonly number[])[]): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(size)
  return Buffer.concat([
    head,
    ...parts.map((part) => Buffer.from(typeof part === 'number' ? [part] : (part as string))),
  ])
}

/** The format, byte by byte; undefined for what is no block of the size that it claims. */
function unpackSlowly(packed: Buffer): Buffer | undefined {
  if (packed.length < 4) return undefined
  const size = packed.readUInt32LE(0)
  const plain: number[] = []
  let at = 4
  const readLength = (nibble: number) => {
    let length = nibble
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; length += byte) byte = packed[at++] ?? Number.NaN
    return length
  }
  while (at < packed.length) {
    const token = packed[at++]!
    const literals = readLength(token >>> 4)
    if (!(at + literals <= packed.length && plain.length + literals <= size)) return undefined
    for (const byte of packed.subarray(at, at + literals)) plain.push(byte)
    at += literals
    if (at === packed.length) return plain.length === size ? Buffer.from(plain) : undefined
    if (at + 2 > packed.length) return undefined
    const offset = packed.readUInt16LE(at)
    at += 2
    const length = readLength(token & 15) + 4
    if (offset === 0 || offset > plain.length || !(plain.length + length <= size)) return undefined
    for (let i = 0; i < length; i++) plain.push(plain[plain.length - offset]!)
  }
  return undefined
}

function newKernel(): Kernel {
  return new WebAssembly.Instance(new WebAssembly.Module(kernelBytes())).exports as Kernel
}

const scratch = new GuardedScratch()

/** Says what differs from the slow way, or that bytes beside the output were written. */
function differenceOf(packed: Buffer): string | undefined {
  const expected = unpackSlowly(packed)
  const inScratch = decompress(packed, scratch)
  const isSame = expected ? inScratch?.equals(expected) : inScratch === undefined
  if (scratch.isWrittenOutside()) return 'wrote outside'
  return isSame ? undefined : `of ${packed.toString('hex')}`
}

describe(`what was compressed comes back (seed ${SEED})`, () => {
  it.each(Object.keys(KINDS))('%s, of small sizes and some up to 70,000', (name) => {
    const random = new SeededRandom(SEED)
    const small = Array.from({ length: 300 }, (_, size) => size)
    const large = Array.from({ length: 20 }, () => random.below(SIZE_MAX + 1))
    for (const size of [...small, ...large, SIZE_MAX]) {
      const plain = Buffer.alloc(size)
      KINDS[name]!(plain, random)
      const packed = pack(plain)
      const ways = [scratch, undefined, IN_PLACE] as const
      const isSame = ways.every((into) => decompress(packed, into)?.equals(plain))
      if (!isSame || scratch.isWrittenOutside()) expect.fail(`${size} bytes, seed ${SEED}`)
    }
  })

  it('where it was unpacked, until the next one; of many megabytes, whose memory is let go, in memory of its own', () => {
    const plain = Buffer.alloc(4096, 'plain')
    const packed = pack(plain)
    const [first, second] = [decompress(packed, IN_PLACE), decompress(packed, IN_PLACE)]
    expect(first?.buffer).toBe(second?.buffer)
    const large = decompress(pack(Buffer.alloc(20 * 2 ** 20)), IN_PLACE)
    expect(large?.buffer.byteLength).toBe(20 * 2 ** 20)
    expect(decompress(packed, IN_PLACE)?.equals(plain)).toBe(true)
  })

  it('a value of many megabytes, and after it blocks that end anywhere in new memory', () => {
    const plain = Buffer.alloc(20 * 2 ** 20)
    KINDS['half noise']!(plain, new SeededRandom(SEED))
    const packed = pack(plain)
    expect(packed.length).toBeLessThan(0.6 * plain.length)
    expect(decompress(packed)?.equals(plain)).toBe(true)
    for (let size = 32_600; size < 32_760; size++) {
      const filling = plain.subarray(0, size)
      noise(filling, new SeededRandom(SEED))
      expect(decompress(pack(filling))?.equals(filling)).toBe(true)
    }
  })
})

describe('a block made by hand', () => {
  it.each<[string, string, Buffer]>([
    ['nothing', '', claiming(0, 0)],
    ['literals alone', 'abc', claiming(3, 0x30, 'abc')],
    ['15 literals, with 0 more', 'a'.repeat(15), claiming(15, 0xf0, 0, 'a'.repeat(15))],
    ['270 literals, with 255 and 0 more', 'a'.repeat(270), claiming(270, 0xf0, 255, 0, 'a'.repeat(270))],
    ['a match of 4', 'abcdabcdx', claiming(9, 0x40, 'abcd', [4, 0], 0x10, 'x')],
    ['a match of 19, with 0 more', `${'a'.repeat(20)}x`, claiming(21, 0x1f, 'a', [1, 0], 0, 0x10, 'x')],
    ['a match of 274', `${'a'.repeat(275)}x`, claiming(276, 0x1f, 'a', [1, 0], 255, 0, 0x10, 'x')],
    [
      'a match without literals before it',
      'abababababx',
      claiming(11, 0x20, 'ab', [2, 0], 0, [2, 0], 0x10, 'x'),
    ],
    ['a match that ends where the block does', 'aaaaa', claiming(5, 0x10, 'a', [1, 0], 0)],
  ])('holds %s', (_, plain, packed) => {
    expect(decompress(packed)?.toString()).toBe(plain)
    expect(unpackSlowly(packed)?.toString()).toBe(plain)
  })

  it.each<[string, Buffer]>([
    ['is no bytes at all', Buffer.alloc(0)],
    ['ends within the size', Buffer.from([1, 0, 0])],
    ['ends behind the size', claiming(0)],
    ['ends within the literals', claiming(3, 0x30, 'ab')],
    ['ends within the length of the literals', claiming(300, 0xf0, 255)],
    ['ends within the offset', claiming(9, 0x40, 'abcd', 4)],
    ['ends within the length of a match', claiming(300, 0x1f, 'a', [1, 0], 255)],
    ['ends with a match', claiming(8, 0x40, 'abcd', [4, 0])],
    ['has an offset of 0', claiming(9, 0x40, 'abcd', [0, 0], 0x10, 'x')],
    ['has an offset to before the start', claiming(9, 0x40, 'abcd', [5, 0], 0x10, 'x')],
    ['begins with a match', claiming(5, 0x00, [1, 0], 0x10, 'x')],
    ['has more literals than it says', claiming(3, 0x40, 'abcd')],
    ['has a longer match than it says', claiming(7, 0x40, 'abcd', [4, 0], 0)],
    ['has fewer bytes than it says', claiming(10, 0x40, 'abcd', [4, 0], 0x10, 'x')],
    ['says to be larger than LZ4 can pack', claiming(256 * 5, 0x00)],
    ['says to be larger than there is memory', claiming(0xffffffff, 0x00)],
  ])('that %s is damaged', (_, packed) => {
    expect(decompress(packed, scratch)).toBeUndefined()
    expect(scratch.isWrittenOutside()).toBe(false)
  })

  it('that has a length whose sum comes to 14 in 32 bits is damaged', () => {
    const more = Buffer.alloc((2 ** 32 - 1) / 255, 255)
    const packed = Buffer.concat([claiming(14, 0xf0), more, Buffer.alloc(1), Buffer.from('fourteen bytes')])
    expect(decompress(packed)).toBeUndefined()
  })

  it.each<[string, number, Buffer]>([
    ['literals', KERNEL_MARGIN_BYTES, claiming(0, 0xf0, Array(200).fill(255), 0, 'ab')],
    ['the length of literals', 0, claiming(0, 0xf0, Array(20).fill(255))],
    ['a token', KERNEL_MARGIN_BYTES, claiming(0, 0x4f, 'abcd', [4, 0], 255, 0)],
  ])('of which the memory ends within %s is read no further', (_, margin, packed) => {
    const { memory, run } = newKernel()
    const bytes = Buffer.from(memory.buffer).fill(margin === 0 ? 255 : 1)
    const inputEnd = bytes.length - margin
    const input = inputEnd - packed.length
    bytes.set(packed, input)
    expect(run(input + 4, inputEnd, 0, input - KERNEL_MARGIN_BYTES)).toBe(0)
  })
})

describe(`damage to a sound block (seed ${SEED})`, () => {
  const random = new SeededRandom(SEED)
  const sound = Object.entries(KINDS).map(([name, make]): [string, Buffer] => {
    const plain = Buffer.alloc(600)
    make(plain, random)
    return [name, pack(plain)]
  })

  it.each(sound)('%s: cut anywhere, it is told', (_, packed) => {
    for (let size = 0; size < packed.length; size++)
      expect(decompress(packed.subarray(0, size), scratch)).toBeUndefined()
    expect(scratch.isWrittenOutside()).toBe(false)
  })

  it.each(sound)('%s: any bit turned, or some bytes, give what the format says or nothing', (_, packed) => {
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const damaged = Buffer.from(packed)
      damaged[bit >>> 3]! ^= 1 << (bit & 7)
      expect(differenceOf(damaged)).toBeUndefined()
    }
    for (let i = 0; i < 200; i++) {
      const damaged = Buffer.from(packed)
      for (let count = 1 + random.below(4); count > 0; count--)
        damaged[4 + random.below(packed.length - 4)] = random.uint32() >>> 24
      expect(differenceOf(damaged)).toBeUndefined()
    }
  })

  it.each(
    sound,
  )('%s: nothing but the output and its margin is written in the memory of WebAssembly', (_, packed) => {
    const { memory, run } = newKernel()
    const output = packed.length
    const outputEnd = output + packed.readUInt32LE(0)
    const bytes = Buffer.from(memory.buffer).fill(GUARD)
    for (let i = 0; i < 500; i++) {
      const before = Buffer.alloc(output, GUARD)
      packed.copy(before)
      for (let count = random.below(4); count > 0; count--)
        before[4 + random.below(packed.length - 4)] = random.uint32() >>> 24
      bytes.set(before)
      const end = run(4, packed.length, output, outputEnd)
      expect(end === 0 || (end >= output && end <= outputEnd)).toBe(true)
      expect(bytes.subarray(0, output).equals(before)).toBe(true)
    }
    const behind = outputEnd + KERNEL_MARGIN_BYTES
    expect(bytes.subarray(behind).every((byte) => byte === GUARD)).toBe(true)
  })
})
