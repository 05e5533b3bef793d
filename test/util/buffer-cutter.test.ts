import { expect, it } from 'vitest'
import { BufferCutter, pooledCopy } from '../../src/util/buffer-cutter.js'

const SIZES = [0, 1, 7, 8, 16, 47, 48, 49, 100, 1000, 4095, 4096, 4097, 8192, 20_000]

it.each([
  ['memory of its own', (size: number) => Buffer.alloc(size)],
  ['shared memory', (size: number) => Buffer.from(new SharedArrayBuffer(size))],
  ['a part of other memory', (size: number) => Buffer.alloc(size + 100).subarray(50, 50 + size)],
])('copies out of %s are whole, apart from each other and from where they come', (_, make) => {
  const source = make(40_000)
  source.forEach((_, i) => {
    source[i] = (i * 31 + (i >>> 8)) & 255
  })
  const copies = Array.from({ length: 300 }, (_, i) => {
    const size = SIZES[i % SIZES.length]!
    const start = (i * 97) % (source.length - size)
    const wanted = Buffer.from(source.subarray(start, start + size))
    return { copy: pooledCopy(source, start, start + size), wanted }
  })
  source.fill(0)
  for (const { copy, wanted } of copies) {
    expect(Buffer.isBuffer(copy)).toBe(true)
    expect(copy.equals(wanted)).toBe(true)
    copy.fill(255)
    wanted.fill(255)
  }
  for (const { copy, wanted } of copies) expect(copy.equals(wanted)).toBe(true)
})

it('views are the memory itself, of whichever bytes come in turn', () => {
  const cutter = new BufferCutter()
  const sources = [Buffer.from('first memory'), Buffer.alloc(100, 7).subarray(20, 60)]
  for (const source of [...sources, ...sources]) {
    const view = cutter.view(source, 2, 9)
    expect(view.equals(source.subarray(2, 9))).toBe(true)
    source[3] = source[3]! ^ 1
    expect(view[1]).toBe(source[3])
  }
})
