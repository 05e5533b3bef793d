import type { Bytes } from './bytes.js'

const C1 = 0x239b_961b
const C2 = 0xab0e_9789
const C3 = 0x38b3_4ae5
const C4 = 0xa1e3_8b93

/**
 * 128 bits as four words, to which bytes are mixed in order: two sequences that differ by accident end in the same
 * state once in 2^128. Not against somebody who looks for such a pair. Part of what stores tell one another: a
 * change is a new version of `Digest`.
 * Source: Appleby, MurmurHash3 x86_128 (public domain); differs in that the state goes on instead of being finished.
 */
export class Hash128 {
  a = 0
  b = 0
  c = 0
  d = 0

  set(a: number, b: number, c: number, d: number): void {
    this.a = a | 0
    this.b = b | 0
    this.c = c | 0
    this.d = d | 0
  }

  // Hot: once an entry (bench/feed.bench.js).
  mix(bytes: Bytes, start: number, end: number): void {
    let { a, b, c, d } = this
    let at = start
    for (const last = end - 15; at < last; at += 16) {
      a = step(a ^ scramble(wordAt(bytes, at), C1, C2, 15), b, 19, 0x561c_cd1b)
      b = step(b ^ scramble(wordAt(bytes, at + 4), C2, C3, 16), c, 17, 0x0bca_a747)
      c = step(c ^ scramble(wordAt(bytes, at + 8), C3, C4, 17), d, 15, 0x96cd_1c35)
      d = step(d ^ scramble(wordAt(bytes, at + 12), C4, C1, 18), a, 13, 0x32ac_3b17)
    }
    if (at < end) {
      a ^= scramble(partAt(bytes, at, end), C1, C2, 15)
      b ^= scramble(partAt(bytes, at + 4, end), C2, C3, 16)
      c ^= scramble(partAt(bytes, at + 8, end), C3, C4, 17)
      d ^= scramble(partAt(bytes, at + 12, end), C4, C1, 18)
    }
    const length = end - start
    this.#finish(a ^ length, b ^ length, c ^ length, d ^ length)
  }

  toString(): string {
    return [this.a, this.b, this.c, this.d].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  #finish(first: number, second: number, third: number, fourth: number): void {
    let a = (first + second + third + fourth) | 0
    let b = (second + a) | 0
    let c = (third + a) | 0
    let d = (fourth + a) | 0
    a = finish(a)
    b = finish(b)
    c = finish(c)
    d = finish(d)
    a = (a + b + c + d) | 0
    this.set(a, b + a, c + a, d + a)
  }
}

function scramble(word: number, first: number, second: number, shift: number): number {
  const mixed = Math.imul(word, first)
  return Math.imul((mixed << shift) | (mixed >>> (32 - shift)), second)
}

function step(word: number, neighbour: number, shift: number, constant: number): number {
  return (Math.imul(((word << shift) | (word >>> (32 - shift))) + neighbour, 5) + constant) | 0
}

function wordAt(bytes: Bytes, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

function partAt(bytes: Bytes, from: number, end: number): number {
  let word = 0
  for (let at = from, shift = 0; at < end && shift < 32; at++, shift += 8) word |= bytes[at]! << shift
  return word
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85eb_ca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2_ae35)
  return h ^ (h >>> 16)
}
