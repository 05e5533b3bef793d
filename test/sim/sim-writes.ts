import type { OpenOptions } from '../../src/index.js'
import type { ModelOp } from './sim-model.js'
import type { SimOp } from './sim-operations.js'
import type { SimRun } from './sim-run.js'
import { batchOf, bytes, durabilityOf, modelOpsOf, rangeOf } from './sim-support.js'

type Of<K extends SimOp['kind']> = Extract<SimOp, { kind: K }>
type Durability = OpenOptions['durability']
export type WriteOp = Of<
  'put' | 'del' | 'batch' | 'clear' | 'putIf' | 'batchIf' | 'sync' | 'flush' | 'compact'
>

/** Hands one write to the store, in the order of the history; what it promises is noted once it is acknowledged. */
export function issueWrite(run: SimRun, op: WriteOp): void {
  const { db } = run
  switch (op.kind) {
    case 'put':
      return void write(run, modelOpsOf([op]), op.durability, () =>
        db.put(bytes(op.key), bytes(op.value), durabilityOf(op)),
      )
    case 'del':
      return void write(run, [op], op.durability, () => db.del(bytes(op.key), durabilityOf(op)))
    case 'batch':
      return void write(run, modelOpsOf(op.changes), op.durability, () =>
        db.batch(batchOf(op.changes), durabilityOf(op)),
      )
    case 'clear':
      return void write(run, [op], undefined, () => db.clear(rangeOf(op.range)))
    case 'putIf':
    case 'batchIf':
      return void conditional(run, op)
    case 'sync':
      return void sync(run)
    default:
      return void flush(run, op)
  }
}

function write(
  run: SimRun,
  ops: readonly ModelOp[],
  durability: Durability,
  call: () => Promise<number>,
): void {
  const { db, model, expect } = run
  const wasFailed = run.hasFailed
  const committed = db.position
  const mode = durability ?? run.plan.options.durability
  const applied = run.plant === 'lost-delete' ? ops.filter(({ kind }) => kind !== 'del') : ops
  // What was not acknowledged may have been written all the same: it has its place until recovery decides.
  const expected = wasFailed ? undefined : model.apply(applied)
  const running = call()
  if (run.plant === 'early-acknowledgement' && expected !== undefined) run.promise(expected, true)
  run.track('write', running, {
    check: (position) => {
      expect(!wasFailed, 'a write was taken after the store had failed')
      expect(position === expected, `a write got position ${position} instead of ${expected}`)
      expect(db.position >= position, `position ${position} was acknowledged before it was visible`)
      if (mode !== 'memory') run.promise(position, mode === 'disk')
    },
    onError: (code) => {
      if (!wasFailed) return
      expect(code === 'VARVE_POISONED' || code === 'VARVE_NO_SPACE', `a write after a failure: ${code}`)
      expect(db.position === committed, 'the position moved after a failure')
    },
  })
}

function conditional(run: SimRun, op: Of<'putIf' | 'batchIf'>): void {
  // A condition that cannot be read rejects a write that has no position: the model could not tell.
  if (run.hasFailed || run.isFaulty) return
  const { db, model, expect } = run
  const current = model.positionOf(op.key, model.issued) ?? null
  const position = op.holds ? current : (current ?? 0) + 1
  const key = bytes(op.key)
  const call = () =>
    op.kind === 'putIf'
      ? db.put(key, bytes(op.value), { ifPosition: position })
      : db.batch(batchOf(op.changes), { check: [{ key, position }] })
  if (op.holds) return void write(run, modelOpsOf(op.kind === 'putIf' ? [op] : op.changes), undefined, call)
  run.track('conditional write', call(), {
    check: () => expect(false, 'a write whose condition did not hold was taken'),
    codes: ['VARVE_CONFLICT'],
  })
}

function sync(run: SimRun): void {
  const { issued } = run.model
  const wasFailed = run.hasFailed
  run.track('sync', run.db.sync(), {
    check: (position) => {
      run.expect(!wasFailed, 'a sync was answered after the store had failed')
      run.expect(position >= issued, `a sync covers ${position} of ${issued}`)
      run.promise(position, true)
    },
  })
}

function flush(run: SimRun, op: Of<'flush' | 'compact'>): void {
  const { issued } = run.model
  const wasFailed = run.hasFailed
  const running = op.kind === 'flush' ? run.db.flush() : run.db.compact(rangeOf(op.range))
  run.track(op.kind, running, { check: () => !wasFailed && run.promise(issued, true) })
}
