import type { Env } from '../env/env.js'
import type { OptionNames } from '../util/option-names.js'
import type {
  BootstrapOptions,
  ChangesOptions,
  Check,
  EncryptionOptions,
  Expiry,
  LogRetentionOptions,
  OpenOptions,
  ProgressOptions,
  PutOptions,
  Range,
  ReadOptions,
  WorkOptions,
  WriteOptions,
} from './contract.js'

/** What each options type of the contract holds. */
export const OPEN_NAMES: OptionNames<OpenOptions & { readonly env?: Env }> = {
  keyEncoding: true,
  valueEncoding: true,
  checkEncodings: true,
  createIfMissing: true,
  errorIfExists: true,
  readOnly: true,
  durability: true,
  memory: true,
  compression: true,
  compaction: true,
  workers: true,
  log: true,
  memtableBytes: true,
  segmentBytes: true,
  blockBytes: true,
  levelRatio: true,
  blobMinBytes: true,
  l0SegmentsMax: true,
  encryption: true,
  env: true,
}
export const LOG_NAMES: OptionNames<LogRetentionOptions> = {
  maxBytes: true,
  maxAgeMs: true,
  pinnedMaxBytes: true,
}
export const ENCRYPTION_NAMES: OptionNames<EncryptionOptions> = { key: true }
export const WRITE_NAMES: OptionNames<WriteOptions> = { durability: true, ifPosition: true }
export const EXPIRY_NAMES: OptionNames<Expiry> = { ttlMs: true, expiresAt: true }
export const PUT_NAMES: OptionNames<PutOptions> = { ...WRITE_NAMES, ...EXPIRY_NAMES }
export const BATCH_NAMES: OptionNames<WriteOptions & { readonly check?: readonly Check<unknown>[] }> = {
  ...WRITE_NAMES,
  check: true,
}
export const READ_NAMES: OptionNames<ReadOptions> = {
  snapshot: true,
  atLeast: true,
  timeoutMs: true,
  signal: true,
}
export const CHECK_NAMES: OptionNames<Check<unknown>> = { key: true, position: true }
/** What every range has, of a store or of a view. */
export const BOUND_NAMES: OptionNames<Omit<Range<unknown>, 'snapshot' | 'signal'>> = {
  gt: true,
  gte: true,
  lt: true,
  lte: true,
  prefix: true,
  reverse: true,
  limit: true,
}
export const RANGE_NAMES: OptionNames<Range<unknown>> = { ...BOUND_NAMES, snapshot: true, signal: true }
export const WORK_NAMES: OptionNames<WorkOptions> = { signal: true }
export const PROGRESS_NAMES: OptionNames<ProgressOptions> = { signal: true, onProgress: true }
export const CHANGES_NAMES: OptionNames<ChangesOptions<unknown>> = {
  after: true,
  live: true,
  compacted: true,
  prefix: true,
  signal: true,
}
export const BOOTSTRAP_NAMES: OptionNames<BootstrapOptions> = { resume: true, live: true, signal: true }
