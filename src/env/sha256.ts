import { createHash, createHmac, type Hash, timingSafeEqual } from 'node:crypto'

export const SHA256_BYTES = 32

/** SHA-256 of bytes that come in pieces. */
export class Sha256 {
  readonly #hash: Hash = createHash('sha256')

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes)
    return this
  }

  /** Once, at the end. */
  digest(): Buffer {
    return this.#hash.digest()
  }
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest()
}

/** Takes the same time wherever they differ. */
export function isSameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
