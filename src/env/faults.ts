import type { SeededRandom } from './seeded-random.js'
import { systemError } from './system-error.js'

/** What can be made to fail. */
export type MemoryOperation =
  | 'open'
  | 'create'
  | 'write'
  | 'read'
  | 'sync'
  | 'syncDirectory'
  | 'rename'
  | 'remove'
  | 'link'
  | 'close'
  | 'stat'
  | 'list'

/** What a fault does to the operation that it meets; each kind only ever meets operations that it can happen to. */
export type FaultEffect =
  /**
   * The operation throws this. A sync that fails so loses what it should have made durable: readable until the
   * crash, as on ext4 and XFS, or with `reverts` gone at once, as on btrfs.
   */
  | { readonly errno: string; readonly reverts?: boolean }
  /** A read or write takes at most so many bytes. */
  | { readonly shortBytes: number }
  /** A read or write changes this bit of the bytes it passes (modulo their length). */
  | { readonly flipBit: number }
  /** A read or write goes so many bytes beside the place it should. */
  | { readonly misdirectBytes: number }
  /** A read shows what was last synced. */
  | { readonly isStale: true }
  /** A sync of a file or directory says that it is done, and did nothing. */
  | { readonly lies: true }
  /** An asynchronous read, sync or removal takes so much longer. */
  | { readonly delayMs: number }
  /** An asynchronous read, sync or removal never comes back. */
  | { readonly hangs: true }
  /** The power goes: this operation does not happen, and it and every later one fail with `EIO`. */
  | { readonly cutsPower: true }

/** Which operations fail, and how. */
export interface FaultRule {
  /** The operation that fails. */
  readonly op: Exclude<MemoryOperation, 'close'> | 'any'
  /** What the path, or the other path of a rename or link, must match. Default: every path. */
  readonly path?: RegExp
  /** The first match that fails, counted from 1. */
  readonly nth?: number
  /** From the `nth` on, each match fails with this probability. Default: 1. */
  readonly probability?: number
  /** Default: once. */
  readonly repeat?: 'once' | 'forever'
  /** What happens instead. */
  readonly effect: FaultEffect
  /** `after`: the operation happened all the same, and only its answer is an error. Default: `before`. */
  readonly when?: 'before' | 'after'
}

/** How often a rule has fired: a test that injects a fault checks that it did. */
export interface FaultCounter {
  /** How often the fault happened. */
  fired: number
}

export interface Fault {
  readonly effect: FaultEffect
  readonly when: 'before' | 'after'
}

interface ActiveRule {
  readonly rule: FaultRule
  readonly counter: FaultCounter
  matched: number
}

/** The faults that wait to happen. */
export class FaultPlan {
  readonly #random: SeededRandom
  #rules: ActiveRule[] = []

  constructor(random: SeededRandom) {
    this.#random = random
  }

  inject(rule: FaultRule): FaultCounter {
    const counter = { fired: 0 }
    this.#rules.push({ rule, counter, matched: 0 })
    return counter
  }

  clear(): void {
    this.#rules = []
  }

  /** The fault of this operation, if it has one: that of the first rule whose turn it is. */
  take(op: MemoryOperation, path: string, otherPath?: string): Fault | undefined {
    for (const active of this.#rules) {
      if (!matches(active.rule, op, path, otherPath)) continue
      active.matched++
      if (!this.#isDue(active)) continue
      active.counter.fired++
      return { effect: active.rule.effect, when: active.rule.when ?? 'before' }
    }
    return undefined
  }

  #isDue({ rule, counter, matched }: ActiveRule): boolean {
    const nth = rule.nth ?? 1
    if (rule.repeat !== 'forever' && counter.fired > 0) return false
    if (rule.probability !== undefined) {
      return matched >= nth && this.#random.below(2 ** 24) < rule.probability * 2 ** 24
    }
    return rule.repeat === 'forever' ? matched >= nth : matched === nth
  }
}

/** Throws if the fault is an error at this time. */
export function throwFault(
  fault: Fault | undefined,
  when: 'before' | 'after',
  syscall: string,
  path: string,
): void {
  if (fault?.when === when && 'errno' in fault.effect) throw systemError(fault.effect.errno, syscall, path)
}

/** How many of `count` bytes the operation takes. */
export function limitedBy(fault: Fault | undefined, count: number): number {
  return fault !== undefined && 'shortBytes' in fault.effect
    ? Math.min(count, fault.effect.shortBytes)
    : count
}

/** Where the operation goes that should go to `offset`. */
export function misdirectedBy(fault: Fault | undefined, offset: number): number {
  return fault !== undefined && 'misdirectBytes' in fault.effect
    ? Math.max(0, offset + fault.effect.misdirectBytes)
    : offset
}

/** Whether it keeps an asynchronous operation for a while, or for ever. */
export function lingers(fault: Fault | undefined): fault is Fault {
  return fault !== undefined && ('delayMs' in fault.effect || 'hangs' in fault.effect)
}

/** Flips the bit that the fault names, if it names one. */
export function damage(fault: Fault | undefined, bytes: Uint8Array): void {
  if (fault === undefined || !('flipBit' in fault.effect) || bytes.length === 0) return
  const bit = fault.effect.flipBit % (bytes.length * 8)
  bytes[bit >>> 3]! ^= 1 << (bit & 7)
}

/** Which operations a kind of effect can happen to; errors and a power cut can happen to all. */
const FITTING: readonly (readonly [string, ReadonlySet<MemoryOperation>])[] = [
  ['shortBytes', new Set(['read', 'write'])],
  ['flipBit', new Set(['read', 'write'])],
  ['misdirectBytes', new Set(['read', 'write'])],
  ['isStale', new Set(['read'])],
  ['lies', new Set(['sync', 'syncDirectory'])],
  ['delayMs', new Set(['read', 'sync', 'remove'])],
  ['hangs', new Set(['read', 'sync', 'remove'])],
]

function matches(rule: FaultRule, op: MemoryOperation, path: string, otherPath: string | undefined): boolean {
  if (rule.op !== 'any' && rule.op !== op) return false
  for (const [kind, ops] of FITTING) if (kind in rule.effect && !ops.has(op)) return false
  if (rule.path === undefined) return true
  return path.search(rule.path) >= 0 || (otherPath !== undefined && otherPath.search(rule.path) >= 0)
}
