import { describe, expect, it } from 'vitest'
import { COPY_MARGIN_BYTES, WordCopy } from '../../src/util/word-copy.js'

const GUARD = 0xa5

function counted(memory: ArrayBufferLike, from = 0, length = memory.byteLength - from): Buffer {
  const bytes = Buffer.from(memory as ArrayBuffer, from, length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + 3) & 255
  return bytes
}

/** What is wrong with a copy of [start, end) to `at`; undefined: nothing. */
function faultOf(copier: WordCopy, from: Buffer, start: number, end: number, at: number): string | undefined {
  const into = Buffer.from(new ArrayBuffer(at + (end - start) + COPY_MARGIN_BYTES + 9)).fill(GUARD)
  const words = new Int32Array(into.buffer, 0, Math.floor(into.buffer.byteLength / 4))
  copier.copy(from, start, end, into, words, at)
  const copyEnd = at + end - start
  const isKept =
    into.subarray(0, at).every((byte) => byte === GUARD) &&
    into.subarray(copyEnd + COPY_MARGIN_BYTES).every((byte) => byte === GUARD)
  if (!isKept) return `${start} to ${end} at ${at}: wrote beside the copy`
  return into.subarray(at, copyEnd).equals(from.subarray(start, end))
    ? undefined
    : `${start} to ${end} at ${at}`
}

describe('a copy by words', () => {
  it.each([
    ['memory of its own', counted(new ArrayBuffer(700))],
    ['shared memory', counted(new SharedArrayBuffer(700))],
    ['memory that ends within a word', counted(new ArrayBuffer(701))],
    ['a part of memory', counted(new ArrayBuffer(720), 5, 700)],
  ])('out of %s is exact, wherever it starts, ends and goes', (_, from) => {
    const copier = new WordCopy()
    for (let length = 0; length < 48; length++)
      for (let start = 0; start < 9; start++)
        for (let at = 0; at < 5; at++)
          expect(faultOf(copier, from, start, start + length, at)).toBeUndefined()
    for (const length of [100, 511, 512, 513, 690])
      for (const start of [0, 1, 2, 3, from.length - length])
        for (let at = 0; at < 4; at++)
          expect(faultOf(copier, from, start, start + length, at)).toBeUndefined()
  })

  it('is of the memory that it is asked for, whichever the one before was of', () => {
    const copier = new WordCopy()
    const one = counted(new ArrayBuffer(100))
    const other = Buffer.from(new ArrayBuffer(300), 13).fill(1)
    for (const from of [one, other, one, one, other, other, other, one, other])
      expect(faultOf(copier, from, 21, 71, 2)).toBeUndefined()
  })
})
