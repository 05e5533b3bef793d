import type { Env, File } from '../env/env.js'
import { decryptorFor, type FileEncryptor, type Vault } from '../env/file-cipher.js'
import {
  CURRENT_NAME,
  CURRENT_TEMPORARY_NAME,
  joinPath,
  manifestFileName,
  parseFileName,
} from '../env/file-names.js'
import { readFully, writeFully } from '../env/write-fully.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { ByteReader } from '../util/byte-reader.js'
import type { Bytes } from '../util/bytes.js'
import { findEditFault } from './edit-fault.js'
import { decodeEdit, encodeEdit } from './edit-format.js'
import {
  decodeCurrent,
  decodeManifestHeader,
  decryptEdit,
  encodeCurrent,
  encodeManifestHeader,
  encodeRecord,
  encryptRecord,
  isEncryptedManifest,
  MANIFEST_HEADER_BYTES,
  manifestSeed,
  records,
} from './manifest-format.js'
import { findOverlap, Version, type VersionEdit, wholeEdit } from './version.js'

/** A manifest is rewritten when its edits outgrow this. */
const MANIFEST_BYTES_MAX = 2 * 2 ** 20
/** A first record of two million segments: what is larger was not written by us. */
const MANIFEST_READ_MAX = 256 * 2 ** 20
/** CURRENT is one short line; anything longer is not ours. */
const CURRENT_BYTES_MAX = 4096

export interface RecoveredManifest {
  readonly version: Version
  readonly storeId: Buffer
  readonly manifestNumber: number
}

/** What the directory's manifest says; undefined where there is no CURRENT. Changes nothing. @throws VarveError `VARVE_KEY`. */
export function readManifest(env: Env, directory: string): RecoveredManifest | undefined {
  const current = readFile(env, joinPath(directory, CURRENT_NAME), CURRENT_BYTES_MAX)
  if (!current) return undefined
  const name = decodeCurrent(current, joinPath(directory, CURRENT_NAME))
  const path = joinPath(directory, name)
  const bytes = readFile(env, path, MANIFEST_READ_MAX)
  if (!bytes) throw corruption(path, 0, 'the file that CURRENT names is missing')
  const storeId = decodeManifestHeader(bytes, path)
  let version: Version | undefined
  for (const edit of readEdits(bytes, path, env.vault))
    version = applyRead(version ?? Version.EMPTY, version ? edit : withHorizon(edit), path)
  if (!version) throw corruption(path, MANIFEST_HEADER_BYTES, 'a manifest without a whole first record')
  return { version, storeId, manifestNumber: parseFileName(name)!.number }
}

/** A manifest from before the horizon was written down: deletions may have been forgotten up to its first edit. */
function withHorizon(first: VersionEdit): VersionEdit {
  const { tombstoneHorizon = first.flushedPosition ?? 0 } = first
  return { ...first, tombstoneHorizon }
}

/** Applies an edit of which only the checksum is known to be right: what `apply` takes for granted is checked. */
function applyRead(version: Version, edit: VersionEdit, path: string): Version {
  const fault = findEditFault(version, edit)
  if (fault) throw corruption(path, 0, fault)
  const next = version.applyUnchecked(edit)
  const overlap = findOverlap(next, edit)
  if (overlap) throw corruption(path, 0, overlap)
  return next
}

/** Every whole edit of a manifest's bytes, in order. @throws VarveError `VARVE_KEY`, `VARVE_CORRUPTION`. */
export function* readEdits(bytes: Bytes, path: string, vault?: Vault): Generator<VersionEdit> {
  const number = parseFileName(path.slice(path.lastIndexOf('/') + 1))?.number ?? 0
  const decryptor = decryptorFor(vault, isEncryptedManifest(bytes), 'manifest', number, path)
  for (const { start, end } of records(bytes, path)) {
    const edit = decryptor ? decryptEdit(bytes, start, end, path, decryptor) : bytes.subarray(start, end)
    yield decodeEdit(new ByteReader(edit, path, start))
  }
}

/** The current version and its manifest. The only writer of manifests and of CURRENT. */
export class VersionSet {
  readonly #env: Env
  readonly #directory: string
  readonly #directoryIdentity: string
  readonly #storeId: Buffer
  readonly #rotateAtBytes: number
  #version: Version
  #nextFileNumber: number
  #file: File | undefined
  #manifestNumber = 0
  #encryptor: FileEncryptor | undefined
  #seed = 0
  #length = 0
  #syncedTo = 0
  /** Edits are logged one after another. */
  #tail: Promise<unknown> = Promise.resolve()
  #failure: VarveError | undefined

  /** @param firstFreeNumber above every file number in the directory: numbers are never used twice. */
  constructor(
    env: Env,
    directory: string,
    storeId: Buffer,
    version: Version,
    firstFreeNumber: number,
    manifestBytesMax: number = MANIFEST_BYTES_MAX,
  ) {
    this.#env = env
    this.#directory = directory
    this.#directoryIdentity = env.fs.stat(directory)?.identity ?? ''
    this.#storeId = storeId
    this.#version = version
    this.#nextFileNumber = Math.max(version.nextFileNumber, firstFreeNumber)
    this.#rotateAtBytes = manifestBytesMax
  }

  get version(): Version {
    return this.#version
  }

  /** An edit was not logged, or perhaps it was: what the manifest on disk names is unknown. */
  get hasFailed(): boolean {
    return this.#failure !== undefined
  }

  get manifestNumber(): number {
    return this.#manifestNumber
  }

  /** Reserves `count` numbers and returns the first. */
  takeFileNumbers(count: number): number {
    const first = this.#nextFileNumber
    this.#nextFileNumber += count
    return first
  }

  /** Starts a manifest of this version and points CURRENT at it. Files an edit adds must be durable by then. */
  rotate(): void {
    const number = this.takeFileNumbers(1)
    const path = joinPath(this.#directory, manifestFileName(number))
    const encryptor = this.#env.vault?.encryptor('manifest', number)
    const header = encodeManifestHeader(this.#storeId, encryptor !== undefined)
    const seed = manifestSeed(header)
    const whole = { ...wholeEdit(this.#version), nextFileNumber: this.#nextFileNumber }
    const record = recordOf(whole, 0, seed, header.length, encryptor)
    const file = this.#attempt('creating', path, () => this.#env.fs.open(path, 'create'))
    try {
      writeFully(file, Buffer.concat([header, record]), 0)
      this.#attempt('syncing', path, () => file.sync())
      this.#syncDirectory()
      this.#pointCurrentAt(manifestFileName(number))
    } catch (error) {
      file.close()
      throw error
    }
    this.#file?.close()
    const previous = this.#manifestNumber
    this.#file = file
    this.#manifestNumber = number
    this.#seed = seed
    this.#encryptor = encryptor
    this.#length = header.length + record.length
    this.#syncedTo = this.#length
    if (previous > 0) this.#removeQuietly(joinPath(this.#directory, manifestFileName(previous)))
  }

  /**
   * Logs an edit durably, then makes it the current version. After a failure no edit is taken any more: what the
   * failed sync left on disk is unknown until the manifest is read again.
   */
  commit(edit: VersionEdit): Promise<Version> {
    const result = this.#tail.then(() => this.#commit(edit))
    this.#tail = result.catch(() => {})
    return result
  }

  async close(): Promise<void> {
    await this.#tail
    this.#file?.close()
    this.#file = undefined
  }

  async #commit(edit: VersionEdit): Promise<Version> {
    if (this.#failure) throw this.#failure
    try {
      this.checkDirectory()
      if (this.#length > this.#rotateAtBytes) this.rotate()
      const file = this.#file!
      const complete = { ...edit, nextFileNumber: this.#nextFileNumber }
      const next = this.#version.apply(complete)
      const record = recordOf(complete, this.#syncedTo, this.#seed, this.#length, this.#encryptor)
      writeFully(file, record, this.#length)
      this.#length += record.length
      await file.syncAsync()
      this.#syncedTo = this.#length
      this.#version = next
      return next
    } catch (error) {
      this.#failure = ioError(error, 'writing the manifest in', this.#directory)
      throw this.#failure
    }
  }

  /**
   * A directory that was moved or deleted must not be written again under its old path, where another store may be.
   * @throws VarveError `VARVE_IO`.
   */
  checkDirectory(): void {
    const stat = this.#attempt('reading', this.#directory, () => this.#env.fs.stat(this.#directory))
    if (stat?.identity === this.#directoryIdentity) return
    throw new VarveError('VARVE_IO', `${this.#directory} is not the directory that was opened`, {
      file: this.#directory,
    })
  }

  #pointCurrentAt(name: string): void {
    const temporary = joinPath(this.#directory, CURRENT_TEMPORARY_NAME)
    const current = joinPath(this.#directory, CURRENT_NAME)
    this.#attempt('replacing', current, () => {
      if (this.#env.fs.stat(temporary)) this.#env.fs.remove(temporary)
      const file = this.#env.fs.open(temporary, 'create')
      try {
        writeFully(file, encodeCurrent(name), 0)
        file.sync()
      } finally {
        file.close()
      }
      this.#env.fs.rename(temporary, current)
    })
    this.#syncDirectory()
  }

  /** A manifest that CURRENT does not name harms nobody; the next open removes it. */
  #removeQuietly(path: string): void {
    try {
      this.#env.fs.remove(path)
    } catch {}
  }

  #syncDirectory(): void {
    this.#attempt('syncing', this.#directory, () => this.#env.fs.syncDirectory(this.#directory))
  }

  #attempt<T>(doing: string, path: string, action: () => T): T {
    try {
      return action()
    } catch (error) {
      throw ioError(error, doing, path)
    }
  }
}

function recordOf(
  edit: VersionEdit,
  syncedUpTo: number,
  seed: number,
  at: number,
  encryptor: FileEncryptor | undefined,
): Buffer {
  const bytes = encodeEdit(edit)
  if (!encryptor) return encodeRecord(bytes, syncedUpTo, seed)
  return encryptRecord(bytes, syncedUpTo, seed, at, encryptor)
}

function readFile(env: Env, path: string, sizeMax: number): Buffer | undefined {
  if (!env.fs.stat(path)) return undefined
  try {
    const file = env.fs.open(path, 'read')
    try {
      const sizeBytes = file.sizeBytes()
      if (sizeBytes > sizeMax) throw corruption(path, sizeMax, `${sizeBytes} bytes`)
      const bytes = Buffer.alloc(sizeBytes)
      readFully(file, bytes, 0)
      return bytes
    } finally {
      file.close()
    }
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}
