import type { Encoding } from '../key/encoding.js'
import type { Position } from '../key/position.js'

/**
 * What an acknowledged write has survived.
 *
 * - `'memory'`: it is in the memtable; a process that dies loses it.
 * - `'os'`: its bytes were handed to the operating system: any death of the process is survived, a power loss may
 *   take a suffix of the log.
 * - `{ intervalMs }`: as `'os'`, and the log is synced in the background at least that often.
 * - `'disk'`: fdatasync returned: nothing acknowledged is lost.
 */
export type Durability = 'memory' | 'os' | 'disk' | { readonly intervalMs: number }

/** How one write is to be made. */
export interface WriteOptions {
  /** Overrides the store's durability for this write. */
  readonly durability?: Durability
  /**
   * Commit only if the key's entry has this position; `null`: only if there is none. Else `VARVE_CONFLICT`. `undefined`
   * is no condition: after `getEntry`, which knows no position of a missing key, write `entry?.position ?? null`.
   */
  readonly ifPosition?: Position | null
}

/**
 * When an entry is deleted by itself: it stays with the entry, and the leader writes a del, which followers, feeds and
 * views see like every other, soon after: within about a second, or what the index of such entries is behind. Reads see
 * the entry until then. Writing the key again without it means the entry stays. Goes by the leader's wall clock.
 */
export interface Expiry {
  /** Milliseconds from now on. */
  readonly ttlMs?: number | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
}

/** How one put is to be made. */
export interface PutOptions extends WriteOptions, Expiry {}

/** An entry with what the store knows of it. */
export interface Entry<V> {
  /** As the store's encoding decodes it. */
  readonly value: V
  /** Of the write that it is from: what `ifPosition` and `check` compare. */
  readonly position: Position
  /** Milliseconds since the epoch; left out where it does not expire. */
  readonly expiresAt?: number
}

/** What an update wrote, and where. */
export interface Updated<V> {
  /** Of the write. */
  readonly position: Position
  /** What the key holds now. */
  readonly value: V
}

/** A condition on one key, evaluated in commit order, before the batch. */
export interface Check<K> {
  /** Whose entry is looked at. */
  readonly key: K
  /** What must have written it; `null`: nothing has. */
  readonly position: Position | null
}

/** One operation of a batch. */
export type BatchOp<K, V> =
  | ({ readonly type: 'put'; readonly key: K; readonly value: V } & Expiry)
  | { readonly type: 'del'; readonly key: K }

/** A pinned position: reads that name it see the store as it was. Hold it briefly: it keeps old data on disk. */
export interface Snapshot {
  /** What it shows the store at. */
  readonly position: Position
  /** Lets go of what it pins. Idempotent. */
  close(): void
  [Symbol.dispose](): void
}

/** What one read is to see. */
export interface ReadOptions {
  /** See the store as it was then. */
  readonly snapshot?: Snapshot | undefined
  /**
   * Wait until the store has reached this position, such as the one that a write elsewhere resolved to. A position is
   * a number and does not tell which store it is from: one that never comes ends with `timeoutMs`, or with the store.
   */
  readonly atLeast?: Position
  /** How long `atLeast` may wait before `VARVE_TIMEOUT`; default: for ever. */
  readonly timeoutMs?: number
  /** Ends what `atLeast` waits for with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** Bounds compare as unsigned bytes of the encoded key. `prefix` is a prefix of the encoded key. */
export interface Range<K> {
  /** Above this key. */
  readonly gt?: K | undefined
  /** From this key on. */
  readonly gte?: K | undefined
  /** Below this key. */
  readonly lt?: K | undefined
  /** Up to this key. */
  readonly lte?: K | undefined
  /** Keys that start with this one; of tuples, those whose first parts are its parts. */
  readonly prefix?: K | undefined
  /** Last one first; default false. */
  readonly reverse?: boolean | undefined
  /** At most this many entries; -1 or Infinity: all. */
  readonly limit?: number | undefined
  /** See the store as it was then. */
  readonly snapshot?: Snapshot | undefined
  /** Ends the iterator, or the compaction, with `VARVE_ABORTED`; nothing stays pinned. */
  readonly signal?: AbortSignal | undefined
}

/** An async iterator that `await using` closes, as `return` does. */
export interface ClosableIterator<T> extends AsyncIterableIterator<T>, AsyncDisposable {}

/** An async iterator with bulk steps. Its memory is bounded by blocks, not by the range. */
export interface RangeIterator<T> extends ClosableIterator<T> {
  /** Up to `size` entries; an empty array: the end. */
  nextv(size: number): Promise<T[]>
  /** The rest, at once, in memory; closes the iterator. */
  all(): Promise<T[]>
  /** Goes to `key`, or to the next one in the direction of travel; stays within the range. */
  seek(key: unknown): void
  /** Lets go of what it pins. Idempotent; the end of the range does it too. */
  close(): Promise<void>
}

/** How a store is opened. Every option has a default that suits most programs. */
export interface OpenOptions<K = string, V = string> {
  /**
   * Default `'utf8'`. `'tuple'`: arrays of strings, numbers, bigints, booleans, null and bytes, in the order of their
   * parts: null, bytes, false, true, numbers, text. `'json'` and text are in the order of their letters.
   */
  readonly keyEncoding?: 'utf8' | 'buffer' | 'view' | 'json' | 'tuple' | Encoding<K>
  /** Default `'utf8'`. */
  readonly valueEncoding?: 'utf8' | 'buffer' | 'view' | 'json' | Encoding<V>
  /**
   * Default true: the names of the encodings are written down when the store is made, and opening it with others is
   * refused. `'buffer'` and `'view'` open every store: they show its bytes as they are. False: neither is done.
   */
  readonly checkEncodings?: boolean
  /** Default true. */
  readonly createIfMissing?: boolean
  /** Default false. */
  readonly errorIfExists?: boolean
  /** Default false. Takes no lock and writes nothing; sees the store as it was when opened. */
  readonly readOnly?: boolean
  /** Default `{ intervalMs: 1000 }`. */
  readonly durability?: Durability
  /** Bytes for memtables, block cache, indexes and filters together; default 256 MiB. A cap, not a hint. */
  readonly memory?: number
  /** Default `'lz4'`. */
  readonly compression?: 'lz4' | 'none'
  /** Default `'leveled'`. */
  readonly compaction?: 'leveled' | 'tiered'
  /** Background threads, 0 to 4, default 1. 0 runs jobs in slices on the main thread. */
  readonly workers?: number
  /** What of the log is kept beyond what recovery needs. */
  readonly log?: LogRetentionOptions
  /** Encrypts the store's files. Not more and not less than the key it was made with opens it; see `EncryptionOptions`. */
  readonly encryption?: EncryptionOptions
  /** Bytes of one memtable; default an eighth of `memory`, at most 64 MiB. */
  readonly memtableBytes?: number
  /** Target size of a segment; default 32 MiB. */
  readonly segmentBytes?: number
  /** Target size of a data block before compression; default 4 KiB. */
  readonly blockBytes?: number
  /** How many times larger each level is than the one above; default 10. */
  readonly levelRatio?: number
  /**
   * Values of at least so many bytes stand apart from their keys, in blob files that merges do not copy: cheaper to
   * write, one more read each. Default 64 KiB; from 32 on; `Infinity`: none. May change from one opening to the next.
   */
  readonly blobMinBytes?: number
  /** Segments in level 0 that start a compaction; default 4. */
  readonly l0SegmentsMax?: number
}

/**
 * Encryption at rest: AES-256-GCM for every frame of the log, every block and other part of a segment, every record of
 * the manifest, under keys derived for each file. Also of views, checkpoints and copies. Decided when a store is made:
 * `VARVE_KEY` where the key is missing, is another one, or the store is not encrypted.
 *
 * Who gets hold of the files, a backup or a disk that was thrown away, learns no key, value or consumer's name, but
 * sees sizes, times, positions, how many operations were written and when, and the names of views. Who changes bytes is
 * found out (`VARVE_CORRUPTION`); who puts back the whole directory, or whole files, as they once were is not, nor who
 * cuts off the end of the log. What is in memory, or goes to followers, is plain: use TLS there.
 *
 * A store's key is not changed in place: open a new store with the new key, and `varve dump | varve load` into it, or
 * let it follow the old one and promote it.
 */
export interface EncryptionOptions {
  /** 32 bytes of a random generator, as `crypto.randomBytes(32)`, not a password; copied. Whoever loses it loses the store. */
  readonly key: Uint8Array
}

/** Limits of what is kept of the log once recovery does not need it. Bytes and milliseconds. */
export interface LogRetentionOptions {
  /** Keep up to so many bytes of closed log files; default 0. */
  readonly maxBytes?: number
  /**
   * Drop retained files whose last change is older than this, even under `maxBytes` and when nothing is written;
   * default: no limit. A file is completed when its first change is that old, so no change stays twice as long. Under
   * ten seconds only files that are full or flushed by hand are completed in time.
   */
  readonly maxAgeMs?: number
  /**
   * Readers and consumers, open or not, keep at most so many bytes of closed log files between them; beyond it the
   * slowest loses its position, with the event `log.evicted` or `consumer.evicted`. Default 1 GiB.
   */
  readonly pinnedMaxBytes?: number
}

/** What `changes` shows. */
export interface ChangesOptions<K> {
  /** Starts after this position; left out: with the oldest change that the log still holds. */
  readonly after?: Position | undefined
  /** At the end, wait for what is written next; left out, the feed ends there. */
  readonly live?: boolean | undefined
  /**
   * Of each key only its last change, out of the segments: also where the log is long gone. `after` is 0 if left
   * out. Changes then have no time (`timestamp` is 0) and are not whole batches. Deletions are given as long as the
   * store remembers them; a reader from before that is told to start over by a first change at position 0 that
   * clears everything. What was given up to any position may be resumed from there. Holds old segments while it runs.
   */
  readonly compacted?: boolean | undefined
  /** Only operations on keys with this prefix, and only changes that hold any. */
  readonly prefix?: K | undefined
  /** Ends the feed with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** Where `bootstrap` starts, and how long it goes on. */
export interface BootstrapOptions {
  /** The `resume` of the last event that was dealt with; left out: from the start. */
  readonly resume?: string | undefined
  /** At the end of the log, wait for what is written next; left out, it ends there. */
  readonly live?: boolean | undefined
  /** Ends it with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** How long work goes on that may be long. */
export interface WorkOptions {
  /** Ends it with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** The same, with a word now and then about how far it is. */
export interface ProgressOptions extends WorkOptions {
  /** Bytes dealt with, of so many. */
  onProgress?(done: number, total: number): void
}

/** What `verify` has read and found sound. */
export interface VerifyReport {
  /** Segments of the tree. */
  readonly segments: number
  /** Blocks of segments. */
  readonly blocks: number
  /** Entries, older versions and tombstones included. */
  readonly entries: number
  /** Bytes of segments. */
  readonly bytes: number
  /** Files of the log. */
  readonly logFiles: number
}

/** One level of the tree: 0 holds flushed segments that overlap, deeper ones do not. */
export interface LevelStats {
  /** From 0 on, the newest first. */
  readonly level: number
  /** How many segments it has. */
  readonly segments: number
  /** Bytes of its segments. */
  readonly bytes: number
  /** Entries, older versions and tombstones included. */
  readonly entries: number
}

/** One consumer that the store knows. */
export interface ConsumerStats {
  /** By which it is opened. */
  readonly name: string
  /** The last change that it has dealt with. */
  readonly position: Position
  /** How many positions it is behind, how many bytes of log, and how old the first change it has not dealt with is. */
  readonly lag: number
  /** Bytes of log that it has not dealt with, about. */
  readonly lagBytes: number
  /** How old the first change is that it has not dealt with. */
  readonly lagMs: number
  /** Whether this process has it open. */
  readonly isOpen: boolean
  /** How many changes it has put aside. */
  readonly parked: number
}

/** A picture of the store, as `stats` gives it. Sizes in bytes, times in milliseconds. */
export interface Stats {
  /** The last committed position. */
  readonly position: Position
  /** Every write up to here is on disk. */
  readonly durablePosition: Position
  /** Every write up to here is in segments. */
  readonly flushedPosition: Position
  /** The oldest change that the log still holds. */
  readonly oldestPosition: Position
  /** Every level, also those that are empty. */
  readonly levels: readonly LevelStats[]
  /** Bytes of all segments, blob files and log files. */
  readonly diskBytes: number
  /** Bytes of all segments. */
  readonly segmentBytes: number
  /** Files of values that stand apart from their keys (`blobMinBytes`), their bytes, and those that are no garbage. */
  readonly blobs: { readonly files: number; readonly bytes: number; readonly liveBytes: number }
  /** Bytes of log files, those that are kept for readers included. */
  readonly logBytes: number
  /** Entries in segments and memtables, older versions and tombstones included. */
  readonly entries: number
  /** Bytes written by flushes and compactions, over bytes flushed, since the store was created; 0 before. */
  readonly writeAmplification: number
  /** Bytes of all levels and blob files over those that the deepest level has, or refers to; 0 when empty. */
  readonly spaceAmplification: number
  /** Against `memory`: what is used, and of that memtables, the block cache, and indexes and filters. */
  readonly memory: {
    readonly budgetBytes: number
    readonly usedBytes: number
    readonly memtableBytes: number
    readonly cacheBytes: number
    readonly tableBytes: number
  }
  /** Blocks in the cache, and how often a block was there or not. */
  readonly cache: { readonly hits: number; readonly misses: number; readonly entries: number }
  /** How often, and how long in all, writers were slowed for background work, and whether they are now. */
  readonly stall: { readonly count: number; readonly totalMs: number; readonly active: boolean }
  /** Open snapshots and iterators; the oldest one keeps old versions on disk. */
  readonly snapshots: { readonly count: number; readonly oldestPosition: Position | undefined }
  /** Every consumer, open or not, by name. */
  readonly consumers: readonly ConsumerStats[]
  /**
   * Background work since the store was opened; a move rewrites nothing. `forReads`: flushes and compactions among them
   * that nothing called for but range reads, which are quicker afterwards, in a store that nobody wrote to.
   */
  readonly jobs: {
    readonly flushes: number
    readonly compactions: number
    readonly moves: number
    readonly forReads: number
  }
  /** The first failure that stopped writes, if any. */
  readonly health: Error | undefined
}
