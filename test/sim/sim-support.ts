import type { BatchOp, Range, WriteOptions } from '../../src/index.js'
import type { ModelOp, ModelRange } from './sim-model.js'
import type { Change } from './sim-operations.js'

/** Keys and values of the model are strings of bytes. */
export function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

export function latin(value: Buffer): string
export function latin(value: Buffer | undefined): string | undefined
export function latin(value: Buffer | undefined): string | undefined {
  return value?.toString('latin1')
}

export function batchOf(changes: readonly Change[]): BatchOp<Buffer, Buffer>[] {
  return changes.map(({ key, value }) =>
    value === undefined
      ? { type: 'del', key: bytes(key) }
      : { type: 'put', key: bytes(key), value: bytes(value) },
  )
}

export function modelOpsOf(changes: readonly Change[]): ModelOp[] {
  return changes.map(({ key, value }) =>
    value === undefined ? { kind: 'del', key } : { kind: 'put', key, value },
  )
}

export function rangeOf(range: ModelRange): Range<Buffer> {
  return Object.fromEntries(Object.entries(range).map(([name, key]) => [name, bytes(key as string)]))
}

export function durabilityOf({ durability }: WriteOptions): WriteOptions {
  return durability === undefined ? {} : { durability }
}

export function limited<T>(entries: readonly T[], reverse: boolean, limit: number): T[] {
  const ordered = reverse ? [...entries].reverse() : [...entries]
  return limit === -1 ? ordered : ordered.slice(0, limit)
}

export function equal(left: unknown, right: unknown): boolean {
  if (left === right) return true
  return Array.isArray(left) && Array.isArray(right)
    ? left.length === right.length && left.every((item, i) => equal(item, right[i]))
    : false
}

/** For messages: short, and safe to print. */
export function text(value: unknown): string {
  const json = JSON.stringify(value) ?? 'undefined'
  return json.length > 300 ? `${json.slice(0, 300)}...` : json
}
