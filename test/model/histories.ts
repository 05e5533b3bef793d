import { expect } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { type Database, type OpenOptions, open, type Range, type Snapshot } from '../../src/index.js'
import { compareBytes } from '../../src/util/bytes.js'
import { expectSame } from '../same.js'
import { slowClock } from '../store/slow-clock.js'
import { Model, type ModelEntry } from './model.js'
import type { Operation } from './operations.js'

const HELD_SNAPSHOTS = 3

interface Held {
  readonly snapshot: Snapshot
  readonly model: Model
}

/** How to read, and what that should show. */
interface Shown {
  readonly model: Model
  readonly options: { readonly snapshot?: Snapshot }
}

/** Runs one history on a store and on the model, and compares everything that can be seen. */
export class History {
  readonly #options: OpenOptions<Buffer, Buffer>
  readonly #env: MemoryEnv
  #db!: Database<Buffer, Buffer>
  #model = new Model()
  #held: Held[] = []

  constructor(options: OpenOptions<Buffer, Buffer>, isDiskSlow: boolean) {
    const env = memoryEnv({ seed: 1 })
    this.#env = isDiskSlow ? { ...env, clock: slowClock(env.clock) } : env
    this.#options = {
      ...options,
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      workers: 0,
      durability: 'os',
    }
  }

  async run(operations: readonly Operation[]): Promise<void> {
    await this.#open()
    for (const operation of operations) await this.#step(operation)
    await this.#compareAll()
    await this.#reopen()
    await this.#compareAll()
    await this.#db.verify()
    await this.#db.close()
    expect(this.#env.fs.openFiles()).toEqual([])
  }

  async #open(): Promise<void> {
    const options = { ...this.#options, env: this.#env }
    this.#db = await open<Buffer, Buffer>('/db', options)
  }

  async #reopen(): Promise<void> {
    for (const { snapshot } of this.#held) snapshot.close()
    this.#held = []
    await this.#db.close()
    await this.#open()
    expect(this.#db.position).toBe(this.#model.position)
  }

  async #step(operation: Operation): Promise<void> {
    switch (operation.type) {
      case 'put':
        return this.#write([operation])
      case 'del':
        return this.#write([{ key: operation.key, value: undefined }])
      case 'batch':
        return this.#write(operation.ops)
      case 'clear':
        this.#model.clear(operation.range)
        expect(await this.#db.clear(operation.range)).toBe(this.#model.position)
        return
      case 'conditional':
        return this.#conditional(operation)
      case 'get':
        return this.#get(operation.key, this.#heldBy(operation.snapshot))
      case 'getMany':
        return this.#getMany(operation.keys, this.#heldBy(operation.snapshot))
      case 'iterate':
        return this.#iterate(operation)
      case 'snapshot':
        return this.#takeSnapshot()
      case 'release':
        this.#held.splice(operation.snapshot, 1)[0]?.snapshot.close()
        return
      case 'flush':
        return this.#db.flush()
      case 'compact':
        return this.#db.compact(operation.range)
      case 'reopen':
        return this.#reopen()
    }
  }

  async #write(ops: readonly { key: Buffer; value: Buffer | undefined }[]): Promise<void> {
    this.#model.apply(ops)
    const [only] = ops
    let position: number
    if (ops.length === 1 && only) {
      position = await (only.value ? this.#db.put(only.key, only.value) : this.#db.del(only.key))
    } else {
      position = await this.#db.batch(
        ops.map(({ key, value }) => (value ? { type: 'put', key, value } : { type: 'del', key })),
      )
    }
    expectSame(position, this.#model.position)
  }

  async #conditional({ key, value, condition }: Operation & { type: 'conditional' }): Promise<void> {
    const current = this.#model.find(key)?.position ?? null
    const ifPosition =
      condition === 'current' ? current : condition === 'absent' ? null : this.#model.position + 1
    const write = this.#db.put(key, value, { ifPosition })
    if (ifPosition === current) {
      this.#model.apply([{ key, value }])
      expectSame(await write, this.#model.position)
    } else {
      await expect(write).rejects.toMatchObject({ code: 'VARVE_CONFLICT' })
    }
  }

  /** A held snapshot and what it should show; the last number stands for the present. */
  #heldBy(number: number): Shown {
    const held = this.#held[number]
    return held
      ? { model: held.model, options: { snapshot: held.snapshot } }
      : { model: this.#model, options: {} }
  }

  async #get(key: Buffer, { model, options }: Shown): Promise<void> {
    const expected = model.find(key)
    expectSame(await this.#db.get(key, options), expected?.value)
    expectSame(this.#db.getSync(key, options), expected?.value)
    const entry = await this.#db.getEntry(key, options)
    expectSame(entry, expected && { value: expected.value, position: expected.position })
    expectSame(await this.#db.has(key, options), expected !== undefined)
  }

  async #getMany(keys: readonly Buffer[], { model, options }: Shown): Promise<void> {
    const expected = keys.map((key) => model.find(key)?.value)
    expectSame(await this.#db.getMany(keys, options), expected)
  }

  #takeSnapshot(): void {
    if (this.#held.length === HELD_SNAPSHOTS) this.#held.shift()?.snapshot.close()
    this.#held.push({ snapshot: this.#db.snapshot(), model: this.#model.copy() })
  }

  async #iterate({
    range,
    reverse,
    limit,
    steps,
    isSync,
    snapshot,
  }: Operation & { type: 'iterate' }): Promise<void> {
    const { model, options } = this.#heldBy(snapshot)
    const query: Range<Buffer> = { ...range, reverse, limit, ...options }
    const all = model.list({ ...range, reverse })
    const limited = limit === -1 ? all : all.slice(0, limit)
    if (isSync) {
      const expected = limited.map(({ key, value }) => [key, value])
      expectSame([...this.#db.entriesSync(query)], expected)
      return
    }
    const iterator = this.#db.entries(query)
    let left = limit === -1 ? Number.POSITIVE_INFINITY : limit
    let at = 0
    for (const sought of steps) {
      if (sought) {
        iterator.seek(sought)
        at = seekIndex(all, sought, reverse)
      }
      const expected = left > 0 ? all[at] : undefined
      const [entry] = await iterator.nextv(1)
      expectSame(entry, expected && [expected.key, expected.value])
      if (!expected) continue
      at++
      left--
    }
    const rest = left === Number.POSITIVE_INFINITY ? all.slice(at) : all.slice(at, at + left)
    const expected = rest.map(({ key, value }) => [key, value])
    expectSame(await iterator.all(), expected)
  }

  async #compareAll(): Promise<void> {
    const expected = this.#model.list({}).map(({ key, value }) => [key, value])
    expectSame(await this.#db.entries().all(), expected)
    expectSame(await this.#db.entries({ reverse: true }).all(), expected.reverse())
    for (const { key, value } of this.#model.entries) expectSame(this.#db.getSync(key), value)
  }
}

function seekIndex(entries: readonly ModelEntry[], key: Buffer, reverse: boolean): number {
  const index = entries.findIndex((entry) => compareBytes(entry.key, key) * (reverse ? -1 : 1) >= 0)
  return index < 0 ? entries.length : index
}
