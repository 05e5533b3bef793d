import { expect, it } from 'vitest'
import { copyBytes } from '../../src/util/bytes.js'

const memories: Readonly<Record<string, (size: number) => Uint8Array>> = {
  plain: (size) => Buffer.alloc(size),
  shared: (size) => Buffer.from(new SharedArrayBuffer(size)),
  'without the methods of a Buffer': (size) => new Uint8Array(size),
}

it.each([
  ...Object.keys(memories),
])('copies what it is told and no more, however both sides stand: %s', (kind) => {
  for (const [other, make] of Object.entries(memories)) {
    for (const length of [0, 3, 48, 49, 511, 512, 1000, 5000]) {
      for (const [start, at] of [
        [0, 0],
        [0, 3],
        [5, 5],
        [5, 4],
        [1, 9],
      ] as const) {
        const from = memories[kind]!(start + length + 2).map((_, i) => (i * 7 + 1) & 255)
        const source = make(from.length)
        source.set(from)
        const into = memories[kind]!(at + length + 3).fill(9)
        copyBytes(source, start, start + length, into, at)
        const expected = new Uint8Array(into.length).fill(9)
        for (let i = 0; i < length; i++) expected[at + i] = from[start + i]!
        expect(Buffer.compare(into, expected), `${other}, ${length} bytes from ${start} to ${at}`).toBe(0)
      }
    }
  }
})
