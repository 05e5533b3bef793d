import type { FaultRule } from '../../src/env/faults.js'
import type { OpenOptions } from '../../src/index.js'
import { encryptionNote, encryptionOf } from '../encryption/share.js'
import type { SimOp, SimPlan } from '../sim/sim-operations.js'
import { Simulation } from '../sim/simulation.js'
import { blobsOf } from '../store/blob-share.js'

const OPERATIONS = [
  'open',
  'create',
  'write',
  'read',
  'sync',
  'syncDirectory',
  'rename',
  'remove',
  'link',
  'stat',
  'list',
] as const

const KINDS: readonly Pick<FaultRule, 'repeat' | 'when'>[] = [
  { repeat: 'once', when: 'before' },
  { repeat: 'forever', when: 'before' },
  { repeat: 'once', when: 'after' },
]

const OPTIONS: OpenOptions<Buffer, Buffer> = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  durability: 'os',
  memtableBytes: 1024,
  segmentBytes: 400,
  blockBytes: 200,
  levelRatio: 2,
  l0SegmentsMax: 2,
  memory: 65_536,
  log: { maxBytes: 2000 },
}

/** Everything that touches the disk: creation, writes, flushes, merges, a checkpoint, recoveries. */
function script(): SimOp[] {
  const put = (n: number, durability?: 'disk'): SimOp => ({
    kind: 'put',
    turns: 3,
    key: `k${n % 7}`,
    value: `${n} `.repeat(60),
    ...(durability ? { durability } : {}),
  })
  const plain = (
    kind: 'flush' | 'sync' | 'checkpoint' | 'reopen' | 'wait' | 'verify' | 'changes',
  ): SimOp => ({
    kind,
    turns: 4,
  })
  const scan: SimOp = { kind: 'scan', turns: 4, range: {}, reverse: false, limit: -1, snapshot: 9 }
  return [
    ...[
      put(1),
      put(2, 'disk'),
      put(3),
      put(4),
      plain('wait'),
      put(5),
      put(6, 'disk'),
      put(7),
      plain('flush'),
    ],
    ...[
      plain('wait'),
      { kind: 'clear', turns: 2, range: { gte: 'k5' } } as SimOp,
      put(8),
      plain('sync'),
      scan,
    ],
    ...[
      { kind: 'compact', turns: 20, range: {} } as SimOp,
      plain('changes'),
      plain('checkpoint'),
      put(9),
      put(10),
    ],
    ...[plain('reopen'), put(11), put(12, 'disk'), scan, plain('verify'), plain('wait')],
  ]
}

export interface SweepResult {
  readonly runs: number
  readonly fired: number
  readonly line: string
}

/** One error at every operation of the script, in every kind of way, one run for each. */
export async function sweepErrors(
  errnos: readonly string[],
  stride = 1,
  offset = 0,
  operations: readonly (typeof OPERATIONS)[number][] = OPERATIONS,
): Promise<SweepResult> {
  let runs = 0
  let fired = 0
  for (const op of operations) {
    for (const errno of errnos) {
      for (const kind of KINDS) {
        for (let nth = 1 + offset; ; nth += stride) {
          const rule: FaultRule = { op, nth, effect: { errno }, ...kind }
          const { faults } = await runWith(rule)
          if (faults === 0) break
          runs++
          fired += faults
        }
      }
    }
  }
  const line =
    `error sweep: ${runs} runs, ${operations.length} operations x ${errnos.length} errors x ${KINDS.length} ways, ` +
    `at every ${stride === 1 ? '' : `${stride}. `}place, fired ${fired} times, 0 bad`
  return { runs, fired, line }
}

export async function runWith(rule: FaultRule): Promise<{ faults: number }> {
  const workers = (rule.nth ?? 0) % 2
  const plan: SimPlan = {
    seed: 1,
    options: { ...OPTIONS, workers, ...blobsOf(rule.nth ?? 0), ...encryptionOf(rule.nth ?? 0) },
    tickMs: 0.01,
    isLying: false,
    ops: script(),
    rule,
  }
  try {
    return await new Simulation(plan).run()
  } catch (cause) {
    throw new Error(`with ${JSON.stringify(rule)}${encryptionNote(rule.nth ?? 0)}: ${cause}`, { cause })
  }
}
