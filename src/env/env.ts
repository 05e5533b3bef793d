import type { Vault } from './file-cipher.js'
import type { Job, JobResult } from './job.js'

/**
 * The only door to the outside: files, clock, randomness, background threads. Everything above takes an `Env`,
 * so that tests can put a directory in memory, crash it at any step and choose the time.
 */
export interface Env {
  /** Files, directories and locks. */
  readonly fs: FileSystem
  /** Time and timers. */
  readonly clock: Clock
  /** Random bytes. */
  readonly random: Random
  /** Encrypts what goes into files, and decrypts what comes out of them; undefined: they hold plain bytes. */
  readonly vault?: Vault | undefined
  /** Starts one background thread, or returns undefined where there are none; jobs then run in slices. */
  startWorker(handlers: WorkerHandlers): BackgroundWorker | undefined
}

/** An open file. One owner; file descriptors never cross threads. Offsets are explicit, always. */
export interface File {
  readonly path: string
  /** Writes at `offset` and returns how many bytes were taken, which may be fewer. Call `writeFully` instead. */
  write(bytes: Uint8Array, offset: number): number
  /** Reads up to `into.length` bytes from `offset`; fewer only at the end of the file. */
  read(into: Uint8Array, offset: number): number
  /** As `read`, without blocking the event loop. */
  readAsync(into: Uint8Array, offset: number): Promise<number>
  /** fdatasync. */
  sync(): void
  syncAsync(): Promise<void>
  sizeBytes(): number
  /** Never throws: what must last was synced before, so an error of the system would tell nothing new. Idempotent. */
  close(): void
}

/** `create` fails when the file is there. */
export type OpenMode = 'read' | 'create'

export interface FileStat {
  readonly sizeBytes: number
  readonly modifiedMs: number
  /** Device and inode: the same for two names of one file or directory. */
  readonly identity: string
  readonly isDirectory: boolean
}

export interface FileLock {
  release(): void
}

/** Paths are absolute. Every method throws the system's own error, with its `code`. */
export interface FileSystem {
  open(path: string, mode: OpenMode): File
  /** Undefined when there is nothing at `path`. */
  stat(path: string): FileStat | undefined
  /** Names in a directory, sorted. */
  list(path: string): string[]
  /** Creates the directory and its missing parents; returns the topmost one it created. */
  makeDirectory(path: string): string | undefined
  rename(from: string, to: string): void
  remove(path: string): void
  /** As `remove`, without blocking the event loop: freeing a large file takes milliseconds. */
  removeAsync(path: string): Promise<void>
  /** Another name for the same bytes; false where the file system can't. */
  link(from: string, to: string): boolean
  /** fsync of a directory: makes creations, renames and removals in it durable. */
  syncDirectory(path: string): void
  /** As `syncDirectory`, without blocking the event loop: names that change meanwhile may not be covered. */
  syncDirectoryAsync(path: string): Promise<void>
  /** Takes the lock on a file, creating it; throws `VARVE_LOCKED` when somebody holds it. */
  lock(path: string): FileLock
  /** The absolute path that `path` means; nothing need be there. */
  resolve(path: string): string
  /** An absolute path without links; something must be there. */
  realPath(path: string): string
}

export interface Clock {
  /** Milliseconds since the epoch; only ever shown or compared with ages, never used for order. */
  wallMs(): number
  /** Milliseconds from some start; never goes back. */
  monotonicMs(): number
  /** Calls back once after `delayMs`. Returns what cancels it. For what somebody awaits: the process stays alive. */
  after(delayMs: number, callback: () => void): () => void
  /** As `after`, but does not keep the process alive. */
  afterUnref(delayMs: number, callback: () => void): () => void
  /** Resolves after `delayMs` (0: after the event loop had a turn); keeps the process alive. */
  sleep(delayMs: number): Promise<void>
}

export interface Random {
  fill(bytes: Uint8Array): void
}

export interface WorkerHandlers {
  onResult(id: number, result: JobResult): void
  onError(id: number, error: unknown): void
  /** The thread is gone; whatever it had not answered it never will. */
  onExit(cause: unknown): void
}

export interface BackgroundWorker {
  run(id: number, job: Job): void
  terminate(): Promise<void>
}
