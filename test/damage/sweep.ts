import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { VarveError } from '../../src/errors.js'
import { dump, openMemory, STORE } from '../store/helpers.js'
import { residentBytes } from './resident.js'
import { historyOf, type Victim } from './stores.js'

/** What became of a damaged store. */
export type Verdict = string

export interface SweepReport {
  cases: number
  /** How often each code came, and `same`. */
  readonly verdicts: Map<string, number>
  slowestMs: number
  grownBytes: number
}

const TIME_MAX_MS = 10_000
export const GROWTH_BYTES_MAX = 256 * 2 ** 20
const ROOM_BYTES = 64
const ROOM_STEP_BYTES = 509
/** Each so many cases the store is opened for writing, which recovers and writes; else it is only read. */
const WRITING_EACH = 6
/** Each so many cases the damaged store is opened a second time, and its files are compared. */
const SECOND_LOOK_EACH = 16

/** The same data, or a refusal that names a file of the store. */
const ALLOWED = /^(same|earlier|VARVE_(CORRUPTION|FORMAT_VERSION|INVALID_ARGUMENT|IO) \/store(\/.+)?)$/

export class Sweep {
  readonly #victim: Victim
  readonly #baseBytes = residentBytes()
  readonly report: SweepReport = { cases: 0, verdicts: new Map(), slowestMs: 0, grownBytes: 0 }

  constructor(victim: Victim) {
    this.#victim = victim
  }

  /** Every single byte by four masks. */
  async bytes(path: string): Promise<void> {
    const whole = this.#read(path)
    for (const at of placesIn(whole)) {
      const byte = whole[at]!
      for (const changed of new Set([byte ^ 0x01, byte ^ 0x80, 0x00, 0xff])) {
        if (changed === byte) continue
        const bytes = Buffer.from(whole)
        bytes[at] = changed
        await this.#replace(path, bytes, `byte ${at} is ${changed}`)
      }
    }
  }

  /** Every length below the whole, and bytes added at the end. */
  async lengths(path: string): Promise<void> {
    const whole = this.#read(path)
    for (const length of placesIn(whole)) {
      await this.#replace(path, whole.subarray(0, length), `cut to ${length}`)
    }
    for (let added = 1; added <= 4096; added *= 2) {
      for (const filler of [0x00, 0xff, 0x5a]) {
        const bytes = Buffer.concat([whole, Buffer.alloc(added, filler)])
        await this.#replace(path, bytes, `${added} bytes of ${filler} added`)
      }
    }
    await this.#replace(path, Buffer.concat([whole, whole]), 'doubled')
  }

  /** Aligned blocks zeroed, doubled, left out, and exchanged with those of this and other files. */
  async blocks(path: string, blockBytes: number): Promise<void> {
    const whole = this.#read(path)
    const others = this.paths().map((other) => this.#read(other))
    const used = usedBytes(whole)
    for (let at = 0; at < used; at += blockBytes) {
      const end = Math.min(whole.length, at + blockBytes)
      const parts = (middle: Buffer) => Buffer.concat([whole.subarray(0, at), middle, whole.subarray(end)])
      const block = whole.subarray(at, end)
      await this.#replace(path, parts(Buffer.alloc(block.length)), `block at ${at} zeroed`)
      await this.#replace(path, parts(Buffer.concat([block, block])), `block at ${at} doubled`)
      await this.#replace(path, parts(Buffer.alloc(0)), `block at ${at} left out`)
      for (const other of others) {
        for (let from = 0; from + block.length <= usedBytes(other); from += blockBytes) {
          await this.#replace(
            path,
            parts(other.subarray(from, from + block.length)),
            `block at ${at} misdirected`,
          )
        }
      }
    }
  }

  /** The file missing, empty, zeroed, an older copy, another file, a directory. */
  async files(path: string): Promise<void> {
    const whole = this.#read(path)
    await this.#case(`${path} missing`, path, (fs) => fs.remove(path))
    await this.#case(`${path} a directory`, path, (fs) => {
      fs.remove(path)
      fs.makeDirectory(path)
    })
    await this.#replace(path, Buffer.alloc(0), 'empty')
    await this.#replace(path, Buffer.alloc(whole.length), 'zeroed')
    const { older } = this.#victim
    if (older.stat(path)) await this.#replace(path, Buffer.from(older.readFile(path)), 'an older copy')
    for (const other of this.paths()) {
      if (other !== path) await this.#replace(path, this.#read(other), `a copy of ${other}`)
    }
  }

  /** Every file of the store but LOCK, which holds no data. */
  paths(): string[] {
    const { fs } = this.#victim
    return fs
      .list(STORE)
      .filter((name) => name !== 'LOCK')
      .map((name) => `${STORE}/${name}`)
  }

  #read(path: string): Buffer {
    return Buffer.from(this.#victim.fs.readFile(path))
  }

  async #replace(path: string, bytes: Buffer, what: string): Promise<void> {
    if (bytes.equals(this.#read(path))) return
    await this.#case(`${path}: ${what}`, path, (fs) => fs.writeFile(path, bytes))
  }

  async #case(what: string, path: string, damage: (fs: MemoryFileSystem) => void): Promise<void> {
    const fs = this.#victim.fs.clone()
    damage(fs)
    const looksTwice = this.report.cases % SECOND_LOOK_EACH === 0
    const again = looksTwice ? fs.clone() : undefined
    const startMs = performance.now()
    const isWriting = this.report.cases % WRITING_EACH === 0
    const verdict = await this.#verdict(fs, isWriting)
    const tookMs = performance.now() - startMs
    if (!ALLOWED.test(verdict)) throw new Error(`${this.#victim.name}, ${what}: ${verdict}`)
    if (tookMs > TIME_MAX_MS) throw new Error(`${this.#victim.name}, ${what}: took ${tookMs} ms`)
    if (again && verdict.startsWith('VARVE')) await this.#lookAgain(again, path, verdict, what, isWriting)
    this.#note(verdict, tookMs)
  }

  /** Damage that was found stays found: the verdict is the same, and the evidence is still there. */
  async #lookAgain(
    fs: MemoryFileSystem,
    path: string,
    verdict: Verdict,
    what: string,
    isWriting: boolean,
  ): Promise<void> {
    const isFile = fs.stat(path) !== undefined && !fs.stat(path)!.isDirectory
    const before = isFile ? Buffer.from(fs.readFile(path)) : undefined
    for (let i = 0; i < 2; i++) {
      const found = await this.#verdict(fs, isWriting)
      if (found !== verdict) throw new Error(`${what}: first ${verdict}, then ${found}`)
    }
    if (before && !before.equals(Buffer.from(fs.readFile(path)))) throw new Error(`${what}: was changed`)
  }

  #note(verdict: Verdict, tookMs: number): void {
    const { report } = this
    const code = verdict.split(' ')[0]!
    report.verdicts.set(code, (report.verdicts.get(code) ?? 0) + 1)
    report.slowestMs = Math.max(report.slowestMs, tookMs)
    if (++report.cases % 500 === 0) {
      report.grownBytes = Math.max(report.grownBytes, residentBytes() - this.#baseBytes)
    }
  }

  async #verdict(fs: MemoryFileSystem, isWriting: boolean): Promise<Verdict> {
    const { options, wanted } = this.#victim
    const verdict = await this.#open(fs, options, wanted, isWriting)
    if (fs.hasLocks()) return 'a lock is still held'
    const open = fs.openFiles()
    return open.length > 0 ? `still open: ${open.join()}` : verdict
  }

  async #open(
    fs: MemoryFileSystem,
    options: Victim['options'],
    wanted: string,
    isWriting: boolean,
  ): Promise<Verdict> {
    try {
      const { db } = await openMemory(isWriting ? options : { ...options, readOnly: true }, memoryEnv({ fs }))
      try {
        const found = JSON.stringify(await dump(db))
        // The end of a log that was not closed proves nothing of what is gone: any shorter one is what a crash leaves.
        const isEarlier = this.#victim.earlier.has(found)
        if (found !== wanted && !isEarlier) return `different data: ${found}`
        const history = await historyOf(db)
        // History may begin later, which whoever asks for more is told; it never differs and never has a hole.
        const isSame = isEarlier
          ? this.#victim.history.includes(history)
          : this.#victim.history.endsWith(history)
        if (!isSame) return `another history: ${history}`
        return isEarlier ? 'earlier' : 'same'
      } finally {
        await db.close()
      }
    } catch (error) {
      if (!(error instanceof VarveError)) return `untyped: ${(error as Error).stack}`
      return error.file === undefined ? `${error.code} without a file` : `${error.code} ${error.file}`
    }
  }
}

/** Up to where there is anything but zeros: logs have room made ahead. */
function usedBytes(bytes: Buffer): number {
  let used = bytes.length
  while (used > 0 && bytes[used - 1] === 0) used--
  return used
}

/** Every byte of what is used and a little beyond; some of the room after it. */
function* placesIn(bytes: Buffer): Generator<number> {
  const near = usedBytes(bytes) + ROOM_BYTES
  for (let at = 0; at < bytes.length; at += at < near ? 1 : ROOM_STEP_BYTES) yield at
}

export function describeSweep(name: string, report: SweepReport): string {
  const verdicts = [...report.verdicts].map(([code, count]) => `${code} ${count}`).join(', ')
  const grown = (report.grownBytes / 2 ** 20).toFixed(0)
  return `${name}: ${report.cases} damaged stores, 0 with other data; ${verdicts}; slowest ${report.slowestMs.toFixed(0)} ms, memory +${grown} MiB`
}
