import type { RangeIterator } from '../../src/index.js'
import { checkChanges } from './sim-checks.js'
import type { SimOp } from './sim-operations.js'
import type { SimRun } from './sim-run.js'
import { bytes, equal, latin, limited, rangeOf, text } from './sim-support.js'

type Of<K extends SimOp['kind']> = Extract<SimOp, { kind: K }>
export type ReadOp = Of<
  | 'get'
  | 'getSync'
  | 'getEntry'
  | 'has'
  | 'getMany'
  | 'scan'
  | 'walk'
  | 'seek'
  | 'keys'
  | 'values'
  | 'scanSync'
  | 'changes'
  | 'verify'
  | 'inspect'
  | 'snapshot'
  | 'release'
>

/** Reads, beside whatever else is in flight: the answer is the state at one position between call and answer. */
export function issueRead(run: SimRun, op: ReadOp): void {
  const { db } = run
  switch (op.kind) {
    case 'walk':
      return void run.guard(() => walk(run, op))
    case 'seek':
      return void run.guard(() => seek(run, op))
    case 'keys':
    case 'values':
    case 'scanSync':
      return void run.guard(() => list(run, op))
    case 'changes':
      return void run.track('changes', checkChanges(db, run.model, run.expect))
    case 'verify':
      return void run.track('verify', db.verify())
    case 'inspect':
      return void run.guard(() => inspect(run))
    case 'snapshot':
      return void run.guard(() => hold(run))
    case 'release':
      return void run.release(op.snapshot)
    default:
      return void readOne(run, op)
  }
}

function readOne(run: SimRun, op: Of<'get' | 'getSync' | 'getEntry' | 'has' | 'getMany' | 'scan'>): void {
  const { db, model } = run
  const held = run.held[op.snapshot]
  const options = held ? { snapshot: held.snapshot } : {}
  const first = held?.position ?? db.position
  const match = (what: () => string, show: (position: number) => unknown, found: unknown): void => {
    const last = held?.position ?? db.position
    run.note(found)
    for (let at = first; at <= last; at++) if (equal(show(at), found)) return
    run.expect(false, `${what()} at ${first} to ${last}: ${text(found)}, not ${text(show(first))}`)
  }
  switch (op.kind) {
    case 'getSync':
      return void run.guard(() => {
        const value = db.getSync(bytes(op.key), options)
        match(
          () => `getSync ${text(op.key)}`,
          (at) => model.get(op.key, at),
          latin(value),
        )
      })
    case 'get':
      return void run.track('get', db.get(bytes(op.key), options), {
        check: (value) =>
          match(
            () => `get ${text(op.key)}`,
            (at) => model.get(op.key, at),
            latin(value),
          ),
      })
    case 'has':
      return void run.track('has', db.has(bytes(op.key), options), {
        check: (found) =>
          match(
            () => 'has',
            (at) => model.get(op.key, at) !== undefined,
            found,
          ),
      })
    case 'getEntry':
      return void run.track('getEntry', db.getEntry(bytes(op.key), options), {
        check: (entry) =>
          match(
            () => 'getEntry',
            (at) => [model.get(op.key, at), model.positionOf(op.key, at)],
            [latin(entry?.value), entry?.position],
          ),
      })
    case 'getMany':
      return void run.track('getMany', db.getMany(op.keys.map(bytes), options), {
        check: (values) =>
          match(
            () => 'getMany',
            (at) => op.keys.map((key) => model.get(key, at)),
            values.map((value) => latin(value)),
          ),
      })
    case 'scan':
      return void run.guard(() => {
        const query = { ...rangeOf(op.range), reverse: op.reverse, limit: op.limit, ...options }
        const show = (at: number) => limited(model.list(at, op.range), op.reverse, op.limit)
        run.track('scan', db.entries(query).all(), {
          check: (entries) => match(() => `scan ${text(op)}`, show, pairs(entries)),
        })
      })
  }
}

/** The other ways to read a range. */
function list(run: SimRun, op: Of<'keys' | 'values' | 'scanSync'>): void {
  const { db, model } = run
  const first = db.position
  const query = { ...rangeOf(op.range), reverse: op.reverse, limit: op.limit }
  const check = (found: readonly unknown[], part: (entry: [string, string]) => unknown) => {
    run.note(found)
    for (let at = first; at <= db.position; at++) {
      if (equal(limited(model.list(at, op.range), op.reverse, op.limit).map(part), found)) return
    }
    run.expect(false, `${op.kind} of ${text(op)} at ${first}: ${text(found)}`)
  }
  switch (op.kind) {
    case 'keys':
      run.track('keys', db.keys(query).all(), {
        check: (keys) =>
          check(
            keys.map((key) => latin(key)),
            ([key]) => key,
          ),
      })
      return
    case 'values':
      run.track('values', db.values(query).all(), {
        check: (values) =>
          check(
            values.map((value) => latin(value)),
            ([, value]) => value,
          ),
      })
      return
    case 'scanSync':
      check(pairs([...db.entriesSync(query)]), (entry) => entry)
      check(
        [...db.keysSync(query)].map((key) => latin(key)),
        ([key]) => key,
      )
      check(
        [...db.valuesSync(query)].map((value) => latin(value)),
        ([, value]) => value,
      )
  }
}

/** An iterator that is sent to and fro. */
function seek(run: SimRun, op: Of<'seek'>): void {
  const { db, model } = run
  const first = db.position
  const iterator = db.entries({ ...rangeOf(op.range), reverse: op.reverse })
  const steps = async () => {
    const found: [string, string][][] = []
    for (const key of op.keys) {
      iterator.seek(bytes(key))
      found.push(await take(iterator, 2))
    }
    await iterator.close()
    return found
  }
  const show = (at: number) => {
    const all = limited(model.list(at, op.range), op.reverse, -1)
    return op.keys.map((sought) =>
      all.filter(([key]) => (op.reverse ? key <= sought : key >= sought)).slice(0, 2),
    )
  }
  run.track('seek', steps(), {
    check: (found) => {
      run.note(found)
      for (let at = first; at <= db.position; at++) if (equal(show(at), found)) return
      run.expect(
        false,
        `an iterator that seeks ${text(op)} at ${first}: ${text(found)}, not ${text(show(first))}`,
      )
    },
  })
}

/** An iterator that is used bit by bit while other things happen. */
function walk(run: SimRun, op: Of<'walk'>): void {
  const { db, model } = run
  const first = db.position
  const iterator = db.entries({ ...rangeOf(op.range), reverse: op.reverse })
  const wanted = op.sizes.reduce((sum, size) => sum + size, 0)
  const steps = async () => {
    const found: [string, string][] = []
    for (const size of op.sizes) found.push(...(await take(iterator, size)))
    await iterator.close()
    return found
  }
  run.track('walk', steps(), {
    check: (found) => {
      run.note(found)
      for (let at = first; at <= db.position; at++) {
        if (equal(limited(model.list(at, op.range), op.reverse, wanted), found)) return
      }
      run.expect(false, `an iterator opened at ${first} shows no state that there was: ${text(found)}`)
    },
  })
}

/** `nextv` may give fewer than it was asked for; none is the end. */
async function take(iterator: RangeIterator<[Buffer, Buffer]>, count: number): Promise<[string, string][]> {
  const found: [string, string][] = []
  while (found.length < count) {
    const part = await iterator.nextv(count - found.length)
    if (part.length === 0) break
    found.push(...pairs(part))
  }
  return found
}

function hold(run: SimRun): void {
  if (run.held.length >= 4) run.release(0)
  const snapshot = run.db.snapshot()
  run.expect(snapshot.position === run.db.position, 'a snapshot is not of the present')
  run.held.push({ snapshot, position: snapshot.position })
}

function inspect(run: SimRun): void {
  const { position, durablePosition } = run.db
  run.expect(durablePosition <= position, 'durablePosition is above position')
  run.expect(position <= run.model.issued, 'the position is above what was written')
  run.expect(run.db.stats().position === position, 'stats tell another position')
  run.promise(durablePosition, true)
  run.db.approximateSize({})
}

function pairs(entries: readonly [Buffer, Buffer][]): [string, string][] {
  return entries.map(([key, value]) => [latin(key), latin(value)])
}
