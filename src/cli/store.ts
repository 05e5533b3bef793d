import { statSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import type { Database } from '../database.js'
import type { Durability } from '../store/contract.js'
import { UsageError } from './failure.js'
import { encryptionOptions } from './key-file.js'

/** Loaded when it is wanted: help, completion and wrong use need none of it. */
export const loadEngine = () => import('../database.js')

export type Store = Database<Buffer, Buffer>

/** `'read'` writes nothing and takes no lock; only `'create'` makes a directory. */
export type StoreMode = 'read' | 'write' | 'create'

export async function withStore<T>(
  directory: string,
  mode: StoreMode,
  work: (store: Store) => Promise<T>,
): Promise<T> {
  if (mode !== 'create') requireDirectory(directory)
  const { open } = await loadEngine()
  const store = await open<Buffer, Buffer>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    checkEncodings: false,
    createIfMissing: mode === 'create',
    readOnly: mode === 'read',
    ...encryptionOptions(),
  })
  return closeAfter(store, () => work(store))
}

/** Runs `work` and closes the store; a failure of the work outranks one of the close. */
export async function closeAfter<T>(store: { close(): Promise<void> }, work: () => Promise<T>): Promise<T> {
  let result: T
  try {
    result = await work()
  } catch (error) {
    await store.close().catch(() => undefined)
    throw error
  }
  await store.close()
  return result
}

export function requireDirectory(directory: string): void {
  const stats = statSync(directory, { throwIfNoEntry: false })
  if (stats === undefined) throw new UsageError(`no such directory: ${directory}`)
  if (!stats.isDirectory()) throw new UsageError(`not a directory: ${directory}`)
}

/** The key that an argument names. */
export function parseKey(text: string, isHex: boolean | undefined): Buffer {
  if (!isHex) return Buffer.from(text, 'utf8')
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) throw new UsageError(`not hexadecimal: ${text}`)
  return Buffer.from(text, 'hex')
}

export function parseCount(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) {
    throw new InvalidArgumentError('It must be a whole number.')
  }
  return count
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of `500ms`, `10s`, `5m`, `2h`, `7d`. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  if (count !== undefined && unit !== undefined) return Number(count) * UNIT_MS[unit]!
  throw new InvalidArgumentError('It must be a time such as 500ms, 10s, 5m, 2h or 7d.')
}

function parseDurability(text: string): Durability {
  if (text === 'memory' || text === 'os' || text === 'disk') return text
  if (/^\d+$/.test(text)) return { intervalMs: parseCount(text) }
  throw new InvalidArgumentError("It must be 'memory', 'os', 'disk' or an interval in milliseconds.")
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON')
}

export function withHexKey(command: Command): Command {
  return command.option('--hex-key', 'the keys given are hexadecimal')
}

export function withDurability(command: Command): Command {
  return command.option(
    '--durability <level>',
    'what to wait for: memory, os, disk or an interval in ms',
    parseDurability,
  )
}
