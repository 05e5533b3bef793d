export { Database, open } from './database.js'
export { type ErrorDetails, VarveError, type VarveErrorCode } from './errors.js'
export type { Change, ClearOp } from './feed/change.js'
export type { Encoding } from './key/encoding.js'
export type { Position } from './key/position.js'
export type {
  BatchOp,
  ChangesOptions,
  Check,
  Durability,
  LevelStats,
  LogRetentionOptions,
  OpenOptions,
  Range,
  RangeIterator,
  ReadOptions,
  Snapshot,
  Stats,
  VerifyReport,
  WriteOptions,
} from './store/contract.js'
export type { EventName, EventOf, StoreEvent } from './store/events.js'
