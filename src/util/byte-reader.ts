import { corruption } from '../errors.js'
import { cloneBytes, readU32, readU64 } from './bytes.js'

/** Reads what `ByteWriter` wrote. Every length is checked before it is used; what does not fit is corruption. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #file: string
  readonly #fileOffset: number
  #at = 0

  constructor(bytes: Uint8Array, file: string, fileOffset = 0) {
    this.#bytes = bytes
    this.#file = file
    this.#fileOffset = fileOffset
  }

  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!
  }

  u32(): number {
    return readU32(this.#bytes, this.#take(4))
  }

  u64(): number {
    const value = readU64(this.#bytes, this.#take(8))
    if (!Number.isSafeInteger(value)) throw this.fail('a number beyond 2^53')
    return value
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
      scale *= 128
    }
    throw this.fail('a number beyond 2^53')
  }

  bytes(lengthMax = 0xffff_ffff): Buffer {
    const length = this.varint()
    if (length > lengthMax) throw this.fail(`a length of ${length}`)
    const at = this.#take(length)
    return cloneBytes(this.#bytes, at, at + length)
  }

  /** So many bytes, without a length before them. */
  raw(length: number): Buffer {
    const at = this.#take(length)
    return cloneBytes(this.#bytes, at, at + length)
  }

  text(): string {
    return this.bytes(65_536).toString()
  }

  fail(what: string): Error {
    return corruption(this.#file, this.#fileOffset + this.#at, what)
  }

  #take(size: number): number {
    if (size > this.remaining) throw this.fail('ends in the middle of a field')
    const at = this.#at
    this.#at += size
    return at
  }
}
