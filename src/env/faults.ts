import { systemError } from './system-error.js'

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

export type FaultEffect =
  /** The operation throws this. A sync that fails so loses what it should have made durable. */
  | { readonly errno: string }
  /** A read or write takes at most so many bytes. */
  | { readonly shortBytes: number }
  /** A read or write changes this bit of the bytes it passes (modulo their length). */
  | { readonly flipBit: number }

export interface FaultRule {
  readonly op: MemoryOperation | 'any'
  readonly path?: RegExp
  /** The first match that fails, counted from 1. */
  readonly nth?: number
  readonly repeat?: 'once' | 'forever'
  readonly effect: FaultEffect
  /** `after`: the operation happened all the same, and only its answer is an error. */
  readonly when?: 'before' | 'after'
}

/** How often a rule has fired: a test that injects a fault checks that it did. */
export interface FaultCounter {
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
  #rules: ActiveRule[] = []

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
      const nth = active.rule.nth ?? 1
      const isDue = active.rule.repeat === 'forever' ? active.matched >= nth : active.matched === nth
      if (!isDue) continue
      active.counter.fired++
      return { effect: active.rule.effect, when: active.rule.when ?? 'before' }
    }
    return undefined
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

/** Flips the bit that the fault names, if it names one. */
export function damage(fault: Fault | undefined, bytes: Uint8Array): void {
  if (fault === undefined || !('flipBit' in fault.effect) || bytes.length === 0) return
  const bit = fault.effect.flipBit % (bytes.length * 8)
  bytes[bit >>> 3]! ^= 1 << (bit & 7)
}

function matches(rule: FaultRule, op: MemoryOperation, path: string, otherPath: string | undefined): boolean {
  if (rule.op !== 'any' && rule.op !== op) return false
  if (!('errno' in rule.effect) && op !== 'read' && op !== 'write') return false
  if (rule.path === undefined) return true
  return path.search(rule.path) >= 0 || (otherPath !== undefined && otherPath.search(rule.path) >= 0)
}
