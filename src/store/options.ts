import { encryptedEnv } from '../env/encrypted-env.js'
import type { Env } from '../env/env.js'
import { MASTER_KEY_BYTES } from '../env/file-cipher.js'
import { nodeEnv } from '../env/node-env.js'
import { VarveError } from '../errors.js'
import { REFERENCE_BYTES } from '../segment/blob-format.js'
import type { TreeOptions } from '../tree/tree-options.js'
import { checkOptionNames } from '../util/option-names.js'
import type { Durability, EncryptionOptions, LogRetentionOptions, OpenOptions } from './contract.js'
import { type EncodingNames, encodingNames } from './encoding-names.js'
import { ENCRYPTION_NAMES, LOG_NAMES, OPEN_NAMES } from './option-names.js'

const MIB = 2 ** 20
const MEMORY_DEFAULT = 256 * MIB
/** Larger memtables gain little and make flushes and replays long. */
const MEMTABLE_DEFAULT_MAX = 64 * MIB
/** Four of them, the one being written and those that wait when writers are slowed, take half of the memory. */
const MEMTABLE_SHARE = 1 / 8

export interface StoreOptions extends TreeOptions {
  readonly env: Env
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly readOnly: boolean
  readonly durability: Durability
  readonly log: Required<LogRetentionOptions>
  /** Whether log memory is used again: not where readers keep views of it. */
  readonly reusesLogMemory: boolean
  /** Whether the directory is locked: not where a lock above it holds it already. */
  readonly takesLock: boolean
  /** What a new store writes down and one that is there is compared with; left out: neither. */
  readonly encodings?: EncodingNames | undefined
}

/** Options, checked and completed. `env` is for tests and for embedding in something that is not Node. */
export type OpenOptionsWithEnv<K, V> = OpenOptions<K, V> & { readonly env?: Env }

export function resolveOptions<K, V>(options: OpenOptionsWithEnv<K, V>): StoreOptions {
  if (typeof options !== 'object' || options === null) throw invalid('options are an object')
  checkOptionNames('open', options, OPEN_NAMES)
  const memory = integer('memory, in bytes,', options.memory, MEMORY_DEFAULT, 64 * 1024, 2 ** 46)
  const memtableDefault = Math.min(MEMTABLE_DEFAULT_MAX, Math.floor(memory * MEMTABLE_SHARE))
  const usesViews = options.keyEncoding === 'view' || options.valueEncoding === 'view'
  const resolved = {
    env: resolveEnv(options),
    createIfMissing: flag('createIfMissing', options.createIfMissing, true),
    errorIfExists: flag('errorIfExists', options.errorIfExists, false),
    readOnly: flag('readOnly', options.readOnly, false),
    durability: checkDurability(options.durability ?? { intervalMs: 1000 }),
    memory,
    memtableBytes: integer('memtableBytes', options.memtableBytes, memtableDefault, 1024, 2 ** 30),
    segmentBytes: integer('segmentBytes', options.segmentBytes, 32 * MIB, 64, 2 ** 31),
    blobMinBytes: atLeast('blobMinBytes', options.blobMinBytes, 64 * 1024, REFERENCE_BYTES),
    blockBytes: integer('blockBytes', options.blockBytes, 4096, 1, MIB),
    levelRatio: integer('levelRatio', options.levelRatio, 10, 2, 1000),
    l0SegmentsMax: integer('l0SegmentsMax', options.l0SegmentsMax, 4, 1, 1000),
    isCompressed: oneOf('compression', options.compression, ['lz4', 'none']) === 'lz4',
    compaction: oneOf('compaction', options.compaction, ['leveled', 'tiered']),
    workers: integer('workers', options.workers, 1, 0, 4),
    log: resolveRetention(options.log ?? {}),
    reusesLogMemory: !usesViews,
    takesLock: true,
    encodings: flag('checkEncodings', options.checkEncodings, true) ? encodingNames(options) : undefined,
  }
  if (resolved.readOnly && options.errorIfExists) throw invalid('readOnly contradicts errorIfExists')
  return resolved
}

/**
 * The environment that encrypts if there is a key: what works on a store has no other place for it.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` for what is no key; it is in no message.
 */
export function resolveEnv(options: {
  env?: Env | undefined
  encryption?: EncryptionOptions | undefined
}): Env {
  const { env = nodeEnv, encryption } = options
  if (encryption === undefined) return env
  if (typeof encryption !== 'object' || encryption === null) throw invalid('encryption is { key }')
  checkOptionNames('encryption', encryption, ENCRYPTION_NAMES)
  const { key } = encryption
  if (!(key instanceof Uint8Array) || key.length !== MASTER_KEY_BYTES)
    throw invalid(`encryption.key is a Uint8Array of ${MASTER_KEY_BYTES} bytes`)
  return encryptedEnv(env, key)
}

export function checkDurability(value: unknown): Durability {
  if (value === 'memory' || value === 'os' || value === 'disk') return value
  const intervalMs = (value as { intervalMs?: unknown } | null)?.intervalMs
  if (typeof intervalMs === 'number' && intervalMs > 0 && intervalMs <= 2 ** 31 - 1) return { intervalMs }
  throw invalid(`durability is 'memory', 'os', 'disk' or { intervalMs } above 0, not ${shown(value)}`)
}

function resolveRetention(log: LogRetentionOptions): Required<LogRetentionOptions> {
  if (typeof log !== 'object' || log === null) throw invalid('log is an object')
  checkOptionNames('log', log, LOG_NAMES)
  return {
    maxBytes: integer('log.maxBytes', log.maxBytes, 0, 0, 2 ** 50),
    maxAgeMs:
      log.maxAgeMs === undefined
        ? Number.POSITIVE_INFINITY
        : integer('log.maxAgeMs', log.maxAgeMs, 0, 0, 2 ** 50),
    pinnedMaxBytes: integer('log.pinnedMaxBytes', log.pinnedMaxBytes, 2 ** 30, 0, 2 ** 50),
  }
}

function integer(name: string, value: unknown, fallback: number, min: number, max: number): number {
  if (value === undefined) return fallback
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw invalid(`${name} is a whole number from ${min} to ${max}, not ${shown(value)}`)
}

/** No limit, too. */
function atLeast(name: string, value: unknown, fallback: number, min: number): number {
  return value === Number.POSITIVE_INFINITY
    ? value
    : integer(name, value, fallback, min, Number.MAX_SAFE_INTEGER)
}

function flag(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value === 'boolean') return value
  throw invalid(`${name} is true or false, not ${shown(value)}`)
}

/** The first choice is the default. */
function oneOf<T extends string>(name: string, value: unknown, choices: readonly [T, ...T[]]): T {
  if (value === undefined) return choices[0]
  const choice = choices.find((candidate) => candidate === value)
  if (choice === undefined) throw invalid(`${name} is one of ${choices.join(', ')}, not ${shown(value)}`)
  return choice
}

/** What was given, short enough for one line. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  return ['number', 'boolean', 'undefined'].includes(typeof value) || value === null
    ? String(value)
    : typeof value
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
