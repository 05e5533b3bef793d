export { type RestoreOptions, restore } from './backup/restore.js'
export { compare } from './compare.js'
export { Database, open } from './database.js'
export { type ErrorDetails, VarveError, type VarveErrorCode } from './errors.js'
export type { BootstrapEntry, BootstrapEvent } from './feed/bootstrap.js'
export type { Change, ClearOp } from './feed/change.js'
export type { CompareOptions, Divergence } from './feed/compare.js'
export type { Consumer, ReadingOptions, RunOptions } from './feed/consumer.js'
export type { ConsumerHandler } from './feed/consumer-run.js'
export type { ConsumerOptions } from './feed/consumers.js'
export type { Digest, DigestOptions, PositionRange, RangeDigest } from './feed/digest.js'
export type { ErrorPolicy, RetryOptions } from './feed/error-policy.js'
export type { TransactionOptions } from './feed/transact.js'
export type { OpenTransaction, Transaction } from './feed/transaction.js'
export { type IngestOptions, type IngestProgress, type IngestReport, ingest } from './ingest.js'
export type { Encoding } from './key/encoding.js'
export type { Position } from './key/position.js'
export { type RepairOptions, repair } from './repair/repair.js'
export type { DamagedFile, RepairLoss, RepairReport } from './repair/repair-report.js'
export type {
  BatchOp,
  BootstrapOptions,
  ChangesOptions,
  Check,
  ClosableIterator,
  ConsumerStats,
  Durability,
  EncryptionOptions,
  Entry,
  Expiry,
  LevelStats,
  LogRetentionOptions,
  OpenOptions,
  ProgressOptions,
  PutOptions,
  Range,
  RangeIterator,
  ReadOptions,
  Snapshot,
  Stats,
  Updated,
  VerifyReport,
  WorkOptions,
  WriteOptions,
} from './store/contract.js'
export type { ParkedChange } from './store/cursor-state.js'
export type { EventName, EventOf, StoreEvent } from './store/events.js'
export {
  type AggregateKind,
  type AggregateOptions,
  type AggregateReads,
  aggregate,
  type Totals,
} from './view/aggregate.js'
export type {
  View,
  ViewDefinition,
  ViewRange,
  ViewReadOptions,
  ViewReads,
  ViewState,
  ViewStatus,
} from './view/contract.js'
export type { IndexKey } from './view/derived-entries.js'
export {
  type FullTextOptions,
  type FullTextReads,
  fullText,
  type TextDocument,
  type TextHit,
  type TextSearchOptions,
} from './view/full-text.js'
export {
  type FindOptions,
  type IndexRange,
  type IndexReads,
  type SecondaryIndexOptions,
  secondaryIndex,
} from './view/secondary-index.js'
