import type { CrashPolicy } from '../../src/env/crash-states.js'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import type { FaultRule } from '../../src/env/faults.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { OpenOptions } from '../../src/index.js'
import { encryptionOf } from '../encryption/share.js'
import { blobsOf } from '../store/blob-share.js'
import type { ModelRange } from './sim-model.js'

type Durability = NonNullable<OpenOptions['durability']>

interface Bodies {
  readonly put: { readonly key: string; readonly value: string; readonly durability?: Durability }
  readonly del: { readonly key: string; readonly durability?: Durability }
  readonly batch: { readonly changes: readonly Change[]; readonly durability?: Durability }
  readonly clear: { readonly range: ModelRange }
  readonly putIf: { readonly key: string; readonly value: string; readonly holds: boolean }
  readonly batchIf: { readonly changes: readonly Change[]; readonly key: string; readonly holds: boolean }
  readonly get: KeyRead
  readonly getSync: KeyRead
  readonly getEntry: KeyRead
  readonly has: KeyRead
  readonly getMany: { readonly keys: readonly string[]; readonly snapshot: number }
  readonly scan: Scan & { readonly limit: number; readonly snapshot: number }
  readonly walk: Scan & { readonly sizes: readonly number[] }
  /** Seeks from key to key within a range, a step after each. */
  readonly seek: Scan & { readonly keys: readonly string[] }
  readonly keys: Scan & { readonly limit: number }
  readonly values: Scan & { readonly limit: number }
  readonly scanSync: Scan & { readonly limit: number }
  readonly readOnly: object
  readonly compact: { readonly range: ModelRange }
  readonly release: { readonly snapshot: number }
  readonly crash: { readonly policy: CrashPolicy | 'killed'; readonly draw: number; readonly steps: number }
  readonly inject: { readonly rule: FaultRule }
  readonly fill: { readonly freeBytes: number }
  readonly snapshot: object
  readonly flush: object
  readonly sync: object
  readonly changes: object
  readonly verify: object
  readonly checkpoint: object
  readonly inspect: object
  readonly reopen: object
  readonly heal: object
  readonly killWorker: object
  readonly wait: object
}

interface KeyRead {
  readonly key: string
  readonly snapshot: number
}

interface Scan {
  readonly range: ModelRange
  readonly reverse: boolean
}

/** One step of a history. `turns` things are let happen after it. */
export type SimOp = {
  [K in keyof Bodies]: { readonly kind: K; readonly turns: number } & Bodies[K]
}[keyof Bodies]

export interface Change {
  readonly key: string
  readonly value: string | undefined
}

/** What one seed draws: options, how the disk is, and how often each thing happens. */
export interface SimPlan {
  readonly seed: number
  readonly options: OpenOptions<Buffer, Buffer>
  /** Milliseconds that pass at each look at the clock. */
  readonly tickMs: number
  /** The disk lies: syncs that did nothing, bits that flip. Then nothing is promised but a prefix, or an error. */
  readonly isLying: boolean
  readonly ops: readonly SimOp[]
  /** One operation after the other: what is in flight comes to its end first. */
  readonly isSequential?: boolean
  /** A fault that waits from the start. */
  readonly rule?: FaultRule
}

const ERRNOS = ['EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'EACCES', 'EROFS']
const PATHS = [/\.log$/, /\.seg$/, /MANIFEST/, /CURRENT/, /./]

export function planOf(seed: number, count: number): SimPlan {
  const draw = new Draw(seed)
  const isLying = draw.chance(0.12)
  const weights = drawWeights(draw, isLying)
  const keys = drawKeys(draw)
  const ops = Array.from({ length: count }, () => drawOp(draw, weights, keys, isLying))
  const options = { ...drawOptions(draw), ...blobsOf(seed), ...encryptionOf(seed) }
  return { seed, options, tickMs: draw.pick([0.0005, 0.01, 0.1, 0.6, 2]), isLying, ops }
}

/** Draws with a seed of their own: whatever else changes, the history stays the same. */
class Draw {
  readonly #random: SeededRandom
  #count = 0

  constructor(seed: number) {
    this.#random = new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ 0x51ed270b)
  }

  below(limit: number): number {
    return this.#random.below(limit)
  }

  chance(probability: number): boolean {
    return this.#random.below(1_000_000) < probability * 1_000_000
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }

  unique(): number {
    return ++this.#count
  }
}

function drawOptions(draw: Draw): OpenOptions<Buffer, Buffer> {
  return {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    durability: draw.pick<Durability>([
      'memory',
      'os',
      'disk',
      { intervalMs: 5 },
      { intervalMs: 1000 },
      'os',
    ]),
    memtableBytes: draw.pick([1024, 2048, 6000, 20_000]),
    segmentBytes: draw.pick([64, 400, 3000, 100_000]),
    blockBytes: draw.pick([1, 60, 400, 4096]),
    levelRatio: draw.pick([2, 3, 10]),
    l0SegmentsMax: draw.pick([1, 2, 4]),
    memory: draw.pick([65_536, 2 ** 18, 2 ** 22]),
    compression: draw.pick(['lz4', 'none']),
    compaction: draw.pick(['leveled', 'leveled', 'tiered']),
    workers: draw.pick([0, 1, 1, 2]),
    log: draw.pick([{}, { maxBytes: 3000 }, { maxBytes: 2 ** 20, pinnedMaxBytes: 2000 }]),
  }
}

/** Few, so that histories collide; of the kinds that go wrong. */
function drawKeys(draw: Draw): readonly string[] {
  const fixed = [
    '',
    '\0',
    '\0\0',
    'a',
    'a\0',
    'a\xff',
    'ab',
    'aa',
    'b',
    '\xff',
    '\xff\xff',
    '\xef\xbd\x9e',
    '\xf0\x9f\x98\x80',
  ]
  const count = draw.pick([4, 12, 30])
  const drawn = Array.from({ length: count }, (_, i) => `k${String(i).padStart(2, '0')}`)
  const long = draw.chance(0.15) ? ['x'.repeat(60_000)] : ['x'.repeat(500)]
  return [...fixed.slice(0, draw.below(fixed.length + 1)), ...drawn, ...long]
}

type Kind = SimOp['kind']

/** How often each kind comes, among a thousand or so. */
const COMMON_WEIGHTS: readonly (readonly [Kind, number])[] = [
  ['put', 300],
  ['del', 70],
  ['batch', 90],
  ['clear', 15],
  ['putIf', 25],
  ['batchIf', 15],
  ['get', 60],
  ['getSync', 50],
  ['getEntry', 20],
  ['has', 10],
  ['getMany', 20],
  ['scan', 40],
  ['walk', 15],
  ['seek', 12],
  ['keys', 10],
  ['values', 10],
  ['scanSync', 15],
  ['readOnly', 2],
  ['snapshot', 15],
  ['release', 12],
  ['flush', 10],
  ['compact', 4],
  ['sync', 10],
  ['changes', 8],
  ['verify', 2],
  ['checkpoint', 2],
  ['inspect', 20],
  ['wait', 40],
]

/** Swarms: each seed leaves some kinds out and does others much more often. */
function drawWeights(draw: Draw, isLying: boolean): readonly (readonly [Kind, number])[] {
  const rough: [Kind, number][] = [
    ['reopen', 6],
    ['crash', 10],
    ['inject', 12],
    ['heal', 16],
    ['fill', 4],
    ['killWorker', 8],
  ]
  const scaled = COMMON_WEIGHTS.map(([kind, weight]): [Kind, number] => [
    kind,
    weight * draw.pick([0.2, 1, 1, 3]),
  ])
  const faults = rough.map(([kind, weight]): [Kind, number] => [
    kind,
    weight * draw.pick(isLying ? [1, 1, 3] : [0, 0.5, 1, 3]),
  ])
  // A fault is always healed again some time.
  return [...scaled, ...faults, ['heal', 6]]
}

function drawOp(
  draw: Draw,
  weights: readonly (readonly [Kind, number])[],
  keys: readonly string[],
  isLying: boolean,
): SimOp {
  const kind = weighted(draw, weights)
  const turns = draw.pick([0, 0, 0, 1, 2, 5, 12])
  return { turns, ...bodyOf(kind, draw, keys, isLying) } as SimOp
}

function weighted(draw: Draw, weights: readonly (readonly [Kind, number])[]): Kind {
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0)
  let at = (draw.below(1_000_000) / 1_000_000) * total
  for (const [kind, weight] of weights) {
    at -= weight
    if (at < 0) return kind
  }
  return 'wait'
}

function bodyOf(kind: Kind, draw: Draw, keys: readonly string[], isLying: boolean): object {
  const snapshot = draw.below(6)
  const key = draw.pick(keys)
  const reverse = draw.chance(0.4)
  switch (kind) {
    case 'put':
      return { kind, key, value: drawValue(draw), ...drawDurability(draw) }
    case 'del':
      return { kind, key, ...drawDurability(draw) }
    case 'batch':
      return { kind, changes: drawChanges(draw, keys), ...drawDurability(draw) }
    case 'putIf':
      return { kind, key, value: drawValue(draw), holds: draw.chance(0.7) }
    case 'batchIf':
      return { kind, key, changes: drawChanges(draw, keys), holds: draw.chance(0.7) }
    case 'getMany':
      return { kind, keys: Array.from({ length: draw.below(8) }, () => draw.pick(keys)), snapshot }
    case 'scan':
      return {
        kind,
        range: drawRange(draw, keys),
        reverse,
        limit: draw.pick([-1, -1, 0, 1, 3, 10]),
        snapshot,
      }
    case 'walk':
      return {
        kind,
        range: drawRange(draw, keys),
        reverse,
        sizes: Array.from({ length: 6 }, () => draw.below(5) + 1),
      }
    case 'seek': {
      const sought = Array.from({ length: draw.below(6) + 1 }, () => draw.pick(keys))
      return { kind, range: drawRange(draw, keys), reverse, keys: sought }
    }
    case 'keys':
    case 'values':
    case 'scanSync':
      return { kind, range: drawRange(draw, keys), reverse, limit: draw.pick([-1, 0, 2, 7]) }
    case 'clear':
    case 'compact':
      return { kind, range: drawRange(draw, keys) }
    case 'crash':
      return {
        kind,
        policy: draw.pick([...ALL_CRASH_POLICIES, 'killed', 'killed', 'killed']),
        draw: draw.below(1000),
        steps: draw.pick([0, 0, 1, 3, 8, 20]),
      }
    case 'inject':
      return { kind, rule: drawRule(draw, isLying) }
    case 'fill':
      return { kind, freeBytes: draw.below(6000) }
    default:
      return { kind, key, snapshot }
  }
}

function drawValue(draw: Draw): string {
  const length = draw.pick([0, 5, 20, 60, 150, 150, 700, draw.chance(0.05) ? 9000 : 40])
  const unit = `${draw.unique()}.`
  return (draw.chance(0.5) ? unit.repeat(Math.ceil(length / unit.length)) : unit.padEnd(length, '~')).slice(
    0,
    Math.max(length, unit.length),
  )
}

function drawChanges(draw: Draw, keys: readonly string[]): Change[] {
  return Array.from({ length: draw.below(7) }, () => ({
    key: draw.pick(keys),
    value: draw.chance(0.3) ? undefined : drawValue(draw),
  }))
}

function drawDurability(draw: Draw): { durability?: Durability } {
  return draw.chance(0.15) ? { durability: draw.pick<Durability>(['memory', 'os', 'disk', 'disk']) } : {}
}

function drawRange(draw: Draw, keys: readonly string[]): ModelRange {
  const lower = draw.pick(keys)
  const upper = draw.pick(keys)
  return {
    ...(draw.chance(0.5) ? { [draw.pick(['gt', 'gte'])]: lower } : {}),
    ...(draw.chance(0.5) ? { [draw.pick(['lt', 'lte'])]: upper } : {}),
    ...(draw.chance(0.15) ? { prefix: draw.pick(keys).slice(0, 2) } : {}),
  }
}

function drawRule(draw: Draw, isLying: boolean): FaultRule {
  const nth = draw.pick([1, 1, 2, 3, 5])
  const repeat = draw.chance(0.3) ? 'forever' : 'once'
  const path = draw.pick(PATHS)
  const common = { nth, repeat, path } as const
  if (isLying && draw.chance(0.6)) return { ...common, ...drawLie(draw) }
  const kind = draw.below(10)
  if (kind < 1) return { ...common, op: 'write', effect: { shortBytes: 1 + draw.below(60) } }
  if (kind < 2)
    return {
      ...common,
      op: 'read',
      path: /\.seg$/,
      effect: draw.pick([{ flipBit: draw.below(9999) }, { misdirectBytes: 13 }, { shortBytes: 7 }]),
    }
  if (kind < 3)
    return {
      ...common,
      op: draw.pick(['sync', 'read', 'remove'] as const),
      effect: { delayMs: draw.below(200) },
    }
  const op = draw.pick([
    'write',
    'write',
    'sync',
    'sync',
    'syncDirectory',
    'create',
    'open',
    'read',
    'rename',
    'remove',
    'link',
    'stat',
    'list',
    'any',
  ] as const)
  const when = draw.chance(0.3) ? 'after' : 'before'
  return { ...common, op, when, effect: { errno: draw.pick(ERRNOS) } }
}

function drawLie(draw: Draw): Pick<FaultRule, 'op' | 'effect'> {
  const flipBit = draw.below(20_000)
  return draw.pick<Pick<FaultRule, 'op' | 'effect'>>([
    { op: 'sync', effect: { lies: true } },
    { op: 'syncDirectory', effect: { lies: true } },
    { op: 'write', effect: { flipBit } },
    { op: 'read', effect: { flipBit } },
    { op: 'read', effect: { isStale: true } },
    { op: 'write', effect: { misdirectBytes: 512 } },
    { op: 'sync', effect: { errno: 'EIO', reverts: true } },
  ])
}

/** A history without faults, that any sound store shows in the same way. */
export function calmOps(seed: number, count: number): SimOp[] {
  const draw = new Draw(seed)
  const keys = [...drawKeys(draw), 'y'.repeat(65_535)]
  const weights: (readonly [Kind, number])[] = [
    ...COMMON_WEIGHTS.filter(([kind]) => kind !== 'wait'),
    ['reopen', 2],
    ['crash', 2],
    ['killWorker', 4],
  ]
  return Array.from({ length: count }, () => {
    const op = drawOp(draw, weights, keys, false)
    return op.kind === 'crash' ? { ...op, policy: 'killed', steps: 0 } : op
  })
}
