import type { Env } from '../../src/env/env.js'
import { type Change, type Database, type OpenOptions, open, VarveError } from '../../src/index.js'
import type { SimModel } from './sim-model.js'
import { equal, latin, text } from './sim-support.js'

type Store = Database<Buffer, Buffer>
export type Expect = (isRight: boolean, message: string) => void

/** Everything, forwards, backwards and key by key. */
export async function checkContent(
  db: Store,
  model: SimModel,
  position: number,
  expect: Expect,
): Promise<void> {
  const wanted = model.list(position)
  const found = entriesOf(await db.entries().all())
  if (!equal(found, wanted)) expect(false, `at position ${position}: ${difference(found, wanted)}`)
  const backwards = entriesOf(await db.entries({ reverse: true }).all()).reverse()
  if (!equal(backwards, wanted)) expect(false, `backwards at ${position}: ${difference(backwards, wanted)}`)
  for (const [key, value] of wanted) {
    const single = latin(await db.get(Buffer.from(key, 'latin1')))
    if (single !== value) expect(false, `get ${text(key)} at position ${position}: ${text(single)}`)
  }
}

/** The log shows what was written, batch by batch. */
export async function checkChanges(db: Store, model: SimModel, expect: Expect): Promise<void> {
  const first = db.oldestPosition
  const last = db.stats().durablePosition
  let next = first
  try {
    for await (const change of db.changes()) {
      expect(change.position === next, `the feed shows ${change.position} instead of ${next}`)
      checkChange(change, model, expect)
      next++
    }
  } catch (error) {
    // The log was trimmed meanwhile.
    if (error instanceof VarveError && error.code === 'VARVE_POSITION_LOST') return
    throw error
  }
  // After a failure the feed shows what had been promised by then.
  expect(
    next > last || db.stats().health !== undefined,
    `the feed ends before ${next}, but ${last} is durable`,
  )
}

function checkChange({ position, ops }: Change<Buffer, Buffer>, model: SimModel, expect: Expect): void {
  const found = ops.map((op) => {
    if (op.type === 'clear') return ['clear']
    return op.type === 'put' ? ['put', latin(op.key), latin(op.value)] : ['del', latin(op.key)]
  })
  const wanted = model.batch(position).map((op) => {
    if (op.kind === 'clear') return ['clear']
    return op.kind === 'put' ? ['put', op.key, op.value] : ['del', op.key]
  })
  // A range that cannot hold a key is written as a batch of nothing.
  const isNothing = found.length === 0 && wanted[0]?.[0] === 'clear'
  if (isNothing || equal(found, wanted)) return
  expect(false, `the feed at ${position}: ${text(found)} instead of ${text(wanted)}`)
}

/** A checkpoint is a store of its own. */
export async function checkCheckpoint(
  env: Env,
  path: string,
  options: OpenOptions<Buffer, Buffer>,
  model: SimModel,
  position: number,
  expect: Expect,
): Promise<void> {
  const readOnly = { ...options, readOnly: true, env }
  const copy = await open<Buffer, Buffer>(path, readOnly)
  try {
    expect(copy.position === position, `a checkpoint of ${position} is at ${copy.position}`)
    await checkContent(copy, model, position, expect)
  } finally {
    await copy.close()
  }
}

function entriesOf(entries: readonly [Buffer, Buffer][]): [string, string][] {
  return entries.map(([key, value]) => [latin(key), latin(value)])
}

function difference(found: readonly [string, string][], wanted: readonly [string, string][]): string {
  const index = wanted.findIndex((entry, i) => !equal(entry, found[i]))
  const at = index < 0 ? wanted.length : index
  return `${found.length} entries, wanted ${wanted.length}; at ${at} ${text(found[at])} instead of ${text(wanted[at])}`
}
