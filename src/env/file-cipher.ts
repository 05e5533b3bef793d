/**
 * Encryption at rest. Every piece of a file that holds bytes of keys or values (a frame of a log, a section of a
 * segment, a record of a manifest) is encrypted by itself, so that it can be read by itself:
 *
 *   piece := random:12 | keyCheck:4 | tag:16 | ciphertext
 *
 * AES-256-GCM. A file's key is HKDF-SHA-256 of the store's key, with the 12 random bytes, which are drawn anew for
 * each file that is written and stand in each of its pieces, so that no damage elsewhere in the file makes a piece
 * unreadable; its info is what file it is. The nonce is the piece's offset in the file: files are only ever appended
 * to, by the one who created them, so no offset of a file is encrypted twice, which is asserted. A file that a crash
 * cut short is never gone on with, and one of the same number has another key. `keyCheck` is an HKDF of the same
 * random bytes, and tells another key from damage. A piece moved to another offset, or file, does not decrypt.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { corruption, VarveError } from '../errors.js'
import { assert } from '../util/assert.js'
import { type Bytes, compareRanges, writeU64 } from '../util/bytes.js'

const ALGORITHM = 'aes-256-gcm'
export const MASTER_KEY_BYTES = 32
const RANDOM_BYTES = 12
const CHECK_BYTES = 4
/** What every piece of a file starts with. */
export const SALT_BYTES = RANDOM_BYTES + CHECK_BYTES
const TAG_BYTES = 16
const NONCE_BYTES = 12
/** What encryption adds to a piece, before its bytes. */
export const CIPHER_HEADER_BYTES = SALT_BYTES + TAG_BYTES
/** At once: the library gives each piece of ciphertext in memory of its own. */
const UPDATE_BYTES = 512 * 1024

/** Segments get other numbers in copies; logs and manifests have theirs in their key. */
export type EncryptedKind = 'log' | 'segment' | 'blob' | 'manifest' | 'backup'

/** Holds a store's key, and nothing gives it out. Makes what encrypts and decrypts single files. */
export class Vault {
  readonly #master: KeyObject
  readonly #fill: (bytes: Uint8Array) => void

  /** @param key copied. @param fill gives random bytes. */
  constructor(key: Uint8Array | KeyObject, fill: (bytes: Uint8Array) => void) {
    this.#master = key instanceof Uint8Array ? createSecretKey(key) : key
    this.#fill = fill
  }

  /** For a file that is created now. */
  encryptor(kind: EncryptedKind, number = 0): FileEncryptor {
    const random = Buffer.alloc(RANDOM_BYTES)
    this.#fill(random)
    const salt = Buffer.concat([random, this.#derive(random, 'varve key check', CHECK_BYTES)])
    return new FileEncryptor(salt, this.#fileKey(random, kind, number))
  }

  /**
   * For a file that is written once more as it was, of which `salt` starts each piece: the same bytes come out, so that
   * no nonce gets a second meaning, and checksums that other files hold of it stay right.
   */
  encryptorAgain(kind: EncryptedKind, number: number, salt: Bytes): FileEncryptor {
    const own = Buffer.from(salt)
    return new FileEncryptor(own, this.#fileKey(own.subarray(0, RANDOM_BYTES), kind, number))
  }

  /** For a file that is there. */
  decryptor(kind: EncryptedKind, number = 0): FileDecryptor {
    return new FileDecryptor((salt) => {
      const random = salt.subarray(0, RANDOM_BYTES)
      const check = this.#derive(random, 'varve key check', CHECK_BYTES)
      return check.compare(salt, RANDOM_BYTES) === 0 ? this.#fileKey(random, kind, number) : undefined
    })
  }

  #fileKey(random: Bytes, kind: EncryptedKind, number: number): KeyObject {
    return createSecretKey(this.#derive(random, `varve ${kind} ${number}`, MASTER_KEY_BYTES))
  }

  #derive(random: Bytes, info: string, sizeBytes: number): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#master, random, info, sizeBytes))
  }
}

/** Encrypts the pieces of one new file, in the order of their offsets. */
export class FileEncryptor {
  readonly #salt: Buffer
  readonly #key: KeyObject
  /** No offset below is encrypted any more: a nonce is used once. */
  #nextOffset = 0

  constructor(salt: Buffer, key: KeyObject) {
    this.#salt = salt
    this.#key = key
  }

  /**
   * Encrypts [start, end) of `bytes` as a piece at `at` of `into`, which may be the same memory where `start` is
   * `CIPHER_HEADER_BYTES` after `at`; returns the piece's end. `header` is not encrypted, but cannot be changed either.
   */
  encrypt(
    bytes: Bytes,
    start: number,
    end: number,
    header: Bytes,
    offset: number,
    into: Bytes,
    at: number,
  ): number {
    assert(offset >= this.#nextOffset, 'an offset of a file is encrypted once')
    this.#nextOffset = offset + 1
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(offset))
    cipher.setAAD(header)
    let to = at + CIPHER_HEADER_BYTES
    for (let from = start; from < end; from += UPDATE_BYTES) {
      const piece = cipher.update(bytes.subarray(from, Math.min(end, from + UPDATE_BYTES)))
      into.set(piece, to)
      to += piece.length
    }
    cipher.final()
    into.set(this.#salt, at)
    into.set(cipher.getAuthTag(), at + SALT_BYTES)
    return to
  }
}

/** Decrypts the pieces of one file, in any order. */
export class FileDecryptor {
  readonly #keyOf: (salt: Bytes) => KeyObject | undefined
  #salt: Buffer | undefined
  #key: KeyObject | undefined

  /** @param keyOf undefined if the salt belongs to another key. */
  constructor(keyOf: (salt: Bytes) => KeyObject | undefined) {
    this.#keyOf = keyOf
  }

  /**
   * Decrypts the piece [start, end) of `bytes`, which stands at `offset` of the file, to `at` of `into`; in steps of
   * well under a millisecond. In place where that is where the ciphertext is. After an error `into` holds nothing of use.
   * @throws VarveError `VARVE_KEY`, `VARVE_CORRUPTION`.
   */
  *decrypt(
    bytes: Bytes,
    start: number,
    end: number,
    header: Bytes,
    file: string,
    offset: number,
    into: Bytes,
    at: number,
  ): Generator<void, void> {
    const plainStart = start + CIPHER_HEADER_BYTES
    if (plainStart > end) throw corruption(file, offset, 'encrypted bytes without a whole header')
    const key = this.#findKey(bytes, start, file, offset)
    const decipher = createDecipheriv(ALGORITHM, key, nonceOf(offset), { authTagLength: TAG_BYTES })
    decipher.setAAD(header)
    decipher.setAuthTag(Buffer.from(bytes.subarray(plainStart - TAG_BYTES, plainStart)))
    for (let from = plainStart; from < end; from += UPDATE_BYTES) {
      if (from > plainStart) yield
      const piece = decipher.update(bytes.subarray(from, Math.min(end, from + UPDATE_BYTES)))
      into.set(piece, at + from - plainStart)
    }
    try {
      decipher.final()
    } catch (cause) {
      throw corruption(file, offset, 'encrypted bytes that are not what was written here', cause)
    }
  }

  #findKey(bytes: Bytes, at: number, file: string, offset: number): KeyObject {
    if (this.#key && this.#salt) {
      const isSame = compareRanges(this.#salt, 0, SALT_BYTES, bytes, at, at + SALT_BYTES) === 0
      if (!isSame) throw corruption(file, offset, 'encrypted bytes of another file')
      return this.#key
    }
    const salt = Buffer.from(bytes.subarray(at, at + SALT_BYTES))
    const key = this.#keyOf(salt)
    if (!key) throw keyError(file, 'was encrypted with another key', offset)
    this.#salt = salt
    this.#key = key
    return key
  }
}

/**
 * What decrypts a file that says of itself whether it is encrypted; undefined: its bytes are plain, as they should be.
 * @throws VarveError `VARVE_KEY` where there is a key for a plain file, or none for an encrypted one.
 */
export function decryptorFor(
  vault: Vault | undefined,
  isEncrypted: boolean | undefined,
  kind: EncryptedKind,
  number: number,
  file: string,
): FileDecryptor | undefined {
  if (isEncrypted && !vault) throw keyError(file, 'is encrypted: it takes the key it was written with')
  if (!isEncrypted && vault) throw keyError(file, 'is not encrypted: it is opened without a key')
  return vault?.decryptor(kind, number)
}

export function keyError(file: string, what: string, offset?: number): VarveError {
  return new VarveError('VARVE_KEY', `${file} ${what}`, { file, ...(offset === undefined ? {} : { offset }) })
}

function nonceOf(offset: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  writeU64(nonce, NONCE_BYTES - 8, offset)
  return nonce
}
